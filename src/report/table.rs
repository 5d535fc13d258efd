//! A report as a table for a terminal.

use std::fmt::Write;

use crate::{Report, Row, size, time};

/// Rows of the table; the others are summed up in one.
const ROWS: usize = 20;

/// The report as text, each line ended.
pub fn table(report: &Report) -> String {
    let totals = report.totals();
    let mut text = String::new();
    // Writing to a String cannot fail.
    let mut line = |arguments: std::fmt::Arguments<'_>| writeln!(text, "{arguments}").unwrap_or_default();
    line(format_args!("gpucompat: report of process {}, {}", report.pid, time(report.seconds)));
    for verdict in &report.verdicts {
        line(format_args!(
            "  {:<18} {:<7} {} ({})",
            verdict.library, verdict.mode, verdict.reason, verdict.device
        ));
    }
    if !report.memory.is_empty() {
        line(format_args!("  memory             {}", report.memory));
    }
    line(format_args!(
        "  served             {} operators and {} library calls in {}: copies in {}, computing {}, copies out {}",
        totals.operator_calls,
        totals.library_calls,
        time(totals.seconds()),
        time(totals.copy_in),
        time(totals.compute),
        time(totals.copy_out)
    ));
    line(format_args!(
        "  moved              {} in, {} out; peak host memory {}",
        size(totals.bytes_in),
        size(totals.bytes_out),
        size(report.peak_host_bytes)
    ));
    if !report.rows.is_empty() {
        line(format_args!(""));
        let mut columns = |[name, calls, rest @ ..]: [String; 8]| {
            let rest = rest.map(|cell| format!("{cell:>10}")).join(" ");
            line(format_args!("  {name:<44} {calls:>9} {rest}"));
        };
        let head = ["name", "calls", "time", "copy in", "compute", "copy out", "bytes in", "bytes out"];
        columns(head.map(str::to_owned));
        let (shown, rest) = report.rows.split_at(report.rows.len().min(ROWS));
        let others = (!rest.is_empty()).then(|| sum(rest));
        shown.iter().chain(&others).for_each(|row| columns(row.cells()));
    }
    for hint in report.hints() {
        line(format_args!("  hint: {hint}"));
    }
    text
}

fn sum(rows: &[Row]) -> Row {
    let name = format!("{} more", rows.len());
    let first = Row {
        name,
        calls: 0,
        copy_in: 0.0,
        compute: 0.0,
        copy_out: 0.0,
        bytes_in: 0,
        bytes_out: 0,
        ..rows[0].clone()
    };
    rows.iter().fold(first, |sum, row| Row {
        calls: sum.calls + row.calls,
        copy_in: sum.copy_in + row.copy_in,
        compute: sum.compute + row.compute,
        copy_out: sum.copy_out + row.copy_out,
        bytes_in: sum.bytes_in + row.bytes_in,
        bytes_out: sum.bytes_out + row.bytes_out,
        ..sum
    })
}
