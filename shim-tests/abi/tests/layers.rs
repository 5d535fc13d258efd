//! Who may import whom: the table in ARCHITECTURE.md, held against the `use crate::…` lines.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Layer to the layers that it may import, from ARCHITECTURE.md.
fn permissions() -> BTreeMap<String, Vec<String>> {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    let mut permissions = BTreeMap::new();
    for row in text.lines().filter(|line| line.starts_with("| `src/")) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        let layer = cells[1].trim_matches('`').trim_start_matches("src/").to_owned();
        let may = cells[3].split([' ', ',']).filter_map(|word| word.strip_prefix('`')?.strip_suffix('`'));
        permissions.insert(layer, may.map(str::to_owned).collect());
    }
    assert!(permissions.len() >= 10, "the table of layers is in ARCHITECTURE.md: {permissions:?}");
    permissions
}

/// The sources below a folder, without those of crates that lie in it.
fn rust_files(folder: &Path, files: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            if !path.join("Cargo.toml").exists() {
                rust_files(&path, files);
            }
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
}

#[test]
fn no_layer_imports_what_architecture_md_does_not_allow() {
    let permissions = permissions();
    let source = root().join("src");
    let mut files = Vec::new();
    rust_files(&source, &mut files);
    assert!(files.len() > 25);
    for file in files {
        let relative = file.strip_prefix(&source).unwrap().to_string_lossy().into_owned();
        let layer = permissions
            .keys()
            .filter(|layer| relative.starts_with(layer.as_str()))
            .max_by_key(|layer| layer.len());
        let text = std::fs::read_to_string(&file).unwrap();
        let imports = text.lines().filter_map(|line| line.trim().strip_prefix("use crate::"));
        for import in imports {
            let layer = layer.unwrap_or_else(|| panic!("{relative} belongs to no layer of ARCHITECTURE.md"));
            let allowed = permissions[layer]
                .iter()
                .map(|may| may.replace('/', "::"))
                .any(|may| import.starts_with(&may));
            let own = import.starts_with(&layer.trim_end_matches(".rs").replace('/', "::"));
            assert!(allowed || own, "{relative} ({layer}) may not import crate::{import}");
        }
    }
}

#[test]
fn only_the_boundary_exports_and_catches_panics() {
    let source = root().join("src");
    let mut files = Vec::new();
    rust_files(&source, &mut files);
    for file in files {
        let relative = file.strip_prefix(&source).unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&file).unwrap();
        let boundary = relative.starts_with("boundary/");
        assert!(boundary || !text.contains("unsafe(no_mangle)"), "{relative} exports by itself");
        assert!(
            relative.starts_with("boundary/")
                || relative == "native/inside.rs"
                || !text.contains("catch_unwind"),
            "{relative} catches panics"
        );
    }
}

#[test]
fn files_and_functions_stay_small() {
    let mut files = Vec::new();
    rust_files(&root().join("src"), &mut files);
    rust_files(&root().join("src/engine"), &mut files);
    rust_files(&root().join("src/audit"), &mut files);
    for file in files {
        let lines = std::fs::read_to_string(&file).unwrap().lines().count();
        assert!(lines <= 460, "{} has {lines} lines", file.display());
    }
}
