//! Every layout and epilogue against the reference: rows or columns first, padding, gaps, strides that are
//! nowhere 1, one matrix for a whole batch, C in place, apart or absent.

use gpucompat_cases::element::{Element, Number};
use gpucompat_cases::judge::Tolerance;
use gpucompat_engine::{
    Accumulator, Activation, Conj, Epilogue, GemmShape, Input, Kernel, MatMut, MatRef, Output, bf16, f16,
    gemm, gemm_with_epilogue,
};
use gpucompat_reference::gemm as reference;
use proptest::prelude::*;

/// Strides of a batch of matrices.
#[derive(Clone, Copy, Debug)]
struct Layout {
    row: usize,
    col: usize,
    batch: usize,
}

impl Layout {
    fn index(self, [batch, row, col]: [usize; 3]) -> usize {
        batch * self.batch + row * self.row + col * self.col
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum C {
    InPlace,
    Apart,
    Absent,
}

#[derive(Clone, Debug)]
struct Problem {
    sizes: [usize; 4],
    /// For A, B, C, D: 0 columns first, 1 rows first, 2 nowhere contiguous.
    orders: [usize; 4],
    padding: usize,
    broadcast: [bool; 2],
    c: C,
    alpha: f64,
    beta: f64,
    bias: bool,
    activation: usize,
    seed: u64,
}

fn layout(order: usize, rows: usize, cols: usize, padding: usize) -> Layout {
    let (row, col) = match order {
        0 => (1, rows + padding),
        1 => (cols + padding, 1),
        _ => (2, 2 * rows + padding),
    };
    Layout { row, col, batch: row * rows + col * cols + padding }
}

/// Multiples of 1/8 in [-1, 1]: exact in every type.
fn numbers(seed: u64, length: usize) -> Vec<f64> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) % 17) as f64 / 8.0 - 1.0
    };
    (0..length).map(|_| next()).collect()
}

/// How a type is made from and read as a double.
struct Real<T> {
    element: Element,
    of: fn(f64) -> T,
    to: fn(T) -> f64,
}

/// A problem laid out: layouts of A, B, C, D and the elements of A, B, C and the bias.
struct Laid {
    layouts: [Layout; 4],
    data: [Vec<f64>; 3],
    bias: Option<Vec<f64>>,
    beta: f64,
    activation: (Activation, reference::Activation),
}

impl Problem {
    fn lay_out(&self) -> Laid {
        let [m, n, k, batch] = self.sizes;
        let shapes = [(m, k), (k, n), (m, n), (m, n)];
        let mut layouts = std::array::from_fn(|index| {
            let (rows, cols) = shapes[index];
            layout(self.orders[index], rows, cols, self.padding)
        });
        for index in (0..2).filter(|&index| self.broadcast[index]) {
            layouts[index].batch = 0;
        }
        let in_place = self.c == C::InPlace;
        if in_place {
            layouts[3] = layouts[2];
        }
        let data = std::array::from_fn(|index| {
            let (rows, cols) = shapes[index];
            numbers(self.seed + index as u64, layouts[index].index([batch, rows, cols]) + 1)
        });
        let kinds = [
            (Activation::None, reference::Activation::None),
            (Activation::Relu, reference::Activation::Relu),
            (Activation::Gelu, reference::Activation::Gelu),
        ];
        Laid {
            layouts,
            data,
            bias: (self.bias && !in_place).then(|| numbers(self.seed + 9, m)),
            beta: if self.c == C::Absent { 0.0 } else { self.beta },
            activation: kinds[if in_place { 0 } else { self.activation }],
        }
    }
}

/// What D holds before and after.
fn compute<AB, Out, Acc>(
    problem: &Problem,
    laid: &Laid,
    input: fn(f64) -> AB,
    output: &Real<Out>,
) -> [Vec<f64>; 2]
where
    AB: Input<Acc>,
    Out: Output<Acc>,
    Acc: Accumulator,
{
    let [m, n, k, batch] = problem.sizes;
    let [a, b] = [0, 1].map(|index: usize| laid.data[index].iter().map(|&x| input(x)).collect::<Vec<AB>>());
    let c: Vec<Out> = laid.data[2].iter().map(|&x| (output.of)(x)).collect();
    let [a_layout, b_layout, c_layout, d_layout] = laid.layouts;
    let mut d = if problem.c == C::InPlace {
        c.clone()
    } else {
        vec![(output.of)(f64::NAN); d_layout.index([batch, m, n]) + 1]
    };
    let before = d.iter().map(|&x| (output.to)(x)).collect();
    let shape = GemmShape { m, n, k, batch };
    let (alpha, beta) = (Acc::from_f64(problem.alpha), Acc::from_f64(laid.beta));
    let (left, right) = (matrix(&a, a_layout), matrix(&b, b_layout));
    let Layout { row, col, batch } = d_layout;
    let target = MatMut { data: &mut d[..], row_stride: row, col_stride: col, batch_stride: batch };
    if problem.c == C::InPlace {
        gemm(shape, alpha, left, right, beta, target);
    } else {
        let bias: Option<Vec<Acc>> =
            laid.bias.as_ref().map(|bias| bias.iter().map(|&x| Acc::from_f64(x)).collect());
        let epilogue = Epilogue { bias: bias.as_deref(), activation: laid.activation.0 };
        let apart = (problem.c == C::Apart).then(|| matrix(&c, c_layout));
        gemm_with_epilogue(shape, alpha, left, right, beta, apart, target, &epilogue);
    }
    [before, d.iter().map(|&x| (output.to)(x)).collect()]
}

fn judge(
    problem: &Problem,
    laid: &Laid,
    output: Element,
    [before, after]: &[Vec<f64>; 2],
) -> Result<(), String> {
    let [m, n, k, batch] = problem.sizes;
    let real = |x: f64| Number::new(x, 0.0);
    let element = |operand: usize, at| real(laid.data[operand][laid.layouts[operand].index(at)]);
    let accumulator = if output == Element::F64 { Element::F64 } else { Element::F32 };
    // Eight roundings more than a plain product: the activation's.
    let tolerance = Tolerance { output, accumulator, k: k + 8 };
    let mut written = vec![false; after.len()];
    for number in 0..batch {
        let (alpha, beta, activation) = (real(problem.alpha), real(laid.beta), laid.activation.1);
        let expected = reference::gemm(
            reference::Problem { m, n, k, alpha, beta, activation },
            |i, l| element(0, [number, i, l]),
            |l, j| element(1, [number, l, j]),
            |i, j| element(2, [number, i, j]),
            |i| laid.bias.as_ref().map_or(0.0, |bias| bias[i]),
        );
        for (index, want) in expected.into_iter().enumerate() {
            let (i, j) = (index % m, index / m);
            let place = laid.layouts[3].index([number, i, j]);
            written[place] = true;
            if !tolerance.accepts(real(after[place]), want) {
                return Err(format!("D[{i}, {j}] of matrix {number} is {}, expected {want:?}", after[place]));
            }
        }
    }
    let touched = |index: usize| !written[index] && after[index].to_bits() != before[index].to_bits();
    (0..after.len())
        .find(|&index| touched(index))
        .map_or(Ok(()), |index| Err(format!("element {index}, outside of D, was written")))
}

fn run<AB, Out, Acc>(problem: &Problem, input: fn(f64) -> AB, output: &Real<Out>) -> Result<(), String>
where
    AB: Input<Acc>,
    Out: Output<Acc>,
    Acc: Accumulator,
{
    let laid = problem.lay_out();
    judge(problem, &laid, output.element, &compute(problem, &laid, input, output))
}

fn matrix<T>(data: &[T], layout: Layout) -> MatRef<'_, T> {
    MatRef {
        data,
        row_stride: layout.row,
        col_stride: layout.col,
        batch_stride: layout.batch,
        conjugate: Conj::No,
    }
}

fn check(types: usize, problem: &Problem) -> Result<(), String> {
    let single = Real { element: Element::F32, of: |x| x as f32, to: f64::from };
    let half = Real { element: Element::F16, of: f16::from_f64, to: f16::to_f64 };
    let brain = Real { element: Element::Bf16, of: bf16::from_f64, to: bf16::to_f64 };
    match types {
        0 => run::<f32, f32, f32>(problem, |x| x as f32, &single),
        1 => run::<f64, f64, f64>(problem, |x| x, &Real { element: Element::F64, of: |x| x, to: |x| x }),
        2 => run::<f16, f16, f32>(problem, f16::from_f64, &half),
        3 => run::<bf16, bf16, f32>(problem, bf16::from_f64, &brain),
        _ => run::<bf16, f32, f32>(problem, bf16::from_f64, &single),
    }
}

prop_compose! {
    fn problems()(
        sizes in [1usize..40, 1usize..40, 0usize..70, 1usize..4],
        thin in 0usize..3,
        orders in [0usize..3, 0usize..3, 0usize..3, 0usize..3],
        padding in 0usize..4,
        broadcast in any::<[bool; 2]>(),
        c in prop_oneof![Just(C::InPlace), Just(C::Apart), Just(C::Absent)],
        scalars in [0usize..5, 0usize..5],
        (bias, activation) in (any::<bool>(), 0usize..3),
        seed in 0u64..1 << 40,
    ) -> Problem {
        let mut sizes = sizes;
        if thin < 2 {
            sizes[thin] = sizes[thin] % 6 + 1;
        }
        let scalar = |index: usize| [0.0, 1.0, -1.0, 0.5, -2.25][index];
        let (alpha, beta) = (scalar(scalars[0]), scalar(scalars[1]));
        Problem { sizes, orders, padding, broadcast, c, alpha, beta, bias, activation, seed }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1500))]

    #[test]
    fn every_layout_and_epilogue_agrees_with_the_reference(types in 0usize..5, problem in problems()) {
        prop_assert_eq!(check(types, &problem), Ok(()));
    }
}

#[test]
fn int8_products_are_exact_to_the_last_bit_and_wrap() {
    let (m, n, k) = (40, 37, 600);
    let a: Vec<i8> = (0..m * k).map(|index| (index * 37 % 256) as u8 as i8).collect();
    let b: Vec<i8> = (0..k * n).map(|index| (index * 91 % 256) as u8 as i8).collect();
    let mut c: Vec<i32> = (0..m * n).map(|index| i32::MAX - index).collect();
    let mut want = c.clone();
    for (index, want) in want.iter_mut().enumerate() {
        let (i, j) = (index / n as usize, index % n as usize);
        let products =
            (0..k as usize).map(|l| i32::from(a[i * k as usize + l]) * i32::from(b[l * n as usize + j]));
        *want = want.wrapping_mul(3).wrapping_add(products.sum::<i32>().wrapping_mul(70_000));
    }
    let [m, n, k] = [m, n, k].map(|size: i32| size as usize);
    let rows_first = |cols: usize| Layout { row: cols, col: 1, batch: 0 };
    let kernel = gemm(
        GemmShape { m, n, k, batch: 1 },
        70_000,
        matrix(&a, rows_first(k)),
        matrix(&b, rows_first(n)),
        3,
        MatMut { data: &mut c[..], row_stride: n, col_stride: 1, batch_stride: 0 },
    );
    assert_eq!(kernel, Kernel::Packed);
    assert_eq!(c, want);
}

#[test]
#[should_panic(expected = "the bias has 1 elements")]
fn a_short_bias_is_a_bug_of_the_caller() {
    let one = [1.0f32; 4];
    let mut d = [0.0f32; 4];
    let columns = Layout { row: 1, col: 2, batch: 0 };
    let epilogue = Epilogue { bias: Some(&one[..1]), activation: Activation::None };
    gemm_with_epilogue(
        GemmShape { m: 2, n: 2, k: 2, batch: 1 },
        1.0f32,
        matrix(&one, columns),
        matrix(&one, columns),
        0.0,
        None,
        MatMut { data: &mut d[..], row_stride: 1, col_stride: 2, batch_stride: 0 },
        &epilogue,
    );
}
