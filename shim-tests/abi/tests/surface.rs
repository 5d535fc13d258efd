//! The tables, the built library and the lists of what the real libraries export agree.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

fn source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../src").join(path)
}

/// Symbol to treatment.
fn table(name: &str) -> BTreeMap<String, String> {
    let text = std::fs::read_to_string(source(&format!("surface/{name}.table"))).unwrap();
    let mut rows = BTreeMap::new();
    for row in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let words: Vec<&str> = row.split_whitespace().collect();
        let twice = rows.insert(words[0].to_owned(), words[1].to_owned());
        assert!(twice.is_none(), "{} has two rows", words[0]);
    }
    rows
}

/// Names that some version of the library exports, with the list that says so.
fn exports(prefix: &str) -> BTreeMap<String, String> {
    let mut names = BTreeMap::new();
    let mut lists = 0;
    for entry in std::fs::read_dir(source("surface/exports")).unwrap() {
        let path = entry.unwrap().path();
        let file = path.file_name().unwrap().to_string_lossy().into_owned();
        if file.starts_with(prefix) {
            lists += 1;
            for name in std::fs::read_to_string(&path).unwrap().lines() {
                names.insert(name.to_owned(), file.clone());
            }
        }
    }
    assert!(lists >= 3, "lists of {prefix} of three versions");
    names
}

#[test]
fn every_export_of_the_real_libraries_has_a_row_and_every_row_an_export() {
    let libraries = [("cublas", "libcublas.so."), ("cublaslt", "libcublasLt.so."), ("cudnn", "libcudnn.so.")];
    for (name, prefix) in libraries {
        let (table, exports) = (table(name), exports(prefix));
        for (symbol, list) in &exports {
            assert!(table.contains_key(symbol), "{symbol} ({list}) has no row in {name}.table");
        }
        for symbol in table.keys() {
            assert!(
                exports.contains_key(symbol),
                "{symbol} of {name}.table is exported by no version of the library"
            );
        }
    }
}

#[test]
fn the_built_library_exports_the_served_and_refused_rows_and_nothing_else() {
    let shim = std::env::var("GPU_COMPAT_SHIM").expect("GPU_COMPAT_SHIM: run `scripts/test.sh abi`");
    let output =
        Command::new("nm").args(["-D", "--defined-only", "--format=posix", &shim]).output().expect("nm runs");
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let exported: Vec<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(exported.len() > 500, "nm shows the exports");
    let mut expected = BTreeMap::new();
    for name in ["cublas", "cublaslt", "cudnn", "cudart"] {
        expected.extend(table(name).into_iter().filter(|row| row.1 != "forwarded"));
    }
    for symbol in &exported {
        assert!(expected.contains_key(*symbol), "{symbol} is exported without a row");
    }
    for (symbol, treatment) in &expected {
        assert!(exported.contains(&symbol.as_str()), "{symbol} is {treatment} and not exported");
    }
}
