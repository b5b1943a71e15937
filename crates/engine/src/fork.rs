//! A process that an application has forked is no server: one that comes back from the application, in
//! a child of Apache, would answer the parent's request once more, on the parent's connection, and
//! then stay, with all that the server has open, as nobody's child. It ends instead, and says nothing
//! to the client. In a worker of daemon mode it has no connection. Nor does it read the body of the
//! request: what it takes from the connection its parent would miss, which finds the next request there.
//!
//! <https://man7.org/linux/man-pages/man3/pthread_atfork.3.html>

use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

static FORKED: AtomicBool = AtomicBool::new(false);

/// From now on forked children are known, once for the process: it forks no more servers.
pub(crate) fn install() {
    static DONE: Once = Once::new();
    DONE.call_once(|| {
        // SAFETY: the handler only stores (L1). It lives as long as the image, which is never unloaded.
        unsafe { libc::pthread_atfork(None, None, Some(in_child)) };
    });
}

extern "C" fn in_child() {
    FORKED.store(true, Relaxed);
}

/// Whether an application has forked this process.
pub(crate) fn is_forked() -> bool {
    FORKED.load(Relaxed)
}

/// Ends the process if it is forked, before it does what is its parent's to do.
pub(crate) fn end_if_forked() {
    if is_forked() {
        // SAFETY: ends this process only, without running what the server has to run at its end.
        unsafe { libc::_exit(0) }
    }
}
