//! Fault injection: the n-th call of a kind fails.
//!
//! `SIMGPU_FAIL=malloc:3` makes the third allocation fail, `memcpy_d2h:1:719` the first copy to the host
//! with code 719, `memcpy:2` the second copy of any kind; several are separated by commas. `simgpu_set_fault` sets them at run time.

use std::sync::LazyLock;

use parking_lot::Mutex;

use super::{Code, Outcome};

/// Kinds of calls that can be made to fail, with the code they fail with unless told otherwise.
pub const KINDS: &[(&str, Code)] = &[
    ("malloc", Code::OUT_OF_MEMORY),
    ("host_alloc", Code::OUT_OF_MEMORY),
    ("memcpy_h2d", Code::UNKNOWN),
    ("memcpy_d2h", Code::UNKNOWN),
    ("memcpy_d2d", Code::UNKNOWN),
    ("memcpy", Code::UNKNOWN),
    ("sync", Code::UNKNOWN),
    ("event", Code::UNKNOWN),
    ("stream", Code::UNKNOWN),
];

struct Fault {
    kind: String,
    calls_left: u64,
    code: Code,
}

static FAULTS: LazyLock<Mutex<Vec<Fault>>> = LazyLock::new(|| {
    let text = std::env::var("SIMGPU_FAIL").unwrap_or_default();
    Mutex::new(parse(&text).unwrap_or_else(|| {
        eprintln!("simgpu: SIMGPU_FAIL={text:?} is not understood and is ignored");
        Vec::new()
    }))
});

fn parse(text: &str) -> Option<Vec<Fault>> {
    text.split(',').filter(|part| !part.is_empty()).map(parse_one).collect()
}

fn parse_one(text: &str) -> Option<Fault> {
    let mut words = text.split(':');
    let kind = words.next()?;
    let default = KINDS.iter().find(|row| row.0 == kind)?.1;
    let calls_left = words.next()?.parse().ok().filter(|&nth| nth > 0)?;
    let code = match words.next() {
        Some(code) => Code(code.parse().ok()?),
        None => default,
    };
    words.next().is_none().then(|| Fault { kind: kind.to_owned(), calls_left, code })
}

/// Replaces all faults; false if `text` is not understood.
pub fn set(text: &str) -> bool {
    let parsed = parse(text);
    let understood = parsed.is_some();
    if let Some(faults) = parsed {
        *FAULTS.lock() = faults;
    }
    understood
}

/// Counts one call of `kind`; fails if it is the one.
pub fn check(kind: &str) -> Outcome {
    let mut faults = FAULTS.lock();
    let mut failed = None;
    faults.retain_mut(|fault| {
        if fault.kind == kind {
            fault.calls_left -= 1;
            if fault.calls_left == 0 {
                failed = Some(fault.code);
                return false;
            }
        }
        true
    });
    failed.map_or(Ok(()), Err)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nth_call_fails_and_only_that_one() {
        let _alone = crate::core::test_lock();
        assert!(set("malloc:2,sync:1:719"));
        assert_eq!(check("malloc"), Ok(()));
        assert_eq!(check("malloc"), Err(Code::OUT_OF_MEMORY));
        assert_eq!(check("malloc"), Ok(()));
        assert_eq!(check("sync"), Err(Code(719)));
        assert!(!set("nonsense:1") && !set("malloc:0") && !set("malloc"));
        assert!(set(""));
    }
}
