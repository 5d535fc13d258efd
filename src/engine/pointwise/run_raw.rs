//! Programs, block by block.
//!
//! A block is a few hundred positions. Each input's elements of a block are a slice, of the tensor itself
//! where they lie side by side, else gathered; each step is a loop over such slices that fill one more.
//! Tasks take ranges of positions and never share an output element.

#![allow(unsafe_code)]

use super::apply::Apply;
use super::function::Function;
use super::scatter_raw::{pointer, write_run};
use super::walk::{Cursor, Plane, Run, Walk, order};
use super::widest_raw::on_widest;
use super::{Operand, ProgramOutput, Step};
use crate::gemm::block_raw::SharedOutput;
use crate::tensor::{MAX_RANK, Real, TensorRef};
use crate::threads;

/// Elements of a block: a dozen of them fit the first-level cache.
const BLOCK: usize = 512;
/// Elements of a task, whole blocks, of a program of fast steps.
const TASK: usize = 64 * BLOCK;
/// The same with slow steps.
const SLOW_TASK: usize = 8 * BLOCK;

/// One block's worth of values.
type Register<R> = [R; BLOCK];

/// Where the elements of an operand come from.
enum Content<'a, R> {
    Data(&'a [R]),
    /// The place itself is the value.
    Places,
    Constant(R),
}

/// A tensor, a constant or an index, as the program walks it.
struct Source<'a, R> {
    content: Content<'a, R>,
    walk: Walk,
}

/// Where a step finds an operand.
#[derive(Clone, Copy)]
enum Slot {
    Source(usize),
    Step(usize),
}

/// A step with its operands found.
struct Plan {
    function: Function,
    operands: [Option<Slot>; 3],
}

/// Where the value of a step goes.
struct Target<'a, R> {
    step: usize,
    walk: Walk,
    data: SharedOutput<'a, R>,
    /// Whether nothing but this output wants the step's value, so that no register need hold it.
    alone: bool,
}

/// Runs a program that [`super::pointwise`] has checked. Outputs are not empty.
pub fn run<R: Real>(
    steps: &[Step],
    inputs: &[TensorRef<'_, R>],
    outputs: &mut [ProgramOutput<'_, R>],
    sizes: &[usize],
) {
    let order = order(&outputs[0].tensor.layout);
    let mut sources: Vec<Source<'_, R>> = inputs
        .iter()
        .map(|input| Source {
            content: Content::Data(input.data),
            walk: Walk::broadcast(&order, sizes, &input.layout),
        })
        .collect();
    let plans: Vec<Plan> = steps.iter().map(|step| plan(step, &order, sizes, &mut sources)).collect();
    let wanted: Vec<usize> = (0..steps.len())
        .map(|step| {
            let reads = plans.iter().flat_map(|plan| plan.operands);
            reads.filter(|slot| matches!(slot, Some(Slot::Step(read)) if *read == step)).count()
                + outputs.iter().filter(|output| output.step == step).count()
        })
        .collect();
    let targets: Vec<Target<'_, R>> = outputs
        .iter_mut()
        .map(|output| Target {
            step: output.step,
            walk: Walk::broadcast(&order, sizes, &output.tensor.layout),
            data: SharedOutput::new(output.tensor.data),
            alone: wanted[output.step] == 1,
        })
        .collect();
    let total: usize = sizes.iter().product();
    let length = if steps.iter().any(|step| step.function.is_slow()) { SLOW_TASK } else { TASK };
    threads::for_each(total.div_ceil(length), |task| {
        let first = task * length;
        Task::new(&plans, &sources, &targets, first).run(length.min(total - first));
    });
}

/// Finds a step's operands; constants and indices become sources.
fn plan<'a, R: Real>(
    step: &Step,
    order: &[usize],
    sizes: &[usize],
    sources: &mut Vec<Source<'a, R>>,
) -> Plan {
    let mut add = |content: Content<'a, R>, strides: [usize; MAX_RANK]| {
        sources.push(Source { content, walk: Walk::new(order, sizes, &strides) });
        Slot::Source(sources.len() - 1)
    };
    let mut operands = [None; 3];
    if let Function::GenIndex { axis } = step.function {
        let mut strides = [0; MAX_RANK];
        strides[axis] = 1;
        operands[0] = Some(add(Content::Places, strides));
        return Plan { function: Function::Identity, operands };
    }
    for (slot, operand) in operands.iter_mut().zip(&step.operands[..step.function.arity()]) {
        *slot = Some(match *operand {
            Operand::Input(input) => Slot::Source(input),
            Operand::Step(step) => Slot::Step(step),
            Operand::Constant(value) => add(Content::Constant(R::of(value)), [0; MAX_RANK]),
        });
    }
    Plan { function: step.function, operands }
}

/// The elements of one source, as a task goes through them.
struct Stream<'a, R> {
    source: &'a Source<'a, R>,
    cursor: Cursor<'a>,
    register: Box<Register<R>>,
    /// Where the block in the register began on a walk that repeats.
    held: Option<Run>,
    /// The block in the tensor itself, where its elements lie side by side.
    direct: Option<&'a [R]>,
}

impl<R: Real> Stream<'_, R> {
    /// Moves on to the next `count` elements.
    fn load(&mut self, count: usize) {
        let walk = &self.source.walk;
        let run = self.cursor.run(count);
        let whole = run.length == count;
        self.direct = None;
        if let (Content::Data(data), 1, true) = (&self.source.content, walk.step(), whole) {
            self.direct = Some(&data[run.place..run.place + count]);
            return self.cursor.advance(count);
        }
        // Blocks that stand still are equal if they begin at the same place, blocks of a walk that repeats
        // if they begin at the same inner position. One walk has blocks of only one of these kinds.
        let begin = if walk.step() == 0 && whole {
            Some(run)
        } else if walk.repeats() {
            Some(Run { place: self.cursor.inner(), length: count })
        } else {
            None
        };
        if begin.is_some() && self.held == begin {
            return self.cursor.take(count, |_| {});
        }
        self.gather(count);
        self.held = begin;
    }

    /// The elements of the block.
    fn values(&self, count: usize) -> &[R] {
        self.direct.unwrap_or(&self.register[..count])
    }

    fn gather(&mut self, count: usize) {
        let Stream { source, cursor, register, .. } = self;
        let step = source.walk.step();
        let mut filled = 0;
        while filled < count {
            if let (Content::Data(data), Some(plane)) = (&source.content, cursor.plane(count - filled)) {
                let elements = plane.width * plane.height;
                transpose(&data[plane.place..], step, plane, &mut register[filled..filled + elements]);
                cursor.take(elements, |_| {});
                filled += elements;
                continue;
            }
            let Run { place, length } = cursor.run(count - filled);
            let target = &mut register[filled..filled + length];
            match (&source.content, step) {
                (Content::Constant(value), _) => target.fill(*value),
                (Content::Places, _) => {
                    for (index, target) in target.iter_mut().enumerate() {
                        *target = R::of((place + index * step) as f64);
                    }
                }
                (Content::Data(data), 0) => target.fill(data[place]),
                (Content::Data(data), 1) => target.copy_from_slice(&data[place..place + length]),
                (Content::Data(data), _) => {
                    for (target, &element) in target.iter_mut().zip(data[place..].iter().step_by(step)) {
                        *target = element;
                    }
                }
            }
            cursor.advance(length);
            filled += length;
        }
    }
}

/// Gathers a plane column by column, since that is how its elements lie.
fn transpose<R: Real>(data: &[R], step: usize, plane: Plane, target: &mut [R]) {
    for column in 0..plane.width {
        let target = target[column..].iter_mut().step_by(plane.width);
        if plane.row_step == 1 {
            let source = &data[column * step..column * step + plane.height];
            target.zip(source).for_each(|(target, &element)| *target = element);
        } else {
            for (row, target) in target.enumerate() {
                *target = data[column * step + row * plane.row_step];
            }
        }
    }
}

/// A range of positions.
struct Task<'a, R> {
    plans: &'a [Plan],
    streams: Vec<Stream<'a, R>>,
    targets: &'a [Target<'a, R>],
    /// One for each target.
    cursors: Vec<Cursor<'a>>,
    /// One for each step.
    registers: Vec<Register<R>>,
}

impl<'a, R: Real> Task<'a, R> {
    fn new(
        plans: &'a [Plan],
        sources: &'a [Source<'a, R>],
        targets: &'a [Target<'a, R>],
        first: usize,
    ) -> Task<'a, R> {
        let stream = |source: &'a Source<'a, R>| Stream {
            source,
            cursor: source.walk.at(first),
            register: Box::new([R::ZERO; BLOCK]),
            held: None,
            direct: None,
        };
        Task {
            plans,
            streams: sources.iter().map(stream).collect(),
            targets,
            cursors: targets.iter().map(|target| target.walk.at(first)).collect(),
            registers: vec![[R::ZERO; BLOCK]; plans.len()],
        }
    }

    fn run(&mut self, length: usize) {
        for start in (0..length).step_by(BLOCK) {
            self.block(BLOCK.min(length - start));
        }
    }

    fn block(&mut self, count: usize) {
        self.streams.iter_mut().for_each(|stream| stream.load(count));
        for (step, plan) in self.plans.iter().enumerate() {
            let (before, rest) = self.registers.split_at_mut(step);
            let values = |slot: Option<Slot>| match slot {
                None => &[],
                Some(Slot::Source(source)) => self.streams[source].values(count),
                Some(Slot::Step(step)) => &before[step][..count],
            };
            let operands = plan.operands.map(values);
            let alone = self.targets.iter().position(|target| target.alone && target.step == step);
            let place =
                alone.and_then(|target| in_place(&self.targets[target], &self.cursors[target], count));
            // SAFETY: see `in_place`; the pointer is used for this step alone.
            let place = place.map(|place| unsafe { &mut *place });
            let target = place.unwrap_or(&mut rest[0][..count]);
            on_widest(Apply { function: plan.function, operands, target });
        }
        for (target, cursor) in self.targets.iter().zip(&mut self.cursors) {
            if target.alone && in_place(target, cursor, count).is_some() {
                cursor.advance(count);
            } else {
                scatter(target, cursor, &self.registers[target.step][..count]);
            }
        }
    }
}

/// A block's elements in the output itself, where they lie side by side. They are initialised and the
/// task's own: positions belong to one task each, and the walk leads different positions to different
/// places, as [`super::pointwise`] asserts of the layout.
fn in_place<R: Real>(target: &Target<'_, R>, cursor: &Cursor<'_>, count: usize) -> Option<*mut [R]> {
    let run = cursor.run(count);
    (run.length == count && target.walk.step() == 1).then(|| pointer(&target.data, run))
}

/// Writes a block to its places.
fn scatter<R: Real>(target: &Target<'_, R>, cursor: &mut Cursor<'_>, values: &[R]) {
    let mut values = values;
    cursor.take(values.len(), |run| {
        let (these, rest) = values.split_at(run.length);
        values = rest;
        // SAFETY: the elements are initialised and this task's own, as at `in_place`.
        unsafe { write_run(&target.data, run.place, target.walk.step(), these) };
    });
}
