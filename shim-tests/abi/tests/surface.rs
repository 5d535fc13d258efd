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

/// The C names that a shared library defines.
fn defined(library: &Path) -> Vec<String> {
    let output = Command::new("nm")
        .args(["-D", "--defined-only", "--format=posix"])
        .arg(library)
        .output()
        .expect("nm runs");
    assert!(output.status.success(), "nm {}", library.display());
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().filter_map(|line| line.split([' ', '@']).next()).map(str::to_owned).collect()
}

#[test]
fn every_export_of_an_installed_library_has_a_row() {
    let folders = std::env::var("GPU_COMPAT_NATIVE_LIBRARIES").expect("run `scripts/test.sh abi`");
    let mut libraries = 0;
    for folder in folders.split(':').filter(|folder| !folder.is_empty()) {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            let tables =
                [("libcublas.so.", "cublas"), ("libcublasLt.so.", "cublaslt"), ("libcudnn.so.", "cudnn")];
            let Some((_, name)) = tables.iter().find(|(prefix, _)| file.starts_with(prefix)) else {
                continue;
            };
            let table = table(name);
            for symbol in defined(&path) {
                if symbol.starts_with("cublas") || symbol.starts_with("cudnn") {
                    assert!(
                        table.contains_key(&symbol),
                        "{symbol} of {} has no row in {name}.table",
                        path.display()
                    );
                }
            }
            libraries += 1;
        }
    }
    assert!(libraries >= 3, "PyTorch's wheel brings cuBLAS, cuBLASLt and cuDNN: {folders}");
}

#[test]
fn the_built_library_exports_the_served_and_refused_rows_and_nothing_else() {
    let shim = std::env::var("GPU_COMPAT_SHIM").expect("GPU_COMPAT_SHIM: run `scripts/test.sh abi`");
    let exported = defined(Path::new(&shim));
    assert!(exported.len() > 500, "nm shows the exports");
    let mut expected = BTreeMap::new();
    for name in ["cublas", "cublaslt", "cudnn", "cudart"] {
        expected.extend(table(name).into_iter().filter(|row| row.1 != "forwarded"));
    }
    for symbol in &exported {
        assert!(expected.contains_key(symbol), "{symbol} is exported without a row");
    }
    for (symbol, treatment) in &expected {
        assert!(exported.contains(symbol), "{symbol} is {treatment} and not exported");
    }
}
