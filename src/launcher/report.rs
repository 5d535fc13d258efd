//! `gpucompat report`: a report that a process left (`GPU_COMPAT_STATS=FILE.json`), as a table or as a page.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use gpucompat_report::{Report, page, table};

/// What is to be shown, and how.
#[derive(Args)]
pub struct Arguments {
    /// The report, as `gpucompat run --stats=FILE.json` left it
    file: PathBuf,
    /// Write a page with plots to a file, instead of a table to standard output
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

/// Shows it.
pub fn main(arguments: &Arguments) -> ExitCode {
    match shown(arguments) {
        Ok(text) => crate::print(text.as_bytes()).map_or_else(crate::failed, |()| ExitCode::SUCCESS),
        Err(why) => {
            crate::complain(&why);
            ExitCode::FAILURE
        }
    }
}

/// What goes to standard output.
fn shown(arguments: &Arguments) -> Result<String, String> {
    let named = |file: &PathBuf, why: String| format!("{}: {why}", file.display());
    let file = &arguments.file;
    let text = std::fs::read_to_string(file).map_err(|error| named(file, error.to_string()))?;
    let report = Report::from_json(&text).map_err(|error| named(file, error))?;
    let Some(into) = &arguments.html else { return Ok(table::table(&report)) };
    std::fs::write(into, page::page(&report)).map_err(|error| named(into, error.to_string()))?;
    Ok(String::new())
}
