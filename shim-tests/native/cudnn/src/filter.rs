//! Filter descriptors: a type, an order and sizes; never with gaps.

use std::ffi::{c_int, c_void};

use crate::arguments::{ints, put, put_ints};
use crate::array::Array;
use crate::object::{Kind, called, life};
use crate::status::{BAD_PARAM, NOT_SUPPORTED, of};
use crate::tensor::{MOST_DIMENSIONS, check_sizes, packed};

/// A filter descriptor; a new one has no dimensions.
#[derive(Default)]
pub struct Filter {
    /// Its `cudnnDataType_t`.
    pub kind: c_int,
    /// Its `cudnnTensorFormat_t`.
    pub format: c_int,
    /// k, c of a group, then the spatial sizes.
    pub dims: Vec<c_int>,
}

impl Kind for Filter {
    const LETTER: u8 = b'F';
}

impl Filter {
    fn set(&mut self, kind: c_int, format: c_int, dims: Vec<c_int>) -> Result<(), c_int> {
        check_sizes(kind, &dims, 3)?;
        packed(format, kind, &dims)?;
        *self = Filter { kind, format, dims };
        Ok(())
    }

    /// The filter at an address.
    pub fn at(&self, address: u64) -> Result<Array, c_int> {
        let wide = |values: &[c_int]| values.iter().copied().map(i64::from).collect::<Vec<_>>();
        Array::new(address, self.kind, &wide(&self.dims), &wide(&packed(self.format, self.kind, &self.dims)?))
    }
}

life!(cudnnCreateFilterDescriptor, cudnnDestroyFilterDescriptor, Filter);

/// k, c, h, w.
#[unsafe(no_mangle)]
pub extern "C" fn cudnnSetFilter4dDescriptor(
    desc: *mut c_void,
    kind: c_int,
    format: c_int,
    k: c_int,
    c: c_int,
    h: c_int,
    w: c_int,
) -> c_int {
    of(|| called::<Filter>("cudnnSetFilter4dDescriptor", desc)?.set(kind, format, vec![k, c, h, w]))
}

/// Any rank from 3.
///
/// # Safety
/// `dims` has `rank` integers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnSetFilterNdDescriptor(
    desc: *mut c_void,
    kind: c_int,
    format: c_int,
    rank: c_int,
    dims: *const c_int,
) -> c_int {
    of(|| called::<Filter>("cudnnSetFilterNdDescriptor", desc)?.set(kind, format, ints(dims, rank)?))
}

/// The first four dimensions; those that a set filter lacks are 1.
///
/// # Safety
/// All places are writable or null.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnGetFilter4dDescriptor(
    desc: *const c_void,
    kind: *mut c_int,
    format: *mut c_int,
    k: *mut c_int,
    c: *mut c_int,
    h: *mut c_int,
    w: *mut c_int,
) -> c_int {
    of(|| {
        let filter = called::<Filter>("cudnnGetFilter4dDescriptor", desc)?;
        let lacking = c_int::from(!filter.dims.is_empty());
        let d = |axis: usize| filter.dims.get(axis).copied().unwrap_or(lacking);
        put([kind, format, k, c, h, w], [filter.kind, filter.format, d(0), d(1), d(2), d(3)])
    })
}

/// The rank and the first `requested` sizes.
///
/// # Safety
/// All places are writable or null, the array for `requested` integers.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn cudnnGetFilterNdDescriptor(
    desc: *const c_void,
    requested: c_int,
    kind: *mut c_int,
    format: *mut c_int,
    rank: *mut c_int,
    dims: *mut c_int,
) -> c_int {
    of(|| {
        let filter = called::<Filter>("cudnnGetFilterNdDescriptor", desc)?;
        if requested < 1 {
            return Err(BAD_PARAM);
        }
        if requested > MOST_DIMENSIONS as c_int {
            return Err(NOT_SUPPORTED);
        }
        put([kind, format, rank], [filter.kind, filter.format, filter.dims.len() as c_int])?;
        put_ints(dims, &filter.dims, requested)
    })
}
