//! How a stand-in behaves; README.md has the table.

use std::sync::LazyLock;

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

/// A parsed `STANDIN_CUBLAS`.
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

/// Parses a value of the variable.
pub fn parse(text: &str) -> Option<Mode> {
    let words: Vec<&str> = text.split(':').collect();
    match words[..] {
        ["" | "healthy"] => Some(Mode::Healthy),
        ["broken", status] => status.parse().ok().map(Mode::Broken),
        ["broken_for", names, status] => {
            let names = names.split(',').map(str::to_owned).collect();
            status.parse().ok().map(|status| Mode::BrokenFor(names, status))
        }
        ["no_handle"] => Some(Mode::NoHandle(1)),
        ["no_handle", status] => status.parse().ok().map(Mode::NoHandle),
        ["wrong"] => Some(Mode::Wrong),
        ["via_lt"] => Some(Mode::ViaLt),
        _ => None,
    }
}

/// The mode that the first of `variables` that is set asks for.
pub fn from_environment(variables: &[&str]) -> Mode {
    let text = variables.iter().find_map(|name| std::env::var(name).ok()).unwrap_or_default();
    parse(&text).unwrap_or_else(|| {
        eprintln!("standin: {text:?} is no mode; playing healthy");
        Mode::Healthy
    })
}

/// cuBLAS's mode.
pub static CUBLAS: LazyLock<Mode> = LazyLock::new(|| from_environment(&["STANDIN_CUBLAS"]));
/// cuBLASLt's mode.
pub static CUBLASLT: LazyLock<Mode> =
    LazyLock::new(|| from_environment(&["STANDIN_CUBLASLT", "STANDIN_CUBLAS"]));

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
        assert_eq!(parse(""), Some(Mode::Healthy));
        assert_eq!(parse("broken:13"), Some(Mode::Broken(13)));
        assert_eq!(parse("no_handle"), Some(Mode::NoHandle(1)));
        let mode = parse("broken_for:cublasSgemm_v2,cublasGemmEx:15").unwrap();
        assert_eq!(mode.play("cublasGemmEx"), Play::Fail(15));
        assert_eq!(mode.play("cublasDgemm_v2"), Play::Compute);
        assert_eq!(parse("nonsense"), None);
    }
}
