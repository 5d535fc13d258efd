//! One scenario in a process of its own: `scenario NAME`. The environment decides what is preloaded and how
//! the stand-in and the simulated GPU behave; `tests/` sets it and expects the process to succeed.

#![allow(unsafe_code)]
#![allow(clippy::macro_metavars_in_unsafe)] // `call!` passes values of these tests

mod bad_input;
mod batches;
mod blas;
mod blas1;
mod blas2;
mod blas_lab;
mod blas_rules;
mod cudnn;
mod deferred;
mod gemm;
mod handles;
mod host_copies;
mod interface;
mod lab;
mod legacy;
mod level3;
mod linear;
mod lookups;
mod matmul;
mod matmul_fused;
mod policy;
mod staging;
mod transform;
mod xt;

fn main() {
    let name = std::env::args().nth(1).unwrap_or_default();
    let scenarios: &[(&str, fn())] = &[
        ("gemm_matrix", gemm::matrix),
        ("gemm_one", gemm::one),
        ("device_scalars", gemm::device_scalars),
        ("zero_sizes", gemm::zero_sizes),
        ("blas1_matrix", blas1::matrix),
        ("blas2_matrix", blas2::matrix),
        ("blas_rules", blas_rules::rules),
        ("blas_bad_input", blas_rules::bad_input),
        ("legacy", gemm::legacy),
        ("legacy_memory", legacy::memory),
        ("legacy_bad_input", legacy::bad_input),
        ("handle_state", handles::state),
        ("handle_lives", handles::lives),
        ("refused", handles::refused),
        ("forwarded", handles::forwarded),
        ("bad_input", bad_input::bad_input),
        ("faults", bad_input::faults),
        ("matmul_matrix", matmul::matrix),
        ("matmul_bad_input", matmul::bad_input),
        ("matmul_fused", matmul_fused::matrix),
        ("transform", transform::matrix),
        ("scale_modes", transform::scale_modes),
        ("native_algorithms", matmul::native_algorithms),
        ("lt_on_a_cublas_handle", matmul::on_a_cublas_handle),
        ("heuristic", matmul::heuristic),
        ("minimum_bytes", staging::minimum_bytes),
        ("host_visible", staging::host_visible),
        ("stream_order", staging::stream_order),
        ("devices", staging::devices),
        ("busy_stream", deferred::busy_stream),
        ("graphs", deferred::graphs),
        ("mixed_operands", deferred::mixed_operands),
        ("refused_in_graphs", deferred::refused_in_graphs),
        ("memory_of_deferred_calls", deferred::memory),
        ("native_calls", policy::native_calls),
        ("learned", policy::learned),
        ("recursion", policy::recursion),
        ("level3_matrix", level3::matrix),
        ("level3_bad_input", level3::bad_input),
        ("xt_handles", xt::handles),
        ("xt_learned", xt::learned),
        ("batches_matrix", batches::matrix),
        ("batches_bad_input", batches::bad_input),
        ("host_copies", host_copies::copies),
        ("overhead", policy::overhead),
        ("served_overhead", policy::served_overhead),
        ("lookups", lookups::lookups),
        ("other_ways_to_look_up", lookups::other_ways),
        ("conv_matrix", cudnn::matrix::matrix),
        ("conv_one", cudnn::matrix::one),
        ("native_convolutions", cudnn::policy::native_convolutions),
        ("learned_convolutions", cudnn::policy::learned_convolutions),
        ("learned_graphs", cudnn::policy::learned_graphs),
        ("passed_through", cudnn::policy::passed_through),
        ("bad_arguments_stay_native", cudnn::policy::bad_arguments_stay_native),
        ("cudnn_forwarded", cudnn::policy::forwarded),
        ("cudnn_refused", cudnn::policy::refused),
        ("graph_statuses", cudnn::misuse::statuses),
        ("null_handles", cudnn::misuse::null_handles),
        ("graph_refusals", cudnn::misuse::refusals),
        ("pointwise_modes", cudnn::pointwise::modes),
        ("selection", cudnn::pointwise::selection),
        ("add_relu", cudnn::fused::add_relu),
        ("scale_bias_activation", cudnn::fused::scale_bias_activation),
        ("scalars_by_value", cudnn::fused::scalars_by_value),
        ("reductions", cudnn::fused::reductions),
        ("matmul_bias_gelu", cudnn::fused::matmul_bias_gelu),
        ("graph_pooling", cudnn::fused::pooling),
        ("impossible_graphs", cudnn::fused::impossible),
        ("norm_forward", cudnn::norm::forward),
        ("norm_backward", cudnn::norm::backward),
        ("cudnn_stream_order", cudnn::placement::stream_order),
        ("cudnn_capture", cudnn::placement::capture),
        ("cudnn_threads", cudnn::placement::threads_and_devices),
        ("conv_algorithms", cudnn::algorithms::answers),
        ("cudnn_handles", cudnn::policy::handles),
    ];
    let Some(scenario) = scenarios.iter().find(|row| row.0 == name) else {
        let known: Vec<_> = scenarios.iter().map(|row| row.0).collect();
        eprintln!("unknown scenario {name:?}; known: {}", known.join(" "));
        std::process::exit(2);
    };
    lab::load_native_libraries();
    (scenario.1)();
    println!("scenario {name} passed");
}
