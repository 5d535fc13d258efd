//! Dropout: elements set to 0 at random, the others scaled so that the mean stays.

#![allow(unsafe_code)]
// The bodies must be inlined into the functions that switch instruction sets on, or they run without.
#![allow(clippy::inline_always)]

use parking_lot::Mutex;

use crate::gemm::block_raw::SharedOutput;
use crate::gemm::vector_raw::Vector;
use crate::philox::{GROUP, Philox};
use crate::rnn::widest_raw::{Job, on_widest};
use crate::tensor::{Layout, Real, TensorMut, TensorRef};
use crate::threads;

/// Elements that one thread handles at a time.
const CHUNK: usize = 1 << 14;

/// Where the random numbers of a dropout start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DropoutSeed {
    /// Seed of the [`Philox`] generator.
    pub seed: u64,
    /// Number of the first element's random number.
    pub offset: u64,
}

/// `y ← x/(1 − probability)` where an element is kept and 0 where it is dropped, whatever x is there:
/// `cudnnDropoutForward`.
///
/// Element i in row-major order is dropped if random number `offset + i` is below `probability·2³²`.
/// `reserve[i]` becomes 1 where it is kept, else 0.
///
/// # Panics
/// If x and y differ in size, the reserve has another number of elements, or the probability is none.
pub fn dropout_forward<R: Real>(
    probability: f64,
    seed: DropoutSeed,
    x: TensorRef<'_, R>,
    y: TensorMut<'_, R>,
    reserve: &mut [u8],
) {
    check(probability, &x.layout, &y.layout, reserve.len());
    let philox = Philox::new(seed.seed);
    let masks = reserve.chunks_mut(CHUNK).map(Mutex::new).collect::<Vec<_>>();
    each_chunk(x, y, |first, values| {
        let mut mask = masks[first / CHUNK].lock();
        let first = seed.offset.wrapping_add(first as u64);
        on_widest(DropRun { philox, rule: Rule::new(probability), first, values, mask: Some(&mut mask) });
    });
}

/// `dx ← dy/(1 − probability)` where the reserve says kept, else 0: `cudnnDropoutBackward`.
///
/// # Panics
/// As [`dropout_forward`].
pub fn dropout_backward<R: Real>(
    probability: f64,
    dy: TensorRef<'_, R>,
    dx: TensorMut<'_, R>,
    reserve: &[u8],
) {
    check(probability, &dy.layout, &dx.layout, reserve.len());
    let scale = R::of(Rule::new(probability).scale);
    each_chunk(dy, dx, |first, values| {
        let mask = &reserve[first..first + values.len()];
        on_widest(MaskRun { scale, values, mask });
    });
}

/// Drops elements of a run, the first of which has random number `first`, and scales the others.
pub(crate) fn drop_run<R: Real>(philox: Philox, probability: f64, first: u64, values: &mut [R]) {
    on_widest(DropRun { philox, rule: Rule::new(probability), first, values, mask: None });
}

fn check(probability: f64, x: &Layout, y: &Layout, reserve: usize) {
    assert!((0.0..=1.0).contains(&probability), "a probability of dropping, not {probability}");
    assert_eq!(x.dims(), y.dims(), "input and output are equally large");
    assert_eq!(reserve, x.elements(), "the reserve has one byte for each element");
}

/// Which random numbers keep an element, and the factor of those kept.
#[derive(Clone, Copy)]
struct Rule {
    /// Numbers from here on keep.
    least_kept: u64,
    scale: f64,
}

impl Rule {
    fn new(probability: f64) -> Rule {
        Rule { least_kept: (probability * 4_294_967_296.0).ceil() as u64, scale: 1.0 / (1.0 - probability) }
    }
}

struct DropRun<'a, R> {
    philox: Philox,
    rule: Rule,
    first: u64,
    values: &'a mut [R],
    mask: Option<&'a mut [u8]>,
}

impl<R: Real> Job<R> for DropRun<'_, R> {
    #[inline(always)]
    unsafe fn run<V: Vector<R>>(self) {
        let DropRun { philox, rule, first, values, mask } = self;
        let scale = R::of(rule.scale);
        let Ok(least_kept) = u32::try_from(rule.least_kept) else {
            values.fill(R::ZERO);
            return mask.into_iter().for_each(|mask| mask.fill(0));
        };
        let mut nothing = [0; GROUP];
        let (mut group, mut skipped) = (first / GROUP as u64, (first % GROUP as u64) as usize);
        let (mut rest, mut mask) = (values, mask);
        while !rest.is_empty() {
            let numbers = philox.group(group);
            let count = (GROUP - skipped).min(rest.len());
            let (values, others) = rest.split_at_mut(count);
            rest = others;
            let marks = match mask.take() {
                Some(all) => {
                    let (marks, others) = all.split_at_mut(count);
                    mask = Some(others);
                    marks
                }
                None => &mut nothing[..count],
            };
            for ((value, mark), &number) in values.iter_mut().zip(marks).zip(&numbers[skipped..]) {
                let kept = number >= least_kept;
                let scaled = *value * scale;
                *value = if kept { scaled } else { R::ZERO };
                *mark = u8::from(kept);
            }
            (group, skipped) = (group.wrapping_add(1), 0);
        }
    }
}

/// Elements scaled where the mask says kept, else 0.
struct MaskRun<'a, R> {
    scale: R,
    values: &'a mut [R],
    mask: &'a [u8],
}

impl<R: Real> Job<R> for MaskRun<'_, R> {
    #[inline(always)]
    unsafe fn run<V: Vector<R>>(self) {
        for (value, &kept) in self.values.iter_mut().zip(self.mask) {
            // Computed in either case, so that there is no branch to mispredict.
            let scaled = *value * self.scale;
            *value = if kept == 0 { R::ZERO } else { scaled };
        }
    }
}

/// Gives `change` each chunk of elements, in row-major order, and writes what it makes of them. It gets
/// the position of the first element, a multiple of [`CHUNK`].
fn each_chunk<R: Real>(
    x: TensorRef<'_, R>,
    y: TensorMut<'_, R>,
    change: impl Fn(usize, &mut [R]) + Send + Sync,
) {
    let (x_layout, y_layout) = (x.layout, y.layout);
    let elements = x_layout.elements();
    let packed = x_layout.is_packed() && y_layout.is_packed();
    // Elements that follow each other at one stride.
    let last = x_layout.rank().saturating_sub(1);
    let run = if packed { elements } else { x_layout.dims()[last] };
    let stride = |layout: &Layout| if packed { 1 } else { layout.strides()[last] };
    let (x_stride, y_stride) = (stride(&x_layout), stride(&y_layout));
    let runs = |start: usize, end: usize| {
        let begin = move |position: &usize| {
            let next = (position / run + 1) * run;
            (next < end).then_some(next)
        };
        std::iter::successors((start < end).then_some(start), begin)
            .map(move |first| (first, ((first / run + 1) * run).min(end) - first))
    };
    let output = SharedOutput::new(y.data);
    threads::for_each(elements.div_ceil(CHUNK), |index| {
        let (start, end) = (index * CHUNK, elements.min((index + 1) * CHUNK));
        let mut values = vec![R::ZERO; end - start];
        for (first, count) in runs(start, end) {
            let target = &mut values[first - start..first - start + count];
            let place = x_layout.place(&x_layout.index_of(first));
            if x_stride == 1 {
                target.copy_from_slice(&x.data[place..place + count]);
            } else {
                for (position, target) in target.iter_mut().enumerate() {
                    *target = x.data[place + position * x_stride];
                }
            }
        }
        change(start, &mut values);
        for (first, count) in runs(start, end) {
            let source = &values[first - start..first - start + count];
            let place = y_layout.place(&y_layout.index_of(first));
            if y_stride == 1 {
                // SAFETY: tasks have elements of their own; the last one is asserted to be inside y, so all
                // are.
                unsafe {
                    let last = output.place(place + count - 1);
                    last.sub(count - 1).copy_from_nonoverlapping(source.as_ptr(), count);
                }
                continue;
            }
            for (position, &element) in source.iter().enumerate() {
                // SAFETY: tasks have elements of their own, and no two elements of y share a place, as
                // `TensorMut` asserts.
                unsafe { output.place(place + position * y_stride).write(element) };
            }
        }
    });
}
