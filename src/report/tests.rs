use crate::{Kind, Report, Row, SCHEMA, Timeline, Verdict, page, size, table, time};

fn row(name: &str, calls: u64, seconds: [f64; 3], bytes: [u64; 2]) -> Row {
    let ([copy_in, compute, copy_out], [bytes_in, bytes_out]) = (seconds, bytes);
    Row {
        kind: Kind::Operator,
        name: name.to_owned(),
        calls,
        copy_in,
        compute,
        copy_out,
        bytes_in,
        bytes_out,
    }
}

fn verdict(mode: &str) -> Verdict {
    let [library, device, reason] = ["operators", "device=0 sm=120", "probe_passed"].map(str::to_owned);
    Verdict { library, device, mode: mode.to_owned(), reason }
}

fn report(memory: &str, rows: Vec<Row>) -> Report {
    let timeline = Timeline { span: 0.1, bytes_in: vec![0, 1 << 20, 5], bytes_out: vec![7] };
    Report {
        schema: SCHEMA,
        version: "0.1.0".to_owned(),
        pid: 42,
        command: "python <app>.py".to_owned(),
        seconds: 1.5,
        verdicts: vec![verdict("compat")],
        memory: memory.to_owned(),
        rows,
        timeline,
        ..Report::default()
    }
}

#[test]
fn json_gives_the_report_back_and_other_versions_are_refused() {
    let one = report("host", vec![row("aten::add.Tensor", 3, [0.1, 0.2, 0.3], [1, 2])]);
    assert_eq!(Report::from_json(&one.to_json()), Ok(one.clone()));
    let newer = Report { schema: SCHEMA + 1, ..one };
    assert!(Report::from_json(&newer.to_json()).unwrap_err().contains("version 2"));
    assert!(Report::from_json("[]").unwrap_err().starts_with("not a report"));
}

#[test]
fn times_and_sizes_carry_their_units() {
    assert_eq!([time(2.0), time(0.0123), time(4.5e-6)], ["2.00 s", "12.30 ms", "4.5 µs"]);
    assert_eq!([size(12), size(1536), size(5 << 30)], ["12 B", "1.5 KiB", "5.0 GiB"]);
    assert_eq!(size(u64::MAX), "16777216.0 TiB");
}

#[test]
fn copies_that_take_long_are_mentioned_with_what_helps() {
    let copies = vec![row("cublasSgemm_v2", 10, [0.5, 0.4, 0.1], [1 << 30, 1 << 20])];
    assert!(report("device", copies.clone()).hints()[0].contains("GPU_COMPAT_MEMORY=host"));
    assert!(report("host", copies).hints()[0].contains("Larger batches"));
    assert!(report("host", vec![row("aten::mm", 10, [0.0, 1.0, 0.0], [0, 0])]).hints().is_empty());
    let own = vec![row("aten::copy_", 10, [0.5, 0.0, 0.5], [1 << 30, 1 << 30])];
    assert!(report("device", own).hints().is_empty(), "the program's own copies");
}

#[test]
fn many_short_calls_are_mentioned() {
    let hints = report("host", vec![row("aten::add.Tensor", 5000, [0.0, 0.05, 0.0], [0, 0])]).hints();
    assert!(hints[0].contains("10.0 µs on average") && hints[0].contains("device=\"cpu\""), "{hints:?}");
}

#[test]
fn a_process_whose_kernels_all_work_is_told_so() {
    let native = Report { verdicts: vec![verdict("native")], ..report("", Vec::new()) };
    assert!(native.hints()[0].contains("not needed"));
    for reason in ["trusted_sm_89", "forced_off"] {
        let mut unproven = native.clone();
        unproven.verdicts[0].reason = reason.to_owned();
        assert!(unproven.hints().is_empty(), "{reason} proves nothing");
    }
    assert!(report("", Vec::new()).hints().is_empty());
}

#[test]
fn the_table_sums_up_what_it_does_not_show() {
    let rows: Vec<Row> =
        (0..25).map(|index| row(&format!("aten::op{index}"), 2, [0.0, 0.001, 0.0], [1024, 0])).collect();
    let text = table::table(&report("host", rows));
    assert!(text.contains("50 operators and 0 library calls"), "{text}");
    assert!(text.contains("aten::op19") && !text.contains("aten::op20"), "{text}");
    let more = text.lines().find(|line| line.contains("5 more")).expect("a line for the rest");
    assert!(more.contains(" 10 ") && more.contains("5.0 KiB"), "{more}");
}

#[test]
fn the_page_stands_alone_and_escapes_what_it_shows() {
    let rows = vec![row("aten::\"a\" & b", 3, [0.1, 0.2, 0.3], [1, 2])];
    let text = page::page(&report("host", rows));
    assert!(text.contains("python &lt;app&gt;.py") && text.contains("aten::&quot;a&quot; &amp; b"));
    assert!(!text.contains("<app>") && !text.contains("http") && !text.contains("<script"));
    // 0.1 s, 0.2 s and 0.3 s of 0.6 s, the longest, which fills the room of 570.
    for width in ["95.00", "190.00", "285.00"] {
        assert!(text.contains(&format!("width=\"{width}\"")), "{width}: {text}");
    }
}

#[test]
fn the_table_looks_like_this() {
    let rows = vec![
        row("aten::addmm", 40, [0.0001, 0.0334, 0.0], [0, 2 << 20]),
        row("aten::relu", 20, [0.0, 0.00177, 0.000_059], [0, 1 << 10]),
    ];
    let text = table::table(&report("host", rows));
    let expected = "\
gpucompat: report of process 42, 1.50 s
  operators          compat  probe_passed (device=0 sm=120)
  memory             host
  served             60 operators and 0 library calls in 35.33 ms: copies in 100.0 µs, computing 35.17 ms, copies out 59.0 µs
  moved              0 B in, 2.0 MiB out; peak host memory 0 B

  name                                             calls       time    copy in    compute   copy out   bytes in  bytes out
  aten::addmm                                         40   33.50 ms   100.0 µs   33.40 ms     0.0 µs        0 B    2.0 MiB
  aten::relu                                          20    1.83 ms     0.0 µs    1.77 ms    59.0 µs        0 B    1.0 KiB
";
    assert_eq!(text, expected, "{text}");
}
