//! Owned references: [`Bound`] to an attachment, [`Global`] outside one.
//!
//! The names of the constructors say who owns what and what NULL means, so that a reader can check
//! a call against the "return value" line of the C API manual without looking here.

use std::fmt;
use std::mem;
use std::ptr::NonNull;

use crate::error::{Error, Result};
use crate::ffi;
use crate::token::{InterpreterId, Token};

/// An owned reference to an object of the interpreter that `'py` is attached to.
///
/// Dropping it gives the reference back, which may run any Python code. It is as thread-bound as
/// its token.
pub struct Bound<'py> {
    /// Owned by us; valid until drop.
    ptr: NonNull<ffi::PyObject>,
    py: Token<'py>,
}

impl<'py> Bound<'py> {
    /// Takes over a new reference; NULL means that an exception is set, which is fetched.
    ///
    /// # Errors
    /// The exception that was set when `ptr` is NULL.
    ///
    /// # Safety
    /// `ptr` is NULL with an exception set, or a reference that the caller owns and gives away,
    /// of an object of `py`'s interpreter.
    #[inline]
    pub unsafe fn from_owned(py: Token<'py>, ptr: *mut ffi::PyObject) -> Result<'py, Bound<'py>> {
        match NonNull::new(ptr) {
            Some(ptr) => Ok(Bound { ptr, py }),
            None => Err(Error::fetch(py)),
        }
    }

    /// Takes over a new reference; NULL means "none", with no exception set.
    ///
    /// # Safety
    /// As [`Bound::from_owned`], but NULL comes without an exception.
    #[inline]
    pub unsafe fn from_owned_or_none(
        py: Token<'py>,
        ptr: *mut ffi::PyObject,
    ) -> Option<Bound<'py>> {
        NonNull::new(ptr).map(|ptr| Bound { ptr, py })
    }

    /// Makes a new reference from a borrowed one; NULL means "none", with no exception set.
    ///
    /// # Safety
    /// `ptr` is NULL or points to a live object of `py`'s interpreter.
    #[inline]
    pub unsafe fn from_borrowed(py: Token<'py>, ptr: *mut ffi::PyObject) -> Option<Bound<'py>> {
        let ptr = NonNull::new(ptr)?;
        // SAFETY: a live object, by contract; the thread is attached (token).
        unsafe { ffi::Py_INCREF(ptr.as_ptr()) };
        Some(Bound { ptr, py })
    }

    /// The borrowed pointer, valid while `self` is.
    pub fn as_ptr(&self) -> *mut ffi::PyObject {
        self.ptr.as_ptr()
    }

    /// Gives the reference away; the receiver owns it.
    pub fn into_ptr(self) -> *mut ffi::PyObject {
        let ptr = self.ptr.as_ptr();
        mem::forget(self);
        ptr
    }

    /// The attachment this object belongs to.
    pub fn py(&self) -> Token<'py> {
        self.py
    }

    /// Lets the reference leave the attachment.
    pub fn into_global(self) -> Global {
        let interpreter = self.py.interpreter();
        let ptr = self.ptr;
        mem::forget(self);
        Global { ptr, interpreter }
    }

    /// The C-level name of the object's type, as tracebacks print it.
    pub fn type_name(&self) -> String {
        // SAFETY: every object has a type, and `tp_name` is a NUL-terminated string that lives as
        // long as the type, which the object keeps alive.
        let name = unsafe { std::ffi::CStr::from_ptr((*ffi::Py_TYPE(self.as_ptr())).tp_name) };
        let name = name.to_string_lossy();
        name.rsplit('.').next().unwrap_or_default().to_owned()
    }
}

impl Clone for Bound<'_> {
    fn clone(&self) -> Self {
        // SAFETY: `self.ptr` is a live object (field invariant) and the thread is attached.
        unsafe { ffi::Py_INCREF(self.ptr.as_ptr()) };
        Bound { ptr: self.ptr, py: self.py }
    }
}

impl Drop for Bound<'_> {
    #[inline]
    fn drop(&mut self) {
        // SAFETY: we own this reference (field invariant) and the thread is attached: `'py` is
        // alive, and `Token::detach` cannot be entered with a `Bound` inside.
        unsafe { ffi::Py_DECREF(self.ptr.as_ptr()) }
    }
}

impl fmt::Debug for Bound<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "<{} object at {:p}>", self.type_name(), self.ptr)
    }
}

/// An owned reference outside any attachment, which remembers the interpreter it belongs to.
///
/// Dropping one cannot give the reference back, since the thread may not be attached: the object
/// is leaked. Give it back with [`Global::release`].
pub struct Global {
    /// Owned by us.
    ptr: NonNull<ffi::PyObject>,
    interpreter: InterpreterId,
}

// SAFETY: the pointer is only used through a `Token` of the right interpreter, and having one
// means that the thread may touch its objects. The reference count is not touched otherwise.
unsafe impl Send for Global {}
// SAFETY: as above; `&Global` gives nothing without a token.
unsafe impl Sync for Global {}

impl Global {
    /// The interpreter that the object lives in.
    pub fn interpreter(&self) -> InterpreterId {
        self.interpreter
    }

    /// A new reference for the attachment `py`.
    ///
    /// # Errors
    /// [`WrongInterpreter`] if `py` is attached to another interpreter.
    #[inline]
    pub fn bind<'py>(&self, py: Token<'py>) -> std::result::Result<Bound<'py>, WrongInterpreter> {
        if self.interpreter != py.interpreter() {
            return Err(WrongInterpreter { object: self.interpreter, token: py.interpreter() });
        }
        // SAFETY: a live object that we own, of the interpreter that `py` is attached to.
        unsafe { ffi::Py_INCREF(self.ptr.as_ptr()) };
        Ok(Bound { ptr: self.ptr, py })
    }

    /// The borrowed pointer for the attachment `py`, valid while `self` is.
    ///
    /// # Errors
    /// [`WrongInterpreter`] if `py` is attached to another interpreter.
    pub fn as_ptr(
        &self,
        py: Token<'_>,
    ) -> std::result::Result<*mut ffi::PyObject, WrongInterpreter> {
        if self.interpreter == py.interpreter() {
            Ok(self.ptr.as_ptr())
        } else {
            Err(WrongInterpreter { object: self.interpreter, token: py.interpreter() })
        }
    }

    /// Takes the reference to the attachment `py`.
    ///
    /// # Errors
    /// [`WrongInterpreter`] if `py` is attached to another interpreter; the object is then leaked.
    pub fn into_bound(self, py: Token<'_>) -> std::result::Result<Bound<'_>, WrongInterpreter> {
        let object = self.bind(py)?;
        // SAFETY: this is the reference that `self` owned, and not the last; `self` has no destructor.
        unsafe { ffi::Py_DECREF(self.ptr.as_ptr()) };
        Ok(object)
    }

    /// Gives the reference back.
    ///
    /// # Errors
    /// [`WrongInterpreter`] if `py` is attached to another interpreter; the object is then leaked.
    pub fn release(self, py: Token<'_>) -> std::result::Result<(), WrongInterpreter> {
        self.into_bound(py).map(drop)
    }
}

impl fmt::Debug for Global {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Global({:p} of interpreter {})", self.ptr, self.interpreter.as_raw())
    }
}

/// An object of one interpreter was brought to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WrongInterpreter {
    /// Where the object lives.
    pub object: InterpreterId,
    /// Where the thread is attached.
    pub token: InterpreterId,
}

impl fmt::Display for WrongInterpreter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "an object of interpreter {} was used while attached to interpreter {}",
            self.object.as_raw(),
            self.token.as_raw()
        )
    }
}

impl std::error::Error for WrongInterpreter {}
