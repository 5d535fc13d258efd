//! Random tensors for tests: fresh every time, in every layout, NaN wherever nothing may be read.

use gpucompat_engine::{Layout, Real, TensorRef};
use gpucompat_reference::pointwise::Expected;

/// Random numbers, seeded by the clock; a test that fails says the seed.
pub struct Random {
    seed: u64,
    state: u64,
}

impl Random {
    /// Seeded by `GPUCOMPAT_TEST_SEED`, else by the clock.
    pub fn new() -> Random {
        let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_nanos();
        let seed = std::env::var("GPUCOMPAT_TEST_SEED").map_or(clock as u64, |seed| seed.parse().unwrap());
        Random { seed, state: seed }
    }

    pub fn bits(&mut self) -> u64 {
        // splitmix64
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.state;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        bits ^ (bits >> 31)
    }

    pub fn below(&mut self, bound: usize) -> usize {
        (self.bits() % bound as u64) as usize
    }

    /// Between −1 and 1.
    pub fn number(&mut self) -> f64 {
        self.bits() as f64 / 2f64.powi(63) - 1.0
    }

    /// Any layout of these sizes: axes in any order, with or without gaps.
    pub fn layout(&mut self, dims: &[usize]) -> Layout {
        let mut axes: Vec<usize> = (0..dims.len()).collect();
        for left in (1..axes.len()).rev() {
            axes.swap(left, self.below(left + 1));
        }
        if self.below(3) == 0 {
            axes.sort_unstable();
        }
        let gaps = self.below(2) == 0;
        let mut strides = vec![0; dims.len()];
        let mut step = if gaps { 1 + self.below(2) } else { 1 };
        for &axis in axes.iter().rev() {
            strides[axis] = step;
            step = step * dims[axis].max(1) + if gaps { self.below(3) } else { 0 };
        }
        Layout::new(dims, &strides)
    }
}

impl Drop for Random {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("GPUCOMPAT_TEST_SEED={}", self.seed);
        }
    }
}

/// A tensor that owns its elements.
pub struct Tensor<R> {
    pub data: Vec<R>,
    pub layout: Layout,
}

impl<R: Real> Tensor<R> {
    /// NaN everywhere.
    pub fn poisoned(layout: Layout) -> Tensor<R> {
        Tensor { data: vec![R::nan(); layout.extent() + 3], layout }
    }

    /// Elements by `value`, NaN in the gaps.
    pub fn filled(layout: Layout, mut value: impl FnMut() -> f64) -> Tensor<R> {
        let mut tensor = Tensor::poisoned(layout);
        for position in 0..layout.elements() {
            tensor.data[layout.place(&layout.index_of(position)[..layout.rank()])] = R::of(value());
        }
        tensor
    }

    pub fn as_ref(&self) -> TensorRef<'_, R> {
        TensorRef::new(&self.data, self.layout)
    }

    /// The element at an index.
    pub fn get(&self, index: &[usize]) -> f64 {
        self.data[self.layout.place(index)].to_double()
    }

    /// Whether the poison between the elements is still there.
    pub fn gaps_are_untouched(&self) -> bool {
        let mut is_element = vec![false; self.data.len()];
        for position in 0..self.layout.elements() {
            is_element[self.layout.place(&self.layout.index_of(position)[..self.layout.rank()])] = true;
        }
        self.data.iter().zip(is_element).all(|(value, is_element)| is_element || value.is_nan())
    }
}

/// Half the distance from 1 to the next number.
fn roundoff<R: Real>() -> f64 {
    R::epsilon().to_double() / 2.0
}

/// Whether a result is what was expected, up to so many roundoffs of the magnitude or of the least normal
/// number.
pub fn agrees<R: Real>(result: R, expected: Expected, roundoffs: f64) -> bool {
    let (result, value) = (result.to_double(), expected.value);
    if value.is_nan() {
        return result.is_nan();
    }
    let largest = R::max_value().to_double();
    if value.abs() > largest * (1.0 - 4.0 * roundoff::<R>()) {
        // Infinite, or so large that the type may not hold it.
        return result == value || (result.abs() >= largest * 0.999 && result.signum() == value.signum());
    }
    let least = R::min_positive_value().to_double();
    (result - value).abs() <= roundoffs * roundoff::<R>() * expected.magnitude.max(least)
}
