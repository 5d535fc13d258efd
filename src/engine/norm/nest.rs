//! The loops over several tensors of one shape at once, merged into as few and as long ones as possible.

use std::cmp::Reverse;

use crate::tensor::{Layout, MAX_RANK};
use crate::threads;

/// The most elements of a piece where nothing else is asked for: four buffers of them fit the first-level cache.
pub const PIECE: usize = 1024;
/// How many elements are worth a task of their own.
pub const TASK: usize = 32 * 1024;

/// One loop.
#[derive(Clone, Copy, Debug)]
pub struct Axis<const K: usize> {
    /// How often it runs.
    pub size: usize,
    /// How far each operand moves; 0 where the operand repeats.
    pub strides: [usize; K],
}

/// Nested loops over the places of K operands, the innermost cut into pieces.
#[derive(Debug)]
pub struct Nest<const K: usize> {
    /// The loops around a piece.
    pub outer: Loops<K>,
    /// The innermost loop, whole.
    pub inner: Axis<K>,
    /// The most elements of a piece.
    most: usize,
}

/// Loops around a piece, outermost first.
#[derive(Debug)]
pub struct Loops<const K: usize> {
    axes: Vec<Axis<K>>,
    /// Whether the last axis goes over the pieces of a line.
    cuts_lines: bool,
}

/// Where a piece lies.
#[derive(Clone, Copy, Debug)]
pub struct Piece<const K: usize> {
    /// The place of its first element in each operand.
    pub places: [usize; K],
    /// Which piece of the line it is.
    cut: usize,
}

/// A piece of the operands.
#[derive(Clone, Copy, Debug)]
pub struct At<const K: usize> {
    /// The place of its first element in each operand.
    pub places: [usize; K],
    /// From element to element.
    pub strides: [usize; K],
}

impl<const K: usize> Nest<K> {
    /// The loops over all elements of a shape. Each operand has that shape, or size 1 along some axes,
    /// where its element repeats. The loops go through the first operand in the order of its memory.
    pub fn new(dims: &[usize], operands: [&Layout; K]) -> Nest<K> {
        Nest::with_pieces(PIECE, dims, operands)
    }

    /// The same, with pieces of at most this many elements.
    pub fn with_pieces(most: usize, dims: &[usize], operands: [&Layout; K]) -> Nest<K> {
        let stride = |layout: &Layout, axis: usize| match layout.dims()[axis] {
            1 => 0,
            _ => layout.strides()[axis],
        };
        let axis =
            |axis: usize| Axis { size: dims[axis], strides: operands.map(|layout| stride(layout, axis)) };
        let mut axes: Vec<_> = (0..dims.len()).filter(|&axis| dims[axis] != 1).map(axis).collect();
        axes.sort_by_key(|axis| Reverse(axis.strides[0]));
        let mut merged: Vec<Axis<K>> = Vec::with_capacity(axes.len() + 1);
        for axis in axes {
            match merged.last_mut() {
                Some(outer) if (0..K).all(|k| outer.strides[k] == axis.size * axis.strides[k]) => {
                    *outer = Axis { size: outer.size * axis.size, ..axis };
                }
                _ => merged.push(axis),
            }
        }
        let inner = merged.pop().unwrap_or(Axis { size: 1, strides: [0; K] });
        let cuts =
            Axis { size: inner.size.div_ceil(most), strides: inner.strides.map(|stride| stride * most) };
        merged.push(cuts);
        Nest { outer: Loops { axes: merged, cuts_lines: true }, inner, most }
    }

    /// How many elements a piece has; the last of a line may have fewer.
    pub fn piece_size(&self) -> usize {
        self.inner.size.min(self.most)
    }

    /// How many elements this piece has.
    pub fn length(&self, piece: Piece<K>) -> usize {
        (self.inner.size - piece.cut * self.most).min(self.most)
    }

    /// Where this piece's operands lie.
    pub fn at(&self, piece: Piece<K>) -> At<K> {
        At { places: piece.places, strides: self.inner.strides }
    }

    /// The loops that move this operand, and those that do not.
    pub fn split(&self, operand: usize) -> (Loops<K>, Loops<K>) {
        let moves = |axis: &&Axis<K>| axis.strides[operand] != 0;
        let (kept, rest): (Vec<_>, Vec<_>) = self.outer.axes.iter().partition(moves);
        let cut_is_kept = self.inner.strides[operand] != 0;
        (Loops { axes: kept, cuts_lines: cut_is_kept }, Loops { axes: rest, cuts_lines: !cut_is_kept })
    }

    /// Runs `body` on every piece with its length, spread over the threads; each task has a state of its own.
    /// An element of a piece is as much work as `weight` elements.
    pub fn for_each<State>(
        &self,
        weight: usize,
        state: impl Fn() -> State + Send + Sync,
        body: impl Fn(&mut State, At<K>, usize) + Send + Sync,
    ) {
        let count = self.outer.count();
        let bundle = (TASK / (self.piece_size() * weight).max(1)).max(1);
        threads::for_each(count.div_ceil(bundle), |task| {
            let mut state = state();
            let range = task * bundle..((task + 1) * bundle).min(count);
            self.outer.walk(range, |piece| body(&mut state, self.at(piece), self.length(piece)));
        });
    }
}

impl<const K: usize> Loops<K> {
    /// How many pieces.
    pub fn count(&self) -> usize {
        self.axes.iter().map(|axis| axis.size).product()
    }

    /// Runs `body` on the pieces with these numbers, in order.
    pub fn walk(&self, range: std::ops::Range<usize>, mut body: impl FnMut(Piece<K>)) {
        let mut index = [0; MAX_RANK + 1];
        let mut piece = Piece { places: [0; K], cut: 0 };
        let mut rest = range.start;
        for (at, axis) in self.axes.iter().enumerate().rev() {
            index[at] = rest % axis.size.max(1);
            rest /= axis.size.max(1);
            (0..K).for_each(|k| piece.places[k] += index[at] * axis.strides[k]);
        }
        for _ in range {
            piece.cut = if self.cuts_lines { index[self.axes.len() - 1] } else { 0 };
            body(piece);
            for (at, axis) in self.axes.iter().enumerate().rev() {
                index[at] += 1;
                (0..K).for_each(|k| piece.places[k] += axis.strides[k]);
                if index[at] < axis.size {
                    break;
                }
                (0..K).for_each(|k| piece.places[k] -= axis.size * axis.strides[k]);
                index[at] = 0;
            }
        }
    }
}

impl<const K: usize> Piece<K> {
    /// This piece moved by another one's places.
    pub fn plus(self, other: Piece<K>) -> Piece<K> {
        let places = std::array::from_fn(|k| self.places[k] + other.places[k]);
        Piece { places, cut: self.cut + other.cut }
    }
}

/// A layout without gaps for these sizes, its axes in the order of `like`'s memory.
pub fn packed_like(dims: &[usize], like: &Layout) -> Layout {
    let mut order: Vec<usize> = (0..dims.len()).collect();
    order.sort_by_key(|&axis| Reverse(like.strides()[axis]));
    let mut strides = [0; MAX_RANK];
    let mut step = 1;
    for &axis in order.iter().rev() {
        strides[axis] = step;
        step *= dims[axis].max(1);
    }
    Layout::new(dims, &strides[..dims.len()])
}
