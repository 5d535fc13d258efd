//! Convolutions: `f32->f32 forward n2 c4 k6 groups2 in5x7 win3x3 pre1x0 post1x2 stride1x2 dil1x1 cross nchw:nhwc:gaps
//! alpha1 beta0 seed42`, in one line: all that a failing test prints and all that running it again takes.

mod text;

use gpucompat_reference::conv::{Problem, backward_data, backward_filter, forward};
use gpucompat_reference::gemm::Expected;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::element::{Element, Number};
use crate::judge::Tolerance;

/// What is computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// y of x and w.
    Forward,
    /// dx of w and dy.
    BackwardData,
    /// dw of x and dy.
    BackwardFilter,
}

impl Direction {
    /// All three, with their words.
    pub const ALL: [(Direction, &'static str); 3] = [
        (Direction::Forward, "forward"),
        (Direction::BackwardData, "bwd_data"),
        (Direction::BackwardFilter, "bwd_filter"),
    ];

    /// The tensor that is written: 0 x, 1 w, 2 y.
    pub fn result(self) -> usize {
        match self {
            Direction::Forward => 2,
            Direction::BackwardData => 0,
            Direction::BackwardFilter => 1,
        }
    }
}

/// How a tensor lies in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrangement {
    /// Packed, the last spatial axis fastest.
    Nchw,
    /// Packed, channels fastest.
    Nhwc,
    /// As `Nchw`, with a gap after every element, row, plane and so on.
    Gaps,
    /// As `Nhwc`, with other channels beside its own.
    Sliced,
}

impl Arrangement {
    /// All, with their words.
    pub const ALL: [(Arrangement, &'static str); 4] = [
        (Arrangement::Nchw, "nchw"),
        (Arrangement::Nhwc, "nhwc"),
        (Arrangement::Gaps, "gaps"),
        (Arrangement::Sliced, "sliced"),
    ];

    /// Elements from one index to the next, an axis.
    pub fn strides(self, dims: &[usize]) -> Vec<usize> {
        let last = dims.len() - 1;
        let order: Vec<usize> = match self {
            Arrangement::Nchw | Arrangement::Gaps => (0..=last).collect(),
            Arrangement::Nhwc | Arrangement::Sliced => [0].into_iter().chain(2..=last).chain([1]).collect(),
        };
        let mut strides = vec![0; dims.len()];
        let mut step = if self == Arrangement::Gaps { 2 } else { 1 };
        for &axis in order.iter().rev() {
            strides[axis] = step;
            step *= dims[axis].max(1);
            match self {
                Arrangement::Gaps => step += 1,
                Arrangement::Sliced if axis == 1 => step += 3,
                _ => {}
            }
        }
        strides
    }
}

/// One convolution. Arrays are per spatial axis, the outermost first; the last `axes` of the three count, the others
/// are neutral.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ConvCase {
    /// The two tensors that are read.
    pub input: Element,
    /// The one that is written.
    pub output: Element,
    /// What is computed.
    pub direction: Direction,
    /// Spatial axes, 1 to 3.
    pub axes: usize,
    /// Images.
    pub n: usize,
    /// Channels of x.
    pub c: usize,
    /// Channels of y.
    pub k: usize,
    /// Groups of channels.
    pub groups: usize,
    /// Spatial sizes of x.
    pub x: [usize; 3],
    /// Spatial sizes of w.
    pub w: [usize; 3],
    /// Zeros before x.
    pub before: [usize; 3],
    /// Zeros after x.
    pub after: [usize; 3],
    /// Stride.
    pub stride: [usize; 3],
    /// Dilation.
    pub dilation: [usize; 3],
    /// Whether w is flipped: CUDNN_CONVOLUTION.
    pub flip: bool,
    /// How x, w and y lie in memory.
    pub lie: [Arrangement; 3],
    /// α.
    pub alpha: f64,
    /// β.
    pub beta: f64,
    /// What the data are made from.
    pub seed: u64,
}

/// The tensors of a case as bytes, and what is expected of the result.
pub struct Data {
    /// x, w, y; poison in the gaps and, if β = 0, everywhere in the result.
    pub tensors: [Vec<u8>; 3],
    /// Each element of the result, by its packed position, and how many terms it has.
    pub expected: Vec<(Expected, usize)>,
}

/// Elements behind a tensor's last one, to see what is written there.
const BEHIND: usize = 5;
/// Products in a case at most, so that the reference is quick.
const MOST_PRODUCTS: usize = 150_000;

impl ConvCase {
    /// A random case.
    pub fn random(input: Element, output: Element, direction: Direction, seed: u64) -> ConvCase {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        loop {
            let case = ConvCase::draw(&mut rng, [input, output], direction, seed);
            if case.products() <= MOST_PRODUCTS {
                return case;
            }
        }
    }

    fn draw(
        rng: &mut ChaCha8Rng,
        [input, output]: [Element; 2],
        direction: Direction,
        seed: u64,
    ) -> ConvCase {
        let axes = [1, 2, 2, 2, 3][rng.random_range(0..5)];
        let spatial = |rng: &mut ChaCha8Rng, neutral: usize, draw: &dyn Fn(&mut ChaCha8Rng) -> usize| {
            [0, 1, 2].map(|axis| if axis < 3 - axes { neutral } else { draw(rng) })
        };
        let groups = [1, 1, 1, 2, 3, 5][rng.random_range(0..6)];
        let depthwise = groups > 1 && rng.random_range(0..3) == 0;
        let channels = |rng: &mut ChaCha8Rng| match rng.random_range(0..12) {
            0 => 17,
            1 => 8,
            2 => rng.random_range(30..70),
            _ => rng.random_range(1..6),
        };
        let (of_group, to_group) =
            if depthwise { (1, rng.random_range(1..3)) } else { (channels(rng), channels(rng)) };
        let pointwise = rng.random_range(0..6) == 0;
        let w = spatial(rng, 1, &|rng| if pointwise { 1 } else { rng.random_range(1..5) });
        let dilation =
            spatial(rng, 1, &|rng| if rng.random_range(0..4) == 0 { rng.random_range(2..4) } else { 1 });
        let stride = spatial(rng, 1, &|rng| if rng.random() { 1 } else { rng.random_range(1..4) });
        let pads = rng.random_range(0..3);
        let pad = |rng: &mut ChaCha8Rng| if pads == 0 { 0 } else { rng.random_range(0..4) };
        let (before, after) = (spatial(rng, 0, &pad), spatial(rng, 0, &pad));
        let after = if pads == 1 { before } else { after };
        let x = spatial(rng, 1, &|rng| rng.random_range(1..10));
        let scalar = |rng: &mut ChaCha8Rng| match rng.random_range(0..8) {
            0 => 0.0,
            1..=3 => 1.0,
            4 => -1.0,
            _ => f64::from(rng.random_range(-8..9)) / 4.0,
        };
        let (alpha, beta) = (scalar(rng), if rng.random() { 0.0 } else { scalar(rng) });
        let one = rng.random_range(0..4);
        // cuDNN takes filters without gaps only.
        let lie = [4, 2, 4].map(|choices| {
            let each = if rng.random_range(0..3) == 0 { rng.random_range(0..4) } else { one };
            Arrangement::ALL[each % choices].0
        });
        let whole = output.is_integer();
        ConvCase {
            input,
            output,
            direction,
            axes,
            n: rng.random_range(1..4),
            c: groups * of_group,
            k: groups * to_group,
            groups,
            x,
            w,
            before,
            after,
            stride,
            dilation,
            flip: rng.random_range(0..4) == 0,
            lie,
            alpha: if whole { 1.0 } else { alpha },
            beta: if whole { 0.0 } else { beta },
            seed,
        }
        .fitting()
    }

    /// The same with as much padding behind as before: what the legacy interface can say.
    #[must_use]
    pub fn symmetric(self) -> ConvCase {
        ConvCase { after: self.before, ..self }.fitting()
    }

    /// The same as a convolution of at least two spatial axes: an axis of size 1 in front.
    #[must_use]
    pub fn at_least_planar(self) -> ConvCase {
        ConvCase { axes: self.axes.max(2), ..self }
    }

    /// The same with x large enough for one window.
    fn fitting(mut self) -> ConvCase {
        for axis in 0..3 {
            let window = (self.w[axis] - 1) * self.dilation[axis] + 1;
            let lacking = window.saturating_sub(self.x[axis] + self.before[axis] + self.after[axis]);
            self.x[axis] += lacking;
        }
        self
    }

    fn products(&self) -> usize {
        let each: usize = self.w.iter().chain(&self.y()).product();
        self.n * self.k * (self.c / self.groups) * each
    }

    /// Spatial sizes of y.
    pub fn y(&self) -> [usize; 3] {
        [0, 1, 2].map(|axis| {
            let window = (self.w[axis] - 1) * self.dilation[axis] + 1;
            (self.x[axis] + self.before[axis] + self.after[axis] - window) / self.stride[axis] + 1
        })
    }

    /// Sizes of a tensor (0 x, 1 w, 2 y).
    pub fn dims(&self, tensor: usize) -> Vec<usize> {
        let (outer, spatial) = match tensor {
            0 => ([self.n, self.c], self.x),
            1 => ([self.k, self.c / self.groups], self.w),
            _ => ([self.n, self.k], self.y()),
        };
        outer.into_iter().chain(self.spatial(spatial)).collect()
    }

    /// The spatial axes that count.
    pub fn spatial(&self, values: [usize; 3]) -> impl Iterator<Item = usize> + use<> {
        values.into_iter().skip(3 - self.axes)
    }

    /// Strides of a tensor.
    pub fn strides(&self, tensor: usize) -> Vec<usize> {
        self.lie[tensor].strides(&self.dims(tensor))
    }

    /// Type of a tensor.
    pub fn element(&self, tensor: usize) -> Element {
        if tensor == self.direction.result() { self.output } else { self.input }
    }

    /// The place of each element, by its packed position.
    fn places(&self, tensor: usize) -> Vec<usize> {
        let (dims, strides) = (self.dims(tensor), self.strides(tensor));
        let mut places = vec![0];
        for (&size, &stride) in dims.iter().zip(&strides) {
            places =
                places.iter().flat_map(|&place| (0..size).map(move |index| place + index * stride)).collect();
        }
        places
    }

    /// The problem as the reference takes it.
    pub fn problem(&self) -> Problem {
        Problem {
            n: self.n,
            c: self.c,
            k: self.k,
            groups: self.groups,
            x: self.x,
            w: self.w,
            y: self.y(),
            pad: self.before,
            stride: self.stride,
            dilation: self.dilation,
            flip: self.flip,
        }
    }

    /// Tensors and expected result.
    pub fn data(&self) -> Data {
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed ^ 0x5eed);
        // A filter that is not finite makes NaN of what reaches the padding, and so does such a dy for dw; everything
        // else must propagate exactly.
        let wild = self.seed % 16 == 7 && !self.input.is_integer() && self.alpha != 0.0;
        let wild_tensor = if self.direction == Direction::BackwardData { 2 } else { 0 };
        let tensors = [0, 1, 2].map(|tensor| {
            let element = self.element(tensor);
            let places = self.places(tensor);
            let extent = places.iter().max().map_or(0, |last| last + 1) + BEHIND;
            let mut bytes = vec![0xff; extent * element.bytes()];
            if tensor == self.direction.result() && self.beta == 0.0 {
                return bytes;
            }
            for place in places {
                let mut value = match element {
                    Element::I8 => f64::from(rng.random_range(-9..10)),
                    _ => rng.random_range(-1.0..1.0),
                };
                if wild && tensor == wild_tensor && rng.random_range(0..30) == 0 {
                    value = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY][rng.random_range(0..3)];
                }
                let mut one = Vec::new();
                element.encode(Number::new(value, 0.0), &mut one);
                bytes[place * element.bytes()..][..element.bytes()].copy_from_slice(&one);
            }
            bytes
        });
        let values = |tensor: usize| -> Vec<f64> {
            let element = self.element(tensor);
            self.places(tensor).iter().map(|&place| element.decode(&tensors[tensor], place).re).collect()
        };
        let problem = self.problem();
        let sums = match self.direction {
            Direction::Forward => forward(&problem, &values(0), &values(1)),
            Direction::BackwardData => backward_data(&problem, &values(1), &values(2)),
            Direction::BackwardFilter => backward_filter(&problem, &values(0), &values(2)),
        };
        let old = if self.beta == 0.0 { Vec::new() } else { values(self.direction.result()) };
        let blended = sums.iter().enumerate().map(|(index, sum)| {
            let old = old.get(index).map_or(0.0, |old| self.beta * old);
            let mut value = self.alpha * sum.value + old;
            if self.output == Element::I8 {
                value = value.clamp(-128.0, 127.0);
            }
            let magnitude = self.alpha.abs() * sum.magnitude + old.abs();
            (Expected { value: Number::new(value, 0.0), magnitude }, sum.terms)
        });
        let expected = blended.collect();
        Data { tensors, expected }
    }

    /// Names the worst element of the result, by its error over the allowed one, and the line that repeats the case;
    /// or an element that was written where nothing should be.
    pub fn check(&self, before: &[u8], after: &[u8], expected: &[(Expected, usize)]) -> Result<(), String> {
        let element = self.output;
        let accumulator = if self.input == Element::F64 { Element::F64 } else { Element::F32 };
        let places = self.places(self.direction.result());
        let mut own = vec![false; before.len() / element.bytes()];
        let mut worst: Option<(f64, String)> = None;
        for (position, (&place, &(want, terms))) in places.iter().zip(expected).enumerate() {
            own[place] = true;
            let got = element.decode(after, place);
            let tolerance = Tolerance { output: element, accumulator, k: terms };
            if tolerance.accepts(got, want) {
                continue;
            }
            let allowed = tolerance.of(want);
            let excess = (got - want.value).norm() / allowed;
            let excess = if excess.is_nan() { f64::INFINITY } else { excess };
            if worst.as_ref().is_none_or(|(most, _)| excess > *most) {
                let want = want.value.re;
                let message =
                    format!("{self}: element {position} is {}, expected {want} ± {allowed:e}", got.re);
                worst = Some((excess, message));
            }
        }
        let bytes = element.bytes();
        for (place, _) in own.iter().enumerate().filter(|(_, own)| !**own) {
            if before[place * bytes..][..bytes] != after[place * bytes..][..bytes] {
                return Err(format!("{self}: the gap at place {place} was written"));
            }
        }
        worst.map_or(Ok(()), |(_, message)| Err(message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_notation_round_trips() {
        for seed in 0..300 {
            let direction = Direction::ALL[seed as usize % 3].0;
            let case = ConvCase::random(Element::F32, Element::F32, direction, seed);
            assert_eq!(case.to_string().parse(), Ok(case));
            let case = case.symmetric();
            assert_eq!(case.to_string().parse(), Ok(case));
        }
    }

    #[test]
    fn random_cases_have_every_property() {
        let cases: Vec<ConvCase> = (0..500)
            .map(|seed| ConvCase::random(Element::F32, Element::F32, Direction::Forward, seed))
            .collect();
        for wanted in [
            |case: &ConvCase| case.groups > 1 && case.c == case.groups,
            |case: &ConvCase| case.axes == 3 && case.dilation[2] > 1,
            |case: &ConvCase| case.before != case.after && case.stride[2] > 1,
            |case: &ConvCase| case.flip && case.lie == [Arrangement::Nhwc; 3],
            |case: &ConvCase| case.lie[2] == Arrangement::Gaps && case.beta != 0.0,
            |case: &ConvCase| case.alpha == 0.0,
            |case: &ConvCase| case.seed % 16 == 7 && case.alpha != 0.0 && case.beta == 0.0,
        ] {
            assert!(cases.iter().any(wanted));
        }
    }

    #[test]
    fn a_wrong_element_and_a_touched_gap_are_found() {
        let text = "f32->f32 forward n1 c1 k1 groups1 in3 win2 pre0 post0 stride1 dil1 cross nchw:nchw:gaps \
                    alpha1 beta0 seed1";
        let case: ConvCase = text.parse().unwrap();
        let data = case.data();
        let (before, mut right) = (&data.tensors[2], data.tensors[2].clone());
        for (place, (want, _)) in case.places(2).into_iter().zip(&data.expected) {
            right[place * 4..place * 4 + 4].copy_from_slice(&(want.value.re as f32).to_le_bytes());
        }
        assert_eq!(case.check(before, &right, &data.expected), Ok(()));
        assert!(case.check(before, before, &data.expected).is_err(), "an unwritten result");
        let mut touched = right.clone();
        touched[4] = 0;
        assert!(case.check(before, &touched, &data.expected).unwrap_err().contains("gap"));
        right[3] ^= 0x80;
        assert!(case.check(before, &right, &data.expected).unwrap_err().contains("element 0"));
    }
}
