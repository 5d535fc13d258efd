//! Calls that return before they are computed.

mod lab;

use lab::{Lab, seed};

#[test]
fn a_call_returns_while_its_stream_is_held_up_and_keeps_its_order() {
    for native in [None, Some("no_handle:1"), Some("broken:13")] {
        let lab = || native.map_or_else(Lab::without_native, Lab::with_native);
        lab().run("busy_stream");
        lab().run("mixed_operands");
        lab().set("GPU_COMPAT_ASYNC", "always").run("busy_stream");
    }
}

#[test]
fn a_graph_computes_at_each_launch_what_its_capture_recorded() {
    for when in ["auto", "always", "never"] {
        Lab::without_native().set("GPU_COMPAT_ASYNC", when).run("graphs");
    }
    Lab::with_native("broken:13").run("graphs");
    Lab::without_native().set("SIMGPU_DELAY_US", "300").run("graphs");
    Lab::without_native().run("refused_in_graphs");
}

#[test]
fn memory_of_graphs_and_of_calls_in_flight_is_bounded() {
    Lab::without_native().set("GPU_COMPAT_STAGING_MB", "2").run("memory_of_deferred_calls");
    let always = Lab::without_native().set("GPU_COMPAT_STAGING_MB", "2").set("GPU_COMPAT_ASYNC", "always");
    always.run("memory_of_deferred_calls");
}

/// Everything again that has a second run, which goes to the same memory by another way.
#[test]
fn every_function_computes_the_same_after_it_has_returned() {
    let lab = || {
        Lab::without_native()
            .set("GPU_COMPAT_ASYNC", "always")
            .set("GEMM_SEED", &seed())
            .set("BLAS_SEED", &seed())
    };
    lab().set("GEMM_CASES", "4").run("gemm_matrix");
    lab().set("BLAS_CASES", "6").run("blas1_matrix");
    lab().set("BLAS_CASES", "10").run("blas2_matrix");
    for scenario in ["level3_matrix", "batches_matrix", "minimum_bytes", "host_visible"] {
        lab().run(scenario);
    }
    for scenario in ["bad_input", "blas_bad_input", "level3_bad_input"] {
        lab().run(scenario);
    }
    lab().set("SIMGPU_DEVICES", "2").run("devices");
    let lt = || Lab::with_native("no_handle:1").set("GPU_COMPAT_ASYNC", "always").set("MATMUL_CASES", "100");
    for scenario in ["matmul_matrix", "matmul_fused", "transform", "matmul_bad_input"] {
        lt().run(scenario);
    }
    let cudnn = || Lab::with_real_cudnn().set("GPU_COMPAT_ASYNC", "always");
    for scenario in [
        "pointwise_modes",
        "selection",
        "add_relu",
        "scale_bias_activation",
        "scalars_by_value",
        "reductions",
    ] {
        cudnn().run(scenario);
    }
    for scenario in
        ["matmul_bias_gelu", "graph_pooling", "impossible_graphs", "norm_forward", "norm_backward"]
    {
        cudnn().run(scenario);
    }
    cudnn().set("CONV_CASES", "60").set("CONV_SEED", &seed()).run("conv_matrix");
}
