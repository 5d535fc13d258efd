//! Prints generated documentation: `print-docs environment` or `print-docs functions`.

use std::collections::BTreeMap;

use gpucompat::config::VARIABLES;
use gpucompat::surface::TREATMENTS;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("environment") => environment(),
        Some("functions") => functions(),
        _ => {
            eprintln!("usage: print-docs environment|functions");
            std::process::exit(2);
        }
    }
}

fn environment() {
    println!("# Environment variables\n");
    println!(
        "Printed from `src/config.rs` by `scripts/gen-docs.sh`. They are read once, when the library is loaded.\n"
    );
    println!("| variable | values | default | what it does |\n|---|---|---|---|");
    for variable in VARIABLES {
        println!("| `{}` | {} | {} | {} |", variable.name, variable.values, variable.default, variable.doc);
    }
}

fn functions() {
    println!("# Functions\n");
    println!("Printed from `src/surface/*.table` by `scripts/gen-docs.sh`.\n");
    println!("* **served**: computed on the host when the policy says so.");
    println!(
        "* **refused**: has no host implementation; answers NOT_SUPPORTED for a handle that gpucompat made, and"
    );
    println!("  reaches the native library unchanged for any other.");
    println!("* **forwarded**: not intercepted; the program calls the native library.");
    let mut rows: BTreeMap<&str, BTreeMap<&str, Vec<&str>>> = BTreeMap::new();
    for (library, symbol, treatment) in TREATMENTS {
        let treatment = treatment.trim_end_matches("_algo");
        rows.entry(library).or_default().entry(treatment).or_default().push(symbol);
    }
    for (library, treatments) in rows {
        println!("\n## {library}\n\n| treatment | functions |\n|---|---|");
        for (treatment, symbols) in &treatments {
            println!("| {treatment} | {} |", symbols.len());
        }
        let mut served = treatments["served"].clone();
        served.sort_unstable();
        println!("\nServed: `{}`", served.join("` `"));
    }
}
