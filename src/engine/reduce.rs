//! Reductions of tensors along axes.
//!
//! Values are accumulated in double precision in an order that the shape alone decides: runs of a few
//! thousand elements in lanes, or columns over a few hundred rows, then both in pairs.

mod fold;

use parking_lot::Mutex;

use crate::nan_rule::NanRule;
use crate::pointwise::walk::Walk;
use crate::pointwise::widest_raw::on_widest;
use crate::pointwise::{Function, Operand, ProgramOutput, Step, pointwise};
use crate::tensor::{Layout, MAX_RANK, Real, TensorMut, TensorRef};
use crate::threads;
use fold::{Columns, Job, Merge, Row, Start, with_fold};

/// `cudnnReduceTensorOp_t`: what becomes of the elements x of a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Σ x.
    Add,
    /// Π x.
    Mul,
    /// The least.
    Min,
    /// The greatest.
    Max,
    /// The greatest |x|.
    Amax,
    /// Σ x divided by how many there are.
    Average,
    /// Σ |x|.
    Norm1,
    /// √(Σ x²).
    Norm2,
    /// Π x over those x that are not 0; 1 if all are.
    MulNoZeros,
}

/// Elements of one output that are accumulated before sums are paired.
const CHUNK: usize = 4096;
/// The same for outputs that lie side by side: rows of them.
const ROWS: usize = 256;
/// About how many elements a task reads.
const TASK: usize = 65_536;

/// y ← reduction of x along each axis where y has size 1 and x more.
///
/// x and y have as many axes, equally large but for the reduced ones. `nan` rules [`Reduction::Min`],
/// [`Reduction::Max`] and [`Reduction::Amax`]; a NaN among the elements of any other reduction makes the
/// result NaN. Where x has size 0 and y 1, sums are 0, products 1, averages NaN, and the least and the
/// greatest of nothing are ∞ and −∞ with [`NanRule::Propagate`], NaN with [`NanRule::Ignore`].
///
/// Source: `cudnnReduceTensor`,
/// <https://docs.nvidia.com/deeplearning/cudnn/backend/latest/api/cudnn-ops-library.html>.
///
/// # Panics
/// If the sizes do not match: a bug of the caller.
pub fn reduce<R: Real>(reduction: Reduction, nan: NanRule, x: TensorRef<'_, R>, y: TensorMut<'_, R>) {
    let axes = Axes::of(&x.layout, &y.layout);
    let outputs = y.layout.elements();
    if outputs == 0 {
        return;
    }
    let order = by_stride(&x.layout, &axes.kept);
    let job = Job {
        reduction,
        nan,
        data: x.data,
        kept: Walk::new(&order, x.layout.dims(), x.layout.strides()),
        reduced: Walk::new(&by_stride(&x.layout, &axes.reduced), x.layout.dims(), x.layout.strides()),
        outputs,
        elements: axes.reduced.iter().map(|&axis| x.layout.dims()[axis]).product(),
    };
    let side_by_side = job.elements == 1 || (outputs > 1 && job.kept.step() < job.reduced.step());
    let partial = if side_by_side { job.columns() } else { job.rows() };
    let mut results = vec![R::ZERO; outputs];
    blocks(&mut results, CHUNK, |block, results| {
        for (index, result) in results.iter_mut().enumerate() {
            *result = R::of(job.finish(&partial, block * CHUNK + index));
        }
    });
    write(&results, &order, y);
}

/// [`reduce`] with the place of each winner; `indices` holds one for each element of y in row-major order.
///
/// An index counts the elements of the set in row-major order of the reduced axes; of equal elements the
/// first wins. With [`NanRule::Propagate`] the first NaN wins; with [`NanRule::Ignore`] a set of nothing but
/// NaN has index 0.
///
/// Source: `cudnnReduceTensor` with `CUDNN_REDUCE_TENSOR_FLATTENED_INDICES`.
///
/// # Panics
/// If the sizes do not match, the reduction has no winner (it is none of `Min`, `Max` and `Amax`), a set is
/// empty, or an index does not fit: bugs of the caller.
pub fn reduce_with_indices<R: Real>(
    reduction: Reduction,
    nan: NanRule,
    x: TensorRef<'_, R>,
    y: TensorMut<'_, R>,
    indices: &mut [u32],
) {
    let axes = Axes::of(&x.layout, &y.layout);
    let (dims, strides) = (x.layout.dims(), x.layout.strides());
    let elements: usize = axes.reduced.iter().map(|&axis| dims[axis]).product();
    let outputs = y.layout.elements();
    let has_winner = matches!(reduction, Reduction::Min | Reduction::Max | Reduction::Amax);
    assert!(has_winner, "{reduction:?} has no winner");
    assert!(indices.len() == outputs, "{} indices of {outputs} outputs", indices.len());
    assert!(u32::try_from(elements).is_ok(), "an index of {elements} elements");
    if outputs == 0 {
        return;
    }
    assert!(elements > 0, "nothing has no winner");
    let (kept, reduced) = (Walk::new(&axes.kept, dims, strides), Walk::new(&axes.reduced, dims, strides));
    let mut winners = vec![(R::ZERO, 0u32); outputs];
    let length = (TASK / elements).max(1);
    blocks(&mut winners, length, |block, winners| {
        for (index, winner) in winners.iter_mut().enumerate() {
            let first = kept.at(block * length + index).run(1).place;
            *winner = find_winner(reduction, nan, &x.data[first..], &reduced, elements);
        }
    });
    let results: Vec<R> = winners.iter().map(|&(value, _)| value).collect();
    for (index, (_, winner)) in indices.iter_mut().zip(winners) {
        *index = winner;
    }
    write(&results, &axes.kept, y);
}

/// The winner of the elements on a walk, and its position.
fn find_winner<R: Real>(
    reduction: Reduction,
    nan: NanRule,
    data: &[R],
    walk: &Walk,
    elements: usize,
) -> (R, u32) {
    let size = |x: R| if reduction == Reduction::Amax { x.abs() } else { x };
    let beats = |x: R, best: R| match nan {
        NanRule::Propagate if best.is_nan() => false,
        NanRule::Propagate if x.is_nan() => true,
        NanRule::Ignore if best.is_nan() => !x.is_nan(),
        _ if reduction == Reduction::Min => x < best,
        _ => x > best,
    };
    let mut best = (size(data[0]), 0);
    let mut position = 0;
    walk.at(0).take(elements, |run| {
        for index in 0..run.length {
            let x = size(data[run.place + index * walk.step()]);
            if beats(x, best.0) {
                best = (x, position);
            }
            position += 1;
        }
    });
    best
}

/// Which axes stay and which are reduced.
struct Axes {
    kept: Vec<usize>,
    reduced: Vec<usize>,
}

impl Axes {
    fn of(x: &Layout, y: &Layout) -> Axes {
        let fits =
            x.rank() == y.rank() && x.dims().iter().zip(y.dims()).all(|(&from, &to)| to == from || to == 1);
        assert!(fits, "{:?} does not reduce to {:?}", x.dims(), y.dims());
        let (kept, reduced) = (0..x.rank()).partition(|&axis| x.dims()[axis] == y.dims()[axis]);
        Axes { kept, reduced }
    }
}

/// Axes, widest stride first.
fn by_stride(layout: &Layout, axes: &[usize]) -> Vec<usize> {
    let mut axes = axes.to_vec();
    axes.sort_by_key(|&axis| std::cmp::Reverse(layout.strides()[axis]));
    axes
}

/// Runs `body(b, block b)` for each block of so many elements, spread over the pool.
fn blocks<T: Send>(data: &mut [T], length: usize, body: impl Fn(usize, &mut [T]) + Send + Sync) {
    each_locked(data.chunks_mut(length), body);
}

/// Runs `body(i, slice i)`, spread over the pool. Each slice is locked once, by the task that fills it.
fn each_locked<'a, T: Send + 'a>(
    slices: impl Iterator<Item = &'a mut [T]>,
    body: impl Fn(usize, &mut [T]) + Send + Sync,
) {
    let slices: Vec<Mutex<&mut [T]>> = slices.map(Mutex::new).collect();
    threads::for_each(slices.len(), |index| body(index, &mut slices[index].lock()));
}

/// Writes results, packed with the axes in this order, to the output.
fn write<R: Real>(results: &[R], order: &[usize], y: TensorMut<'_, R>) {
    let mut strides = [0; MAX_RANK];
    let mut step = 1;
    for &axis in order.iter().rev() {
        strides[axis] = step;
        step *= y.layout.dims()[axis];
    }
    let layout = Layout::new(y.layout.dims(), &strides[..y.layout.rank()]);
    let step = Step { function: Function::Identity, operands: [Operand::Input(0); 3] };
    pointwise(&[step], &[TensorRef::new(results, layout)], &mut [ProgramOutput { step: 0, tensor: y }]);
}

/// Accumulated parts of every output's set.
struct Partial {
    values: Vec<f64>,
    /// How many parts a set has.
    parts: usize,
    /// From part to part of one output.
    part_stride: usize,
    /// From output to output.
    output_stride: usize,
}

impl<R: Real> Job<'_, R> {
    /// Each output's elements lie side by side, or the outputs do not.
    fn rows(&self) -> Partial {
        let parts = self.elements.div_ceil(CHUNK);
        let mut values = vec![0.0; self.outputs * parts];
        let part = |index: usize, value: &mut f64| {
            let (output, start) = (index / parts, index % parts * CHUNK);
            *value = on_widest(Row {
                job: self,
                first: self.kept.at(output).run(1).place,
                start,
                count: CHUNK.min(self.elements - start),
            });
        };
        // Sets and parts are at most a chunk; a task takes as many as make it worth a thread.
        let length = (TASK / self.elements.clamp(1, CHUNK)).max(1);
        blocks(&mut values, length, |block, values| {
            values.iter_mut().enumerate().for_each(|(index, value)| part(block * length + index, value));
        });
        Partial { values, parts, part_stride: 1, output_stride: parts }
    }

    /// The outputs' elements lie side by side.
    fn columns(&self) -> Partial {
        let parts = self.elements.div_ceil(ROWS);
        let mut values = vec![0.0; self.outputs * parts];
        let width = (TASK / self.elements.clamp(1, ROWS)).max(ROWS);
        let across = self.outputs.div_ceil(width);
        let slices = values.chunks_mut(self.outputs).flat_map(|part| part.chunks_mut(width));
        each_locked(slices, |index, sums| {
            let start = index / across * ROWS;
            on_widest(Columns {
                job: self,
                first: index % across * width,
                start,
                count: ROWS.min(self.elements - start),
                sums,
            });
        });
        Partial { values, parts, part_stride: self.outputs, output_stride: 1 }
    }

    /// The result of one output.
    fn finish(&self, partial: &Partial, output: usize) -> f64 {
        let value = |part: usize| partial.values[part * partial.part_stride + output * partial.output_stride];
        let total = self.in_pairs(&value, 0, partial.parts);
        match self.reduction {
            Reduction::Average => total / self.elements as f64,
            Reduction::Norm2 => total.sqrt(),
            _ => total,
        }
    }

    fn in_pairs(&self, value: &impl Fn(usize) -> f64, start: usize, end: usize) -> f64 {
        match end - start {
            0 => with_fold(self.reduction, self.nan, Start),
            1 => value(start),
            count => {
                let middle = start + count / 2;
                let pair = [self.in_pairs(value, start, middle), self.in_pairs(value, middle, end)];
                with_fold(self.reduction, self.nan, Merge(pair))
            }
        }
    }
}
