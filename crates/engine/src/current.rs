//! The request that the calling thread is in.
//!
//! `mod_wsgi.request_data()`, `sys.stdout` and the log handler ask for it. It is a stack: a filter
//! may run a subrequest into another script while a response is being sent. The place is a plain
//! thread-local without a destructor.

use std::cell::Cell;
use std::marker::PhantomData;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::group::Group;
use crate::log::Log;

/// A request while a thread handles it.
pub(crate) struct Current<'a> {
    /// The interpreter it runs in.
    pub(crate) group: &'static Group,
    /// Its log.
    pub(crate) log: &'a dyn Log,
    /// `mod_wsgi.request_data()`: borrowed from the frame that handles the request.
    pub(crate) data: *mut py::ffi::PyObject,
}

thread_local! {
    static CURRENT: Cell<*const Current<'static>> = const { Cell::new(ptr::null()) };
    static THREAD: Cell<Option<u32>> = const { Cell::new(None) };
}

/// Makes a request the calling thread's until it is dropped.
pub(crate) struct Entered<'a> {
    before: *const Current<'static>,
    current: PhantomData<&'a Current<'a>>,
}

impl<'a> Entered<'a> {
    pub(crate) fn new(current: &'a Current<'a>) -> Entered<'a> {
        // The lifetime is forgotten here and given back by `drop`.
        let current = ptr::from_ref(current).cast::<Current<'static>>();
        Entered { before: CURRENT.replace(current), current: PhantomData }
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        CURRENT.set(self.before);
    }
}

/// Runs `f` with the request that this thread handles in `group`, if it does.
pub(crate) fn with<R>(group: &Group, f: impl FnOnce(&Current<'_>) -> R) -> Option<R> {
    let current = CURRENT.get();
    // SAFETY: set by `Entered`, which borrows the value and takes it away before it goes; nobody
    // can take an `Entered` out of order, since they live on the stack of `handle`.
    let current = unsafe { current.as_ref() }?;
    ptr::eq(current.group, group).then(|| f(current))
}

/// Runs `f` with the log of this thread's request, or else the server's.
pub(crate) fn with_log<R>(group: &Group, f: impl FnOnce(&dyn Log) -> R) -> R {
    let mut f = Some(f);
    let result = with(group, |current| f.take().map(|f| f(current.log))).flatten();
    match (result, f) {
        (Some(result), _) => result,
        (None, Some(f)) => f(&group.process.log),
        (None, None) => unreachable!("`f` is taken only to give a result"),
    }
}

/// `mod_wsgi.thread_id`: counts the threads that handled requests, in order of their first; the
/// thread that Python calls its main thread is 0.
pub(crate) fn thread_id(is_main: impl FnOnce() -> bool) -> u32 {
    static NEXT: AtomicU32 = AtomicU32::new(1);
    if let Some(id) = THREAD.get() {
        return id;
    }
    let id = if is_main() { 0 } else { NEXT.fetch_add(1, Ordering::Relaxed) };
    THREAD.set(Some(id));
    id
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_are_counted_once() {
        assert_eq!(thread_id(|| true), 0);
        assert_eq!(thread_id(|| false), 0);
        let other = || std::thread::spawn(|| (thread_id(|| false), thread_id(|| false)));
        let (a, b) = (other().join().unwrap_or_default(), other().join().unwrap_or_default());
        assert_eq!(a.0, a.1);
        assert_ne!(a.0, b.0);
        assert!(a.0 > 0 && b.0 > 0);
    }
}
