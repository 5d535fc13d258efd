//! Convolutions in their three directions against the reference, in every layout.

#[path = "conv/cases.rs"]
mod cases;

use cases::{
    ARRANGEMENTS, Arrangement, Case, POISON, Random, arrange, lay, line, output, plane, random_case,
    with_random,
};
use gpucompat_engine::{
    ConvKernel, Layout, Real, TensorMut, TensorRef, conv_backward_data, conv_backward_filter, conv_forward,
    scratch_bytes, set_scratch_bytes, set_threads,
};
use gpucompat_reference::conv::{Expected, Problem, backward_data, backward_filter, forward};

/// Rounding errors of a sum of `terms` products stay below this many unit roundoffs of Σ|a|·|b|.
fn unit_roundoffs(terms: usize) -> f64 {
    4.0 + 4.0 * (terms as f64).sqrt()
}

fn compare<R: Real>(what: &str, case: &Case, data: &[R], layout: &Layout, expected: &[Expected]) {
    let mut written = vec![false; data.len()];
    for (position, expected) in expected.iter().enumerate() {
        let place = layout.place(&layout.index_of(position)[..layout.rank()]);
        written[place] = true;
        let got = data[place].to_double();
        let bound = unit_roundoffs(expected.terms) * R::epsilon().to_double() / 2.0 * expected.magnitude;
        let same = got == expected.value || got.is_nan() && expected.value.is_nan();
        assert!(
            same || (got - expected.value).abs() <= bound,
            "{what} {position}: {got} instead of {} ± {bound:e}, {layout:?}, {case:?}",
            expected.value
        );
    }
    for (place, &element) in data.iter().enumerate() {
        assert!(written[place] || element == R::of(POISON), "{what}: gap {place} was written, {case:?}");
    }
}

/// The three directions of one problem, with these values.
fn check_values<R: Real>(case: &Case, layouts: &[Layout; 3], [x, w, dy]: [&[f64]; 3]) {
    let conv = case.conv();
    let [at_x, at_w, at_y] = *layouts;
    let (in_x, in_w, in_y) = (lay::<R>(x, &at_x), lay::<R>(w, &at_w), lay::<R>(dy, &at_y));
    let (of_x, of_w, of_y) =
        (TensorRef::new(&in_x, at_x), TensorRef::new(&in_w, at_w), TensorRef::new(&in_y, at_y));

    let mut y = output::<R>(&at_y);
    conv_forward(&conv, of_x, of_w, TensorMut::new(&mut y, at_y));
    compare("y", case, &y, &at_y, &forward(&case.problem, x, w));
    let mut dx = output::<R>(&at_x);
    conv_backward_data(&conv, of_w, of_y, TensorMut::new(&mut dx, at_x));
    compare("dx", case, &dx, &at_x, &backward_data(&case.problem, w, dy));
    let mut dw = output::<R>(&at_w);
    conv_backward_filter(&conv, of_x, of_y, TensorMut::new(&mut dw, at_w));
    compare("dw", case, &dw, &at_w, &backward_filter(&case.problem, x, dy));
}

fn check<R: Real>(random: &mut Random, case: &Case, arrangements: [Arrangement; 3]) {
    let [x, w, y] = [case.x(), case.w(), case.y()];
    let layouts = [
        arrange(random, &x, arrangements[0]),
        arrange(random, &w, arrangements[1]),
        arrange(random, &y, arrangements[2]),
    ];
    let values =
        [case.problem.x_len(), case.problem.w_len(), case.problem.y_len()].map(|n| random.numbers(n));
    check_values::<R>(case, &layouts, [&values[0], &values[1], &values[2]]);
}

#[test]
fn random_convolutions_agree_in_every_layout() {
    with_random(|random| {
        for number in 0..120 {
            let case = random_case(random);
            let arrangements = if number % 2 == 0 {
                [random.one_of(&ARRANGEMENTS); 3]
            } else {
                [(); 3].map(|()| random.one_of(&ARRANGEMENTS))
            };
            if number % 4 == 3 {
                check::<f64>(random, &case, arrangements);
            } else {
                check::<f32>(random, &case, arrangements);
            }
        }
    });
}

/// Convolutions that cross tiles, panels and blocks of the depth, one for each way of computing them.
fn large() -> Vec<Case> {
    vec![
        plane(1, [33, 40, 1], [9, 14], 3, 1),
        plane(1, [600, 50, 1], [3, 7], 1, 1),
        plane(1, [2, 530, 1], [24, 25], 1, 1),
        plane(2, [66, 20, 2], [8, 9], 3, 2),
        plane(1, [3, 40, 1], [21, 27], 7, 2),
        plane(2, [50, 50, 50], [13, 10], 3, 1),
        plane(1, [24, 72, 24], [30, 11], 5, 2),
        plane(1, [12, 2, 1], [30, 40], 3, 1),
        line(24, 30, 160, 16, 8),
        line(4, 20, 600, 11, 1),
    ]
}

#[test]
fn large_convolutions_cross_tiles_panels_and_blocks() {
    with_random(|random| {
        for case in large() {
            check::<f32>(random, &case, [Arrangement::Packed; 3]);
            check::<f32>(random, &case, [Arrangement::ChannelsLast; 3]);
        }
        check::<f64>(random, &large()[0], [Arrangement::Gaps; 3]);
        check::<f64>(random, &large()[4], [Arrangement::ChannelsLastSliced; 3]);
    });
}

/// Depthwise convolutions whose filter's gradient crosses tiles, spans and blocks of channels, along one to
/// three axes, with several outputs a channel; the last reaches further than a tile.
fn depthwise() -> Vec<Case> {
    let volume = Problem {
        x: [9, 11, 70],
        w: [2, 3, 3],
        y: [10, 11, 34],
        pad: [1, 1, 0],
        ..plane(1, [17, 17, 17], [1, 1], 1, 1).problem
    };
    let line = |problem: Problem| Case { problem: Problem { x: [1, 1, 5000], ..problem }, rank: 3 };
    let base = plane(2, [3, 6, 3], [1, 1], 1, 1).problem;
    vec![
        plane(7, [20, 20, 20], [61, 53], 3, 1),
        plane(3, [5, 35, 5], [90, 41], 5, 2),
        plane(3, [1, 9, 1], [14, 15], 7, 1),
        plane(2, [33, 33, 33], [7, 7], 3, 1),
        Case { problem: Problem { stride: [1, 1, 2], ..volume }, rank: 5 },
        line(Problem { w: [1, 1, 16], y: [1, 1, 4970], dilation: [1, 1, 2], flip: true, ..base }),
        line(Problem { w: [1, 1, 2], y: [1, 1, 900], dilation: [1, 1, 4100], ..base }),
    ]
}

#[test]
fn gradients_of_depthwise_filters_agree_in_every_layout() {
    with_random(|random| {
        for (number, case) in depthwise().iter().enumerate() {
            for arrangement in ARRANGEMENTS {
                let layouts = [case.x(), case.w(), case.y()].map(|dims| arrange(random, &dims, arrangement));
                let [x, dy] = [case.problem.x_len(), case.problem.y_len()].map(|n| random.numbers(n));
                let expected = backward_filter(&case.problem, &x, &dy);
                check_filter::<f32>(case, &layouts, [&x, &dy], &expected);
                if number > 2 {
                    check_filter::<f64>(case, &layouts, [&x, &dy], &expected);
                }
            }
        }
    });
}

#[test]
fn depthwise_convolutions_of_small_planes_agree_in_every_layout() {
    let volume = plane(2, [18, 18, 18], [1, 1], 1, 1).problem;
    let volume = Problem { x: [3, 6, 5], w: [2, 3, 1], y: [4, 3, 5], pad: [1, 1, 0], ..volume };
    with_random(|random| {
        for case in [
            plane(2, [33, 33, 33], [7, 7], 3, 1),
            plane(3, [11, 33, 11], [15, 17], 5, 2),
            plane(1, [16, 16, 16], [2, 3], 3, 1),
            Case { problem: Problem { stride: [1, 2, 1], ..volume }, rank: 5 },
        ] {
            for arrangement in ARRANGEMENTS {
                check::<f32>(random, &case, [arrangement; 3]);
                check::<f64>(random, &case, [Arrangement::Packed, Arrangement::Packed, arrangement]);
            }
        }
    });
}

/// The gradient of a filter.
fn check_filter<R: Real>(case: &Case, layouts: &[Layout; 3], [x, dy]: [&[f64]; 2], expected: &[Expected]) {
    let [at_x, at_w, at_y] = *layouts;
    let (x, dy, mut dw) = (lay::<R>(x, &at_x), lay::<R>(dy, &at_y), output::<R>(&at_w));
    let (x, dy) = (TensorRef::new(&x, at_x), TensorRef::new(&dy, at_y));
    let kernel = conv_backward_filter(&case.conv(), x, dy, TensorMut::new(&mut dw, at_w));
    let far = case.problem.dilation[2] > 4000;
    assert_eq!(kernel.name(), if far { "conv_im2col" } else { "conv_depthwise" }, "{case:?}");
    compare("dw", case, &dw, &at_w, expected);
}

/// Bits of the three results of a problem in packed and channels-last tensors.
fn bits(case: &Case) -> [Vec<u32>; 3] {
    let mut random = Random(12345);
    let values =
        [case.problem.x_len(), case.problem.w_len(), case.problem.y_len()].map(|n| random.numbers(n));
    let mut all = [const { Vec::new() }; 3];
    for arrangement in [Arrangement::Packed, Arrangement::ChannelsLast] {
        let layouts = [case.x(), case.w(), case.y()].map(|dims| arrange(&mut random, &dims, arrangement));
        let data: [Vec<f32>; 3] = std::array::from_fn(|index| lay(&values[index], &layouts[index]));
        let tensor = |index: usize| TensorRef::new(&data[index], layouts[index]);
        let (conv, mut out) = (case.conv(), layouts.map(|layout| output::<f32>(&layout)));
        let [dx, dw, y] = &mut out;
        conv_forward(&conv, tensor(0), tensor(1), TensorMut::new(y, layouts[2]));
        conv_backward_data(&conv, tensor(1), tensor(2), TensorMut::new(dx, layouts[0]));
        conv_backward_filter(&conv, tensor(0), tensor(2), TensorMut::new(dw, layouts[1]));
        for (all, out) in all.iter_mut().zip(&out) {
            all.extend(out.iter().map(|element| element.to_bits()));
        }
    }
    all
}

#[test]
fn little_scratch_memory_means_many_tiles_and_the_same_numbers() {
    let whole: Vec<_> = large().iter().map(bits).collect();
    // The cuts of a depthwise filter's gradient follow from the shapes alone.
    let few = &depthwise()[..6];
    let filters: Vec<_> = few.iter().map(|case| bits(case)[1].clone()).collect();
    let before = scratch_bytes();
    set_scratch_bytes(4096);
    with_random(|random| {
        for number in 0..20 {
            let case = random_case(random);
            check::<f32>(random, &case, [ARRANGEMENTS[number % 2]; 3]);
        }
    });
    for (case, [dx, _, y]) in large().iter().zip(whole) {
        let [again_dx, _, again_y] = bits(case);
        assert!(again_y == y && again_dx == dx, "{case:?}");
    }
    for (case, dw) in few.iter().zip(filters) {
        let [_, again, _] = bits(case);
        assert!(again == dw, "{case:?}");
    }
    set_scratch_bytes(before);
}

const THREADS: &str = "GPUCOMPAT_TEST_THREADS";

#[test]
fn one_two_and_three_threads_give_the_same_bits() {
    if let Ok(threads) = std::env::var(THREADS) {
        set_threads(threads.parse().unwrap());
        let mut cases = large();
        // Enough work for many tasks and, in the filter's gradient, for many sums.
        cases.extend([plane(4, [40, 70, 1], [43, 39], 3, 1), plane(4, [64, 40, 4], [44, 40], 3, 2)]);
        cases.extend([line(64, 48, 1600, 16, 8), plane(4, [60, 60, 60], [40, 40], 3, 1)]);
        cases.extend(depthwise());
        let bits = cases.iter().flat_map(bits).flatten().flat_map(u32::to_le_bytes).collect::<Vec<u8>>();
        std::fs::write(std::env::var("GPUCOMPAT_TEST_OUT").unwrap(), bits).unwrap();
        return;
    }
    let results = [1, 2, 3].map(|threads| {
        let out = std::env::temp_dir().join(format!("gpucompat-conv-{}-{threads}", std::process::id()));
        let status = std::process::Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "one_two_and_three_threads_give_the_same_bits"])
            .env(THREADS, threads.to_string())
            .env("GPUCOMPAT_TEST_OUT", &out)
            .status()
            .unwrap();
        assert!(status.success());
        let bytes = std::fs::read(&out).unwrap();
        std::fs::remove_file(out).unwrap();
        bytes
    });
    assert!(!results[0].is_empty());
    assert!(results[0] == results[1] && results[0] == results[2]);
}

#[test]
fn nan_and_infinities_reach_what_their_windows_reach_and_nothing_else() {
    with_random(|random| {
        for case in [plane(2, [5, 40, 1], [9, 8], 3, 1), plane(1, [6, 6, 6], [9, 8], 3, 2)] {
            for arrangement in ARRANGEMENTS {
                let Problem { x: [_, height, width], .. } = case.problem;
                let mut x = random.numbers(case.problem.x_len());
                x[height * width + 3 * width + 2] = f64::NAN;
                x[2 * height * width + 6] = f64::INFINITY;
                let w = random.numbers(case.problem.w_len());
                let dy = random.numbers(case.problem.y_len());
                let layouts = [case.x(), case.w(), case.y()].map(|dims| arrange(random, &dims, arrangement));
                check_values::<f32>(&case, &layouts, [&x, &w, &dy]);
            }
        }
    });
}

#[test]
fn nothing_to_do_is_done_and_sums_of_nothing_are_zero() {
    let base = plane(2, [4, 6, 2], [5, 5], 3, 1).problem;
    for problem in [
        Problem { n: 0, ..base },
        Problem { c: 0, ..base },
        Problem { k: 0, ..base },
        Problem { x: [1, 5, 0], ..base },
        Problem { y: [1, 0, 5], ..base },
        Problem { w: [1, 0, 3], ..base },
        Problem { c: 2, k: 2, groups: 2, w: [1, 3, 0], ..base },
    ] {
        with_random(|random| {
            let case = Case { problem, rank: 4 };
            check::<f32>(random, &case, [Arrangement::Packed; 3]);
            check::<f32>(random, &case, [Arrangement::ChannelsLast; 3]);
        });
    }
}

#[test]
fn a_stride_of_zero_is_one_image_for_all() {
    let case = plane(3, [8, 20, 1], [6, 6], 3, 1);
    with_random(|random| {
        let x = random.numbers(8 * 36);
        let whole = x.repeat(3);
        let w = random.numbers(case.problem.w_len());
        let [at_w, at_y] = [case.w(), case.y()].map(|dims| Layout::packed(&dims));
        let at_x = Layout::new(&case.x(), &[0, 36, 6, 1]);
        let (x, in_w) = (lay::<f32>(&x, &Layout::packed(&[1, 8, 6, 6])), lay::<f32>(&w, &at_w));
        let mut y = output::<f32>(&at_y);
        let (x, in_w) = (TensorRef::new(&x, at_x), TensorRef::new(&in_w, at_w));
        conv_forward(&case.conv(), x, in_w, TensorMut::new(&mut y, at_y));
        compare("y", &case, &y, &at_y, &forward(&case.problem, &whole, &w));
    });
}

#[test]
fn each_kernel_says_its_name() {
    let name = |case: Case| {
        let [at_x, at_w, at_y] = [case.x(), case.w(), case.y()].map(|dims| Layout::packed(&dims));
        let (x, w, mut y) = (output::<f32>(&at_x), output::<f32>(&at_w), output::<f32>(&at_y));
        let (x, w) = (TensorRef::new(&x, at_x), TensorRef::new(&w, at_w));
        conv_forward(&case.conv(), x, w, TensorMut::new(&mut y, at_y)).name()
    };
    assert_eq!(name(plane(1, [8, 16, 1], [5, 5], 1, 1)), "conv_1x1");
    assert_eq!(name(plane(1, [8, 16, 1], [5, 5], 3, 1)), "conv_im2col");
    assert_eq!(name(plane(1, [8, 16, 8], [5, 5], 3, 1)), "conv_depthwise");
    assert_eq!(name(plane(1, [8, 2, 1], [5, 5], 3, 1)), "conv_few_channels");
    assert_eq!(name(plane(0, [8, 2, 1], [5, 5], 3, 1)), ConvKernel::None.name());
}

#[test]
#[should_panic(expected = "input channels")]
fn channels_that_do_not_fit_are_a_bug_of_the_caller() {
    let case = plane(1, [4, 4, 1], [3, 3], 1, 1);
    let (zeros, mut y) = ([0.0f32; 36], [0.0f32; 36]);
    let x = TensorRef::new(&zeros, Layout::packed(&[1, 3, 3, 3]));
    let w = TensorRef::new(&zeros, Layout::packed(&case.w()));
    conv_forward(&case.conv(), x, w, TensorMut::new(&mut y, Layout::packed(&case.y())));
}
