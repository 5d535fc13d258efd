//! No panic crosses the C boundary.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use super::status::Error;
use crate::log;

/// Runs `body`; a panic becomes [`Error::Internal`], with one line in the log.
pub fn guard<R>(symbol: &str, body: impl FnOnce() -> Result<R, Error>) -> Result<R, Error> {
    quiet_hook();
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(result) => result,
        Err(payload) => {
            let text = payload
                .downcast_ref::<&str>()
                .copied()
                .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
                .unwrap_or("no message");
            log::warn_once(format_args!(
                "fn={symbol} failed inside gpucompat: {text:?}; the call, or the next one if it has returned, answers \
                 INTERNAL_ERROR, and no wrong number is left; please report this line"
            ));
            Err(Error::Internal)
        }
    }
}

/// Our copy of the standard library has its own panic hook, which prints and may walk a backtrace on the
/// program's standard error; [`guard`] says all there is to say in one line instead.
fn quiet_hook() {
    static ONCE: Once = Once::new();
    // A unit test's harness is linked to the same standard library and wants its own hook.
    if !cfg!(test) {
        ONCE.call_once(|| std::panic::set_hook(Box::new(|_| {})));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_in_the_engine_becomes_internal_error() {
        assert_eq!(guard::<()>("cublasSgemm_v2", || panic!("boom")), Err(Error::Internal));
        assert_eq!(guard("cublasSgemm_v2", || Ok(3)), Ok(3));
    }
}
