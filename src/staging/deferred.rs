//! A call that is computed after it has returned, in the order of its stream.
//!
//! ```text
//! stream:  copies in ─▶ host function: compute ─▶ copies out ─▶ host function: the memory stands by again
//! ```
//!
//! While the stream is captured the same becomes nodes of the graph, without the last: the graph owns the memory, and each
//! launch computes anew with what the device holds then. Host functions must not call the driver; the computation does
//! not (see [`super::tape`]). A computation that fails has no caller to tell: its results become not-a-number, a warning is
//! printed, and the next served call returns the error, as CUDA's own asynchronous errors do.
//! Sources: <https://docs.nvidia.com/cuda/cuda-driver-api/group__CUDA__EXEC.html> (`cuLaunchHostFunc`),
//! <https://docs.nvidia.com/cuda/cuda-programming-guide/> (user objects of graphs).

#![allow(unsafe_code)]

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, AtomicUsize, Ordering};

use parking_lot::Mutex;

use super::copies::Direction;
use super::tape::{Role, Tape, Zeros};
use super::transfer::Transfer;
use crate::boundary::panic::guard;
use crate::boundary::status::Error;
use crate::native::context::Stream;

/// Which calls are put off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum When {
    /// Those that move much, or whose stream is busy; the others are as fast at once.
    Useful = 0,
    /// All that can be.
    Always = 1,
    /// Those of captured streams only, which cannot be computed at once.
    Captured = 2,
}

static WHEN: AtomicU8 = AtomicU8::new(When::Useful as u8);
/// Bytes of host memory that calls hold which have not been computed yet, those of graphs left out.
static IN_FLIGHT: AtomicUsize = AtomicUsize::new(0);
static FAILURE: Mutex<Option<Error>> = Mutex::new(None);

/// Sets which calls are put off.
pub fn set_when(when: When) {
    WHEN.store(when as u8, Ordering::Relaxed);
}

/// Which calls are put off.
pub fn when() -> When {
    match WHEN.load(Ordering::Relaxed) {
        1 => When::Always,
        2 => When::Captured,
        _ => When::Useful,
    }
}

/// Bytes that calls in flight hold.
pub fn in_flight() -> usize {
    IN_FLIGHT.load(Ordering::Relaxed)
}

/// The error of a call that has failed since it returned; told once.
pub fn take_failure() -> Option<Error> {
    FAILURE.lock().take()
}

/// What a call does with its operands once they are here.
pub type Compute = Box<dyn Fn(Transfer) -> Result<(), Error> + Send + Sync>;

/// A call on its way.
struct Deferred {
    function: &'static str,
    tape: Arc<Tape>,
    compute: Compute,
    zeros: Zeros,
    /// Bytes counted in [`IN_FLIGHT`].
    counted: usize,
    /// Two launches of graphs that share the memory take turns.
    turn: Mutex<()>,
}

impl Drop for Deferred {
    fn drop(&mut self) {
        IN_FLIGHT.fetch_sub(self.counted, Ordering::Relaxed);
    }
}

/// Queues the computation of a call whose copies in are queued, and its copies out.
///
/// # Errors
/// Those of the driver; then nothing will be written that is not written yet.
pub fn queue(function: &'static str, transfer: &Transfer, tape: Tape, compute: Compute) -> Result<(), Error> {
    let (stream, captured) = (transfer.stream, transfer.is_captured());
    let counted = if captured { 0 } else { tape.bytes() };
    IN_FLIGHT.fetch_add(counted, Ordering::Relaxed);
    let tape = Arc::new(tape);
    let zeros = if captured { Zeros::AreNot } else { Zeros::AreThere };
    let turn = Mutex::new(());
    let deferred = Arc::new(Deferred { function, tape: tape.clone(), compute, zeros, counted, turn });
    let argument = Arc::as_ptr(&deferred).cast_mut().cast::<c_void>();
    // SAFETY: `keep` below, or the wait, has the call live until the function has run for the last time; it calls no driver.
    let queued = unsafe { stream.launch_host_function(run, argument) }
        .map_err(Error::from)
        .and_then(|()| copies_out(transfer, &tape));
    if !captured && queued.is_err() {
        // What is queued uses the memory; once it has run, the call ends here.
        let _ = stream.synchronize();
        return queued;
    }
    keep(stream, deferred, captured);
    queued
}

/// Keeps what copies of a captured stream use, although the call has failed, for as long as the graph lives.
pub fn keep_for_graph(stream: Stream, tape: Tape) {
    let compute: Compute = Box::new(|_| Ok(()));
    let tape = Arc::new(tape);
    let (zeros, turn) = (Zeros::AreNot, Mutex::new(()));
    let deferred = Deferred { function: "", tape, compute, zeros, counted: 0, turn };
    keep(stream, Arc::new(deferred), true);
}

fn copies_out(transfer: &Transfer, tape: &Tape) -> Result<(), Error> {
    for room in tape.rooms().filter(|room| room.role == Role::Output) {
        for part in room.writes.iter().filter(|part| !part.visible) {
            let host = room.start().as_ptr().wrapping_add(part.rectangle.host);
            transfer.queue_rectangle(&part.rectangle, Direction::Out, host)?;
        }
    }
    Ok(())
}

/// Gives the call to whoever knows when it is done: the graph, or a function behind everything that is queued.
fn keep(stream: Stream, deferred: Arc<Deferred>, captured: bool) {
    let argument = Arc::into_raw(deferred).cast_mut().cast::<c_void>();
    if captured {
        // SAFETY: `release` takes back what `into_raw` gave, once; dropping a call gives memory back to the pool and calls no
        // driver. Where the driver has no such objects the call is kept for good, as long as any graph.
        let _ = unsafe { stream.give_to_graph(argument, release) };
        return;
    }
    // SAFETY: as above; behind the computation and the copies on the same stream.
    if unsafe { stream.launch_host_function(release, argument) }.is_err() && stream.synchronize().is_ok() {
        // SAFETY: everything that used it has run; nobody else takes it back.
        unsafe { release(argument) };
    }
}

unsafe extern "C" fn run(argument: *mut c_void) {
    // SAFETY: `queue` passes a live `Deferred` that `keep` holds; it is only shared.
    let deferred = unsafe { &*argument.cast::<Deferred>() };
    let _turn = deferred.turn.lock();
    let computed = guard(deferred.function, || {
        deferred.tape.bring(deferred.zeros);
        (deferred.compute)(Transfer::computing(deferred.tape.clone()))
    });
    if let Err(error) = computed {
        deferred.tape.spoil();
        *FAILURE.lock() = Some(error);
    }
    deferred.tape.put_back();
}

unsafe extern "C" fn release(argument: *mut c_void) {
    // SAFETY: comes from `Arc::into_raw` in `keep`, and is taken back once.
    drop(unsafe { Arc::from_raw(argument.cast::<Deferred>().cast_const()) });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::staging::pool::Block;
    use crate::staging::region::HostLayout;
    use crate::staging::tape::Room;

    /// Tests share the one failure that is told.
    static ALONE: Mutex<()> = Mutex::new(());

    fn with_one_result(compute: Compute) -> Deferred {
        let layout = HostLayout { col_stride: 3, batch_stride: 0, elements: 3 };
        let mut tape = Tape::default();
        let block = Some(Block::take(12).unwrap());
        let place = tape.push_room(Room::new("y", Role::Output, block, 12, layout));
        tape.room_mut(place).unwrap().zeros = true;
        let (tape, turn) = (Arc::new(tape), Mutex::new(()));
        Deferred { function: "cublasSgemm_v2", tape, compute, zeros: Zeros::AreNot, counted: 0, turn }
    }

    fn result(deferred: &Deferred) -> [f32; 3] {
        let room = deferred.tape.rooms().next().unwrap();
        // SAFETY: three floats of the room's.
        unsafe { room.start().cast::<[f32; 3]>().as_ptr().read() }
    }

    fn run_it(deferred: &Deferred) {
        // SAFETY: a live call, as `run` is given.
        unsafe { run(std::ptr::from_ref(deferred).cast_mut().cast()) };
    }

    #[test]
    fn a_failed_computation_leaves_no_number_and_is_told_once() {
        let _alone = ALONE.lock();
        let failing = with_one_result(Box::new(|_| Err(Error::AllocFailed)));
        run_it(&failing);
        assert!(result(&failing).iter().all(|x| x.is_nan()));
        assert_eq!(take_failure(), Some(Error::AllocFailed));
        assert_eq!(take_failure(), None);
        let panicking = with_one_result(Box::new(|_| panic!("engine bug")));
        run_it(&panicking);
        assert!(result(&panicking).iter().all(|x| x.is_nan()));
        assert_eq!(take_failure(), Some(Error::Internal));
    }

    #[test]
    fn each_run_begins_with_zeros_and_is_lent_the_same_memory() {
        let _alone = ALONE.lock();
        let compute = |transfer: Transfer| {
            let bases = crate::staging::region::Bases::Strided { base: 4096, stride: 0, count: 1 };
            let region = crate::staging::region::Region { rows: 3, cols: 1, ld: 3, bases };
            let mut y = transfer.room_for::<f32>("y", &region)?;
            y.elements_mut().iter_mut().zip([1.0, 2.0, 3.0]).for_each(|(y, x)| *y += x);
            transfer.wait()?;
            transfer.copy_out("y", y)?;
            if transfer.is_complete() { Ok(()) } else { Err(Error::Internal) }
        };
        let deferred = with_one_result(Box::new(compute));
        for _ in 0..2 {
            run_it(&deferred);
            assert_eq!(result(&deferred), [1.0, 2.0, 3.0]);
        }
        assert_eq!(take_failure(), None);
    }
}
