//! What gpucompat served in one process: a [`Report`], as JSON, as a table ([`table`]) and as a page with plots ([`page`]).
//!
//! Who makes one: `libgpucompat.so`, when its process ends (`GPU_COMPAT_STATS`). Who reads one: `gpucompat report`. Times
//! are seconds, sizes bytes.

use serde::{Deserialize, Serialize};

mod hints;
pub mod page;
pub mod table;
#[cfg(test)]
mod tests;

/// The version of the document; it changes when a field changes its meaning or goes.
pub const SCHEMA: u32 = 1;

/// One process, from its first verdict to its end.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// [`SCHEMA`].
    pub schema: u32,
    /// gpucompat's version.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// Its command line.
    pub command: String,
    /// When its first verdict was reached, seconds since 1970.
    pub started: f64,
    /// From then to the report.
    pub seconds: f64,
    /// The most memory of the host that the process had at a time.
    pub peak_host_bytes: u64,
    /// Who computes, and why, in the order in which that was decided.
    pub verdicts: Vec<Verdict>,
    /// Where PyTorch's device memory lies: "host", "device", or "" if that was never decided.
    pub memory: String,
    /// What was served, one row a function or operator, the longest first.
    pub rows: Vec<Row>,
    /// Bytes moved over time.
    pub timeline: Timeline,
}

/// Who computes what a library, or PyTorch's operators, are asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Verdict {
    /// "cublas", "cublaslt", "cudnn" or "operators"; or a function whose native form was found to fail.
    pub library: String,
    /// The device's number, name and compute capability as the log has them, or "device=all".
    pub device: String,
    /// "native" or "compat".
    pub mode: String,
    /// The word that the log gives.
    pub reason: String,
}

/// What a row counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A function of cuBLAS, cuBLASLt or cuDNN.
    Library,
    /// An operator of PyTorch's.
    Operator,
}

impl Kind {
    /// The word in JSON and in traces.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Library => "library",
            Kind::Operator => "operator",
        }
    }
}

/// All calls of one function or operator. Times leave out what other rows count: calls made within these.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// Function or operator.
    pub kind: Kind,
    /// Its name.
    pub name: String,
    /// How many calls.
    pub calls: u64,
    /// Waiting for operands from the device.
    pub copy_in: f64,
    /// Everything else: computing, above all.
    pub compute: f64,
    /// Waiting for results to reach the device.
    pub copy_out: f64,
    /// Fetched from the device.
    pub bytes_in: u64,
    /// Written to the device.
    pub bytes_out: u64,
}

impl Row {
    /// The row's columns, as people read them.
    pub fn cells(&self) -> [String; 8] {
        [
            self.name.clone(),
            self.calls.to_string(),
            time(self.seconds()),
            time(self.copy_in),
            time(self.compute),
            time(self.copy_out),
            size(self.bytes_in),
            size(self.bytes_out),
        ]
    }

    /// Seconds in all.
    pub fn seconds(&self) -> f64 {
        self.copy_in + self.compute + self.copy_out
    }
}

/// Bytes moved in each of a row of equal spans of time, the first of which begins with the report.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Timeline {
    /// How long each is.
    pub span: f64,
    /// Fetched from the device.
    pub bytes_in: Vec<u64>,
    /// Written to the device.
    pub bytes_out: Vec<u64>,
}

/// Sums over all rows.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Totals {
    /// Calls of library functions.
    pub library_calls: u64,
    /// Calls of operators.
    pub operator_calls: u64,
    /// Waiting for operands.
    pub copy_in: f64,
    /// Computing.
    pub compute: f64,
    /// Waiting for results.
    pub copy_out: f64,
    /// Fetched from the device.
    pub bytes_in: u64,
    /// Written to the device.
    pub bytes_out: u64,
}

impl Totals {
    /// Seconds in served calls.
    pub fn seconds(&self) -> f64 {
        self.copy_in + self.compute + self.copy_out
    }

    /// Served calls.
    pub fn calls(&self) -> u64 {
        self.library_calls + self.operator_calls
    }
}

impl Report {
    /// Sums over all rows.
    pub fn totals(&self) -> Totals {
        self.rows.iter().fold(Totals::default(), |sum, row| Totals {
            library_calls: sum.library_calls + if row.kind == Kind::Library { row.calls } else { 0 },
            operator_calls: sum.operator_calls + if row.kind == Kind::Operator { row.calls } else { 0 },
            copy_in: sum.copy_in + row.copy_in,
            compute: sum.compute + row.compute,
            copy_out: sum.copy_out + row.copy_out,
            bytes_in: sum.bytes_in + row.bytes_in,
            bytes_out: sum.bytes_out + row.bytes_out,
        })
    }

    /// What the figures advise, one sentence each.
    pub fn hints(&self) -> Vec<String> {
        hints::hints(self)
    }

    /// Reads a report's JSON.
    ///
    /// # Errors
    /// A sentence: not JSON, another document, or a newer version of it.
    pub fn from_json(text: &str) -> Result<Report, String> {
        let report: Report =
            serde_json::from_str(text).map_err(|error| format!("not a report of gpucompat's: {error}"))?;
        if report.schema == SCHEMA {
            Ok(report)
        } else {
            Err(format!("a report of version {}; this program reads version {SCHEMA}", report.schema))
        }
    }

    /// The report's JSON, indented, with an end of line.
    pub fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).unwrap_or_default();
        text.push('\n');
        text
    }
}

/// A text as JSON has it, in quotes.
pub fn json_text(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// Seconds as people read them: `12.3 s`, `4.56 ms`, `7.8 µs`.
pub fn time(seconds: f64) -> String {
    if seconds >= 1.0 {
        format!("{seconds:.2} s")
    } else if seconds >= 1e-3 {
        format!("{:.2} ms", seconds * 1e3)
    } else {
        format!("{:.1} µs", seconds * 1e6)
    }
}

/// Bytes as people read them: `12 B`, `1.5 KiB`, `3.0 MiB`.
pub fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 { format!("{bytes} B") } else { format!("{value:.1} {}", UNITS[unit]) }
}
