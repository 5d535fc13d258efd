//! Memory: device ranges that the host cannot touch, pinned, managed and registered host memory.
//!
//! Each device has a range of addresses without access rights, in which allocations are placed, and a
//! second mapping of the same size, the *alias*, where the bytes really are. Only copies and fills use the
//! alias. Fresh allocations hold [`POISON`] bytes, so that reading memory nobody wrote shows as NaN.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use super::counters::{ALLOCATIONS, LIVE_BYTES, PINNED_BYTES};
use super::device::{self, MAX_DEVICES};
use super::{Code, Outcome, capture, faults};

/// What fresh device memory holds: NaN in every floating-point type, −1 in every integer one.
pub const POISON: u8 = 0xff;
/// At most this much of an allocation is poisoned; the rest reads as zeros.
const POISONED_BYTES: usize = 256 << 20;
/// Addresses reserved a device: room for fragmentation beyond the memory it reports.
const RANGE_BYTES: usize = 128 << 30;
const ALIGNMENT: usize = 512;

/// What kind of memory an address belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Device memory of this device.
    Device(i32),
    /// Page-locked host memory.
    Pinned,
    /// Host memory that the program registered.
    Registered,
    /// Managed memory.
    Managed,
}

/// How device memory came to be allocated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// By itself: `cudaMalloc`.
    Plain,
    /// From the device's default pool: `cudaMallocAsync`.
    Pool,
}

/// A live allocation.
#[derive(Clone, Copy, Debug)]
pub struct Allocation {
    /// Its first address, as the program knows it.
    pub base: usize,
    /// Its size.
    pub bytes: usize,
    /// Its kind.
    pub kind: Kind,
    /// The device that was current when it was made.
    pub device: i32,
    /// Where it came from.
    pub origin: Origin,
}

#[derive(Clone, Copy)]
struct Range {
    base: usize,
    alias: usize,
}

struct State {
    ranges: [Option<Range>; MAX_DEVICES],
    allocations: BTreeMap<usize, Allocation>,
    used_bytes: [usize; MAX_DEVICES],
    pool_bytes: [usize; MAX_DEVICES],
    pool_peak: [usize; MAX_DEVICES],
}

static STATE: Mutex<State> = Mutex::new(State {
    ranges: [None; MAX_DEVICES],
    allocations: BTreeMap::new(),
    used_bytes: [0; MAX_DEVICES],
    pool_bytes: [0; MAX_DEVICES],
    pool_peak: [0; MAX_DEVICES],
});

fn map(bytes: usize, protection: i32) -> Outcome<usize> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice touches nothing that exists.
    let address = unsafe { libc::mmap(std::ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if address == libc::MAP_FAILED { Err(Code::OUT_OF_MEMORY) } else { Ok(address as usize) }
}

impl State {
    fn range(&mut self, ordinal: i32) -> Outcome<Range> {
        let slot = &mut self.ranges[ordinal as usize];
        if let Some(range) = *slot {
            return Ok(range);
        }
        let base = map(RANGE_BYTES, libc::PROT_NONE)?;
        let range = Range { base, alias: map(RANGE_BYTES, libc::PROT_READ | libc::PROT_WRITE)? };
        *slot = Some(range);
        Ok(range)
    }

    /// The first gap of a device's range that takes `bytes`.
    fn place(&mut self, ordinal: i32, bytes: usize) -> Outcome<usize> {
        let range = self.range(ordinal)?;
        let end = range.base + RANGE_BYTES;
        let mut candidate = range.base;
        for allocation in self.allocations.range(range.base..end).map(|row| row.1) {
            if allocation.base - candidate >= bytes {
                break;
            }
            candidate = (allocation.base + allocation.bytes).next_multiple_of(ALIGNMENT);
        }
        if candidate + bytes <= end { Ok(candidate) } else { Err(Code::OUT_OF_MEMORY) }
    }

    fn find(&self, address: usize) -> Option<Allocation> {
        let (_, allocation) = self.allocations.range(..=address).next_back()?;
        let inside = address < allocation.base + allocation.bytes.max(1);
        inside.then_some(*allocation)
    }

    fn is_device_address(&self, address: usize) -> bool {
        let inside = |range: &Range| (range.base..range.base + RANGE_BYTES).contains(&address);
        self.ranges.iter().flatten().any(inside)
    }
}

/// Bytes of a device's memory that are still free, and all of them.
pub fn info(ordinal: i32) -> (usize, usize) {
    let total = (device::model().memory_mib << 20) as usize;
    (total.saturating_sub(STATE.lock().used_bytes[ordinal as usize]), total)
}

/// `cudaMalloc` on a device.
pub fn allocate(ordinal: i32, bytes: usize) -> Outcome<usize> {
    capture::check_unsafe_call()?;
    faults::check("malloc")?;
    place(ordinal, bytes, Origin::Plain)
}

/// Bytes that come from a device's default pool, now and at most.
pub fn pool_usage(ordinal: i32) -> (usize, usize) {
    let state = STATE.lock();
    (state.pool_bytes[ordinal as usize], state.pool_peak[ordinal as usize])
}

/// Starts the count of the most anew.
pub fn forget_pool_peak(ordinal: i32) {
    let mut state = STATE.lock();
    state.pool_peak[ordinal as usize] = state.pool_bytes[ordinal as usize];
}

/// Takes a place for `bytes` in a device's memory and poisons it.
pub fn place(ordinal: i32, bytes: usize, origin: Origin) -> Outcome<usize> {
    let rounded = bytes.max(1).checked_next_multiple_of(ALIGNMENT).ok_or(Code::OUT_OF_MEMORY)?;
    let mut state = STATE.lock();
    let total = (device::model().memory_mib << 20) as usize;
    if state.used_bytes[ordinal as usize].saturating_add(rounded) > total {
        return Err(Code::OUT_OF_MEMORY);
    }
    let base = state.place(ordinal, rounded)?;
    let alias = alias_of(&state, base, ordinal);
    // SAFETY: `alias` begins `rounded` mapped, writable bytes that belong to this allocation alone.
    unsafe { std::ptr::write_bytes(alias as *mut u8, POISON, rounded.min(POISONED_BYTES)) };
    state.allocations.insert(
        base,
        Allocation { base, bytes: rounded, kind: Kind::Device(ordinal), device: ordinal, origin },
    );
    if origin == Origin::Pool {
        state.pool_bytes[ordinal as usize] += rounded;
        let now = state.pool_bytes[ordinal as usize];
        state.pool_peak[ordinal as usize] = now.max(state.pool_peak[ordinal as usize]);
    }
    state.used_bytes[ordinal as usize] += rounded;
    ALLOCATIONS.add(1);
    LIVE_BYTES.add(rounded as i64);
    Ok(base)
}

/// The alias of an address in a device's range.
fn alias_of(state: &State, address: usize, ordinal: i32) -> usize {
    state.ranges[ordinal as usize].map_or(0, |range| address - range.base + range.alias)
}

/// The host's memory.
fn physical_bytes() -> usize {
    // SAFETY: asks the system two numbers.
    let (pages, size) = unsafe { (libc::sysconf(libc::_SC_PHYS_PAGES), libc::sysconf(libc::_SC_PAGESIZE)) };
    usize::try_from(pages.saturating_mul(size)).unwrap_or(usize::MAX)
}

/// Page-locked or managed host memory.
pub fn allocate_host(bytes: usize, kind: Kind) -> Outcome<usize> {
    capture::check_unsafe_call()?;
    faults::check("host_alloc")?;
    // Page-locked memory is not overcommitted.
    if bytes > physical_bytes() {
        return Err(Code::OUT_OF_MEMORY);
    }
    let base = map(bytes.max(1), libc::PROT_READ | libc::PROT_WRITE)?;
    let allocation =
        Allocation { base, bytes: bytes.max(1), kind, device: device::current(), origin: Origin::Plain };
    PINNED_BYTES.add(allocation.bytes as i64);
    STATE.lock().allocations.insert(base, allocation);
    Ok(base)
}

/// `cudaHostRegister`.
pub fn register(base: usize, bytes: usize) -> Outcome {
    capture::check_unsafe_call()?;
    let mut state = STATE.lock();
    if base == 0 || bytes == 0 {
        return Err(Code::INVALID_VALUE);
    }
    if state.find(base).is_some() {
        return Err(Code::ALREADY_REGISTERED);
    }
    let allocation =
        Allocation { base, bytes, kind: Kind::Registered, device: device::current(), origin: Origin::Plain };
    state.allocations.insert(base, allocation);
    Ok(())
}

/// `cudaHostUnregister`.
pub fn unregister(base: usize) -> Outcome {
    let mut state = STATE.lock();
    match state.allocations.get(&base) {
        Some(allocation) if allocation.kind == Kind::Registered => {
            state.allocations.remove(&base);
            Ok(())
        }
        _ => Err(Code::NOT_REGISTERED),
    }
}

/// Frees device or managed memory (`cudaFree`) or page-locked memory (`cudaFreeHost`, `host`).
pub fn free(base: usize, host: bool) -> Outcome {
    let mut state = STATE.lock();
    let allocation = *state.allocations.get(&base).ok_or(Code::INVALID_VALUE)?;
    let legal = if host {
        allocation.kind == Kind::Pinned
    } else {
        matches!(allocation.kind, Kind::Device(_) | Kind::Managed)
    };
    if !legal {
        return Err(Code::INVALID_VALUE);
    }
    state.allocations.remove(&base);
    if let Kind::Device(ordinal) = allocation.kind {
        state.used_bytes[ordinal as usize] -= allocation.bytes;
        LIVE_BYTES.add(-(allocation.bytes as i64));
        if allocation.origin == Origin::Pool {
            state.pool_bytes[ordinal as usize] -= allocation.bytes;
        }
        give_pages_back(alias_of(&state, base, ordinal), allocation.bytes);
    } else {
        PINNED_BYTES.add(-(allocation.bytes as i64));
        // SAFETY: a mapping of this base and size was made in `allocate_host`; the program gives it up.
        unsafe { libc::munmap(base as *mut libc::c_void, allocation.bytes) };
    }
    Ok(())
}

/// Returns the whole pages inside a freed part of the alias to the system.
fn give_pages_back(alias: usize, bytes: usize) {
    const PAGE: usize = 4096;
    let (start, end) = (alias.next_multiple_of(PAGE), (alias + bytes) / PAGE * PAGE);
    if end > start {
        // SAFETY: the pages lie in our alias mapping, inside an allocation that has just ended.
        unsafe { libc::madvise(start as *mut libc::c_void, end - start, libc::MADV_DONTNEED) };
    }
}

/// The allocation that holds `address`.
pub fn find(address: usize) -> Option<Allocation> {
    STATE.lock().find(address)
}

/// One side of a copy: where its bytes really are, and what memory that is (`None`: pageable host memory).
#[derive(Clone, Copy, Debug)]
pub struct Side {
    /// Address that the simulator may touch.
    pub address: usize,
    /// Kind of memory.
    pub kind: Option<Kind>,
}

impl Side {
    /// Whether it is device memory.
    pub fn is_device(self) -> bool {
        matches!(self.kind, Some(Kind::Device(_)))
    }
}

/// Translates `bytes` at `address`; INVALID_VALUE if they are device addresses but not inside one live
/// allocation.
pub fn translate(address: usize, bytes: usize) -> Outcome<Side> {
    let state = STATE.lock();
    let Some(allocation) = state.find(address) else {
        return if state.is_device_address(address) || address == 0 && bytes > 0 {
            Err(Code::INVALID_VALUE)
        } else {
            Ok(Side { address, kind: None })
        };
    };
    if bytes > allocation.base + allocation.bytes - address {
        return Err(Code::INVALID_VALUE);
    }
    let address = match allocation.kind {
        Kind::Device(ordinal) => alias_of(&state, address, ordinal),
        _ => address,
    };
    Ok(Side { address, kind: Some(allocation.kind) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::test_lock;

    #[test]
    fn fresh_memory_is_poisoned_and_pages_of_freed_memory_are_given_back() {
        let _alone = test_lock();
        for _ in 0..2 {
            let address = allocate(0, 1 << 20).unwrap();
            let alias = translate(address, 1 << 20).unwrap().address as *mut u8;
            // SAFETY: the alias of a live allocation of 1 MiB.
            let bytes = unsafe { std::slice::from_raw_parts_mut(alias, 1 << 20) };
            assert!(bytes.iter().all(|&byte| byte == POISON));
            bytes.fill(1);
            free(address, false).unwrap();
        }
    }

    #[test]
    fn a_size_that_wraps_around_is_invalid() {
        let _alone = test_lock();
        let address = allocate(0, 512).unwrap();
        assert_eq!(translate(address, usize::MAX).err(), Some(Code::INVALID_VALUE));
        free(address, false).unwrap();
    }

    #[test]
    fn a_device_address_is_translated_and_freed_ones_are_not() {
        let _alone = test_lock();
        let address = allocate(0, 1000).unwrap();
        assert!(address.is_multiple_of(ALIGNMENT));
        let side = translate(address + 10, 990).unwrap();
        assert!(side.is_device() && side.address != address + 10);
        assert!(translate(address, 1025).is_err());
        free(address, false).unwrap();
        assert!(translate(address, 1).is_err());
        assert!(free(address, false).is_err());
    }

    #[test]
    fn more_memory_than_the_model_has_is_out_of_memory() {
        let _alone = test_lock();
        assert_eq!(allocate(0, 1 << 42), Err(Code::OUT_OF_MEMORY));
    }

    #[test]
    fn pinned_memory_is_known_and_the_host_may_touch_it() {
        let _alone = test_lock();
        let address = allocate_host(100, Kind::Pinned).unwrap();
        assert_eq!(find(address + 50).unwrap().kind, Kind::Pinned);
        assert_eq!(free(address, false), Err(Code::INVALID_VALUE));
        free(address, true).unwrap();
    }
}
