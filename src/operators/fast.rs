//! The fast path of a replaced operator: what `replacement.py` does, for plain tensors, without Python code.
//!
//! ```text
//!  arguments ── plain device tensors ──▶ rooms on the host, filled by one wait for the stream, or, where the host can
//!                                          │ see it, their own memory
//!                                          │ the same overload on the CPU
//!                                          ▼ mutated arguments written back, fresh results to new device tensors
//! ```
//!
//! Whatever is not plain (lazy flags, sparse, subclasses, host tensors among the arguments, overlapping memory that
//! is written, a capture, any failure before the operator ran) is left to the Python replacement, which decides and
//! explains. Here nothing is raised but what the operator itself raises.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::sync::atomic::{AtomicBool, Ordering};

use super::ground::{self, Ground};
use super::operands::{Argument, HostArgument, NotPlain, Operand, Operands, Role, overlap};
use super::products;
use super::python::{Method, Object, Python, Ref};
use super::results::{Seen, Shape};
use super::torch::Kind;
use crate::boundary::panic::guard;
use crate::memory::hosted;

/// What PyTorch's CPU kernels say to an element type that they do not know; `replacement.py` looks for the same.
const UNKNOWN_TYPE: [&str; 2] = [" not implemented for ", "MKL FFT doesn't support tensors of type"];

/// Whether a graph is recorded anywhere, of which only the Python replacement knows what to do.
static RECORDING: AtomicBool = AtomicBool::new(false);

/// Sets whether a graph is recorded anywhere.
pub fn set_recording(on: bool) {
    RECORDING.store(on, Ordering::Relaxed);
}

/// One overload: its arguments, results, and the functions that compute it.
pub struct Plan {
    arguments: Vec<Argument>,
    /// For each result the position of the argument that it is, or `None` for a fresh one.
    returns: Vec<Option<usize>>,
    /// The overload, called with host tensors.
    op: usize,
    /// The Python replacement.
    slow: usize,
    /// Whether each result element depends on the elements at its place alone.
    pointwise: bool,
    /// Whether it is a product of matrices, of which only some are for here ([`products`]).
    product: bool,
    /// The overload that computes the one, fresh result into a given host tensor, and that argument's name.
    into: Option<(usize, usize)>,
    /// What results looked like.
    seen: Seen,
}

/// A call's outcome once the operator ran: the result, or null with an exception pending.
type Outcome = Result<Object, NotPlain>;

/// The arguments as Python handed them over, each with its position in the schema.
struct Given<'c> {
    positional: &'c [Object],
    named: Vec<(Object, Object)>,
}

const PLAN: &CStr = c"gpucompat.plan";

/// The method of every accelerated operator; its plan comes with the function object.
static ENTER: Method = Method::new(c"operator", enter);

/// `_accelerate(op, slow, arguments, returns, pointwise, product, into)`: a function that serves plain calls of `op` and hands
/// the rest to `slow`. Arguments are `(name, role, written, out)`, returns positions or −1, `into` an overload and its
/// argument's name or nothing.
pub static ACCELERATE: Method = Method::new(c"accelerate", accelerate);

/// `_calibrate(samples, dtypes, objects)`: called by `_survey`, which the first call of any accelerated operator calls.
pub static CALIBRATE: Method = Method::new(c"calibrate", calibrate);

/// Runs the body of a function of ours; a panic becomes a RuntimeError.
pub(super) fn guarded(python: &Python, work: impl FnOnce() -> Option<Object>) -> Object {
    guard("operator", || Ok(work())).ok().flatten().unwrap_or_else(|| {
        python.raise(c"gpucompat: internal error; please report what the program was doing");
        std::ptr::null_mut()
    })
}

unsafe extern "C" fn accelerate(_: Object, given: *const Object, count: isize, _: Object) -> Object {
    let Some(python) = Python::find() else { return std::ptr::null_mut() };
    guarded(python, || {
        if count != 7 {
            python.raise(c"gpucompat: accelerate takes seven arguments");
            return None;
        }
        // SAFETY: Python hands over `count` borrowed objects.
        let given = unsafe { std::slice::from_raw_parts(given, 7) };
        let arguments = python
            .items(given[2])
            .into_iter()
            .filter_map(|row| {
                let row = python.items(row);
                let [name, role, written, out] = row.try_into().ok()?;
                Some(Argument {
                    name: python.share(name) as usize,
                    role: match python.number(role) {
                        0 => Role::Plain,
                        1 => Role::Tensor,
                        _ => Role::Absent,
                    },
                    written: python.number(written) != 0,
                    out: python.number(out) != 0,
                })
            })
            .collect();
        let returns = python
            .items(given[3])
            .into_iter()
            .map(|place| usize::try_from(python.number(place)).ok())
            .collect();
        let (op, slow) = (python.share(given[0]) as usize, python.share(given[1]) as usize);
        let (pointwise, product) = (python.number(given[4]) != 0, python.number(given[5]) != 0);
        let into = match python.items(given[6])[..] {
            [overload, name] => Some((python.share(overload) as usize, python.share(name) as usize)),
            _ => None,
        };
        let seen = Seen::default();
        // A replacement lives as long as the process.
        let plan =
            Box::into_raw(Box::new(Plan { arguments, returns, op, slow, pointwise, product, into, seen }));
        // SAFETY: the lock is held; the capsule only carries the address.
        let capsule = unsafe { (python.capsule_new)(plan.cast(), PLAN.as_ptr(), std::ptr::null_mut()) };
        let capsule = Ref::take(python, capsule)?;
        // SAFETY: the method is static; the function takes a reference of its own to the capsule.
        let function =
            unsafe { (python.function_new)(&raw const ENTER, capsule.object(), std::ptr::null_mut()) };
        (!function.is_null()).then_some(function)
    })
}

unsafe extern "C" fn calibrate(_: Object, given: *const Object, count: isize, _: Object) -> Object {
    let Some(python) = Python::find() else { return std::ptr::null_mut() };
    guarded(python, || {
        if count != 3 {
            python.raise(c"gpucompat: calibrate takes three arguments");
            return None;
        }
        // SAFETY: Python hands over `count` borrowed objects.
        let given = unsafe { std::slice::from_raw_parts(given, 3) };
        let pairs = |object| -> Vec<(usize, u64)> {
            python
                .items(object)
                .into_iter()
                .filter_map(|pair| {
                    let [first, second] = python.items(pair).try_into().ok()?;
                    Some((python.number(first) as usize, python.number(second) as u64))
                })
                .collect()
        };
        let samples = pairs(given[0]);
        let dtypes: Vec<(usize, usize)> =
            pairs(given[1]).into_iter().map(|(tensor, bytes)| (tensor, bytes as usize)).collect();
        let ready = ground::settle(python, &samples, &dtypes, &python.items(given[2]));
        // SAFETY: the lock is held.
        Some(unsafe { (python.long_from)(ready.into()) })
    })
}

unsafe extern "C" fn enter(capsule: Object, given: *const Object, count: isize, names: Object) -> Object {
    let Some(python) = Python::find() else { return std::ptr::null_mut() };
    guarded(python, || {
        // SAFETY: the capsule that `accelerate` made, whose plan lives for good.
        let plan = unsafe { (python.capsule_address)(capsule, PLAN.as_ptr()).cast::<Plan>().as_ref() }?;
        let positional = if count == 0 {
            &[][..]
        } else {
            // SAFETY: Python hands over `count` positional arguments, then one for each name.
            unsafe { std::slice::from_raw_parts(given, count as usize) }
        };
        let named = if names.is_null() {
            Vec::new()
        } else {
            let names = python.items(names);
            // SAFETY: as above.
            let values = unsafe { std::slice::from_raw_parts(given.add(count as usize), names.len()) };
            // PyTorch makes a new text of each name at each call; those of the plans are interned.
            names.into_iter().map(|name| python.interned(name)).zip(values.iter().copied()).collect()
        };
        let given = Given { positional, named };
        let fast = if RECORDING.load(Ordering::Relaxed) {
            Err(NotPlain)
        } else {
            ground::standing(python).map_or(Err(NotPlain), |ground| plan.serve(ground, &given))
        };
        match fast {
            Ok(object) => (!object.is_null()).then_some(object),
            Err(NotPlain) => plan.call_slow(python, &given).map(Ref::release),
        }
    })
}

impl Plan {
    fn call_slow(&self, python: &'static Python, given: &Given<'_>) -> Option<Ref> {
        let positional = given.positional.iter().map(|&object| python.share(object)).collect();
        let named = given.named.iter().map(|&(name, object)| (name, python.share(object))).collect();
        python.call_with(self.slow as Object, positional, named)
    }

    fn serve(&self, ground: &Ground, given: &Given<'_>) -> Outcome {
        let mut operands = Operands::default();
        if given.positional.len() > self.arguments.len() {
            return Err(NotPlain);
        }
        let mut positional = Vec::with_capacity(given.positional.len());
        for (argument, &object) in self.arguments.iter().zip(given.positional) {
            positional.push(ground.to_host(argument, object, &mut operands)?);
        }
        let mut named = Vec::with_capacity(given.named.len());
        for &(name, object) in &given.named {
            let argument =
                self.arguments.iter().find(|argument| argument.name == name as usize).ok_or(NotPlain)?;
            named.push((name, ground.to_host(argument, object, &mut operands)?));
        }
        let device = operands.tensors.first().ok_or(NotPlain)?.described.device;
        let elsewhere = operands.tensors.iter().any(|operand| operand.described.device != device);
        let unasked = !self.product || products::are_for_the_host(&operands.tensors);
        if !unasked || elsewhere || overlap(&operands.tensors) || ground.host_autocasts() {
            return Err(NotPlain);
        }
        let stream = ground.tensors.current_stream(device).ok_or(NotPlain)?;
        if !operands.numbers.is_empty() {
            ground.fill_numbers(&mut operands, self.pointwise)?;
        }
        ground.fill(&mut operands.tensors, self.pointwise, device, stream)?;
        let shape = self.shape(ground, &positional, &named, &operands);
        if let Some(shape) = &shape
            && let Some(made) =
                self.compute_into(ground, shape, (&positional, &named), &operands, (device, stream))
        {
            ground.leave(operands);
            return Ok(made.release());
        }
        let positional = positional.iter().map(|value| ground.hand_over(value, &operands)).collect();
        let named = named.iter().map(|(name, value)| (*name, ground.hand_over(value, &operands))).collect();
        let result = ground.python.call_with(self.op as Object, positional, named);
        if let (Some(shape), Some(result)) = (shape, &result)
            && let Kind::Host(host) = ground.tensors.kind(ground.python, result.object())
            && host.form.is_dense()
        {
            self.seen.note(shape, host.form);
        }
        // The Python replacement computes in a wider type what PyTorch's CPU kernel does not know in this one.
        if result.is_none() && ground.python.forgive(&UNKNOWN_TYPE) {
            return Err(NotPlain);
        }
        let outcome =
            result.and_then(|result| self.finish(ground, given, &operands.tensors, result, device, stream));
        if outcome.is_some() {
            ground.leave(operands);
        }
        Ok(outcome.map_or(std::ptr::null_mut(), Ref::release))
    }

    /// What decides about the form of the one result, if it can be computed in its place.
    fn shape(
        &self,
        ground: &Ground,
        positional: &[HostArgument],
        named: &[(Object, HostArgument)],
        operands: &Operands<'_>,
    ) -> Option<Shape> {
        self.into?;
        // Memory of the device's that lies on the host is what this is for.
        if !operands.tensors.iter().any(|operand| operand.in_place) {
            return None;
        }
        let by_position = positional.iter().map(|value| (0, value));
        let by_name = named.iter().map(|(name, value)| (*name as usize, value));
        ground.shape_of(by_position.chain(by_name), operands)
    }

    /// The result, computed straight into a new device tensor's memory; `None`, and no exception, if what it looks like is
    /// not known, or turns out not to be so: then nothing has happened.
    fn compute_into(
        &self,
        ground: &Ground,
        shape: &Shape,
        (positional, named): (&[HostArgument], &[(Object, HostArgument)]),
        operands: &Operands<'_>,
        (device, stream): (i32, usize),
    ) -> Option<Ref> {
        let (python, (overload, name)) = (ground.python, self.into?);
        let form = self.seen.form(shape)?;
        let (object, address) = ground.tensors.new_on_device(&form, device)?;
        let made = Ref::take(python, object)?;
        let Kind::Device(described) = ground.tensors.kind(python, made.object()) else { return None };
        if !hosted::holds(address, described.bytes) || !ground.settles(device, stream) {
            return None;
        }
        let room = Ref::take(python, ground.tensors.on_host(&described)?)?;
        let positional = positional.iter().map(|value| ground.hand_over(value, operands)).collect();
        let mut named: Vec<_> =
            named.iter().map(|(name, value)| (*name, ground.hand_over(value, operands))).collect();
        named.push((name as Object, python.share(room.object())));
        let Some(returned) = python.call_with(overload as Object, positional, named) else {
            // SAFETY: the lock is held; the plain form meets the same failure, or none.
            unsafe { (python.clear_error)() };
            self.seen.stop(shape.clone());
            return None;
        };
        // Some of PyTorch's CPU forms return something else than what they were given to fill (`mean.out` of half types).
        let right = returned.object() == room.object()
            && matches!(ground.tensors.kind(python, room.object()),
                Kind::Host(host) if host.address == address && host.form == form);
        if !right {
            self.seen.stop(shape.clone());
        }
        right.then_some(made)
    }

    /// Mutated arguments back, fresh results to the device; `None` with an exception pending.
    fn finish(
        &self,
        ground: &Ground,
        given: &Given<'_>,
        operands: &[Operand],
        result: Ref,
        device: i32,
        stream: usize,
    ) -> Option<Ref> {
        let python = ground.python;
        for operand in operands.iter().filter(|operand| operand.written) {
            ground.write_back(operand, stream)?;
        }
        match self.returns.as_slice() {
            [] => Ref::take(python, python.share(ground.none as Object)),
            [Some(place)] => Ref::take(python, python.share(self.argument(given, *place)?)),
            [None] => ground.lift(result.object(), device, stream),
            several => {
                let results = python.items(result.object());
                if results.len() != several.len() {
                    python.raise(
                        c"gpucompat: an operator returned another number of results than its schema says",
                    );
                    return None;
                }
                // SAFETY: the lock is held.
                let tuple = Ref::take(python, unsafe { (python.tuple_new)(several.len() as isize) })?;
                for (position, (place, item)) in several.iter().zip(results).enumerate() {
                    let item = match place {
                        Some(place) => Ref::take(python, python.share(self.argument(given, *place)?))?,
                        None => ground.lift(item, device, stream)?,
                    };
                    // SAFETY: a place of the new tuple, which takes the reference.
                    unsafe { (python.tuple_set)(tuple.object(), position as isize, item.release()) };
                }
                Some(tuple)
            }
        }
    }

    /// The argument at a position of the schema, as given.
    fn argument(&self, given: &Given<'_>, place: usize) -> Option<Object> {
        let name = self.arguments.get(place)?.name;
        let by_name =
            || given.named.iter().find(|(given, _)| *given as usize == name).map(|(_, object)| *object);
        given.positional.get(place).copied().or_else(by_name)
    }
}
