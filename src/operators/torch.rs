//! PyTorch's own C interface to tensors, found in the process, and what plain tensors look like in this version.
//!
//! Source: `torch/csrc/inductor/aoti_torch/c/shim.h` of PyTorch, which keeps its ABI from version to version. It
//! takes a tensor as the address of an `at::Tensor`, which is one pointer, the one that Python sees as `_cdata`.
//!
//! The interface does not tell lazy flags, sparse layouts and subclasses from plain tensors. A tensor's set of
//! dispatch keys does; where it lies in a tensor is found by looking for the known sets of sample tensors
//! ([`KeySets::find`]), never assumed. A version in which any of this is not found has no fast path.

#![allow(unsafe_code)]

use std::ffi::{c_int, c_void};

use super::python::{Object, Python};
use crate::platform;

/// The bytes of a `c10::TensorImpl` that are looked through; PyTorch asserts the size of its 64-bit builds to be 208.
const TENSOR_BYTES: usize = 208;

macro_rules! torch_table {
    ($($(#[$doc:meta])* $field:ident: $library:literal $symbol:literal ($($arg:ty),*);)*) => {
        /// Addresses of functions of the C interface; each returns 0, or another value after an error.
        pub struct Shim {
            $($(#[$doc])* $field: unsafe extern "C" fn($($arg),*) -> c_int,)*
            wrap: Wrap,
        }

        impl Shim {
            /// The interface, if this version of PyTorch has it.
            pub fn load() -> Option<Shim> {
                Some(Shim {
                    $($field: {
                        let address = platform::find_loaded($library)?.symbol($symbol)?;
                        // SAFETY: `shim.h` declares the function of this name with this prototype.
                        unsafe {
                            std::mem::transmute::<*mut c_void, unsafe extern "C" fn($($arg),*) -> c_int>(address)
                        }
                    },)*
                    wrap: find_wrap()?,
                })
            }
        }
    };
}

torch_table! {
    /// Address of the first element.
    data_ptr: c"libtorch_cpu.so" c"aoti_torch_get_data_ptr" (*const usize, *mut *mut c_void);
    /// How many dimensions.
    dim: c"libtorch_cpu.so" c"aoti_torch_get_dim" (*const usize, *mut i64);
    /// Borrowed sizes.
    sizes: c"libtorch_cpu.so" c"aoti_torch_get_sizes" (*const usize, *mut *const i64);
    /// Borrowed strides.
    strides: c"libtorch_cpu.so" c"aoti_torch_get_strides" (*const usize, *mut *const i64);
    /// Element type by PyTorch's number.
    dtype: c"libtorch_cpu.so" c"aoti_torch_get_dtype" (*const usize, *mut i32);
    /// The device's number.
    device_index: c"libtorch_cpu.so" c"aoti_torch_get_device_index" (*const usize, *mut i32);
    /// A new tensor: dimensions, sizes, strides, type, device type and number; the caller deletes the result.
    empty_strided: c"libtorch_cpu.so" c"aoti_torch_empty_strided"
        (i64, *const i64, *const i64, i32, i32, i32, *mut *mut usize);
    /// A tensor on memory of somebody else's: its address, dimensions, sizes, strides, offset, type, device type and
    /// number; the caller deletes the result.
    from_blob: c"libtorch_cpu.so" c"aoti_torch_create_tensor_from_blob"
        (*mut c_void, i64, *const i64, *const i64, i64, i32, i32, i32, *mut *mut usize);
    /// Deletes what the functions above made.
    delete: c"libtorch_cpu.so" c"aoti_torch_delete_tensor_object" (*mut usize);
    /// The stream that PyTorch queues on for a device.
    current_stream: c"libtorch_cuda.so" c"aoti_torch_get_current_cuda_stream" (i32, *mut *mut c_void);
}

/// `THPVariable_Wrap`: the Python object of a tensor. It takes an `at::TensorBase`, by value before 2.9 and by
/// reference after: the address of one in either case, by the C++ ABI of both compilers PyTorch is built with.
type Wrap = unsafe extern "C" fn(*mut usize) -> Object;

fn find_wrap() -> Option<Wrap> {
    let library = platform::find_loaded(c"libtorch_python.so")?;
    let address = library
        .symbol(c"_Z16THPVariable_WrapN2at10TensorBaseE")
        .or_else(|| library.symbol(c"_Z16THPVariable_WrapRKN2at10TensorBaseE"))?;
    // SAFETY: the mangled name spells the prototype; see `Wrap` for how its argument is passed.
    Some(unsafe { std::mem::transmute::<*mut c_void, Wrap>(address) })
}

/// `c10::DeviceType::CUDA`.
const CUDA: i32 = 1;
/// `c10::DeviceType::CPU`, whose number is 0.
const CPU: i32 = 0;

/// What a plain strided tensor is: its place, sizes and strides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Described {
    /// Address of the first element.
    pub address: usize,
    /// The device's number; −1 on the host.
    pub device: i32,
    /// Sizes, strides and element type.
    pub form: Form,
    /// Bytes from the first element to the end of the last in memory.
    pub bytes: usize,
}

/// Sizes, strides and element type: what two tensors must share to be copied byte by byte.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Form {
    dtype: i32,
    /// Sizes, then strides.
    sides: Vec<i64>,
}

impl Form {
    /// A form of these sizes, then strides.
    #[cfg(test)]
    pub fn of(dtype: i32, sides: Vec<i64>) -> Form {
        Form { dtype, sides }
    }

    /// How many dimensions.
    pub fn dim(&self) -> usize {
        self.sides.len() / 2
    }

    /// PyTorch's number of the element type.
    pub fn element(&self) -> i32 {
        self.dtype
    }

    /// How long it is in each.
    pub fn sizes(&self) -> &[i64] {
        &self.sides[..self.dim()]
    }

    fn strides(&self) -> &[i64] {
        &self.sides[self.dim()..]
    }

    /// Whether the elements are real floating-point numbers (`c10::ScalarType` 5 to 7: half, float, double; 15:
    /// bfloat16).
    pub fn is_real(&self) -> bool {
        matches!(self.dtype, 5..=7 | 15)
    }

    /// Whether some of PyTorch's CPU kernels do not know the element type (half, 32-bit complex, bfloat16).
    pub fn is_narrow(&self) -> bool {
        matches!(self.dtype, 5 | 8 | 15)
    }

    /// Elements from the first to the last in memory; 0 if there is none.
    fn span(&self) -> usize {
        if self.sizes().contains(&0) {
            return 0;
        }
        1 + self
            .sizes()
            .iter()
            .zip(self.strides())
            .map(|(size, stride)| ((size - 1) * stride) as usize)
            .sum::<usize>()
    }

    /// Whether every place between the first and the last element belongs to exactly one element.
    pub fn is_dense(&self) -> bool {
        let mut axes: Vec<(i64, i64)> = self
            .strides()
            .iter()
            .copied()
            .zip(self.sizes().iter().copied())
            .filter(|&(_, size)| size != 1)
            .collect();
        if axes.iter().any(|&(_, size)| size == 0) {
            return true;
        }
        axes.sort_unstable();
        let mut expected = 1;
        axes.into_iter().all(|(stride, size)| {
            let fits = stride == expected;
            expected *= size;
            fits
        })
    }
}

/// Where tensors keep their sets of dispatch keys, and the sets of plain ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeySets {
    offset: usize,
    /// A plain tensor of the host's.
    host: u64,
    /// A plain tensor of a device's.
    device: u64,
}

impl KeySets {
    /// Finds the place at which each sample (address of the tensor, its key set) keeps its set. The first sample is
    /// a plain host tensor, the second a plain device tensor; `None` unless exactly one place fits.
    ///
    /// # Safety
    /// The addresses are those of live tensors (`_cdata`).
    pub unsafe fn find(samples: &[(usize, u64)]) -> Option<KeySets> {
        let &[(_, host), (_, device), ..] = samples else { return None };
        let fits = |offset: usize| {
            samples.iter().all(|&(tensor, keys)| {
                // SAFETY: inside a live tensor, whose size `TENSOR_BYTES` states; every place is initialised memory of
                // its members, of which the padding is read as whatever it is and compared only.
                unsafe { ((tensor + offset) as *const u64).read_volatile() == keys }
            })
        };
        let mut places = (0..TENSOR_BYTES).step_by(8).filter(|&offset| fits(offset));
        let offset = places.next()?;
        (places.next().is_none() && host != device).then_some(KeySets { offset, host, device })
    }
}

/// The tensors of this process's PyTorch.
pub struct Tensors {
    shim: Shim,
    keys: KeySets,
    /// Bytes an element, by PyTorch's number of the type; 0 for an unknown one.
    item_bytes: [u8; 64],
    cdata: Object,
}

// SAFETY: an interned name that lives for good, and addresses of functions.
unsafe impl Send for Tensors {}
// SAFETY: as above; everything is used with Python's lock held.
unsafe impl Sync for Tensors {}

/// What kind of tensor a Python object is.
pub enum Kind {
    /// A plain strided tensor of a device's.
    Device(Described),
    /// The same of the host's.
    Host(Described),
    /// Anything else: sparse, quantised, lazily conjugated, a subclass of its own, no tensor.
    Other,
}

impl Tensors {
    /// The tensors of a PyTorch whose plain key sets are known; `samples` are the addresses of host tensors of each
    /// element type with the bytes an element.
    ///
    /// # Safety
    /// The addresses are those of live tensors.
    pub unsafe fn new(
        python: &Python,
        shim: Shim,
        keys: KeySets,
        samples: &[(usize, usize)],
    ) -> Option<Tensors> {
        let mut tensors = Tensors { shim, keys, item_bytes: [0; 64], cdata: python.name(c"_cdata") };
        for (tensor, bytes) in samples {
            let mut dtype = -1;
            // SAFETY: the caller's promise; the out-pointer is writable.
            let status = unsafe { (tensors.shim.dtype)(tensor, &raw mut dtype) };
            if status != 0 {
                return None;
            }
            *tensors.item_bytes.get_mut(usize::try_from(dtype).ok()?)? = u8::try_from(*bytes).ok()?;
        }
        Some(tensors)
    }

    /// What `object` is; leaves no exception behind.
    pub fn kind(&self, python: &Python, object: Object) -> Kind {
        let Some(tensor) = self.address(python, object) else { return Kind::Other };
        // SAFETY: `_cdata` of a live tensor object is the address of its live tensor; `KeySets::find` found the place.
        let keys = unsafe { ((tensor + self.keys.offset) as *const u64).read() };
        let backend = self.keys.host ^ self.keys.device;
        if keys & backend & self.keys.device != 0 && keys & !self.keys.device == 0 {
            self.describe(tensor).map_or(Kind::Other, Kind::Device)
        } else if keys & backend & self.keys.host != 0 && keys & !self.keys.host == 0 {
            self.describe(tensor).map_or(Kind::Other, Kind::Host)
        } else {
            Kind::Other
        }
    }

    fn address(&self, python: &Python, object: Object) -> Option<usize> {
        // SAFETY: the lock is held; a live object.
        let number = unsafe { (python.attribute)(object, self.cdata) };
        if number.is_null() {
            // SAFETY: the lock is held.
            unsafe { (python.clear_error)() };
            return None;
        }
        // SAFETY: the lock is held; null with an exception for what is no integer.
        let address = unsafe { (python.address_value)(number) } as usize;
        // SAFETY: a reference that we own.
        unsafe { (python.decrease)(number) };
        if address == 0 {
            // SAFETY: the lock is held.
            unsafe { (python.clear_error)() };
            return None;
        }
        Some(address)
    }

    fn describe(&self, tensor: usize) -> Option<Described> {
        let shim = &self.shim;
        let (mut dim, mut dtype, mut device) = (0i64, 0i32, 0i32);
        let (mut sizes, mut strides) = (std::ptr::null(), std::ptr::null());
        let mut address = std::ptr::null_mut();
        // SAFETY: a live tensor; the out-pointers are writable.
        let failed = unsafe {
            (shim.dim)(&raw const tensor, &raw mut dim)
                | (shim.dtype)(&raw const tensor, &raw mut dtype)
                | (shim.device_index)(&raw const tensor, &raw mut device)
                | (shim.sizes)(&raw const tensor, &raw mut sizes)
                | (shim.strides)(&raw const tensor, &raw mut strides)
                | (shim.data_ptr)(&raw const tensor, &raw mut address)
        };
        if failed != 0 || dim < 0 {
            return None;
        }
        let dim = dim as usize;
        let mut sides = Vec::with_capacity(2 * dim);
        if dim > 0 {
            // SAFETY: borrowed arrays of `dim` numbers that live as long as the tensor keeps its shape.
            unsafe {
                sides.extend_from_slice(std::slice::from_raw_parts(sizes, dim));
                sides.extend_from_slice(std::slice::from_raw_parts(strides, dim));
            }
        }
        let form = Form { dtype, sides };
        let item = usize::from(*self.item_bytes.get(usize::try_from(dtype).ok()?)?);
        let bytes = form.span() * item;
        (item > 0).then_some(Described { address: address as usize, device, form, bytes })
    }

    /// A new tensor of a form on a device, as a new reference, with its address; `None` if there is no memory.
    pub fn new_on_device(&self, form: &Form, device: i32) -> Option<(Object, usize)> {
        let dim = form.dim();
        let mut made: *mut usize = std::ptr::null_mut();
        // SAFETY: `dim` sizes and strides; the out-pointer is writable.
        let status = unsafe {
            (self.shim.empty_strided)(
                dim as i64,
                form.sizes().as_ptr(),
                form.strides().as_ptr(),
                form.dtype,
                CUDA,
                device,
                &raw mut made,
            )
        };
        if status != 0 || made.is_null() {
            return None;
        }
        let mut address = std::ptr::null_mut();
        // SAFETY: a live tensor; the out-pointer is writable.
        let status = unsafe { (self.shim.data_ptr)(made, &raw mut address) };
        let object = self.python_object(made);
        if status != 0 || object.is_null() {
            return None;
        }
        Some((object, address as usize))
    }

    /// A host tensor on a device tensor's memory, which the host can see, as a new reference. It must not outlive the
    /// device tensor.
    pub fn on_host(&self, described: &Described) -> Option<Object> {
        let Described { form, address, .. } = described;
        let mut made: *mut usize = std::ptr::null_mut();
        // SAFETY: `dim` sizes and strides; the out-pointer is writable; the memory is not touched here.
        let status = unsafe {
            (self.shim.from_blob)(
                *address as *mut c_void,
                form.dim() as i64,
                form.sizes().as_ptr(),
                form.strides().as_ptr(),
                0,
                form.dtype,
                CPU,
                0,
                &raw mut made,
            )
        };
        if status != 0 || made.is_null() {
            return None;
        }
        let object = self.python_object(made);
        (!object.is_null()).then_some(object)
    }

    /// The Python object of a tensor that the C interface made, whose handle ends here.
    fn python_object(&self, made: *mut usize) -> Object {
        // SAFETY: a live tensor, which the function shares or moves from.
        let object = unsafe { (self.shim.wrap)(made) };
        // SAFETY: made by the C interface, used no more.
        unsafe { (self.shim.delete)(made) };
        object
    }

    /// The stream that PyTorch queues on for a device.
    pub fn current_stream(&self, device: i32) -> Option<usize> {
        let mut stream = std::ptr::null_mut();
        // SAFETY: the out-pointer is writable.
        (unsafe { (self.shim.current_stream)(device, &raw mut stream) } == 0).then_some(stream as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_place_of_key_sets_is_found_only_where_it_is_certain() {
        let tensor = |keys: u64| {
            let mut words = [7u64; TENSOR_BYTES / 8];
            words[20] = keys;
            words
        };
        let (host, device, other) = (tensor(0b101), tensor(0b110), tensor(0b1101));
        let samples = [&host, &device, &other].map(|words| (words.as_ptr() as usize, words[20]));
        // SAFETY: arrays of the size that is looked through.
        let found = unsafe { KeySets::find(&samples) };
        assert_eq!(found, Some(KeySets { offset: 160, host: 0b101, device: 0b110 }));
        let words = tensor(7);
        let twice = words.as_ptr() as usize;
        let twice_there = [(twice, 7), (twice, 7)];
        // SAFETY: as above.
        let found = unsafe { KeySets::find(&twice_there) };
        assert_eq!(found, None);
    }

    #[test]
    fn spans_and_density_follow_sizes_and_strides() {
        let form = |sides: &[i64]| Form { dtype: 6, sides: sides.to_vec() };
        assert_eq!(form(&[3, 4, 4, 1]).span(), 12);
        assert!(form(&[3, 4, 4, 1]).is_dense() && form(&[3, 4, 1, 3]).is_dense() && form(&[]).is_dense());
        assert_eq!(form(&[3, 4, 5, 1]).span(), 14);
        assert!(!form(&[3, 4, 5, 1]).is_dense() && !form(&[3, 4, 0, 1]).is_dense());
        assert!(form(&[1, 4, 99, 1]).is_dense() && form(&[0, 4, 99, 3]).is_dense());
        assert_eq!(form(&[0, 4, 4, 1]).span(), 0);
    }
}
