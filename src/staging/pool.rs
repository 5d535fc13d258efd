//! Host memory that stands by between calls: fresh pages cost more than the bytes that are copied into them, and
//! page-locked ones, which the device copies to and from without the host's help, cost more still.
//!
//! Blocks come back when an operand is done with, up to [`set_limit`] bytes of either kind (`GPU_COMPAT_STAGING_MB`); beyond
//! that the one that lay idle longest goes, and at each call those that no call has used for a while. Small pageable ones
//! are not worth keeping and go straight to the allocator.

#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed, dealloc};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::boundary::status::Error;
use crate::native::locked;

/// Boundary that blocks start at: a cache line.
pub const ALIGNMENT: usize = 64;
/// Pageable blocks below this size are left to the allocator, larger ones are whole multiples of it.
const GRAIN: usize = 64 << 10;
/// Page-locked blocks are powers of two from a page on below the grain, and whole multiples of it above.
const PAGE: usize = 4 << 10;
/// How long a block waits for its next use.
const PATIENCE: Duration = Duration::from_secs(10);

static LIMIT: AtomicUsize = AtomicUsize::new(256 << 20);
static PAGEABLE: Mutex<Shelf> = Mutex::new(Shelf { blocks: Vec::new(), bytes: 0 });
static LOCKED: Mutex<Shelf> = Mutex::new(Shelf { blocks: Vec::new(), bytes: 0 });

/// Who made the memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// The allocator.
    Pageable,
    /// The driver.
    Locked,
}

/// Memory that its holder owns alone.
#[derive(Debug)]
pub struct Block {
    start: NonNull<u8>,
    bytes: usize,
    kind: Kind,
    /// The driver's number of a page-locked one, which no other memory has; `None` where it gives none.
    id: Option<u64>,
    /// Whether all of it is zeros.
    pub zeroed: bool,
}

// SAFETY: a block is plain memory that one holder owns.
unsafe impl Send for Block {}

/// Blocks that nobody uses, the longest idle first.
struct Shelf {
    blocks: Vec<(Instant, Block)>,
    bytes: usize,
}

/// Sets how many bytes may stand by; 0: none.
pub fn set_limit(bytes: usize) {
    LIMIT.store(bytes, Ordering::Relaxed);
}

/// How many bytes may stand by.
pub fn limit() -> usize {
    LIMIT.load(Ordering::Relaxed)
}

/// Lets those page-locked blocks go that stand by too long or exceed the limit; with a context current.
pub fn trim() {
    let expired = LOCKED.lock().expired(Instant::now());
    // After the lock: ending page-locked memory may wait for the device, and what it runs may be giving memory back here.
    expired.into_iter().for_each(Block::free);
}

impl Block {
    /// At least `bytes` bytes, more than 0; [`Error::AllocFailed`] if the host has not that much memory.
    pub fn take(bytes: usize) -> Result<Block, Error> {
        let rounded = if bytes < GRAIN { Some(bytes) } else { bytes.checked_next_multiple_of(GRAIN) };
        let rounded = rounded.ok_or(Error::AllocFailed)?;
        let found = if rounded < GRAIN { None } else { PAGEABLE.lock().take(rounded) };
        found.map_or_else(|| Block::allocate(rounded), Ok)
    }

    /// The same of page-locked memory, with a context current, captured or not; [`Error::AllocFailed`] if the driver has none.
    pub fn take_locked(bytes: usize) -> Result<Block, Error> {
        let rounded = if bytes < GRAIN {
            Some(bytes.next_power_of_two().max(PAGE))
        } else {
            bytes.checked_next_multiple_of(GRAIN)
        };
        let rounded = rounded.filter(|&bytes| isize::try_from(bytes).is_ok()).ok_or(Error::AllocFailed)?;
        loop {
            let Some(found) = LOCKED.lock().take(rounded) else { break };
            // A program that resets its device ends our memory too; then this is nobody's, or somebody else's.
            if locked::identity(found.start) == found.id {
                return Ok(found);
            }
        }
        let start = locked::allocate(rounded).map_err(|_| Error::AllocFailed)?;
        let id = locked::identity(start);
        Ok(Block { start, bytes: rounded, kind: Kind::Locked, id, zeroed: false })
    }

    fn allocate(bytes: usize) -> Result<Block, Error> {
        let layout = Layout::from_size_align(bytes, ALIGNMENT).map_err(|_| Error::AllocFailed)?;
        // SAFETY: the layout is not of size zero.
        let start = unsafe { alloc_zeroed(layout) };
        let start = NonNull::new(start).ok_or(Error::AllocFailed)?;
        Ok(Block { start, bytes, kind: Kind::Pageable, id: None, zeroed: true })
    }

    /// Where it starts.
    pub fn start(&self) -> NonNull<u8> {
        self.start
    }

    /// Gives it back: it stands by, or goes. Page-locked memory is let go by [`trim`] only: this may run on a thread on which
    /// the driver must not be called.
    pub fn give_back(self) {
        let now = Instant::now();
        match self.kind {
            Kind::Locked => LOCKED.lock().put(self, now),
            Kind::Pageable if self.bytes >= GRAIN && self.bytes <= limit() => {
                let mut shelf = PAGEABLE.lock();
                shelf.put(self, now);
                let expired = shelf.expired(now);
                drop(shelf);
                expired.into_iter().for_each(Block::free);
            }
            Kind::Pageable => self.free(),
        }
    }

    fn free(self) {
        match self.kind {
            // A reset of the device has ended it already.
            Kind::Locked if locked::identity(self.start) != self.id => {}
            // SAFETY: the driver's, from `take_locked`, and owned alone; a holder gives it back after the copies that use it.
            Kind::Locked => unsafe { locked::free(self.start) },
            Kind::Pageable => {
                if let Ok(layout) = Layout::from_size_align(self.bytes, ALIGNMENT) {
                    // SAFETY: allocated in `allocate` with this very layout, and owned alone.
                    unsafe { dealloc(self.start.as_ptr(), layout) };
                }
            }
        }
    }
}

impl Shelf {
    /// The smallest block that is large enough, but not much too large.
    fn take(&mut self, bytes: usize) -> Option<Block> {
        let fits = |block: &Block| block.bytes >= bytes && block.bytes / 2 <= bytes;
        let sizes = self.blocks.iter().enumerate().filter(|(_, (_, block))| fits(block));
        let (best, _) = sizes.min_by_key(|(_, (_, block))| block.bytes)?;
        let (_, block) = self.blocks.remove(best);
        self.bytes -= block.bytes;
        Some(Block { zeroed: false, ..block })
    }

    fn put(&mut self, block: Block, now: Instant) {
        self.bytes += block.bytes;
        self.blocks.push((now, block));
    }

    /// Takes out what lay idle too long, and the longest idle ones beyond the limit.
    #[must_use]
    fn expired(&mut self, now: Instant) -> Vec<Block> {
        let mut expired = Vec::new();
        let limit = limit();
        let keep = |(since, _): &(Instant, Block), bytes: usize| {
            bytes <= limit && now.saturating_duration_since(*since) < PATIENCE
        };
        while self.blocks.first().is_some_and(|oldest| !keep(oldest, self.bytes)) {
            let (_, block) = self.blocks.remove(0);
            self.bytes -= block.bytes;
            expired.push(block);
        }
        expired
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block(grains: usize) -> Block {
        Block::allocate(grains * GRAIN).unwrap()
    }

    fn sizes(shelf: &Shelf) -> Vec<usize> {
        shelf.blocks.iter().map(|(_, block)| block.bytes / GRAIN).collect()
    }

    #[test]
    fn the_smallest_fitting_block_is_used_again_and_is_not_zeros() {
        let mut shelf = Shelf { blocks: Vec::new(), bytes: 0 };
        let now = Instant::now();
        [4, 2, 9].into_iter().for_each(|grains| shelf.put(block(grains), now));
        let found = shelf.take(2 * GRAIN - 5).unwrap();
        assert_eq!((found.bytes, found.zeroed), (2 * GRAIN, false));
        assert!(shelf.take(10 * GRAIN).is_none(), "too large");
        assert!(shelf.take(GRAIN).is_none(), "four times what is asked for");
        assert_eq!((sizes(&shelf), shelf.bytes), (vec![4, 9], 13 * GRAIN));
        found.free();
        [4, 9].into_iter().for_each(|grains| shelf.take(grains * GRAIN).unwrap().free());
        assert_eq!(shelf.bytes, 0);
    }

    #[test]
    fn what_lay_idle_too_long_or_exceeds_the_limit_goes() {
        let mut shelf = Shelf { blocks: Vec::new(), bytes: 0 };
        let start = Instant::now();
        shelf.put(block(1), start);
        shelf.put(block(2), start + PATIENCE / 2);
        shelf.put(block(3), start + PATIENCE);
        shelf.expired(start + PATIENCE).into_iter().for_each(Block::free);
        assert_eq!(sizes(&shelf), [2, 3], "the first one waited too long");
        let many = LIMIT.load(Ordering::Relaxed) / GRAIN;
        shelf.put(block(many - 3), start + PATIENCE);
        shelf.expired(start + PATIENCE).into_iter().for_each(Block::free);
        assert_eq!(sizes(&shelf), [3, many - 3], "the limit holds");
        while let Some((_, block)) = shelf.blocks.pop() {
            block.free();
        }
    }

    #[test]
    fn an_impossible_size_is_an_error() {
        assert!(matches!(Block::take(usize::MAX), Err(Error::AllocFailed)));
        assert!(matches!(Block::take(usize::MAX / 2), Err(Error::AllocFailed)));
    }
}
