//! What the figures of a report advise.

use crate::{Report, Row, Verdict, time};

/// Calls shorter than this, on average, are mostly the cost of a call.
const SHORT_CALL: f64 = 50e-6;
/// Calls from which an average says something.
const MANY_CALLS: u64 = 1000;
/// The share of copies from which they are worth a word.
const LARGE_SHARE: f64 = 0.3;

pub(crate) fn hints(report: &Report) -> Vec<String> {
    let totals = report.totals();
    let mut hints = Vec::new();
    if totals.calls() == 0 {
        // That a device is trusted, or that gpucompat is off, proves nothing.
        let proven = |verdict: &Verdict| verdict.mode == "native" && verdict.reason == "probe_passed";
        if !report.verdicts.is_empty() && report.verdicts.iter().all(proven) {
            hints.push(
                "Nothing was served: native kernels passed the probe; gpucompat is not needed.".to_owned(),
            );
        }
        return hints;
    }
    // What the program copies itself, it copies on any device.
    let served = |row: &&Row| row.name != "aten::copy_";
    let copies: f64 = report.rows.iter().filter(served).map(|row| row.copy_in + row.copy_out).sum();
    if copies > LARGE_SHARE * totals.seconds() {
        let share = 100.0 * copies / totals.seconds();
        hints.push(if report.memory == "device" {
            format!(
                "{share:.0} % of the time goes into copies. GPU_COMPAT_MEMORY=host places PyTorch's device memory where the \
                 host computes on it in place."
            )
        } else {
            format!("{share:.0} % of the time goes into copies. Larger batches move the same weights less often.")
        });
    }
    let average = totals.seconds() / totals.calls() as f64;
    if totals.calls() >= MANY_CALLS && average < SHORT_CALL {
        hints.push(format!(
            "A call takes {} on average, most of it the cost of calling. Larger batches help; a model this small runs as \
             fast with device=\"cpu\".",
            time(average)
        ));
    }
    hints
}
