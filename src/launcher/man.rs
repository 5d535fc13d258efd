//! The manual page, from the command line's own definition.

use clap::CommandFactory;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

/// Name, and what it is, of what a section lists.
type Rows = &'static [(&'static str, &'static str)];

const ENVIRONMENT: Rows = &[
    ("FORCE_GPU_COMPAT_PATCHES", "1 or 0: what --force and --off set."),
    ("GPU_COMPAT_DEBUG, GPU_COMPAT_QUIET", "1 or 0: what --debug and --quiet set."),
    ("GPU_COMPAT_LOG, GPU_COMPAT_STATS, GPU_COMPAT_TRACE", "What --log, --stats and --trace set."),
    ("LD_PRELOAD, LD_AUDIT, LD_LIBRARY_PATH", "What is there is kept; gpucompat goes in front."),
    ("SIMGPU_MODEL", "What --sim MODEL sets."),
    ("VIRTUAL_ENV", "The virtual environment whose Python doctor asks, before PATH."),
];

const FILES: Rows = &[
    (
        "libgpucompat.so",
        "The library that is preloaded: in the command's folder, in ../lib or in ../lib/gpucompat.",
    ),
    ("libgpucompat_audit.so", "The audit library, in the same folder."),
    ("simgpu-12", "The simulated GPU, in the library's folder or above it."),
];

const EXIT_STATUS: Rows = &[
    (
        "run",
        "The program's own. 125: gpucompat could not start it, 126: it cannot be executed, 127: it is not found.",
    ),
    ("doctor", "0: programs will work, natively or with gpucompat. 1: something needs doing."),
    ("report", "0, or 1 if there is no such report."),
    ("any", "2: the command line is not understood."),
];

const EXAMPLES: Rows = &[
    ("gpucompat doctor", "Whether gpucompat is needed here, and what to do."),
    ("gpucompat run -- python app.py", "A program with gpucompat."),
    ("gpucompat run --debug --log log.txt -- python app.py", "The same, with every decision in a file."),
    ("gpucompat run --stats -- python app.py", "The same, with a table of what was served at the end."),
    ("gpucompat report r.json --html r.html", "A page of the report that run --stats=r.json left."),
    ("gpucompat run --sim rtx5090 -- python app.py", "On a machine without a GPU."),
];

/// The page in roff.
pub fn page<C: CommandFactory>() -> Vec<u8> {
    let mut page = Vec::new();
    write(&C::command(), &mut page).expect("a vector takes every byte");
    page
}

fn write(command: &clap::Command, page: &mut Vec<u8>) -> std::io::Result<()> {
    let mut command = command.clone();
    command.build();
    let man = Man::new(command.clone());
    man.render_title(page)?;
    man.render_name_section(page)?;
    let mut synopsis = Roff::new();
    synopsis.control("SH", ["SYNOPSIS"]);
    let verbs: Vec<clap::Command> =
        command.get_subcommands().filter(|verb| !verb.is_hide_set()).cloned().collect();
    for verb in &verbs {
        let usage = verb.clone().render_usage().to_string();
        synopsis.text([roman(usage.trim_start_matches("Usage: "))]).control("br", []);
    }
    synopsis.to_writer(page)?;
    for verb in verbs {
        let name = verb.get_name().to_uppercase();
        let about = verb.get_about().map(ToString::to_string).unwrap_or_default();
        let mut options = Vec::new();
        Man::new(verb).render_options_section(&mut options)?;
        let mut section = Roff::new();
        section.control("SH", [name.as_str()]).text([roman(format!("{about}."))]);
        section.to_writer(page)?;
        // The options are a part of the verb's section, not one of their own.
        let options = String::from_utf8_lossy(&options).replacen(".SH OPTIONS\n", "", 1);
        page.extend(options.into_bytes());
    }
    for (name, rows) in
        [("ENVIRONMENT", ENVIRONMENT), ("FILES", FILES), ("EXIT STATUS", EXIT_STATUS), ("EXAMPLES", EXAMPLES)]
    {
        let mut section = Roff::new();
        section.control("SH", [name]);
        for (term, what) in rows {
            section.control("TP", []).text([bold(*term)]).text([roman(*what)]);
        }
        if name == "ENVIRONMENT" {
            section
                .control("PP", [])
                .text([roman("All variables: docs/environment.md in gpucompat's sources.")]);
        }
        section.to_writer(page)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_verb_and_section_is_there() {
        let page = String::from_utf8(page::<crate::Cli>()).unwrap();
        let sections: Vec<&str> = page.lines().filter_map(|line| line.strip_prefix(".SH ")).collect();
        assert_eq!(
            sections,
            [
                "NAME",
                "SYNOPSIS",
                "RUN",
                "DOCTOR",
                "REPORT",
                "ENVIRONMENT",
                "FILES",
                "\"EXIT STATUS\"",
                "EXAMPLES",
            ]
        );
        assert!(page.contains("dry\\-run") && page.contains("no\\-probe"), "{page}");
    }
}
