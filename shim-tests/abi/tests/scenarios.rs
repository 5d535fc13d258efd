//! Each rule of the library layer, shown by a scenario in a process of its own.
//!
//! `Lab` preloads `libgpucompat.so` and the simulated GPU as a user would, and lets the scenario load the
//! stand-ins for the native libraries as PyTorch loads the real ones.

mod lab;

use lab::{Lab, number, seed};

/// The table of cuBLAS.
fn cublas_table() -> String {
    std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../../src/surface/cublas.table")).unwrap()
}

/// The functions that a scenario says it has called.
fn called_in(output: &str) -> Vec<&str> {
    output.lines().find_map(|line| line.strip_prefix("symbols ")).unwrap_or("").split(' ').collect()
}

#[test]
fn two_thousand_random_products_over_every_entry_point_agree_with_the_reference() {
    let seed = seed();
    let (output, _) =
        Lab::without_native().set("GEMM_CASES", "20").set("GEMM_SEED", &seed).run("gemm_matrix");
    assert!(number(&output, "cases ") >= 2000, "{output}");
    let called = called_in(&output);
    let table = cublas_table();
    let served = table.lines().filter_map(|row| {
        let words: Vec<&str> = row.split_whitespace().collect();
        (words.get(1) == Some(&"served")
            && words.get(2).is_some_and(|entry| entry.starts_with("gemm"))
            && !words[0].starts_with("cublasXt"))
        .then(|| words[0])
    });
    for symbol in served {
        assert!(called.contains(&symbol), "{symbol} is said to be served and was not called");
    }
}

/// Runs a scenario that calls every function of a part of cublas.table, which begins with the line `heading`.
fn covers(scenario: &str, heading: &str, lab: Lab) {
    let (output, _) = lab.set("BLAS_SEED", &seed()).run(scenario);
    let called = called_in(&output);
    let table = cublas_table();
    let rows = table.lines().skip_while(|line| !line.starts_with(heading)).skip(1);
    let rows: Vec<&str> = rows.take_while(|line| !line.is_empty()).collect();
    assert!(rows.len() > 100, "{heading} heads the functions in cublas.table");
    for row in rows {
        let words: Vec<&str> = row.split_whitespace().collect();
        assert!(words[1] != "served" || called.contains(&words[0]), "{} is served and not called", words[0]);
    }
}

/// Fails unless `output` says that each row of `cublas.table` served by one of `entries` was called.
fn all_were_called(output: &str, entries: &[&str]) {
    let called = called_in(output);
    let table = cublas_table();
    let mut rows = 0;
    for row in table.lines() {
        let words: Vec<&str> = row.split_whitespace().collect();
        let of_entries = words.get(2).is_some_and(|entry| entries.contains(entry));
        // cublasXt, which has some of the entries as well, has a test of its own.
        if words.get(1) == Some(&"served") && of_entries && !words[0].starts_with("cublasXt") {
            assert!(called.contains(&words[0]), "{} is said to be served and was not called", words[0]);
            rows += 1;
        }
    }
    assert!(rows > entries.len(), "the table has rows of {entries:?}");
}

#[test]
fn level_3_agrees_with_the_reference_over_every_entry_point() {
    let (output, _) = Lab::without_native().set("GEMM_SEED", &seed()).run("level3_matrix");
    let products = ["symm", "hemm", "syrk", "herk", "syr2k", "her2k", "syrkx", "herkx", "syrk_ex", "herk_ex"];
    all_were_called(&output, &products);
    all_were_called(&output, &["trmm", "trsm", "trsm_batched", "geam", "dgmm", "tpttr", "trttp"]);
    Lab::without_native().run("level3_bad_input");
}

#[test]
fn factorisations_and_grouped_products_agree_over_every_entry_point() {
    let (output, _) = Lab::without_native().set("GEMM_SEED", &seed()).run("batches_matrix");
    let factorisations = ["getrf_batched", "getri_batched", "getrs_batched", "geqrf_batched"];
    all_were_called(&output, &factorisations);
    all_were_called(&output, &["gels_batched", "matinv_batched", "grouped_gemm", "grouped_gemm_ex"]);
    Lab::without_native().run("batches_bad_input");
}

#[test]
fn vectors_through_every_function_of_level_1_agree_with_the_reference() {
    covers("blas1_matrix", "# -- Level 1 --", Lab::without_native().set("BLAS_CASES", "20"));
    covers("blas1_matrix", "# -- Level 1 --", Lab::with_native("no_handle:1").set("BLAS_CASES", "2"));
}

#[test]
fn matrices_with_vectors_through_every_function_of_level_2_agree_with_the_reference() {
    covers("blas2_matrix", "# -- Level 2 --", Lab::without_native().set("BLAS_CASES", "40"));
    covers("blas2_matrix", "# -- Level 2 --", Lab::with_native("no_handle:1").set("BLAS_CASES", "2"));
}

#[test]
fn the_legacy_interface_agrees_with_the_reference_over_every_function() {
    let mut called = String::new();
    for native in [None, Some("no_handle:1")] {
        for scenario in ["blas1_matrix", "blas2_matrix", "level3_matrix"] {
            let lab =
                native.map_or_else(Lab::without_native, Lab::with_native).set("BLAS_INTERFACE", "legacy");
            let (output, _) =
                lab.set("BLAS_SEED", &seed()).set("GEMM_SEED", &seed()).set("BLAS_CASES", "15").run(scenario);
            called += output.lines().find_map(|line| line.strip_prefix("symbols")).unwrap_or("");
        }
    }
    let called: Vec<&str> = called.split(' ').collect();
    let table = cublas_table();
    let mut rows = 0;
    for row in table.lines() {
        let words: Vec<&str> = row.split_whitespace().collect();
        // The products and what takes no operand have scenarios of their own.
        let other = ["init", "shutdown", "get_error", "get_version", "set_stream", "gemm"];
        let entry = words.get(2).and_then(|entry| entry.strip_prefix("legacy_"));
        if entry.is_some_and(|entry| !other.contains(&entry)) {
            assert!(called.contains(&words[0]), "{} is said to be served and was not called", words[0]);
            rows += 1;
        }
    }
    assert!(rows > 130, "the table has {rows} rows of the legacy interface");
}

#[test]
fn cublasxt_agrees_with_the_reference_on_host_and_device_memory() {
    for native in [None, Some("no_handle:1")] {
        let lab = || native.map_or_else(Lab::without_native, Lab::with_native).set("SIMGPU_DEVICES", "2");
        let (mut called, _) =
            lab().set("BLAS_INTERFACE", "xt").set("GEMM_SEED", &seed()).run("level3_matrix");
        called += &lab().run("xt_handles").0;
        let called: Vec<&str> = called.split_whitespace().collect();
        let table = cublas_table();
        let rows = table.lines().filter_map(|row| row.split_whitespace().next());
        let rows: Vec<&str> = rows.filter(|name| name.starts_with("cublasXt")).collect();
        assert_eq!(rows.len(), 51);
        for row in &rows {
            assert!(called.contains(row), "{row} is said to be served and was not called");
        }
    }
    // A handle of the real library's, which is healthy until its products fail.
    for status in ["8", "13", "15"] {
        let lab = Lab::with_native(&format!("broken_for:cublasXtSgemm:{status}"));
        lab.set("SIMGPU_MODEL", "gtx1080").set("BLAS_INTERFACE", "xt").run("xt_learned");
    }
    // On a device whose products are wrong no handle is the real library's.
    let (_, errors) =
        Lab::with_native("wrong").set("SIMGPU_DEVICES", "2").set("GPU_COMPAT_DEBUG", "1").run("xt_handles");
    assert!(errors.contains("reason=probe_failed(wrong_result)"), "{errors}");
}

#[test]
fn copies_between_host_and_device_move_their_elements_and_nothing_else() {
    for lab in [Lab::without_native(), Lab::with_native("no_handle:1")] {
        let (output, _) = lab.set("BLAS_SEED", &seed()).set("BLAS_CASES", "30").run("host_copies");
        all_were_called(&output, &["set_vector", "get_vector", "set_matrix", "get_matrix"]);
        all_were_called(
            &output,
            &["set_vector_async", "get_vector_async", "set_matrix_async", "get_matrix_async"],
        );
    }
}

#[test]
fn levels_1_and_2_keep_the_rules_of_blas_at_their_edges() {
    Lab::without_native().run("blas_rules");
}

#[test]
fn misuse_of_levels_1_and_2_gets_the_documented_status_and_touches_nothing() {
    Lab::without_native().run("blas_bad_input");
}

#[test]
fn products_agree_whatever_the_reason_to_serve_them() {
    for (standin, force, count) in
        [("no_handle:1", "", "3"), ("broken:15", "", "2"), ("wrong", "", "2"), ("broken:8", "1", "2")]
    {
        let force = if force.is_empty() {
            Lab::with_native(standin)
        } else {
            Lab::with_native(standin).set("FORCE_GPU_COMPAT_PATCHES", force)
        };
        force.set("GEMM_CASES", count).set("GEMM_SEED", &seed()).run("gemm_matrix");
    }
}

#[test]
fn scalars_in_device_memory_are_read_there() {
    Lab::without_native().run("device_scalars");
    Lab::with_native("wrong").run("device_scalars");
}

#[test]
fn zero_sizes_succeed_and_touch_nothing() {
    Lab::without_native().run("zero_sizes");
}

#[test]
fn the_legacy_interface_takes_scalars_by_value_and_keeps_errors() {
    Lab::without_native().run("legacy");
    Lab::with_native("no_handle:1").run("legacy");
    Lab::with_native("healthy").set("SIMGPU_MODEL", "rtx4090").run("legacy");
    for delay in ["0", "500"] {
        let lab = Lab::without_native().set("BLAS_INTERFACE", "legacy");
        lab.set("SIMGPU_DELAY_US", delay).run("legacy_memory");
    }
    Lab::without_native().set("BLAS_INTERFACE", "legacy").run("legacy_bad_input");
}

#[test]
fn a_handle_keeps_its_state_and_refuses_bad_values() {
    Lab::without_native().run("handle_state");
    Lab::with_native("no_handle:1").run("handle_state");
}

#[test]
fn null_destroyed_and_foreign_handles_are_not_initialized() {
    Lab::without_native().run("handle_lives");
}

#[test]
fn an_unserved_function_refuses_our_handle_and_forwards_the_native_ones() {
    let (_, errors) = Lab::with_native("no_handle:1").run("refused");
    assert!(errors.contains("fn=cublasUint8gemmBias is not served"), "{errors}");
    Lab::with_native("healthy").run("forwarded");
}

#[test]
fn bad_input_gets_the_documented_status_and_leaves_the_output_untouched() {
    Lab::without_native().run("bad_input");
}

#[test]
fn a_failing_copy_or_wait_is_an_error_and_leaves_the_output_untouched() {
    Lab::without_native().run("faults");
}

#[test]
fn cublaslt_products_agree_in_every_type_order_and_epilogue() {
    let (output, _) = Lab::with_native("no_handle:1").run("matmul_matrix");
    assert!(number(&output, "cases ") >= 400, "{output}");
    Lab::with_native("broken:15").run("matmul_matrix");
}

#[test]
fn cublaslt_products_agree_with_every_epilogue_scale_and_order() {
    Lab::with_native("no_handle:1").set("MATMUL_SEED", &seed()).run("matmul_fused");
    Lab::with_native("broken:15").set("MATMUL_CASES", "100").run("matmul_fused");
}

#[test]
fn cublaslt_scales_by_rows_and_blocks_agree_with_the_reference() {
    Lab::with_native("no_handle:1").run("scale_modes");
}

#[test]
fn cublaslt_transforms_agree_from_any_order_to_any_other() {
    Lab::with_native("no_handle:1").run("transform");
}

#[test]
fn a_cublas_handle_serves_as_one_of_cublaslt() {
    Lab::with_native("no_handle:1").run("lt_on_a_cublas_handle");
}

#[test]
fn algorithms_of_the_native_library_reach_it() {
    Lab::with_native("healthy").set("SIMGPU_MODEL", "rtx4090").run("native_algorithms");
}

#[test]
fn cublaslt_misuse_gets_the_documented_status() {
    Lab::with_native("no_handle:1").run("matmul_bad_input");
}

#[test]
fn the_heuristic_gives_one_algorithm_that_stays_with_us() {
    Lab::with_native("no_handle:1").run("heuristic");
}

#[test]
fn exactly_the_bytes_that_are_read_and_written_are_moved() {
    Lab::without_native().run("minimum_bytes");
}

#[test]
fn memory_that_the_host_can_see_is_not_copied() {
    Lab::without_native().run("host_visible");
}

#[test]
fn operands_are_read_and_written_in_stream_order() {
    Lab::without_native().run("stream_order");
}

#[test]
fn a_handle_works_on_its_own_device_from_any_thread() {
    Lab::without_native().set("SIMGPU_DEVICES", "2").run("devices");
}

#[test]
fn a_device_below_the_threshold_is_left_alone() {
    let (_, errors) = Lab::with_native("healthy")
        .set("SIMGPU_MODEL", "rtx4090")
        .set("EXPECT_NATIVE", "5")
        .run("native_calls");
    assert_eq!(errors, "", "nothing is said on a healthy machine");
}

#[test]
fn a_suspect_device_whose_library_passes_the_probe_is_left_alone() {
    let lab = Lab::with_native("healthy").set("EXPECT_NATIVE", "5").set("EXPECT_PROBE", "1");
    let (_, errors) = lab.set("GPU_COMPAT_DEBUG", "1").run("native_calls");
    assert!(errors.contains("mode=native reason=probe_passed"), "{errors}");
}

#[test]
fn working_native_kernels_are_told_once_where_they_were_in_doubt() {
    let idle = |lab: Lab, native: &str| {
        let (_, errors) = lab.set("EXPECT_NATIVE", native).run("native_calls");
        errors
            .lines()
            .filter(|line| line.starts_with("gpucompat: idle "))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let probed = |standin: &str| Lab::with_native(standin).set("EXPECT_PROBE", "1");
    let told = idle(probed("healthy").set("GPU_COMPAT_QUIET", "0"), "5");
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].contains("library=cublas reason=probe_passed") && told[0].contains("not needed any more"),
        "{told:?}"
    );
    assert!(idle(probed("healthy").set("GPU_COMPAT_QUIET", "1"), "5").is_empty());
    assert!(idle(probed("wrong").set("GPU_COMPAT_QUIET", "0"), "0").is_empty());
    let trusted = Lab::with_native("healthy").set("SIMGPU_MODEL", "rtx4090");
    assert!(idle(trusted.set("GPU_COMPAT_QUIET", "0"), "5").is_empty(), "that device was never in doubt");
}

#[test]
fn a_library_that_succeeds_with_a_wrong_result_fails_the_probe() {
    let lab = Lab::with_native("wrong").set("EXPECT_NATIVE", "0").set("EXPECT_PROBE", "1");
    let (_, errors) = lab.set("GPU_COMPAT_DEBUG", "1").run("native_calls");
    assert!(errors.contains("mode=compat reason=probe_failed(wrong_result)"), "{errors}");
}

#[test]
fn the_threshold_can_be_moved() {
    let lab = Lab::with_native("broken:15").set("SIMGPU_MODEL", "rtx4090").set("GPU_COMPAT_MIN_SM", "80");
    let (_, errors) = lab
        .set("EXPECT_NATIVE", "0")
        .set("EXPECT_PROBE", "1")
        .set("GPU_COMPAT_DEBUG", "1")
        .run("native_calls");
    assert!(errors.contains("reason=probe_failed(product status=15)"), "{errors}");
}

#[test]
fn forced_on_serves_a_healthy_device() {
    Lab::with_native("healthy")
        .set("FORCE_GPU_COMPAT_PATCHES", "1")
        .set("EXPECT_NATIVE", "0")
        .run("native_calls");
}

#[test]
fn forced_off_passes_everything_through() {
    Lab::with_native("healthy")
        .set("FORCE_GPU_COMPAT_PATCHES", "0")
        .set("EXPECT_NATIVE", "5")
        .run("native_calls");
}

#[test]
fn another_value_of_force_is_said_once_and_ignored() {
    let lab = Lab::with_native("healthy").set("FORCE_GPU_COMPAT_PATCHES", "maybe").set("EXPECT_NATIVE", "5");
    let (_, errors) = lab.set("EXPECT_PROBE", "1").run("native_calls");
    assert_eq!(
        errors.matches("FORCE_GPU_COMPAT_PATCHES=\"maybe\" is neither 1 nor 0").count(),
        1,
        "{errors}"
    );
}

#[test]
fn a_native_failure_for_want_of_a_kernel_is_served_and_remembered_per_function() {
    for status in ["8", "13", "15"] {
        let standin = format!("broken_for:cublasSgemm_v2,cublasGemmEx:{status}");
        let (_, errors) = Lab::with_native(&standin)
            .set("SIMGPU_MODEL", "gtx1080")
            .set("GPU_COMPAT_DEBUG", "1")
            .run("learned");
        assert!(
            errors.contains(&format!(
                "fn=cublasSgemm_v2 device=0 sm=61 mode=compat reason=native_failed(status={status})"
            )),
            "{errors}"
        );
    }
}

#[test]
fn what_the_native_library_calls_itself_goes_straight_on() {
    Lab::with_native("via_lt").set("SIMGPU_MODEL", "rtx4090").run("recursion");
    Lab::with_native("via_lt").run("recursion");
}

#[test]
fn one_line_says_that_it_is_active_and_quiet_silences_it() {
    let (_, errors) = Lab::without_native().set("GEMM_CASES", "1").run("gemm_matrix");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    assert!(
        errors.starts_with("gpucompat: active device=0 name=\"NVIDIA GeForce RTX 5090\" sm=120"),
        "{errors}"
    );
    let (_, errors) =
        Lab::without_native().set("GEMM_CASES", "1").set("GPU_COMPAT_QUIET", "1").run("gemm_matrix");
    assert_eq!(errors, "");
}

#[test]
fn debug_lines_tell_shapes_types_bytes_and_time_and_go_to_a_file_as_well() {
    let file = std::env::temp_dir().join(format!("gpucompat-log-{}", std::process::id()));
    let _ = std::fs::remove_file(&file);
    let path = file.to_str().unwrap().to_owned();
    let lab = Lab::without_native().set("GPU_COMPAT_LOG", &path).set("GPU_COMPAT_QUIET", "1");
    let (_, errors) = lab.run("minimum_bytes");
    assert_eq!(errors, "");
    let log = std::fs::read_to_string(&file).unwrap();
    std::fs::remove_file(&file).unwrap();
    let line =
        log.lines().find(|line| line.contains("served fn=cublasSgemm_v2")).unwrap_or_else(|| panic!("{log}"));
    for part in
        ["trans=nt m=7 n=5 k=3 lda=9 ldb=6 ldc=8 batch=1 type=f32", "in=144B out=140B", "time=", "kernel="]
    {
        assert!(line.contains(part), "{part} is not in {line}");
    }
}
