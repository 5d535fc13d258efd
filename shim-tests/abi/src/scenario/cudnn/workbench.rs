//! A graph in the making: tensors with data, operations, and what came out.

use std::collections::BTreeMap;
use std::ffi::{c_int, c_void};

use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Name, cudnnBackendAttributeType_t as Type,
    cudnnBackendDescriptorType_t as Kind, cudnnPointwiseMode_t as Mode, cudnnReduceTensorOp_t as Reduce,
    cudnnResampleMode_t as Resample,
};
use gpucompat_cases::conv::{Arrangement, ConvCase};
use gpucompat_cases::element::{Element, Number};

use super::graph::{Desc, Place, TensorSpec, execute, longs, plan, tensor};
use super::{compute_type, data_type, operations};
use crate::lab::Device;

/// `CUDNN_DATA_BOOLEAN`.
const BOOLEAN: c_int = 11;

/// `CUDNN_PROPAGATE_NAN`.
const PROPAGATE_NAN: c_int = 1;

/// A graph, the tensors of the program among it, and their memory.
pub struct Workbench {
    handle: *mut c_void,
    /// The operations, in the order in which the graph is told of them.
    pub operations: Vec<Desc>,
    memory: BTreeMap<i64, Memory>,
    next: i64,
    noise: u64,
}

enum Memory {
    Device(Device),
    Host(Box<[u8; 8]>),
}

/// What a pointwise operation has beside its tensors.
#[derive(Clone, Copy)]
pub struct Pointwise<'a> {
    /// The function.
    pub mode: Mode,
    /// Numbers of its descriptor.
    pub numbers: &'a [(Name, f64)],
    /// Factors of x and b.
    pub factors: [f32; 2],
}

impl Pointwise<'_> {
    /// A function without numbers or factors.
    pub fn plain(mode: Mode) -> Pointwise<'static> {
        Pointwise { mode, numbers: &[], factors: [1.0; 2] }
    }
}

/// The tensors of a pointwise operation.
#[derive(Clone, Copy, Default)]
pub struct Operands<'a> {
    /// x.
    pub x: Option<&'a TensorSpec>,
    /// The second operand.
    pub b: Option<&'a TensorSpec>,
    /// The condition of a selection.
    pub t: Option<&'a TensorSpec>,
    /// The gradient of y; y is then dx.
    pub dy: Option<&'a TensorSpec>,
}

/// Places of elements by their packed position.
fn places(spec: &TensorSpec) -> Vec<usize> {
    let mut places = vec![0];
    for (&size, &stride) in spec.dims.iter().zip(&spec.strides) {
        places =
            places.iter().flat_map(|&place| (0..size).map(move |index| place + index * stride)).collect();
    }
    places
}

impl Workbench {
    /// An empty graph.
    pub fn new(handle: *mut c_void) -> Workbench {
        Workbench { handle, operations: Vec::new(), memory: BTreeMap::new(), next: 100, noise: 88_172_645 }
    }

    /// A tensor that lies as said, with no data yet.
    pub fn tensor(
        &mut self,
        element: Element,
        dims: &[usize],
        lies: Arrangement,
        place: Place,
    ) -> TensorSpec {
        self.next += 1;
        TensorSpec {
            id: self.next,
            element,
            data_type: data_type(element),
            dims: dims.to_vec(),
            strides: lies.strides(dims),
            place,
        }
    }

    /// Random numbers between `low` and `high`.
    pub fn random(&mut self, count: usize, low: f64, high: f64) -> Vec<f64> {
        let mut next = || {
            self.noise ^= self.noise << 13;
            self.noise ^= self.noise >> 7;
            self.noise ^= self.noise << 17;
            low + (self.noise >> 11) as f64 / (1u64 << 53) as f64 * (high - low)
        };
        (0..count).map(|_| next()).collect()
    }

    /// A tensor of the program's with these values in packed order.
    pub fn input(
        &mut self,
        element: Element,
        dims: &[usize],
        lies: Arrangement,
        values: &[f64],
    ) -> TensorSpec {
        let spec = self.tensor(element, dims, lies, Place::Device);
        self.fill(&spec, values);
        spec
    }

    /// A packed tensor with random values between −1 and 1, and those values as they were rounded.
    pub fn noise(&mut self, element: Element, dims: &[usize]) -> (TensorSpec, Vec<f64>) {
        let values = self.random(dims.iter().product(), -1.0, 1.0);
        let spec = self.input(element, dims, Arrangement::Nchw, &values);
        let values = self.values(&spec);
        (spec, values)
    }

    /// A tensor that the graph writes; poison until then.
    pub fn output(&mut self, element: Element, dims: &[usize], lies: Arrangement) -> TensorSpec {
        let spec = self.tensor(element, dims, lies, Place::Device);
        let extent = places(&spec).iter().max().map_or(0, |last| last + 1) + 3;
        let memory = Device::holding(&vec![0xff; extent * element.bytes()]);
        self.memory.insert(spec.id, Memory::Device(memory));
        spec
    }

    /// A tensor of booleans that the graph writes.
    pub fn boolean_output(&mut self, dims: &[usize]) -> TensorSpec {
        let spec = self.output(Element::I8, dims, Arrangement::Nchw);
        TensorSpec { data_type: BOOLEAN, ..spec }
    }

    /// A tensor between operations.
    pub fn between(&mut self, dims: &[usize]) -> TensorSpec {
        self.tensor(Element::F32, dims, Arrangement::Nchw, Place::Virtual)
    }

    /// A scalar by value.
    pub fn scalar(&mut self, rank: usize, value: f32) -> TensorSpec {
        let spec = self.tensor(Element::F32, &vec![1; rank], Arrangement::Nchw, Place::Value);
        let mut eight = Box::new([0; 8]);
        eight[..4].copy_from_slice(&value.to_le_bytes());
        self.memory.insert(spec.id, Memory::Host(eight));
        spec
    }

    fn fill(&mut self, spec: &TensorSpec, values: &[f64]) {
        let places = places(spec);
        assert_eq!(places.len(), values.len());
        let extent = places.iter().max().map_or(0, |last| last + 1) + 3;
        let mut bytes = vec![0xff; extent * spec.element.bytes()];
        for (place, &value) in places.into_iter().zip(values) {
            let mut one = Vec::new();
            spec.element.encode(Number::new(value, 0.0), &mut one);
            bytes[place * spec.element.bytes()..][..one.len()].copy_from_slice(&one);
        }
        self.memory.insert(spec.id, Memory::Device(Device::holding(&bytes)));
    }

    /// What a tensor of the program's holds, in packed order.
    pub fn values(&self, spec: &TensorSpec) -> Vec<f64> {
        let Some(Memory::Device(memory)) = self.memory.get(&spec.id) else { panic!("no device memory") };
        let bytes = memory.get();
        places(spec).into_iter().map(|place| spec.element.decode(&bytes, place).re).collect()
    }

    /// Adds a pointwise operation that writes `y`.
    pub fn pointwise(&mut self, function: Pointwise<'_>, operands: Operands<'_>, y: &TensorSpec) {
        let mut desc = Desc::new(Kind::CUDNN_BACKEND_POINTWISE_DESCRIPTOR)
            .set(Name::CUDNN_ATTR_POINTWISE_MODE, Type::CUDNN_TYPE_POINTWISE_MODE, &[function.mode as c_int])
            .data_type(Name::CUDNN_ATTR_POINTWISE_MATH_PREC, Element::F32);
        for &(name, value) in function.numbers {
            desc = match name {
                Name::CUDNN_ATTR_POINTWISE_AXIS => desc.wide(name, &[value as i64]),
                Name::CUDNN_ATTR_POINTWISE_ELU_ALPHA
                | Name::CUDNN_ATTR_POINTWISE_SOFTPLUS_BETA
                | Name::CUDNN_ATTR_POINTWISE_SWISH_BETA
                | Name::CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP
                | Name::CUDNN_ATTR_POINTWISE_RELU_UPPER_CLIP
                | Name::CUDNN_ATTR_POINTWISE_RELU_LOWER_CLIP_SLOPE => {
                    desc.set(name, Type::CUDNN_TYPE_DOUBLE, &[value])
                }
                _ => panic!("{name:?}"),
            };
        }
        let desc = desc.ready("a pointwise descriptor");
        let mut operation = Desc::new(Kind::CUDNN_BACKEND_OPERATION_POINTWISE_DESCRIPTOR)
            .inner(Name::CUDNN_ATTR_OPERATION_POINTWISE_PW_DESCRIPTOR, &desc);
        let result = if operands.dy.is_some() {
            Name::CUDNN_ATTR_OPERATION_POINTWISE_DXDESC
        } else {
            Name::CUDNN_ATTR_OPERATION_POINTWISE_YDESC
        };
        for (name, spec) in [
            (Name::CUDNN_ATTR_OPERATION_POINTWISE_XDESC, operands.x),
            (Name::CUDNN_ATTR_OPERATION_POINTWISE_BDESC, operands.b),
            (Name::CUDNN_ATTR_OPERATION_POINTWISE_TDESC, operands.t),
            (Name::CUDNN_ATTR_OPERATION_POINTWISE_DYDESC, operands.dy),
            (result, Some(y)),
        ] {
            if let Some(spec) = spec {
                operation = operation.inner(name, &tensor(spec));
            }
        }
        for (name, factor) in [
            (Name::CUDNN_ATTR_OPERATION_POINTWISE_ALPHA1, function.factors[0]),
            (Name::CUDNN_ATTR_OPERATION_POINTWISE_ALPHA2, function.factors[1]),
        ] {
            if factor != 1.0 {
                operation = operation.set(name, Type::CUDNN_TYPE_FLOAT, &[factor]);
            }
        }
        self.operations.push(operation.ready(&format!("{:?}", function.mode)));
    }

    /// Adds the convolution of a case on these tensors.
    pub fn convolution(&mut self, case: &ConvCase, [x, w, y]: [&TensorSpec; 3]) {
        let tensors = [tensor(x), tensor(w), tensor(y)];
        self.operations.push(operations::convolution(case, tensors.each_ref()).ready("a convolution"));
    }

    /// Adds a reduction over the axes where y has size 1; false if the real library does not know the operator.
    pub fn reduction(&mut self, operator: Reduce, x: &TensorSpec, y: &TensorSpec) -> bool {
        let of = Type::CUDNN_TYPE_REDUCTION_OPERATOR_TYPE;
        let desc = Desc::new(Kind::CUDNN_BACKEND_REDUCTION_DESCRIPTOR)
            .set(Name::CUDNN_ATTR_REDUCTION_OPERATOR, of, &[operator as c_int])
            .data_type(Name::CUDNN_ATTR_REDUCTION_COMP_TYPE, Element::F32);
        match desc.finalize() {
            super::SUCCESS => {}
            super::NOT_SUPPORTED => return false,
            status => panic!("{operator:?}: {status}"),
        }
        let operation = Desc::new(Kind::CUDNN_BACKEND_OPERATION_REDUCTION_DESCRIPTOR)
            .inner(Name::CUDNN_ATTR_OPERATION_REDUCTION_DESC, &desc)
            .inner(Name::CUDNN_ATTR_OPERATION_REDUCTION_XDESC, &tensor(x))
            .inner(Name::CUDNN_ATTR_OPERATION_REDUCTION_YDESC, &tensor(y));
        self.operations.push(operation.ready(&format!("{operator:?}")));
        true
    }

    /// Adds c = a·b.
    pub fn matmul(&mut self, a: &TensorSpec, b: &TensorSpec, c: &TensorSpec) {
        let compute = [compute_type(a.element)];
        let desc = Desc::new(Kind::CUDNN_BACKEND_MATMUL_DESCRIPTOR)
            .set(Name::CUDNN_ATTR_MATMUL_COMP_TYPE, Type::CUDNN_TYPE_DATA_TYPE, &compute)
            .ready("a matmul descriptor");
        let operation = Desc::new(Kind::CUDNN_BACKEND_OPERATION_MATMUL_DESCRIPTOR)
            .inner(Name::CUDNN_ATTR_OPERATION_MATMUL_DESC, &desc)
            .inner(Name::CUDNN_ATTR_OPERATION_MATMUL_ADESC, &tensor(a))
            .inner(Name::CUDNN_ATTR_OPERATION_MATMUL_BDESC, &tensor(b))
            .inner(Name::CUDNN_ATTR_OPERATION_MATMUL_CDESC, &tensor(c));
        self.operations.push(operation.ready("a product"));
    }

    /// Adds a pooling with the given padding before and after each axis.
    pub fn pooling(
        &mut self,
        mode: Resample,
        [window, stride, before, after]: [&[usize]; 4],
        x: &TensorSpec,
        y: &TensorSpec,
    ) {
        // CUDNN_NEG_INF_PAD for a maximum, CUDNN_ZERO_PAD for averages.
        let padding = c_int::from(mode == Resample::CUDNN_RESAMPLE_MAXPOOL);
        let nan = Type::CUDNN_TYPE_NAN_PROPOGATION;
        // The attributes are of the type "fraction" in NVIDIA's headers and taken as 64-bit integers as well.
        let desc = Desc::new(Kind::CUDNN_BACKEND_RESAMPLE_DESCRIPTOR)
            .set(Name::CUDNN_ATTR_RESAMPLE_MODE, Type::CUDNN_TYPE_RESAMPLE_MODE, &[mode as c_int])
            .data_type(Name::CUDNN_ATTR_RESAMPLE_COMP_TYPE, Element::F32)
            .set(Name::CUDNN_ATTR_RESAMPLE_NAN_PROPAGATION, nan, &[PROPAGATE_NAN])
            .set(Name::CUDNN_ATTR_RESAMPLE_PADDING_MODE, Type::CUDNN_TYPE_PADDING_MODE, &[padding])
            .wide(Name::CUDNN_ATTR_RESAMPLE_SPATIAL_DIMS, &[window.len() as i64])
            .wide(Name::CUDNN_ATTR_RESAMPLE_WINDOW_DIMS, &longs(window))
            .wide(Name::CUDNN_ATTR_RESAMPLE_STRIDES, &longs(stride))
            .wide(Name::CUDNN_ATTR_RESAMPLE_PRE_PADDINGS, &longs(before))
            .wide(Name::CUDNN_ATTR_RESAMPLE_POST_PADDINGS, &longs(after))
            .ready("a resample descriptor");
        let operation = Desc::new(Kind::CUDNN_BACKEND_OPERATION_RESAMPLE_FWD_DESCRIPTOR)
            .inner(Name::CUDNN_ATTR_OPERATION_RESAMPLE_FWD_DESC, &desc)
            .inner(Name::CUDNN_ATTR_OPERATION_RESAMPLE_FWD_XDESC, &tensor(x))
            .inner(Name::CUDNN_ATTR_OPERATION_RESAMPLE_FWD_YDESC, &tensor(y))
            .set(Name::CUDNN_ATTR_OPERATION_RESAMPLE_FWD_ALPHA, Type::CUDNN_TYPE_DOUBLE, &[1f64])
            .set(Name::CUDNN_ATTR_OPERATION_RESAMPLE_FWD_BETA, Type::CUDNN_TYPE_DOUBLE, &[0f64]);
        self.operations.push(operation.ready(&format!("{mode:?}")));
    }

    /// Adds an operation whose attributes are all descriptors and enumerators.
    pub fn operation(
        &mut self,
        kind: Kind,
        enumerators: &[(Name, Type, c_int)],
        tensors: &[(Name, &TensorSpec)],
    ) {
        let mut operation = Desc::new(kind);
        for &(name, of, value) in enumerators {
            operation = operation.set(name, of, &[value]);
        }
        for &(name, spec) in tensors {
            operation = operation.inner(name, &tensor(spec));
        }
        self.operations.push(operation.ready(&format!("{kind:?}")));
    }

    /// Plans and runs the graph; the status of the first step that failed.
    pub fn run(&self) -> c_int {
        let operations: Vec<&Desc> = self.operations.iter().collect();
        let plan = match plan(self.handle, &operations) {
            Ok(plan) => plan,
            Err(status) => return status,
        };
        let (mut ids, mut addresses) = (Vec::new(), Vec::new());
        for (&id, memory) in &self.memory {
            ids.push(id);
            addresses.push(match memory {
                Memory::Device(device) => device.address,
                Memory::Host(bytes) => bytes.as_ptr() as u64,
            });
        }
        execute(self.handle, &plan, &ids, &addresses)
    }

    /// Runs the graph, which must succeed.
    pub fn must_run(&self, what: &str) {
        assert_eq!(self.run(), super::SUCCESS, "{what}");
    }

    /// Compares a result: each |got − want| ≤ factor·u·(1 + |want|), u of the result's type or of single precision,
    /// whichever is coarser; and nothing is written in its gaps.
    pub fn expect(&self, what: &str, spec: &TensorSpec, want: &[f64], factor: f64) {
        let got = self.values(spec);
        assert_eq!(got.len(), want.len(), "{what}");
        let unit = if spec.element == Element::F64 { 1e-15 } else { spec.element.rounding().max(6e-8) };
        for (index, (&got, &want)) in got.iter().zip(want).enumerate() {
            let same = got == want || got.is_nan() && want.is_nan();
            let allowed = factor * unit * (1.0 + want.abs());
            assert!(
                same || (got - want).abs() <= allowed,
                "{what}: element {index} is {got}, expected {want}"
            );
        }
        let Some(Memory::Device(memory)) = self.memory.get(&spec.id) else { return };
        let (bytes, places) = (memory.get(), places(spec));
        for place in (0..bytes.len() / spec.element.bytes()).filter(|place| !places.contains(place)) {
            let element = &bytes[place * spec.element.bytes()..][..spec.element.bytes()];
            assert!(element.iter().all(|&byte| byte == 0xff), "{what}: the gap at {place} was written");
        }
    }
}
