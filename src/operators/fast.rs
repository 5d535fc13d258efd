//! The fast path of a replaced operator: what `replacement.py` does, for plain tensors, without Python code.
//!
//! ```text
//!  arguments ── plain device tensors ──▶ rooms on the host, filled by one wait for the stream
//!                                          │ the same overload on the CPU
//!                                          ▼ mutated arguments written back, fresh results to new device tensors
//! ```
//!
//! Whatever is not plain (lazy flags, sparse, subclasses, host tensors among the arguments, overlapping memory that
//! is written, a capture, any failure before the operator ran) is left to the Python replacement, which decides and
//! explains. Here nothing is raised but what the operator itself raises.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use super::copies::Queue;
use super::python::{Method, Namespace, Object, Python, Ref};
use super::rooms::{Room, Rooms};
use super::torch::{Described, Form, Kind, Shim, Tensors};
use crate::native::context::Device;
use crate::staging::address::{Memory, classify};

/// What the fast path knows of Python and PyTorch, once it is ready.
struct Ground {
    python: &'static Python,
    tensors: Tensors,
    rooms: Rooms,
    /// Borrowed for good: `torch.Tensor`, `torch.nn.Parameter`, and the types that numbers have.
    tensor_types: Vec<usize>,
    number_types: [usize; 4],
    /// Host tensors of no dimension, the likes of rooms for numbers: `float32`, `float64` and `int64`.
    single: Scalar,
    double: Scalar,
    whole: Scalar,
    list_type: usize,
    tuple_type: usize,
    none: usize,
    falsehood: usize,
    /// Python functions of the namespace: `_standing_room`, `write_back`, `_lift`.
    host_room: usize,
    write_back: usize,
    lift: usize,
}

/// A host tensor of no dimension, and its form.
struct Scalar {
    like: usize,
    form: Form,
    bytes: usize,
}

static GROUND: OnceLock<Option<Ground>> = OnceLock::new();
/// 0 until somebody makes the ground, 1 while, 2 after.
static STATE: AtomicU8 = AtomicU8::new(0);

/// What PyTorch's CPU kernels say to an element type that they do not know; `replacement.py` looks for the same.
const UNKNOWN_TYPE: [&str; 2] = [" not implemented for ", "MKL FFT doesn't support tensors of type"];

/// How the schema says an argument is to be treated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Role {
    /// Passed on as it is.
    Plain,
    /// A tensor, a list of tensors, or a number that stands for one.
    Tensor,
    /// Devices and generators: the Python replacement's business unless absent.
    Absent,
}

struct Argument {
    /// The interned name.
    name: usize,
    role: Role,
    written: bool,
    /// Written, never read.
    out: bool,
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
}

/// Why the fast path does not serve a call.
struct NotPlain;

/// A call's outcome once the operator ran: the result, or null with an exception pending.
type Outcome = Result<Object, NotPlain>;

/// A device tensor among the arguments.
struct Operand {
    object: Object,
    described: Described,
    written: bool,
    read: bool,
    room: Option<Room>,
    /// The room is the device tensor's own memory, which the host can see: nothing is copied.
    in_place: bool,
}

/// Bytes of an operand from which it is worth asking the driver whether the host can see it.
const WORTH_ASKING: usize = 256 << 10;

/// An argument on its way to the host.
enum HostArgument {
    Same(Object),
    /// A number where the schema has a tensor; its position among the numbers.
    Number(usize),
    Operand(usize),
    List(Vec<HostArgument>),
}

/// The operands of a call, and its numbers that stand for tensors, in rooms where that is the same to PyTorch.
#[derive(Default)]
struct Operands<'g> {
    tensors: Vec<Operand>,
    numbers: Vec<(Object, Option<(Room, &'g Scalar)>)>,
}

/// The arguments as Python handed them over, each with its position in the schema.
struct Given<'c> {
    positional: &'c [Object],
    named: Vec<(Object, Object)>,
}

const PLAN: &CStr = c"gpucompat.plan";

/// The method of every accelerated operator; its plan comes with the function object.
static ENTER: Method = Method::new(c"operator", enter);

/// `_accelerate(op, slow, arguments, returns, pointwise)`: a function that serves plain calls of `op` and hands the rest
/// to `slow`. Arguments are `(name, role, written, out)`, returns positions or −1.
pub static ACCELERATE: Method = Method::new(c"accelerate", accelerate);

/// `_calibrate(samples, dtypes, objects)`: called by `_survey`, which the first call of any accelerated operator calls.
pub static CALIBRATE: Method = Method::new(c"calibrate", calibrate);

fn guarded(python: &'static Python, work: impl FnOnce() -> Option<Object>) -> Object {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(Some(object)) => object,
        Ok(None) => std::ptr::null_mut(),
        Err(_) => {
            raise(python, c"gpucompat: internal error; please report what the program was doing");
            std::ptr::null_mut()
        }
    }
}

/// Sets a RuntimeError, unless an exception is pending already.
fn raise(python: &'static Python, text: &CStr) {
    // SAFETY: the lock is held.
    if unsafe { (python.error_occurred)() }.is_null() {
        let class = python.namespace(c"builtins").and_then(|builtins| builtins.get(c"RuntimeError"));
        if let Some(class) = class {
            // SAFETY: a live exception class and a C text.
            unsafe { (python.set_error)(class, text.as_ptr()) };
        }
    }
}

/// The items of a list or tuple of Python's that the layer's own code made.
fn items(python: &Python, object: Object) -> Vec<Object> {
    // SAFETY: the lock is held; −1 with an exception for what is no tuple, which our own code does not pass.
    let count = unsafe { (python.tuple_size)(object) };
    // SAFETY: positions inside the tuple.
    (0..count.max(0)).map(|position| unsafe { (python.tuple_get)(object, position) }).collect()
}

fn number(python: &Python, object: Object) -> i64 {
    // SAFETY: the lock is held; the layer's own code passes integers.
    unsafe { (python.long_value)(object) }
}

unsafe extern "C" fn accelerate(_: Object, given: *const Object, count: isize, _: Object) -> Object {
    let Some(python) = Python::find() else { return std::ptr::null_mut() };
    guarded(python, || {
        if count != 5 {
            raise(python, c"gpucompat: accelerate takes five arguments");
            return None;
        }
        // SAFETY: Python hands over `count` borrowed objects.
        let given = unsafe { std::slice::from_raw_parts(given, 5) };
        let arguments = items(python, given[2])
            .into_iter()
            .filter_map(|row| {
                let row = items(python, row);
                let [name, role, written, out] = row.try_into().ok()?;
                Some(Argument {
                    name: python.share(name) as usize,
                    role: match number(python, role) {
                        0 => Role::Plain,
                        1 => Role::Tensor,
                        _ => Role::Absent,
                    },
                    written: number(python, written) != 0,
                    out: number(python, out) != 0,
                })
            })
            .collect();
        let returns = items(python, given[3])
            .into_iter()
            .map(|place| usize::try_from(number(python, place)).ok())
            .collect();
        let (op, slow) = (python.share(given[0]) as usize, python.share(given[1]) as usize);
        let pointwise = number(python, given[4]) != 0;
        // A replacement lives as long as the process.
        let plan = Box::into_raw(Box::new(Plan { arguments, returns, op, slow, pointwise }));
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
            raise(python, c"gpucompat: calibrate takes three arguments");
            return None;
        }
        // SAFETY: Python hands over `count` borrowed objects.
        let given = unsafe { std::slice::from_raw_parts(given, 3) };
        let pairs = |object| -> Vec<(usize, u64)> {
            items(python, object)
                .into_iter()
                .filter_map(|pair| {
                    let [first, second] = items(python, pair).try_into().ok()?;
                    Some((number(python, first) as usize, number(python, second) as u64))
                })
                .collect()
        };
        let samples = pairs(given[0]);
        let dtypes: Vec<(usize, usize)> =
            pairs(given[1]).into_iter().map(|(tensor, bytes)| (tensor, bytes as usize)).collect();
        let ground = ground(python, &samples, &dtypes, &items(python, given[2]));
        let ready = ground.is_some();
        let _ = GROUND.set(ground);
        // SAFETY: the lock is held.
        Some(unsafe { (python.long_from)(ready.into()) })
    })
}

fn ground(
    python: &'static Python,
    samples: &[(usize, u64)],
    dtypes: &[(usize, usize)],
    objects: &[Object],
) -> Option<Ground> {
    // SAFETY: `_survey` holds the tensors whose `_cdata` these are.
    let keys = unsafe { super::torch::KeySets::find(samples) }?;
    // SAFETY: as above.
    let tensors = unsafe { Tensors::new(python, Shim::load()?, keys, dtypes) }?;
    let kept = |object: Object| python.share(object) as usize;
    let &[
        tensor,
        parameter,
        int,
        float,
        truth,
        complex,
        single,
        double,
        whole,
        list,
        tuple,
        none,
        ref rest @ ..,
    ] = objects
    else {
        return None;
    };
    let &[falsehood, host_room, write_back, lift] = rest else { return None };
    let scalar = |like: Object| match tensors.kind(python, like) {
        Kind::Host(described) => {
            Some(Scalar { like: kept(like), bytes: described.bytes, form: described.form })
        }
        _ => None,
    };
    let (single, double, whole) = (scalar(single)?, scalar(double)?, scalar(whole)?);
    Some(Ground {
        python,
        tensors,
        rooms: Rooms::default(),
        tensor_types: [tensor, parameter].map(kept).to_vec(),
        number_types: [int, float, truth, complex].map(kept),
        single,
        double,
        whole,
        list_type: kept(list),
        tuple_type: kept(tuple),
        none: kept(none),
        falsehood: kept(falsehood),
        host_room: kept(host_room),
        write_back: kept(write_back),
        lift: kept(lift),
    })
}

/// The ground, made at the first call: PyTorch's device is usable then, as it is not yet when the layer attaches.
fn standing(python: &'static Python) -> Option<&'static Ground> {
    if let Some(ground) = GROUND.get() {
        return ground.as_ref();
    }
    if STATE.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_err() {
        return None;
    }
    let survey = python.namespace(c"_gpucompat_operators").map(|space: Namespace| space.integer("_survey()"));
    if !matches!(survey, Some(Ok(1))) {
        crate::log::debug(format_args!("fast_path=off reason=unknown_pytorch detail={survey:?}"));
        let _ = GROUND.set(None);
    }
    STATE.store(2, Ordering::Release);
    GROUND.get()?.as_ref()
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
            let names = items(python, names);
            // SAFETY: as above.
            let values = unsafe { std::slice::from_raw_parts(given.add(count as usize), names.len()) };
            names.into_iter().zip(values.iter().copied()).collect()
        };
        let given = Given { positional, named };
        let fast = standing(python).map_or(Err(NotPlain), |ground| plan.serve(ground, &given));
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
        call(python, self.slow as Object, positional, named)
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
        if elsewhere || overlap(&operands.tensors) {
            return Err(NotPlain);
        }
        let stream = ground.tensors.current_stream(device).ok_or(NotPlain)?;
        if !operands.numbers.is_empty() {
            ground.fill_numbers(&mut operands, self.pointwise)?;
        }
        ground.fill(&mut operands.tensors, device, stream)?;
        let positional = positional.iter().map(|value| ground.hand_over(value, &operands)).collect();
        let named = named.iter().map(|(name, value)| (*name, ground.hand_over(value, &operands))).collect();
        let result = call(ground.python, self.op as Object, positional, named);
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
                let results = items(python, result.object());
                if results.len() != several.len() {
                    raise(
                        python,
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

/// Calls with references that are the callee's to give back; `None` with an exception pending.
fn call(
    python: &'static Python,
    function: Object,
    positional: Vec<Object>,
    named: Vec<(Object, Object)>,
) -> Option<Ref> {
    // SAFETY: the lock is held.
    let tuple = Ref::take(python, unsafe { (python.tuple_new)(positional.len() as isize) })?;
    for (position, object) in positional.into_iter().enumerate() {
        // SAFETY: a place of the new tuple, which takes the reference.
        unsafe { (python.tuple_set)(tuple.object(), position as isize, object) };
    }
    let names = if named.is_empty() {
        None
    } else {
        // SAFETY: the lock is held.
        let names = Ref::take(python, unsafe { (python.dict_new)() })?;
        for (name, object) in named {
            // SAFETY: a live dictionary, name and object; the dictionary takes references of its own.
            unsafe {
                (python.dict_set)(names.object(), name, object);
                (python.decrease)(object);
            }
        }
        Some(names)
    };
    let names = names.as_ref().map_or(std::ptr::null_mut(), Ref::object);
    // SAFETY: a live function, a tuple, a dictionary or null.
    Ref::take(python, unsafe { (python.call)(function, tuple.object(), names) })
}

/// Whether memory that is written overlaps another argument's: then separate copies would miss writes.
fn overlap(operands: &[Operand]) -> bool {
    operands.iter().enumerate().filter(|(_, written)| written.written).any(|(position, written)| {
        let (start, end) = (written.described.address, written.described.address + written.described.bytes);
        operands.iter().enumerate().any(|(other, operand)| {
            let place = &operand.described;
            other != position && place.address < end && start < place.address + place.bytes
        })
    })
}

impl Ground {
    /// What stands for an argument on the host; device tensors become operands.
    fn to_host(
        &self,
        argument: &Argument,
        object: Object,
        operands: &mut Operands<'_>,
    ) -> Result<HostArgument, NotPlain> {
        if argument.role == Role::Plain || object as usize == self.none {
            return Ok(HostArgument::Same(object));
        }
        if argument.role == Role::Absent {
            let absent = object as usize == self.falsehood;
            return if absent { Ok(HostArgument::Same(object)) } else { Err(NotPlain) };
        }
        let kind = self.type_of(object);
        if self.tensor_types.contains(&kind) {
            self.operand(argument, object, operands)
        } else if kind == self.list_type || kind == self.tuple_type {
            let list = self.elements(object, kind == self.list_type);
            list.into_iter()
                .map(|item| {
                    if item as usize == self.none {
                        Ok(HostArgument::Same(item))
                    } else if self.tensor_types.contains(&self.type_of(item)) {
                        self.operand(argument, item, operands)
                    } else {
                        Err(NotPlain)
                    }
                })
                .collect::<Result<_, _>>()
                .map(HostArgument::List)
        } else if self.number_types.contains(&kind) && !argument.written {
            operands.numbers.push((object, None));
            Ok(HostArgument::Number(operands.numbers.len() - 1))
        } else {
            Err(NotPlain)
        }
    }

    fn operand(
        &self,
        argument: &Argument,
        object: Object,
        operands: &mut Operands<'_>,
    ) -> Result<HostArgument, NotPlain> {
        let operands = &mut operands.tensors;
        if let Some(known) = operands.iter().position(|operand| operand.object == object) {
            operands[known].written |= argument.written;
            operands[known].read |= !argument.out;
            return Ok(HostArgument::Operand(known));
        }
        match self.tensors.kind(self.python, object) {
            Kind::Device(described) => {
                let read = !argument.out || !described.form.is_dense();
                let written = argument.written;
                operands.push(Operand { object, described, written, read, room: None, in_place: false });
                Ok(HostArgument::Operand(operands.len() - 1))
            }
            // One number on the host goes with any device, as in PyTorch.
            Kind::Host(described) if described.form.dim() == 0 && !argument.written => {
                Ok(HostArgument::Same(object))
            }
            Kind::Host(_) | Kind::Other => Err(NotPlain),
        }
    }

    /// The type's address; types live as long as their objects, and those compared with live for good.
    fn type_of(&self, object: Object) -> usize {
        // SAFETY: the lock is held; a live object.
        let kind = unsafe { (self.python.type_of)(object) };
        // SAFETY: a reference that we own.
        unsafe { (self.python.decrease)(kind) };
        kind as usize
    }

    fn elements(&self, object: Object, is_list: bool) -> Vec<Object> {
        if !is_list {
            return items(self.python, object);
        }
        // SAFETY: the lock is held; a list.
        let count = unsafe { (self.python.list_size)(object) };
        // SAFETY: positions inside the list.
        (0..count.max(0)).map(|position| unsafe { (self.python.list_get)(object, position) }).collect()
    }

    /// Rooms for the operands, filled in the order of the stream.
    fn fill(&self, operands: &mut [Operand], device: i32, stream: usize) -> Result<(), NotPlain> {
        for operand in operands.iter_mut() {
            let Described { form, bytes, .. } = &operand.described;
            if operand.read
                && *bytes >= WORTH_ASKING
                && let Some(room) = self.own_memory(&operand.described)
            {
                operand.room = Some(room);
                operand.in_place = true;
                continue;
            }
            operand.room = Some(match self.rooms.take(form, *bytes) {
                Some(room) => room,
                None => self.new_room(operand.object, form).ok_or(NotPlain)?,
            });
        }
        let copies: Vec<(usize, usize, usize)> = operands
            .iter()
            .filter(|operand| operand.read && !operand.in_place && operand.described.bytes > 0)
            .filter_map(|operand| {
                Some((operand.room.as_ref()?.address, operand.described.address, operand.described.bytes))
            })
            .collect();
        self.python
            .unlocked(|| {
                let queue = Queue::of(device, stream)?;
                queue.refuse_capture()?;
                for &(host, device, bytes) in &copies {
                    // SAFETY: a room of the operand's form, which is kept until after the wait.
                    unsafe { queue.read(host, device, bytes) }.inspect_err(|_| {
                        let _ = queue.wait();
                    })?;
                }
                queue.wait()
            })
            .map_err(|_| NotPlain)
    }

    /// Puts numbers that stand for tensors into rooms of no dimension: PyTorch takes longer to make a tensor of a
    /// number than to compute with it. Beside a tensor that has dimensions it promotes both alike, but for a real number
    /// beside whole ones; that, and whatever is no `int` or `float`, is left to the Python replacement.
    fn fill_numbers<'g>(&'g self, operands: &mut Operands<'g>, pointwise: bool) -> Result<(), NotPlain> {
        let python = self.python;
        let mut forms = operands
            .tensors
            .iter()
            .map(|operand| &operand.described.form)
            .filter(|form| form.dim() > 0)
            .peekable();
        let first = forms.peek().filter(|_| pointwise).ok_or(NotPlain)?.element();
        let alike = forms.clone().all(|form| form.element() == first);
        let any_real = forms.any(Form::is_real);
        let [int, float, ..] = self.number_types;
        for (object, room) in &mut operands.numbers {
            let kind = self.type_of(*object);
            if kind != float && kind != int || kind == float && !any_real {
                return Err(NotPlain);
            }
            // What all operands are converted to is known where they are alike; a number of that type is not
            // converted once more. Half types keep the double: PyTorch's kernels compute with it unrounded.
            let scalar =
                match [&self.single, &self.double].into_iter().find(|like| like.form.element() == first) {
                    Some(same) if alike => same,
                    _ if kind == int => &self.whole,
                    _ => &self.double,
                };
            // SAFETY: the lock is held; an int or a float by its type, or an exception for what 64 bits do not hold.
            let (real, whole) = unsafe {
                let real = (python.double_value)(*object);
                (real, if kind == int { (python.long_value)(*object) } else { 0 })
            };
            // SAFETY: the lock is held.
            if !unsafe { (python.error_occurred)() }.is_null() {
                // SAFETY: as above; the Python replacement meets the same number.
                unsafe { (python.clear_error)() };
                return Err(NotPlain);
            }
            let bits = if std::ptr::eq(scalar, &raw const self.single) {
                u64::from((real as f32).to_bits())
            } else if std::ptr::eq(scalar, &raw const self.double) {
                real.to_bits()
            } else {
                whole as u64
            };
            let found = self.rooms.take(&scalar.form, scalar.bytes);
            let found =
                found.or_else(|| self.new_room(scalar.like as Object, &scalar.form)).ok_or(NotPlain)?;
            let bytes = bits.to_ne_bytes();
            // SAFETY: a room of one element, of which nobody else knows; its first bytes are the number's low ones.
            unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), found.address as *mut u8, scalar.bytes) };
            *room = Some((found, scalar));
        }
        Ok(())
    }

    /// A host tensor on a device tensor's own memory, if the host can see all of it.
    fn own_memory(&self, described: &Described) -> Option<Room> {
        match classify(described.address as u64, Device(described.device)) {
            Ok(Memory::Host { bytes: Some(bytes) }) if bytes >= described.bytes => {
                let tensor = Ref::take(self.python, self.tensors.on_host(described)?)?;
                Some(Room { tensor, address: described.address })
            }
            _ => None,
        }
    }

    fn new_room(&self, like: Object, form: &Form) -> Option<Room> {
        let python = self.python;
        let made = call(python, self.host_room as Object, vec![python.share(like)], Vec::new());
        let Some(tensor) = made else {
            // The Python replacement meets the same failure and raises it.
            // SAFETY: the lock is held.
            unsafe { (python.clear_error)() };
            return None;
        };
        match self.tensors.kind(python, tensor.object()) {
            Kind::Host(described) if described.form == *form => {
                Some(Room { tensor, address: described.address })
            }
            _ => None,
        }
    }

    /// A new reference to what stands for an argument.
    fn hand_over(&self, value: &HostArgument, operands: &Operands<'_>) -> Object {
        let python = self.python;
        match value {
            HostArgument::Same(object) => python.share(*object),
            HostArgument::Operand(position) => {
                let room = operands.tensors[*position].room.as_ref();
                python.share(room.map_or(self.none as Object, |room| room.tensor.object()))
            }
            HostArgument::Number(position) => {
                let (number, room) = &operands.numbers[*position];
                python.share(room.as_ref().map_or(*number, |(room, _)| room.tensor.object()))
            }
            HostArgument::List(list) => {
                // SAFETY: the lock is held.
                let made = unsafe { (python.list_new)(list.len() as isize) };
                for (position, item) in list.iter().enumerate() {
                    // SAFETY: a place of the new list, which takes the reference.
                    unsafe { (python.list_set)(made, position as isize, self.hand_over(item, operands)) };
                }
                made
            }
        }
    }

    /// Puts a mutated argument back; one whose shape changed is the Python replacement's business.
    fn write_back(&self, operand: &Operand, stream: usize) -> Option<()> {
        let python = self.python;
        let room = operand.room.as_ref()?;
        let place = &operand.described;
        let unchanged = match self.tensors.kind(python, room.tensor.object()) {
            Kind::Host(host) => host.address == room.address && host.form == place.form,
            _ => false,
        };
        if unchanged && (operand.in_place || self.upload(place, room.address, stream)) {
            return Some(());
        }
        let arguments = vec![python.share(operand.object), python.share(room.tensor.object())];
        call(python, self.write_back as Object, arguments, Vec::new()).map(drop)
    }

    fn upload(&self, place: &Described, host: usize, stream: usize) -> bool {
        let copy = || {
            // SAFETY: the host tensor has the bytes of the place's form and is pageable memory of PyTorch's.
            unsafe { Queue::of(place.device, stream)?.write(place.address, host, place.bytes) }
        };
        place.bytes == 0 || self.python.unlocked(copy).is_ok()
    }

    /// A device tensor with a host result's contents, or the same of each in a list; anything else as it is.
    fn lift(&self, result: Object, device: i32, stream: usize) -> Option<Ref> {
        let python = self.python;
        let kind = self.type_of(result);
        if result as usize == self.none || self.number_types.contains(&kind) {
            return Ref::take(python, python.share(result));
        }
        if kind == self.list_type {
            let list = self.elements(result, true);
            // SAFETY: the lock is held.
            let made = Ref::take(python, unsafe { (python.list_new)(list.len() as isize) })?;
            for (position, item) in list.into_iter().enumerate() {
                let item = self.lift(item, device, stream)?;
                // SAFETY: a place of the new list, which takes the reference.
                unsafe { (python.list_set)(made.object(), position as isize, item.release()) };
            }
            return Some(made);
        }
        if let Kind::Host(host) = self.tensors.kind(python, result)
            && host.form.is_dense()
            && let Some((object, address)) = self.tensors.new_on_device(&host.form, device)
        {
            let lifted = Ref::take(python, object)?;
            let from = host.address;
            if self.upload(&Described { address, device, ..host }, from, stream) {
                return Some(lifted);
            }
        }
        // SAFETY: the lock is held.
        let device = unsafe { (python.long_from)(device.into()) };
        call(python, self.lift as Object, vec![python.share(result), device], Vec::new())
    }

    /// After an operator that raised nothing: lets the rooms stand by again, but those whose tensor it gave another
    /// shape or memory.
    fn leave(&self, operands: Operands<'_>) {
        for (room, scalar) in operands.numbers.into_iter().filter_map(|(_, room)| room) {
            self.rooms.put(&scalar.form, scalar.bytes, room);
        }
        for operand in operands.tensors {
            let Some(room) = operand.room.filter(|_| !operand.in_place) else { continue };
            let unchanged = !operand.written
                || matches!(self.tensors.kind(self.python, room.tensor.object()),
                    Kind::Host(host) if host.address == room.address && host.form == operand.described.form);
            if unchanged {
                self.rooms.put(&operand.described.form, operand.described.bytes, room);
            }
        }
    }
}
