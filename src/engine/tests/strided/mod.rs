//! Strided tensors of fresh random numbers, and comparison with what the reference expects.

use std::time::{SystemTime, UNIX_EPOCH};

use gpucompat_engine::{Layout, Real, TensorMut, TensorRef, set_threads};
use gpucompat_reference::norm::Near;

/// What lies between the elements of a tensor.
const GAP: f64 = -4321.0;
const THREADS: &str = "GPUCOMPAT_TEST_THREADS";
const OUT: &str = "GPUCOMPAT_TEST_OUT";

/// Random numbers; print `seed` where a test fails.
#[derive(Debug)]
pub struct Random {
    pub seed: u64,
    state: u64,
}

impl Random {
    pub fn new(seed: u64) -> Random {
        Random { seed, state: seed }
    }

    pub fn from_clock() -> Random {
        Random::new(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_nanos() as u64)
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.state;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    pub fn below(&mut self, limit: usize) -> usize {
        (self.next() % limit as u64) as usize
    }

    /// Numbers from −4 to 4 that both precisions hold.
    pub fn numbers(&mut self, count: usize) -> Vec<f64> {
        (0..count).map(|_| self.below(1 << 14) as f64 / 2048.0 - 4.0).collect()
    }

    /// A layout for these sizes: packed, channels last (axis 1 innermost), or any order with gaps.
    pub fn layout(&mut self, dims: &[usize]) -> Layout {
        let mut order: Vec<usize> = (0..dims.len()).collect();
        let kind = self.below(4);
        let gap = if kind > 1 { 2 } else { 0 };
        match kind {
            1 if dims.len() > 1 => {
                order.remove(1);
                order.push(1);
            }
            0 | 2 => {}
            _ => (1..dims.len()).for_each(|axis| order.swap(axis, self.below(axis + 1))),
        }
        let mut strides = vec![0; dims.len()];
        let mut step = 1 + self.below(gap + 1) * usize::from(kind == 3);
        for &axis in order.iter().rev() {
            strides[axis] = step;
            step = step * dims[axis].max(1) + self.below(gap + 1);
        }
        Layout::new(dims, &strides)
    }
}

/// A tensor and its memory.
#[derive(Clone, Debug)]
pub struct Tensor<R> {
    data: Vec<R>,
    layout: Layout,
}

impl<R: Real> Tensor<R> {
    /// These elements, the last axis fastest.
    pub fn holding(values: &[f64], layout: Layout) -> Tensor<R> {
        let mut data = vec![R::of(GAP); layout.extent() + 3];
        for (position, &value) in values.iter().enumerate() {
            data[layout.place(&layout.index_of(position)[..layout.rank()])] = R::of(value);
        }
        Tensor { data, layout }
    }

    /// NaN in every element.
    pub fn poisoned(layout: Layout) -> Tensor<R> {
        Tensor::holding(&vec![f64::NAN; layout.elements()], layout)
    }

    pub fn read(&self) -> TensorRef<'_, R> {
        TensorRef::new(&self.data, self.layout)
    }

    pub fn write(&mut self) -> TensorMut<'_, R> {
        TensorMut::new(&mut self.data, self.layout)
    }

    /// The elements, the last axis fastest; panics if anything between them was written.
    pub fn elements(&self) -> Vec<f64> {
        let mut rest: Vec<Option<R>> = self.data.iter().copied().map(Some).collect();
        let element = |position| {
            let place = self.layout.place(&self.layout.index_of(position)[..self.layout.rank()]);
            rest[place].take().unwrap().to_double()
        };
        let elements = (0..self.layout.elements()).map(element).collect();
        assert!(
            rest.iter().flatten().all(|gap| gap.to_double() == GAP),
            "a gap was written: {:?}",
            self.layout
        );
        elements
    }
}

/// Panics unless each result is within `units` unit roundoffs of R times its magnitude.
pub fn assert_near<R: Real>(got: &[f64], want: &[Near], units: f64, context: &str) {
    assert_eq!(got.len(), want.len(), "{context}");
    let roundoff = R::epsilon().to_double() / 2.0;
    for (position, (&got, want)) in got.iter().zip(want).enumerate() {
        let near = got == want.value
            || got.is_nan() && want.value.is_nan()
            || (got - want.value).abs() <= units * roundoff * want.magnitude;
        assert!(near, "element {position} is {got}, not {want:?}: {context}");
    }
}

/// Panics unless processes with one and two threads give the same numbers; `test` is the calling test's name.
pub fn assert_threads_do_not_matter(test: &str, numbers: impl Fn() -> Vec<f64>) {
    if let Ok(threads) = std::env::var(THREADS) {
        set_threads(threads.parse().unwrap());
        let bytes: Vec<u8> = numbers().iter().flat_map(|number| number.to_bits().to_le_bytes()).collect();
        return std::fs::write(std::env::var(OUT).unwrap(), bytes).unwrap();
    }
    let results = [1, 2].map(|threads| {
        let out = std::env::temp_dir().join(format!("gpucompat-{test}-{}-{threads}", std::process::id()));
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", test])
            .env(THREADS, threads.to_string())
            .env(OUT, &out)
            .status()
            .unwrap();
        assert!(status.success());
        let bytes = std::fs::read(&out).unwrap();
        std::fs::remove_file(out).unwrap();
        bytes
    });
    assert!(!results[0].is_empty());
    assert!(results[0] == results[1], "the number of threads changed a bit");
}
