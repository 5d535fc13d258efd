//! Normalizations of the graph API, forward and backward, against double precision.

use std::ffi::c_int;

use cudarc::cudnn::sys::{
    cudnnBackendAttributeName_t as Name, cudnnBackendAttributeType_t as Type,
    cudnnBackendDescriptorType_t as Kind, cudnnBackendNormFwdPhase_t as Phase,
    cudnnBackendNormMode_t as Mode,
};
use gpucompat_cases::conv::Arrangement;
use gpucompat_cases::element::Element;
use gpucompat_reference::norm::{
    Centering, Near, Normalization, Spread, normalize, normalize_backward, statistics,
};

use super::workbench::Workbench;
use super::{create, destroy};

/// A normalization: its mode, the sizes of the statistics and of scale and bias.
struct Shape {
    mode: Mode,
    centering: Centering,
    dims: [usize; 4],
    of_statistics: [usize; 4],
    of_scale: [usize; 4],
}

const SHAPES: [Shape; 4] = [
    Shape {
        mode: Mode::CUDNN_LAYER_NORM,
        centering: Centering::Mean,
        dims: [6, 40, 1, 1],
        of_statistics: [6, 1, 1, 1],
        of_scale: [1, 40, 1, 1],
    },
    Shape {
        mode: Mode::CUDNN_RMS_NORM,
        centering: Centering::None,
        dims: [6, 40, 1, 1],
        of_statistics: [6, 1, 1, 1],
        of_scale: [1, 40, 1, 1],
    },
    Shape {
        mode: Mode::CUDNN_INSTANCE_NORM,
        centering: Centering::Mean,
        dims: [3, 4, 5, 6],
        of_statistics: [3, 4, 1, 1],
        of_scale: [1, 4, 1, 1],
    },
    Shape {
        mode: Mode::CUDNN_BATCH_NORM,
        centering: Centering::Mean,
        dims: [3, 4, 5, 6],
        of_statistics: [1, 4, 1, 1],
        of_scale: [1, 4, 1, 1],
    },
];

const EPSILON: f32 = 1e-3;

fn values(near: &[Near]) -> Vec<f64> {
    near.iter().map(|near| near.value).collect()
}

fn inverse(variance: &[Near]) -> Vec<f64> {
    variance.iter().map(|near| (near.value + f64::from(EPSILON)).sqrt().recip()).collect()
}

/// Training, which gives statistics, and inference by given ones.
pub fn forward() {
    let handle = create();
    for (shape, element) in SHAPES.iter().flat_map(|shape| [(shape, Element::F32), (shape, Element::F16)]) {
        for (phase, biased) in [
            (Phase::CUDNN_NORM_FWD_TRAINING, true),
            (Phase::CUDNN_NORM_FWD_TRAINING, false),
            (Phase::CUDNN_NORM_FWD_INFERENCE, true),
        ] {
            let training = phase == Phase::CUDNN_NORM_FWD_TRAINING;
            let centered = shape.centering == Centering::Mean;
            if centered && !biased {
                continue; // only RMS norm goes without
            }
            let what = format!("{:?} {phase:?} {element:?} bias {biased}", shape.mode);
            let mut bench = Workbench::new(handle);
            let (x, x_values) = bench.noise(element, &shape.dims);
            let (scale, scales) = bench.noise(Element::F32, &shape.of_scale);
            let (bias, biases) = bench.noise(Element::F32, &shape.of_scale);
            let epsilon = bench.scalar(4, EPSILON);
            let of_x = statistics(shape.centering, &x_values, &shape.dims, &shape.of_statistics);
            let (mean, inv_std) = (values(&of_x.mean), inverse(&of_x.variance));
            let statistic = |bench: &mut Workbench, given: &[f64]| {
                if training {
                    bench.output(Element::F32, &shape.of_statistics, Arrangement::Nchw)
                } else {
                    bench.input(Element::F32, &shape.of_statistics, Arrangement::Nchw, given)
                }
            };
            let (of_mean, of_inv) = (statistic(&mut bench, &mean), statistic(&mut bench, &inv_std));
            let y = bench.output(element, &shape.dims, Arrangement::Nchw);
            let mut tensors = vec![
                (Name::CUDNN_ATTR_OPERATION_NORM_FWD_XDESC, &x),
                (Name::CUDNN_ATTR_OPERATION_NORM_FWD_INV_VARIANCE_DESC, &of_inv),
                (Name::CUDNN_ATTR_OPERATION_NORM_FWD_SCALE_DESC, &scale),
                (Name::CUDNN_ATTR_OPERATION_NORM_FWD_YDESC, &y),
            ];
            if centered {
                tensors.push((Name::CUDNN_ATTR_OPERATION_NORM_FWD_MEAN_DESC, &of_mean));
            }
            if biased {
                tensors.push((Name::CUDNN_ATTR_OPERATION_NORM_FWD_BIAS_DESC, &bias));
            }
            if training {
                tensors.push((Name::CUDNN_ATTR_OPERATION_NORM_FWD_EPSILON_DESC, &epsilon));
            }
            let enumerators = [
                (Name::CUDNN_ATTR_OPERATION_NORM_FWD_MODE, Type::CUDNN_TYPE_NORM_MODE, shape.mode as c_int),
                (Name::CUDNN_ATTR_OPERATION_NORM_FWD_PHASE, Type::CUDNN_TYPE_NORM_FWD_PHASE, phase as c_int),
            ];
            bench.operation(Kind::CUDNN_BACKEND_OPERATION_NORM_FORWARD_DESCRIPTOR, &enumerators, &tensors);
            bench.must_run(&what);
            let spread = |values| Spread { values, dims: &shape.of_scale };
            let by = Normalization {
                mean: Spread { values: &mean, dims: &shape.of_statistics },
                inv_std: Spread { values: &inv_std, dims: &shape.of_statistics },
                scale: Some(spread(&scales)),
                bias: biased.then_some(spread(&biases)),
            };
            bench.expect(&what, &y, &values(&normalize(&x_values, &shape.dims, &by)), 60.0);
            if training {
                bench.expect(&format!("{what}: 1/σ"), &of_inv, &inv_std, 60.0);
                if centered {
                    bench.expect(&format!("{what}: mean"), &of_mean, &mean, 60.0);
                }
            }
        }
    }
    destroy(handle);
}

/// The three gradients.
pub fn backward() {
    let handle = create();
    for (shape, element) in SHAPES.iter().flat_map(|shape| [(shape, Element::F32), (shape, Element::Bf16)]) {
        let what = format!("{:?} {element:?} backward", shape.mode);
        let centered = shape.centering == Centering::Mean;
        let mut bench = Workbench::new(handle);
        let (x, x_values) = bench.noise(element, &shape.dims);
        let (dy, dy_values) = bench.noise(element, &shape.dims);
        let (scale, scales) = bench.noise(Element::F32, &shape.of_scale);
        let of_x = statistics(shape.centering, &x_values, &shape.dims, &shape.of_statistics);
        let (mean, inv_std) = (values(&of_x.mean), inverse(&of_x.variance));
        let given = |bench: &mut Workbench, values: &[f64]| {
            bench.input(Element::F32, &shape.of_statistics, Arrangement::Nchw, values)
        };
        let (of_mean, of_inv) = (given(&mut bench, &mean), given(&mut bench, &inv_std));
        let dx = bench.output(element, &shape.dims, Arrangement::Nchw);
        let (dscale, dbias) = (
            bench.output(Element::F32, &shape.of_scale, Arrangement::Nchw),
            bench.output(Element::F32, &shape.of_scale, Arrangement::Nchw),
        );
        let mut tensors = vec![
            (Name::CUDNN_ATTR_OPERATION_NORM_BWD_XDESC, &x),
            (Name::CUDNN_ATTR_OPERATION_NORM_BWD_DYDESC, &dy),
            (Name::CUDNN_ATTR_OPERATION_NORM_BWD_INV_VARIANCE_DESC, &of_inv),
            (Name::CUDNN_ATTR_OPERATION_NORM_BWD_SCALE_DESC, &scale),
            (Name::CUDNN_ATTR_OPERATION_NORM_BWD_DXDESC, &dx),
            (Name::CUDNN_ATTR_OPERATION_NORM_BWD_DSCALE_DESC, &dscale),
        ];
        if centered {
            tensors.push((Name::CUDNN_ATTR_OPERATION_NORM_BWD_MEAN_DESC, &of_mean));
            tensors.push((Name::CUDNN_ATTR_OPERATION_NORM_BWD_DBIAS_DESC, &dbias));
        }
        let enumerators =
            [(Name::CUDNN_ATTR_OPERATION_NORM_BWD_MODE, Type::CUDNN_TYPE_NORM_MODE, shape.mode as c_int)];
        bench.operation(Kind::CUDNN_BACKEND_OPERATION_NORM_BACKWARD_DESCRIPTOR, &enumerators, &tensors);
        bench.must_run(&what);
        let by = Normalization {
            mean: Spread { values: &mean, dims: &shape.of_statistics },
            inv_std: Spread { values: &inv_std, dims: &shape.of_statistics },
            scale: Some(Spread { values: &scales, dims: &shape.of_scale }),
            bias: None,
        };
        let sizes = [&shape.dims[..], &shape.of_scale, &shape.of_scale];
        let want =
            normalize_backward(shape.centering, &x_values, &dy_values, sizes[0], &by, sizes[1], sizes[2]);
        bench.expect(&what, &dx, &values(&want.dx), 100.0);
        bench.expect(&format!("{what}: scale"), &dscale, &values(&want.dscale), 300.0);
        if centered {
            bench.expect(&format!("{what}: bias"), &dbias, &values(&want.dbias), 300.0);
        }
    }
    destroy(handle);
}
