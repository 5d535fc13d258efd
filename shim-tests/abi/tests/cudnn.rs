//! cuDNN's rules, shown by scenarios in processes of their own: on NVIDIA's own libcudnn, which can make no handle on
//! the simulated GPU, and on a stand-in.

mod lab;

use lab::{Lab, number, seed};

#[test]
fn thousands_of_random_convolutions_agree_with_the_reference() {
    let seed = seed();
    println!("CONV_SEED={seed}");
    let (output, _) =
        Lab::with_real_cudnn().set("CONV_CASES", "9000").set("CONV_SEED", &seed).run("conv_matrix");
    assert!(number(&output, "cases ") >= 3000, "{output}");
    assert!(number(&output, "kinds ") >= 30, "directions, types and interfaces: {output}");
}

#[test]
fn convolutions_agree_whatever_the_reason_to_serve_them() {
    let seed = seed();
    for (standin, force) in [("no_handle", ""), ("broken:3007", ""), ("broken:5000", ""), ("wrong", ""), ("healthy", "1")] {
        let lab = Lab::with_cudnn(standin).set("CONV_CASES", "300").set("CONV_SEED", &seed);
        let lab = if force.is_empty() { lab } else { lab.set("FORCE_GPU_COMPAT_PATCHES", force) };
        lab.run("conv_matrix");
    }
}
