//! Memory pools: each device's default one, and allocation in stream order.
//!
//! A pool here keeps nothing back: freed memory returns to the device when the free runs on its stream.

use std::sync::Arc;

use parking_lot::Mutex;

use super::device::{self, MAX_DEVICES};
use super::memory::{self, Kind, Origin};
use super::stream::{self, Stream};
use super::{Code, Outcome, capture, faults};

/// One byte a device, whose address is its default pool's handle.
static POOLS: [u8; MAX_DEVICES] = [0; MAX_DEVICES];
static SETTINGS: Mutex<[Settings; MAX_DEVICES]> =
    Mutex::new([Settings { reuse: [1; 3], release_threshold: 0 }; MAX_DEVICES]);

#[derive(Clone, Copy)]
struct Settings {
    reuse: [i32; 3],
    release_threshold: u64,
}

/// A pool attribute's value: the first three are `int`, the others 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Value {
    /// An `int`.
    Int(i32),
    /// A `cuuint64_t`.
    Wide(u64),
}

/// `cudaMemPoolAttr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attribute {
    /// The three that say when memory may be used again (0, 1, 2).
    Reuse(usize),
    /// How much a pool keeps back.
    ReleaseThreshold,
    /// Bytes the pool has now, used or not; here, used.
    Current,
    /// The most it has had.
    High,
}

impl Attribute {
    /// The attribute of a number.
    pub fn from_number(number: i32) -> Outcome<Attribute> {
        Ok(match number {
            1..=3 => Attribute::Reuse(number as usize - 1),
            4 => Attribute::ReleaseThreshold,
            5 | 7 => Attribute::Current,
            6 | 8 => Attribute::High,
            _ => return Err(Code::INVALID_VALUE),
        })
    }
}

/// The handle of a device's default pool.
pub fn handle(ordinal: i32) -> usize {
    std::ptr::from_ref(&POOLS[ordinal as usize]) as usize
}

/// The device of a pool handle.
pub fn device_of(handle_: usize) -> Outcome<i32> {
    (0..device::count()).find(|&ordinal| handle(ordinal) == handle_).ok_or(Code::INVALID_VALUE)
}

/// `cudaMemPoolGetAttribute`.
pub fn get(ordinal: i32, attribute: Attribute) -> Value {
    let settings = SETTINGS.lock()[ordinal as usize];
    let (current, high) = memory::pool_usage(ordinal);
    match attribute {
        Attribute::Reuse(index) => Value::Int(settings.reuse[index]),
        Attribute::ReleaseThreshold => Value::Wide(settings.release_threshold),
        Attribute::Current => Value::Wide(current as u64),
        Attribute::High => Value::Wide(high as u64),
    }
}

/// `cudaMemPoolSetAttribute`: usage cannot be set, but its peak forgotten.
pub fn set(ordinal: i32, attribute: Attribute, value: Value) -> Outcome {
    let mut settings = SETTINGS.lock();
    let settings = &mut settings[ordinal as usize];
    match (attribute, value) {
        (Attribute::Reuse(index), Value::Int(value)) => settings.reuse[index] = value,
        (Attribute::ReleaseThreshold, Value::Wide(value)) => settings.release_threshold = value,
        (Attribute::High, Value::Wide(0)) => memory::forget_pool_peak(ordinal),
        _ => return Err(Code::INVALID_VALUE),
    }
    Ok(())
}

/// `cudaMallocAsync`. Frees that have not run yet are waited for before the device counts as full.
pub fn allocate(stream: &Arc<Stream>, bytes: usize) -> Outcome<usize> {
    if stream.recording()?.is_some() {
        return Err(stream.break_capture());
    }
    faults::check("malloc")?;
    memory::place(stream.device, bytes, Origin::Pool).or_else(|_| {
        capture::check_unsafe_call()?;
        stream::synchronize_device(stream.device)?;
        memory::place(stream.device, bytes, Origin::Pool)
    })
}

/// `cudaFreeAsync`: in stream order.
pub fn free(stream: &Arc<Stream>, base: usize) -> Outcome {
    if stream.recording()?.is_some() {
        return Err(stream.break_capture());
    }
    let allocation = memory::find(base).filter(|allocation| allocation.base == base);
    if !allocation.is_some_and(|allocation| matches!(allocation.kind, Kind::Device(_))) {
        return Err(Code::INVALID_VALUE);
    }
    // A second free of the same memory is INVALID_VALUE once the first has run; until then it does nothing.
    stream.run_or_push(move || {
        let _ = memory::free(base, false);
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::signal::Signal;
    use crate::core::test_lock;

    #[test]
    fn memory_freed_in_stream_order_lives_until_the_stream_gets_there() {
        let _alone = test_lock();
        let stream = stream::get(stream::create(1, 0).unwrap()).unwrap();
        let base = allocate(&stream, 1000).unwrap();
        assert_eq!(get(0, Attribute::Current), Value::Wide(1024));
        let gate = Arc::new(Signal::default());
        stream.push(vec![gate.clone()], Box::new(|| {}));
        free(&stream, base).unwrap();
        assert!(memory::find(base).is_some());
        gate.set();
        stream.synchronize().unwrap();
        assert!(memory::find(base).is_none());
        assert_eq!(get(0, Attribute::Current), Value::Wide(0));
        assert_eq!(get(0, Attribute::High), Value::Wide(1024));
        assert_eq!(free(&stream, base), Err(Code::INVALID_VALUE));
    }

    #[test]
    fn settings_are_kept_and_usage_cannot_be_set() {
        let _alone = test_lock();
        set(0, Attribute::ReleaseThreshold, Value::Wide(u64::MAX)).unwrap();
        assert_eq!(get(0, Attribute::ReleaseThreshold), Value::Wide(u64::MAX));
        assert_eq!(set(0, Attribute::Current, Value::Wide(0)), Err(Code::INVALID_VALUE));
        assert!(Attribute::from_number(9).is_err());
        assert_eq!(device_of(handle(0)), Ok(0));
    }
}
