//! The command `gpucompat`: runs a program with the library preloaded, says whether it is needed, and shows
//! what it did.

mod doctor;
mod man;
mod platform;
mod report;
mod run;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The command line.
#[derive(Parser)]
#[command(
    name = "gpucompat",
    version,
    about = "Keeps unmodified CUDA programs working on a GPU whose kernels are missing",
    disable_help_subcommand = true
)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

/// What is to be done.
#[derive(Subcommand)]
enum Verb {
    /// Run a program with gpucompat preloaded
    Run(run::Arguments),
    /// Say whether programs work on this machine's GPU, and what to do if not
    Doctor(doctor::Arguments),
    /// Show a report that a program left (run --stats=FILE.json)
    Report(report::Arguments),
    /// Print the manual page
    #[command(hide = true)]
    Man,
}

fn main() -> ExitCode {
    match Cli::parse().verb {
        Verb::Run(arguments) => run::main(&arguments),
        Verb::Doctor(arguments) => doctor::main(&arguments),
        Verb::Report(arguments) => report::main(&arguments),
        Verb::Man => print(&man::page::<Cli>()).map_or_else(failed, |()| ExitCode::SUCCESS),
    }
}

/// Writes to standard output. A reader that has gone away wants no more, which is not an error.
fn print(bytes: &[u8]) -> io::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        result => result,
    }
}

/// Says on standard error why nothing was printed; standard error itself may be closed too.
fn failed(error: io::Error) -> ExitCode {
    complain(&format!("cannot write: {error}"));
    ExitCode::FAILURE
}

/// One line on standard error.
fn complain(what: &str) {
    let _ = writeln!(io::stderr(), "gpucompat: {what}");
}
