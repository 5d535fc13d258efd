//! Table row → macro call.
//!
//! | row | becomes |
//! |---|---|
//! | `name served entry types…` | `cublas_entry!(name, types…);` (`cudnn_entry!` for cuDNN, and so on) |
//! | `name refused` | `refused!(Library, name);` |
//! | `name forwarded` | nothing: the program binds to the native library |
//!
//! All rows together also become `TREATMENTS`, for tests and documentation.

use std::fmt::Write as _;
use std::path::Path;

fn main() {
    let mut code = String::new();
    let mut treatments = String::new();
    for (table, library) in
        [("cublas", "Cublas"), ("cublaslt", "CublasLt"), ("cudnn", "Cudnn"), ("cudart", "Cudart")]
    {
        let path = format!("src/surface/{table}.table");
        println!("cargo::rerun-if-changed={path}");
        let text = std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
        for row in text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let words: Vec<&str> = row.split_whitespace().collect();
            let (name, treatment) = (words[0], words[1]);
            match treatment {
                "served" => {
                    let arguments = [&[name], &words[3..]].concat().join(", ");
                    let _ = writeln!(code, "{table}_{}!({arguments});", words[2]);
                }
                "refused" => {
                    let _ = writeln!(code, "refused!({library}, {name});");
                }
                "forwarded" => {}
                other => panic!("{path}: {name} has the unknown treatment {other:?}"),
            }
            let _ = writeln!(treatments, "    ({table:?}, {name:?}, {treatment:?}),");
        }
    }
    let _ = writeln!(
        code,
        "/// Every row of the tables: library, symbol, treatment.\n\
         pub const TREATMENTS: &[(&str, &str, &str)] = &[\n{treatments}];"
    );
    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR for build scripts");
    std::fs::write(Path::new(&out).join("surface.rs"), code).expect("OUT_DIR is writable");
}
