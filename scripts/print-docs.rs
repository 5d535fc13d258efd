//! Prints generated documentation: `print-docs environment`, `print-docs functions`, or `print-docs functions.tsv`.

use std::collections::BTreeMap;
use std::path::Path;

use gpucompat::config::VARIABLES;
use gpucompat::surface::TREATMENTS;

fn main() {
    match std::env::args().nth(1).as_deref() {
        Some("environment") => environment(),
        Some("functions") => functions(),
        Some("functions.tsv") => functions_table(),
        _ => {
            eprintln!("usage: print-docs environment|functions|functions.tsv");
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

/// Each function with its treatment and the versions of the library that export it.
fn functions_table() {
    println!("library\tfunction\ttreatment\tversions");
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/surface/exports");
    let mut lists: Vec<_> = std::fs::read_dir(folder)
        .expect("the lists of exports are there")
        .map(|entry| entry.expect("a readable folder").path())
        .collect();
    lists.sort();
    let mut versions: BTreeMap<(String, String), Vec<String>> = BTreeMap::new();
    for path in lists {
        // libcublas.so.12-12.4.5.8.txt
        let file = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let (soname, version) = file.split_once('-').expect("soname-version.txt");
        let library = soname.trim_start_matches("lib").split('.').next().unwrap_or_default().to_lowercase();
        let names = std::fs::read_to_string(&path).expect("a readable list");
        for name in names.lines() {
            versions.entry((library.clone(), name.to_owned())).or_default().push(version.to_owned());
        }
    }
    let mut rows: Vec<_> = TREATMENTS.to_vec();
    rows.sort_unstable();
    for (library, symbol, treatment) in rows {
        let key = (library.to_owned(), symbol.to_owned());
        let versions = versions.get(&key).map(|list| list.join(" ")).unwrap_or_default();
        println!("{library}\t{symbol}\t{}\t{versions}", treatment.trim_end_matches("_algo"));
    }
}

fn functions() {
    println!("# Functions\n");
    println!(
        "Printed from `src/surface/*.table` by `scripts/gen-docs.sh`. Each function with its treatment and the"
    );
    println!("versions that export it: [functions.tsv](functions.tsv).\n");
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
