//! How a stand-in behaves; README.md has the table.

use std::sync::LazyLock;

use crate::record;

/// What a computing function does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Play {
    /// Computes.
    Compute,
    /// Returns this status.
    Fail(i32),
    /// Returns success and writes garbage.
    Garble,
}

/// A parsed `STANDIN_CUBLAS`, `STANDIN_CUBLASLT` or `STANDIN_CUDNN`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Everything works.
    Healthy,
    /// Everything that computes fails.
    Broken(i32),
    /// These functions fail.
    BrokenFor(Vec<String>, i32),
    /// No handle can be made.
    NoHandle(i32),
    /// Success and garbage.
    Wrong,
    /// Works by calling cuBLASLt.
    ViaLt,
}

/// Parses a value of the variable; `no_handle` alone means the library's status `not_initialized`.
pub fn parse(text: &str, not_initialized: i32) -> Option<Mode> {
    let words: Vec<&str> = text.split(':').collect();
    match words[..] {
        ["" | "healthy"] => Some(Mode::Healthy),
        ["broken", status] => status.parse().ok().map(Mode::Broken),
        ["broken_for", names, status] => {
            let names = names.split(',').map(str::to_owned).collect();
            status.parse().ok().map(|status| Mode::BrokenFor(names, status))
        }
        ["no_handle"] => Some(Mode::NoHandle(not_initialized)),
        ["no_handle", status] => status.parse().ok().map(Mode::NoHandle),
        ["wrong"] => Some(Mode::Wrong),
        ["via_lt"] => Some(Mode::ViaLt),
        _ => None,
    }
}

/// The mode that the first of `variables` that is set asks for; `not_initialized` as in `parse`.
pub fn from_environment(variables: &[&str], not_initialized: i32) -> Mode {
    let text = variables.iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
    parse(&text, not_initialized).unwrap_or_else(|| {
        eprintln!("standin: {text:?} is no mode; playing healthy");
        Mode::Healthy
    })
}

/// cuBLAS's mode.
pub static CUBLAS: LazyLock<Mode> =
    LazyLock::new(|| from_environment(&["STANDIN_CUBLAS"], record::NOT_INITIALIZED));
/// cuBLASLt's mode.
pub static CUBLASLT: LazyLock<Mode> =
    LazyLock::new(|| from_environment(&["STANDIN_CUBLASLT", "STANDIN_CUBLAS"], record::NOT_INITIALIZED));
/// cuDNN's mode; the other libraries' does not touch it.
pub static CUDNN: LazyLock<Mode> = LazyLock::new(|| from_environment(&["STANDIN_CUDNN"], 1001));

impl Mode {
    /// What the computing function `name` does.
    pub fn play(&self, name: &str) -> Play {
        match self {
            Mode::Broken(status) => Play::Fail(*status),
            Mode::BrokenFor(names, status) if names.iter().any(|row| row == name) => Play::Fail(*status),
            Mode::Wrong => Play::Garble,
            Mode::Healthy | Mode::ViaLt | Mode::NoHandle(_) | Mode::BrokenFor(..) => Play::Compute,
        }
    }

    /// The status of making a handle.
    pub fn handle_status(&self) -> i32 {
        match self {
            Mode::NoHandle(status) => *status,
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modes_are_parsed() {
        assert_eq!(parse("", 1), Some(Mode::Healthy));
        assert_eq!(parse("broken:13", 1), Some(Mode::Broken(13)));
        assert_eq!(parse("no_handle", 1), Some(Mode::NoHandle(1)));
        assert_eq!(parse("no_handle", 1001), Some(Mode::NoHandle(1001)));
        let mode = parse("broken_for:cublasSgemm_v2,cublasGemmEx:15", 1).unwrap();
        assert_eq!(mode.play("cublasGemmEx"), Play::Fail(15));
        assert_eq!(mode.play("cublasDgemm_v2"), Play::Compute);
        assert_eq!(parse("nonsense", 1), None);
    }
}
