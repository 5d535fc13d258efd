//! Programs that open the libraries themselves and look their functions up: preloading alone does not reach them, the
//! audit library does, and NVIDIA's own libraries keep what they look up.

mod lab;

use lab::{Lab, number, seed};

/// The rows of a table with one of these treatments.
fn rows(table: &str, treatments: &[&str]) -> Vec<String> {
    let path = format!("{}/../../src/surface/{table}.table", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(path).unwrap();
    let rows = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| {
        let mut words = line.split_whitespace();
        let (name, treatment) = (words.next()?, words.next()?);
        treatments.contains(&treatment).then(|| name.to_owned())
    });
    rows.collect()
}

/// The file that each name leads to, for a program that looks up in NVIDIA's libcudnn.
fn leads(lab: Lab, names: &[String]) -> Vec<String> {
    let (output, _) = lab.looking_up().set("NAMES", &names.join(" ")).run("lookups");
    let files = names.iter().map(|name| {
        let line = output.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
        line.unwrap_or_else(|| panic!("{name} in {output}")).to_owned()
    });
    files.collect()
}

#[test]
fn served_names_lead_to_us_and_forwarded_ones_to_the_library() {
    // Names that libcudnn.so.9 of PyTorch 2.5.1 has.
    let list =
        format!("{}/../../src/surface/exports/libcudnn.so.9-9.1.0.70-cu12.txt", env!("CARGO_MANIFEST_DIR"));
    let exported = std::fs::read_to_string(list).unwrap();
    let there = |names: Vec<String>| -> Vec<String> {
        names.into_iter().filter(|name| exported.lines().any(|line| line == name)).collect()
    };
    let (ours, theirs) = (there(rows("cudnn", &["served", "refused"])), there(rows("cudnn", &["forwarded"])));
    assert!(ours.len() > 80 && theirs.len() > 50, "{} {}", ours.len(), theirs.len());
    for (name, file) in ours.iter().zip(leads(Lab::with_real_cudnn().audited(), &ours)) {
        assert_eq!(file, "libgpucompat.so", "{name}");
    }
    for (name, file) in theirs.iter().zip(leads(Lab::with_real_cudnn().audited(), &theirs)) {
        assert!(file.starts_with("libcudnn"), "{name} leads to {file}");
    }
}

#[test]
fn preloading_alone_does_not_reach_them() {
    let names = ["cudnnCreate", "cudnnConvolutionForward"].map(str::to_owned);
    for file in leads(Lab::with_real_cudnn(), &names) {
        assert_eq!(file, "libcudnn.so.9");
    }
}

#[test]
fn a_library_bound_deeply_is_reached_and_nvidias_own_lookups_are_not() {
    let (output, _) = Lab::with_native("healthy").audited().run("other_ways_to_look_up");
    assert!(output.contains("deepbind libgpucompat.so"), "{output}");
    assert!(output.contains("vendor libcublas.so.12"), "{output}");
}

#[test]
fn products_are_served_to_a_program_that_looks_them_up() {
    let lab = Lab::with_native("no_handle:1").audited().looking_up();
    lab.set("GEMM_CASES", "2").set("GEMM_SEED", &seed()).run("gemm_matrix");
    Lab::with_native("no_handle:1").audited().looking_up().run("matmul_matrix");
    Lab::with_native("via_lt").audited().looking_up().run("recursion");
}

#[test]
fn cudnns_dispatcher_keeps_working_below_us() {
    // Every descriptor call goes through libcudnn's own look-ups in its parts, every convolution through ours.
    let lab = Lab::with_real_cudnn().audited().looking_up();
    let (output, _) = lab.set("CONV_CASES", "300").set("CONV_SEED", &seed()).run("conv_matrix");
    assert!(number(&output, "cases ") >= 300, "{output}");
    Lab::with_real_cudnn().audited().looking_up().run("conv_algorithms");
}

#[test]
fn healthy_devices_are_left_alone_by_it() {
    let lab = Lab::with_native("healthy").audited().looking_up().set("SIMGPU_MODEL", "rtx4090");
    let (_, errors) = lab.set("EXPECT_NATIVE", "5").run("native_calls");
    assert_eq!(errors, "");
}
