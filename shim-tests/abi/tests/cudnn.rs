//! cuDNN's rules, shown by scenarios in processes of their own: on NVIDIA's own libcudnn, which can make no handle on
//! the simulated GPU, and on a stand-in.

mod lab;

use lab::{Lab, number, seed};

/// A device that is trusted, so that only a failure leads to the host.
fn trusted(standin: &str) -> Lab {
    Lab::with_cudnn(standin).set("SIMGPU_MODEL", "rtx4090")
}

#[test]
fn thousands_of_random_convolutions_agree_with_the_reference() {
    let lab = Lab::with_real_cudnn().set("CONV_CASES", "9000").set("CONV_SEED", &seed());
    let (output, _) = lab.run("conv_matrix");
    assert!(number(&output, "cases ") >= 3000, "{output}");
    assert!(number(&output, "kinds ") >= 30, "directions, types and interfaces: {output}");
}

#[test]
fn convolutions_agree_whatever_the_reason_to_serve_them() {
    for (standin, force, reason) in [
        ("no_handle", "", "no_native_handle(status=1001)"),
        ("broken:3007", "", "probe_failed(convolution status=3007)"),
        ("broken:5000", "", "probe_failed(convolution status=5000)"),
        ("wrong", "", "probe_failed(wrong_result)"),
        ("healthy", "1", "forced_on"),
    ] {
        let lab = Lab::with_cudnn(standin).set("CONV_CASES", "400").set("CONV_SEED", &seed());
        let lab = if force.is_empty() { lab } else { lab.set("FORCE_GPU_COMPAT_PATCHES", force) };
        let (_, errors) = lab.run("conv_matrix");
        assert!(errors.contains(&format!("library=cudnn reason={reason}")), "{errors}");
    }
}

#[test]
fn one_algorithm_without_a_workspace_is_offered_and_bad_arguments_are_refused() {
    Lab::with_real_cudnn().run("conv_algorithms");
}

#[test]
fn a_trusted_device_is_left_alone() {
    let (_, errors) = trusted("healthy").set("EXPECT_NATIVE", "5").run("native_convolutions");
    assert_eq!(errors, "", "nothing is said on a healthy machine");
}

#[test]
fn a_suspect_device_whose_library_passes_the_probe_is_left_alone() {
    let lab = Lab::with_cudnn("healthy").set("EXPECT_NATIVE", "5").set("EXPECT_PROBE", "1");
    let (_, errors) = lab.set("GPU_COMPAT_DEBUG", "1").run("native_convolutions");
    assert!(errors.contains("library=cudnn"), "{errors}");
    assert!(errors.contains("mode=native reason=probe_passed"), "{errors}");
}

#[test]
fn a_wrong_or_broken_library_fails_the_probe_and_is_not_asked_again() {
    for (standin, reason) in [("wrong", "wrong_result"), ("broken:5000", "convolution status=5000")] {
        let lab = Lab::with_cudnn(standin).set("EXPECT_NATIVE", "0").set("EXPECT_PROBE", "1");
        let (_, errors) = lab.run("native_convolutions");
        assert!(errors.contains(&format!("reason=probe_failed({reason})")), "{errors}");
    }
}

#[test]
fn a_library_without_a_handle_never_sees_ours() {
    Lab::with_cudnn("no_handle").set("EXPECT_NATIVE", "0").run("native_convolutions");
}

#[test]
fn force_decides() {
    let on = trusted("healthy").set("FORCE_GPU_COMPAT_PATCHES", "1").set("EXPECT_NATIVE", "0");
    on.run("native_convolutions");
    let off = Lab::with_cudnn("healthy").set("FORCE_GPU_COMPAT_PATCHES", "0").set("EXPECT_NATIVE", "5");
    off.run("native_convolutions");
    for status in ["3007", "5000", "2000"] {
        let off = Lab::with_cudnn(&format!("broken:{status}")).set("FORCE_GPU_COMPAT_PATCHES", "0");
        off.set("EXPECT_STATUS", status).run("passed_through");
    }
}

#[test]
fn a_convolution_that_fails_for_want_of_a_kernel_is_served_and_remembered_per_types() {
    for status in ["3007", "5000", "5003"] {
        let lab = trusted(&format!("broken_for:cudnnConvolutionForward:{status}"));
        let (_, errors) = lab.run("learned_convolutions");
        let said = format!("fn=cudnnConvolutionForward reason=native_failed(status={status})");
        assert!(errors.contains(&said), "{errors}");
    }
}

#[test]
fn a_failure_that_is_no_missing_kernel_comes_back() {
    // NOT_SUPPORTED alone is how one algorithm of many is turned down on a healthy device.
    for status in ["2000", "4000", "1001", "3000"] {
        trusted(&format!("broken:{status}")).set("EXPECT_STATUS", status).run("passed_through");
    }
    trusted("healthy").run("bad_arguments_stay_native");
}

#[test]
fn a_plan_that_cannot_be_made_or_run_is_served() {
    for status in ["3007", "5000"] {
        let lab = trusted(&format!("broken_for:cudnnBackendExecute:{status}"));
        let (_, errors) = lab.set("EXPECT_EXECUTED", "2").run("learned_graphs");
        assert!(errors.contains("fn=cudnnBackendExecute reason=native_failed"), "{errors}");
        let lab = trusted(&format!("broken_for:cudnnBackendFinalize:{status}"));
        lab.set("EXPECT_EXECUTED", "0").run("learned_graphs");
    }
    // On a suspect device NOT_SUPPORTED is enough: for a plan when no other is left, for a call each time anew.
    let suspect = |standin: &str| Lab::with_cudnn(standin).set("EXPECT_PROBE", "1");
    suspect("broken_for:cudnnBackendFinalize:3000").set("EXPECT_EXECUTED", "0").run("learned_graphs");
    suspect("broken_for:cudnnBackendExecute:3000").set("EXPECT_EXECUTED", "10").run("learned_graphs");
}

#[test]
fn an_unserved_function_refuses_our_handle_and_forwards_the_native_ones() {
    trusted("healthy").run("cudnn_forwarded");
    Lab::with_cudnn("healthy").run("cudnn_forwarded");
    let (_, errors) = Lab::with_cudnn("no_handle").run("cudnn_refused");
    assert!(errors.contains("fn=cudnnNormalizationForwardInference is not served"), "{errors}");
}

#[test]
fn handles_keep_their_streams_and_dead_ones_are_refused() {
    Lab::with_cudnn("no_handle").run("cudnn_handles");
    trusted("healthy").run("cudnn_handles");
    Lab::with_real_cudnn().run("cudnn_handles");
    Lab::with_real_cudnn().run("null_handles");
}

#[test]
fn a_misused_graph_gets_the_real_librarys_statuses() {
    let (output, _) = Lab::with_real_cudnn().run("graph_statuses");
    assert!(number(&output, "answers ") >= 40, "{output}");
    Lab::with_real_cudnn().run("graph_refusals");
}

#[test]
fn every_pointwise_mode_agrees_with_double_precision() {
    let (output, _) = Lab::with_real_cudnn().run("pointwise_modes");
    assert!(number(&output, "modes ") >= 100, "{output}");
    Lab::with_real_cudnn().run("selection");
}

#[test]
fn fused_convolutions_agree_in_any_order_and_with_results_kept() {
    Lab::with_real_cudnn().run("add_relu");
    Lab::with_real_cudnn().run("scale_bias_activation");
    Lab::with_real_cudnn().run("scalars_by_value");
}

#[test]
fn reductions_products_and_poolings_agree() {
    let (output, _) = Lab::with_real_cudnn().run("reductions");
    assert!(number(&output, "reductions ") >= 40, "{output}");
    Lab::with_real_cudnn().run("matmul_bias_gelu");
    Lab::with_real_cudnn().run("graph_pooling");
}

#[test]
fn normalizations_and_their_gradients_agree() {
    Lab::with_real_cudnn().run("norm_forward");
    Lab::with_real_cudnn().run("norm_backward");
}

#[test]
fn a_graph_that_cannot_be_is_refused_and_writes_nothing() {
    Lab::with_real_cudnn().run("impossible_graphs");
}

#[test]
fn operands_are_read_and_written_in_stream_order_and_in_graphs_at_each_launch() {
    for lab in [Lab::with_real_cudnn, || Lab::with_cudnn("broken:5000")] {
        lab().run("cudnn_stream_order");
        lab().set("GPU_COMPAT_ASYNC", "always").run("cudnn_stream_order");
    }
    Lab::with_real_cudnn().run("cudnn_capture");
}

#[test]
fn handles_work_on_their_devices_from_any_thread() {
    Lab::with_real_cudnn().set("SIMGPU_DEVICES", "2").run("cudnn_threads");
    Lab::with_cudnn("broken:5000").set("SIMGPU_DEVICES", "2").run("cudnn_threads");
}
