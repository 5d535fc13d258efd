//! One operand's way through its elements, in the order in which the output is walked.
//!
//! All operands of a program are walked in the same order, by the output's strides, so a position, the
//! number of elements before, names the same element for each. Neighbouring axes are merged for each
//! operand by itself: a packed tensor is one run whatever is broadcast beside it.

use crate::tensor::{Layout, MAX_RANK};

/// The axes of an output, widest stride first: walked so, its places ascend.
pub fn order(output: &Layout) -> Vec<usize> {
    let mut axes: Vec<usize> = (0..output.rank()).collect();
    axes.sort_by_key(|&axis| std::cmp::Reverse(output.strides()[axis]));
    axes
}

/// Merged axes of an operand, outermost first; at least one.
#[derive(Clone, Debug)]
pub struct Walk {
    rank: usize,
    sizes: [usize; MAX_RANK],
    strides: [usize; MAX_RANK],
}

impl Walk {
    /// The axes in `order`, with the output's sizes and the operand's strides (0: broadcast).
    pub fn new(order: &[usize], sizes: &[usize], strides: &[usize]) -> Walk {
        let mut walk = Walk { rank: 1, sizes: [1; MAX_RANK], strides: [0; MAX_RANK] };
        for &axis in order.iter().filter(|&&axis| sizes[axis] != 1) {
            let (size, stride) = (sizes[axis], strides[axis]);
            let last = walk.rank - 1;
            if walk.sizes[last] == 1 || walk.strides[last] == stride * size {
                walk.sizes[last] *= size;
                walk.strides[last] = stride;
            } else {
                (walk.sizes[walk.rank], walk.strides[walk.rank]) = (size, stride);
                walk.rank += 1;
            }
        }
        walk
    }

    /// The walk of a tensor broadcast to these sizes.
    pub fn broadcast(order: &[usize], sizes: &[usize], tensor: &Layout) -> Walk {
        let mut strides = [0; MAX_RANK];
        for (axis, stride) in strides[..sizes.len()].iter_mut().enumerate() {
            if tensor.dims()[axis] != 1 {
                *stride = tensor.strides()[axis];
            }
        }
        Walk::new(order, sizes, &strides)
    }

    /// Elements from place to place along the innermost axis.
    pub fn step(&self) -> usize {
        self.strides[self.rank - 1]
    }

    /// Whether every run along the innermost axis is the same.
    pub fn repeats(&self) -> bool {
        self.strides[..self.rank - 1].iter().all(|&stride| stride == 0)
    }

    /// The cursor at a position.
    pub fn at(&self, mut position: usize) -> Cursor<'_> {
        let mut cursor = Cursor { walk: self, index: [0; MAX_RANK], place: 0 };
        for axis in (0..self.rank).rev() {
            cursor.index[axis] = position % self.sizes[axis];
            position /= self.sizes[axis];
            cursor.place += cursor.index[axis] * self.strides[axis];
        }
        cursor
    }
}

/// A position on a walk.
#[derive(Clone, Debug)]
pub struct Cursor<'a> {
    walk: &'a Walk,
    index: [usize; MAX_RANK],
    place: usize,
}

/// Elements that follow each other along the innermost axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// Where the first lies.
    pub place: usize,
    /// How many.
    pub length: usize,
}

/// Whole runs that follow each other, and whose elements lie closer to their like in the next run than to
/// their neighbours: a part of a transposition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plane {
    /// Where the first element lies.
    pub place: usize,
    /// Elements of a run.
    pub width: usize,
    /// How many runs.
    pub height: usize,
    /// From run to run.
    pub row_step: usize,
}

impl Cursor<'_> {
    /// The plane that starts here, of at most so many elements.
    pub fn plane(&self, most: usize) -> Option<Plane> {
        let Walk { rank, sizes, strides } = self.walk;
        let inner = rank - 1;
        if inner == 0 || self.index[inner] > 0 || !(1..strides[inner]).contains(&strides[inner - 1]) {
            return None;
        }
        let (width, row_step) = (sizes[inner], strides[inner - 1]);
        let height = (most / width).min(sizes[inner - 1] - self.index[inner - 1]);
        (height > 1).then_some(Plane { place: self.place, width, height, row_step })
    }

    /// Elements before this one along the innermost axis.
    pub fn inner(&self) -> usize {
        self.index[self.walk.rank - 1]
    }

    /// The run that starts here, of at most so many elements.
    pub fn run(&self, most: usize) -> Run {
        let left = self.walk.sizes[self.walk.rank - 1] - self.inner();
        Run { place: self.place, length: left.min(most) }
    }

    /// Goes on by no more elements than the run from here has.
    pub fn advance(&mut self, count: usize) {
        let mut axis = self.walk.rank - 1;
        self.index[axis] += count;
        self.place += count * self.walk.strides[axis];
        while self.index[axis] == self.walk.sizes[axis] && axis > 0 {
            self.place -= self.index[axis] * self.walk.strides[axis];
            self.index[axis] = 0;
            axis -= 1;
            self.index[axis] += 1;
            self.place += self.walk.strides[axis];
        }
    }

    /// Takes the next `count` elements as runs.
    pub fn take(&mut self, count: usize, mut visit: impl FnMut(Run)) {
        let mut left = count;
        while left > 0 {
            let run = self.run(left);
            visit(run);
            self.advance(run.length);
            left -= run.length;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn places(walk: &Walk, from: usize, count: usize) -> Vec<usize> {
        let mut places = Vec::new();
        walk.at(from).take(count, |run| {
            places.extend((0..run.length).map(|index| run.place + index * walk.step()));
        });
        places
    }

    #[test]
    fn packed_axes_are_one_run_in_any_order() {
        let channels_last = Layout::new(&[2, 3, 4, 5], &[60, 1, 15, 3]);
        let order = order(&channels_last);
        assert_eq!(order, [0, 2, 3, 1]);
        let walk = Walk::broadcast(&order, channels_last.dims(), &channels_last);
        assert_eq!(walk.at(0).run(1000), Run { place: 0, length: 120 });
    }

    #[test]
    fn every_position_leads_to_its_place() {
        let layout = Layout::new(&[2, 3, 4], &[40, 12, 2]);
        let walk = Walk::broadcast(&order(&layout), layout.dims(), &layout);
        let expected: Vec<usize> =
            (0..24).map(|position| layout.place(&layout.index_of(position)[..3])).collect();
        assert_eq!(places(&walk, 0, 24), expected);
        assert_eq!(places(&walk, 7, 11), expected[7..18]);
    }

    #[test]
    fn a_transposition_goes_by_planes_of_whole_runs() {
        // Channels last, read from channels first.
        let walk = Walk::broadcast(&[0, 2, 1], &[2, 3, 4], &Layout::packed(&[2, 3, 4]));
        let plane = |height, place| Plane { place, width: 3, height, row_step: 1 };
        assert_eq!(walk.at(0).plane(100), Some(plane(4, 0)));
        assert_eq!(walk.at(15).plane(8), Some(plane(2, 13)));
        assert_eq!((walk.at(15).plane(5), walk.at(1).plane(100)), (None, None));
        // What is broadcast is no transposition.
        assert_eq!(Walk::broadcast(&[0, 1], &[9, 9], &Layout::packed(&[1, 9])).at(0).plane(81), None);
    }

    #[test]
    fn broadcast_axes_stand_still() {
        let walk = Walk::broadcast(&[0, 1, 2], &[2, 3, 2], &Layout::packed(&[1, 3, 1]));
        assert_eq!(places(&walk, 0, 12), [0, 0, 1, 1, 2, 2, 0, 0, 1, 1, 2, 2]);
        assert!(!walk.repeats());
        assert!(Walk::broadcast(&[0, 1, 2], &[2, 3, 2], &Layout::packed(&[1, 1, 2])).repeats());
    }
}
