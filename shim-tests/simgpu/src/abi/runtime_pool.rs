//! The runtime API: memory pools and allocation in stream order.

use std::ffi::{c_int, c_void};

use super::{put, take};
use crate::core::pool::{self, Attribute, Value};
use crate::core::{Code, device, stream};

type Stream = *mut c_void;
type Pool = *mut c_void;

export! { runtime TABLE;
    fn cudaMallocAsync(address: *mut *mut c_void, bytes: usize, stream: Stream) {
        let stream = stream::get(stream as usize)?;
        put(address, if bytes == 0 { 0 } else { pool::allocate(&stream, bytes)? } as *mut c_void)
    }
    fn cudaFreeAsync(address: *mut c_void, stream: Stream) {
        let stream = stream::get(stream as usize)?;
        if address.is_null() { Ok(()) } else { pool::free(&stream, address as usize) }
    }
    fn cudaDeviceGetDefaultMemPool(pool: *mut Pool, ordinal: c_int) {
        put(pool, pool::handle(device::checked(ordinal)?) as Pool)
    }
    fn cudaDeviceGetMemPool(pool: *mut Pool, ordinal: c_int) {
        put(pool, pool::handle(device::checked(ordinal)?) as Pool)
    }
    fn cudaMemPoolGetAttribute(pool: Pool, attribute: c_int, value: *mut c_void) {
        match pool::get(pool::device_of(pool as usize)?, Attribute::from_number(attribute)?) {
            Value::Int(number) => put(value.cast(), number),
            Value::Wide(number) => put(value.cast(), number),
        }
    }
    fn cudaMemPoolSetAttribute(pool: Pool, attribute: c_int, value: *mut c_void) {
        let attribute = Attribute::from_number(attribute)?;
        let value = match attribute {
            Attribute::Reuse(_) => Value::Int(take(value.cast())?),
            _ => Value::Wide(take(value.cast())?),
        };
        pool::set(pool::device_of(pool as usize)?, attribute, value)
    }
    fn cudaMemPoolSetAccess(pool: Pool, _descriptions: *const c_void, _count: usize) {
        pool::device_of(pool as usize).map(|_| ())
    }
    fn cudaMemPoolTrimTo(pool: Pool, _keep: usize) { pool::device_of(pool as usize).map(|_| ()) }
    fn cudaDeviceGetGraphMemAttribute(ordinal: c_int, _attribute: c_int, value: *mut u64) {
        let _ = device::checked(ordinal)?;
        put(value, 0)
    }
    fn cudaDeviceSetGraphMemAttribute(ordinal: c_int, _attribute: c_int, value: *mut u64) {
        let _ = device::checked(ordinal)?;
        if take(value.cast_const())? == 0 { Ok(()) } else { Err(Code::INVALID_VALUE) }
    }
}
