//! Scripts that decide about a request before an application gets it: who may come in, who somebody
//! is, which groups he is in, where the request is to run.
//!
//! One function for all of them: the module says which decision it wants and collects the variables;
//! the engine loads the script, calls its function and judges the type of what it returns. Names that
//! a script returns come through a function of the caller, since their number and size are anybody's.
//! A decision that cannot be had is [`Verdict::Failed`] or a fault, never "yes".
//! <https://modwsgi.readthedocs.io/en/latest/user-guides/access-control-mechanisms.html>

use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr;

use crate::slice::{Bytes, Pair, Slice};

/// Which decision.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decision {
    /// `allow_access(environ, host)`: yes, no or no opinion.
    Access = 0,
    /// `check_password(environ, user, password)`: yes, no, no opinion, or yes under another name.
    Password = 1,
    /// `get_realm_hash(environ, user, realm)`: a name, or no opinion.
    RealmHash = 2,
    /// `groups_for_user(environ, user)`: any number of names.
    Groups = 3,
    /// `process_group(environ)`, `application_group(environ)`, `callable_object(environ)`: up to
    /// three names, numbered 0 to 2.
    Dispatch = 4,
}

/// A decision that is wanted from a script.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Hook<'a> {
    /// Which one.
    pub decision: Decision,
    /// The CGI variables.
    pub environ: Slice<'a, Pair<'a>>,
    /// File of the script.
    pub script: Bytes<'a>,
    /// The resolved name of the interpreter; empty is the main one.
    pub application_group: Bytes<'a>,
    /// What the function gets behind `environ`.
    pub arguments: Slice<'a, Bytes<'a>>,
    /// What `apache.request_rec` points at; NULL for "not passed on".
    pub request_rec: *mut c_void,
    /// `WSGIScriptReloading`.
    pub reload: bool,
    /// `WSGICaseSensitivity Off`.
    pub lower_case: bool,
}

/// What a script says.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing: no opinion, or not known.
    None = 0,
    /// Yes.
    Yes = 1,
    /// No.
    No = 2,
    /// What was given to the function of the caller.
    Names = 3,
    /// Nothing that could be used; the log says why.
    Failed = 4,
}

/// Takes a name with its number.
pub(crate) type TakeName = unsafe extern "C" fn(*mut c_void, u32, *const Bytes<'_>);

/// Where the names go that a script returns.
pub struct Names<'a> {
    take: TakeName,
    /// The context of a running [`take`], which lives for `'a`.
    context: *mut c_void,
    life: std::marker::PhantomData<&'a mut ()>,
}

// SAFETY: the function behind it may be called on any thread, one call at a time (`&mut self`), while
// the caller waits: `Engine::decide` asks for a function that is `Send`.
unsafe impl Send for Names<'_> {}

impl Names<'_> {
    /// # Safety
    /// `context` was made for `take`, and is alive and used by nobody else for as long as this.
    pub(crate) unsafe fn new(take: TakeName, context: *mut c_void) -> Self {
        Names { take, context, life: std::marker::PhantomData }
    }

    /// Gives a name to the caller.
    pub fn give(&mut self, number: u32, name: &[u8]) {
        // SAFETY: a context for this function (contract of `new`), in one call at a time.
        unsafe { (self.take)(self.context, number, &Bytes::new(name)) }
    }
}

/// The function that goes with [`context`].
///
/// # Safety
/// `to` came from [`context`], whose borrow is alive; a name that is alive.
pub(crate) unsafe extern "C" fn take(to: *mut c_void, number: u32, name: *const Bytes<'_>) {
    // A panic has nowhere to go: the name is missing then, and a missing name opens nothing.
    let _ = catch_unwind(AssertUnwindSafe(|| {
        // SAFETY: by contract.
        unsafe {
            let to: &mut &mut (dyn FnMut(u32, &[u8]) + Send) = &mut *to.cast();
            to(number, (*name).or_empty());
        }
    }));
}

/// The context pointer for `to`, valid while the reference is borrowed.
pub(crate) fn context(to: &mut &mut (dyn FnMut(u32, &[u8]) + Send)) -> *mut c_void {
    ptr::from_mut(to).cast()
}

// SAFETY: `request_rec` is only passed on, as a pointer; the rest is borrowed, plain data.
unsafe impl Send for Hook<'_> {}
// SAFETY: as above.
unsafe impl Sync for Hook<'_> {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_arrive_with_their_numbers_and_a_panic_stops_at_the_border() {
        let mut found = Vec::new();
        let mut keep = |number, name: &[u8]| {
            assert!(name != b"bad", "this goes nowhere");
            found.push((number, name.to_vec()));
        };
        let mut to: &mut (dyn FnMut(u32, &[u8]) + Send) = &mut keep;
        // SAFETY: the context is borrowed for longer than the names are given.
        let mut names = unsafe { Names::new(take, context(&mut to)) };
        names.give(0, b"a");
        names.give(1, b"bad");
        names.give(2, b"");
        assert_eq!(found, [(0, b"a".to_vec()), (2, Vec::new())]);
    }
}
