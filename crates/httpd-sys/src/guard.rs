//! The one place where calls from C come in: a panic stops here.
//!
//! Unwinding into C is undefined, and a worker that dies takes every request of its process with
//! it. So each function that C calls runs its body in [`guarded`], states what C gets if the body
//! panics, and says where the message goes. Profiles must keep `panic = "unwind"`.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs `body`. If it panics, the message is logged by `report` and `failed` returned.
///
/// State that the panic left half-changed is the request's own, and the request is over; what
/// requests share is behind locks that recover from poisoning, or atomic.
#[inline]
pub(crate) fn guarded<T>(failed: T, report: impl FnOnce(&str), body: impl FnOnce() -> T) -> T {
    match catch_unwind(AssertUnwindSafe(body)) {
        Ok(value) => value,
        Err(panic) => {
            // If logging panics, too, there is nothing left to say.
            let _ = catch_unwind(AssertUnwindSafe(|| report(message(&*panic))));
            failed
        }
    }
}

/// As [`guarded`], where nobody can be told.
pub(crate) fn quiet<T>(failed: T, body: impl FnOnce() -> T) -> T {
    guarded(failed, |_| (), body)
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("panic without a message")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_reported_and_becomes_the_stated_value() {
        let mut said = String::new();
        let value = guarded(500, |text| said = text.to_owned(), || panic!("no {}", "way"));
        assert_eq!((value, said.as_str()), (500, "no way"));
        assert_eq!(guarded(500, |_| unreachable!(), || 200), 200);
        assert_eq!(guarded(1, |_| panic!("again"), || panic!("once")), 1);
    }
}
