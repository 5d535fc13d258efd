//! Random numbers, and tensors of three axes in every arrangement.

use gpucompat_engine::{Layout, Real, TensorMut, TensorRef};

/// Random numbers, with the seed they began with.
pub struct Rng {
    pub seed: u64,
    state: u64,
}

impl Rng {
    pub fn with_seed(seed: u64) -> Rng {
        Rng { seed, state: seed }
    }

    pub fn from_clock() -> Rng {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
        Rng::with_seed(now.as_nanos() as u64)
    }

    pub fn next(&mut self) -> u64 {
        // SplitMix64.
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    /// Between −1 and 1.
    pub fn number(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    pub fn numbers(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.number()).collect()
    }

    pub fn between(&mut self, least: usize, most: usize) -> usize {
        least + (self.next() % (most - least + 1) as u64) as usize
    }
}

/// How operands lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrangement {
    /// As the axes say, no gaps; our own places for weights.
    Packed,
    /// Sequence by sequence, with gaps; weights all over the place.
    Scattered,
    /// The last axis outermost, with gaps.
    Reversed,
}

impl Arrangement {
    pub fn random(rng: &mut Rng) -> Arrangement {
        [Arrangement::Packed, Arrangement::Scattered, Arrangement::Reversed][rng.between(0, 2)]
    }

    fn layout(self, dims: [usize; 3]) -> Layout {
        let [a, b, c] = dims.map(|size| size.max(1));
        match self {
            Arrangement::Packed => Layout::packed(&dims),
            Arrangement::Scattered => Layout::new(&dims, &[c + 1, a * (c + 1) + 2, 1]),
            Arrangement::Reversed => Layout::new(&dims, &[2, 2 * a, 2 * a * b + 3]),
        }
    }
}

/// A tensor with NaN in its gaps.
pub struct Tensor<R> {
    pub data: Vec<R>,
    pub layout: Layout,
}

impl<R: Real> Tensor<R> {
    pub fn filled(dims: [usize; 3], arrangement: Arrangement, values: &[f64]) -> Tensor<R> {
        let mut tensor = Tensor::poisoned(dims, arrangement);
        for (position, &value) in values.iter().enumerate() {
            let place = tensor.layout.place(&tensor.layout.index_of(position));
            tensor.data[place] = R::of(value);
        }
        tensor
    }

    pub fn poisoned(dims: [usize; 3], arrangement: Arrangement) -> Tensor<R> {
        let layout = arrangement.layout(dims);
        Tensor { data: vec![R::nan(); layout.extent() + 2], layout }
    }

    pub fn view(&self) -> TensorRef<'_, R> {
        TensorRef::new(&self.data, self.layout)
    }

    pub fn view_mut(&mut self) -> TensorMut<'_, R> {
        TensorMut::new(&mut self.data, self.layout)
    }

    /// The elements by rows; panics if a gap was written.
    pub fn values(mut self) -> Vec<f64> {
        let place = |position| self.layout.place(&self.layout.index_of(position));
        let places = (0..self.layout.elements()).map(place).collect::<Vec<_>>();
        let values = places.iter().map(|&place| self.data[place].to_double()).collect();
        places.iter().for_each(|&place| self.data[place] = R::nan());
        assert!(self.data.iter().all(|element| element.is_nan()), "a gap was written");
        values
    }
}
