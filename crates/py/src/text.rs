//! Borrowed views of `str` and bytes-like objects, and `bytes` that grow while they are filled.
//!
//! Native strings of WSGI hold Latin-1 (PEP 3333), and CPython stores exactly that for strings
//! without larger characters (PEP 393), so the view costs nothing.

use std::ptr;
use std::slice;

use crate::error::{Error, Result};
use crate::ffi;
use crate::object::Bound;
use crate::token::Token;

unsafe extern "C" {
    // A documented function that pyo3-ffi keeps to itself.
    // https://docs.python.org/3/c-api/bytes.html#c._PyBytes_Resize
    fn _PyBytes_Resize(bytes: *mut *mut ffi::PyObject, size: ffi::Py_ssize_t) -> std::ffi::c_int;
}

/// The characters of a `str` as Latin-1.
///
/// # Errors
/// `TypeError: must be str, not X`, or a `UnicodeEncodeError`.
///
/// # Safety
/// `object` is a live object of `py`'s interpreter that stays alive for `'a`.
pub unsafe fn latin1<'a, 'py>(py: Token<'py>, object: *mut ffi::PyObject) -> Result<'py, &'a [u8]> {
    // SAFETY: attached; a live object. After the checks it is a ready string of one-byte
    // characters, whose buffer is as immutable and long-lived as the object.
    unsafe {
        if ffi::PyUnicode_Check(object) == 0 {
            let text = format!("must be str, not {}", type_name(object));
            return Err(Error::new(py, ffi::PyExc_TypeError, &text));
        }
        if ffi::PyUnicode_READY(object) < 0 {
            return Err(Error::fetch(py));
        }
        if ffi::PyUnicode_KIND(object) != ffi::PyUnicode_1BYTE_KIND {
            // Raises the exception with CPython's own text.
            let encoded = Bound::from_owned(py, ffi::PyUnicode_AsLatin1String(object));
            return Err(match encoded {
                Err(error) => error,
                Ok(_) => Error::new(py, ffi::PyExc_ValueError, "string is not in canonical form"),
            });
        }
        let len = ffi::PyUnicode_GET_LENGTH(object) as usize;
        Ok(slice::from_raw_parts(ffi::PyUnicode_DATA(object).cast::<u8>(), len))
    }
}

/// The content of a `bytes`; `None` for anything else.
///
/// # Safety
/// `object` is a live object that stays alive for `'a`.
pub unsafe fn bytes<'a>(object: *mut ffi::PyObject) -> Option<&'a [u8]> {
    // SAFETY: a live object; if it is a `bytes`, its buffer is immutable and lives as long (P3).
    unsafe {
        if ffi::PyBytes_Check(object) == 0 {
            return None;
        }
        let len = ffi::Py_SIZE(object) as usize;
        Some(slice::from_raw_parts(ffi::PyBytes_AS_STRING(object).cast::<u8>(), len))
    }
}

/// The C-level name of an object's type, without the module.
///
/// # Safety
/// `object` is a live object.
pub unsafe fn type_name(object: *mut ffi::PyObject) -> String {
    // SAFETY: every object has a type, whose name is a C string that lives as long as the type.
    let name = unsafe { std::ffi::CStr::from_ptr((*ffi::Py_TYPE(object)).tp_name) };
    let name = name.to_string_lossy();
    name.rsplit('.').next().unwrap_or_default().to_owned()
}

/// The buffer of a bytes-like object, held until drop.
pub struct Buffer<'py> {
    /// Filled by `PyObject_GetBuffer`, released on drop.
    view: ffi::Py_buffer,
    _py: Token<'py>,
}

impl<'py> Buffer<'py> {
    /// Asks `object` for its bytes.
    ///
    /// # Errors
    /// What it raises: `TypeError: a bytes-like object is required, not 'X'`.
    ///
    /// # Safety
    /// `object` is a live object of `py`'s interpreter.
    pub unsafe fn get(py: Token<'py>, object: *mut ffi::PyObject) -> Result<'py, Buffer<'py>> {
        let mut view = ffi::Py_buffer::new();
        // SAFETY: attached; a live object; the view is ours to fill.
        if unsafe { ffi::PyObject_GetBuffer(object, &mut view, ffi::PyBUF_SIMPLE) } < 0 {
            return Err(Error::fetch(py));
        }
        Ok(Buffer { view, _py: py })
    }

    /// The bytes. Another thread may write to them once this one lets others run.
    pub fn as_slice(&self) -> &[u8] {
        if self.view.len == 0 {
            return &[];
        }
        // SAFETY: a simple view is `len` contiguous bytes that stay until it is released. Copying
        // out of it while attached is what CPython's own users of the protocol do.
        unsafe { slice::from_raw_parts(self.view.buf.cast::<u8>(), self.view.len as usize) }
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        // SAFETY: the view was filled and not released yet; attached, as the token is alive.
        unsafe { ffi::PyBuffer_Release(&mut self.view) }
    }
}

/// A `bytes` in the making: nobody else has seen it, so it may still change and grow.
#[derive(Debug)]
pub struct BytesBuilder<'py> {
    /// The only reference to a `bytes` of `capacity` bytes, all initialised; NULL after a failure,
    /// and `capacity` is 0 then.
    object: *mut ffi::PyObject,
    /// Filled bytes; at most `capacity`.
    len: usize,
    capacity: usize,
    py: Token<'py>,
}

impl<'py> BytesBuilder<'py> {
    /// Room for `capacity` bytes.
    ///
    /// # Errors
    /// No memory.
    pub fn new(py: Token<'py>, capacity: usize) -> Result<'py, BytesBuilder<'py>> {
        // One at least: the empty `bytes` is shared, and so is that of one byte, but only with
        // content.
        let capacity = capacity.clamp(2, LARGEST);
        // SAFETY: attached; a new object of this capacity, with its content not yet set.
        let object =
            unsafe { ffi::PyBytes_FromStringAndSize(ptr::null(), capacity as ffi::Py_ssize_t) };
        if object.is_null() {
            return Err(Error::fetch(py));
        }
        let builder = BytesBuilder { object, len: 0, capacity, py };
        // SAFETY: `capacity` bytes of an object that only we know.
        unsafe { builder.data().write_bytes(0, capacity) };
        Ok(builder)
    }

    /// Number of bytes filled.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether nothing has been filled.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The room that is left, to fill.
    pub fn spare(&mut self) -> &mut [u8] {
        if self.object.is_null() {
            return &mut [];
        }
        // SAFETY: initialised memory of an object that only we know (fields); `&mut self`.
        unsafe { slice::from_raw_parts_mut(self.data().add(self.len), self.capacity - self.len) }
    }

    /// States that `count` more bytes were filled.
    pub fn advance(&mut self, count: usize) {
        self.len += count.min(self.capacity - self.len);
    }

    /// Makes the capacity `capacity`, if that is more.
    ///
    /// # Errors
    /// No memory; what was filled is lost.
    pub fn grow(&mut self, capacity: usize) -> Result<'py, ()> {
        let (old, new) = (self.capacity, capacity.min(LARGEST));
        if new > old {
            self.resize(new)?;
            // SAFETY: the new part of an object that only we know.
            unsafe { self.data().add(old).write_bytes(0, new - old) };
        }
        Ok(())
    }

    /// The `bytes`, cut to what was filled.
    ///
    /// # Errors
    /// No memory.
    pub fn finish(mut self) -> Result<'py, Bound<'py>> {
        if self.len == 0 {
            return self.py.bytes(b"");
        }
        if self.len != self.capacity {
            self.resize(self.len)?;
        }
        let object = std::mem::replace(&mut self.object, ptr::null_mut());
        // SAFETY: our only reference, given away.
        unsafe { Bound::from_owned(self.py, object) }
    }

    fn data(&self) -> *mut u8 {
        // SAFETY: a `bytes` (field; the callers know that it is not NULL).
        unsafe { ffi::PyBytes_AS_STRING(self.object).cast_mut().cast::<u8>() }
    }

    fn resize(&mut self, size: usize) -> Result<'py, ()> {
        // SAFETY: attached; the only reference to a `bytes` nobody has seen. A failure gives it
        // back and writes NULL.
        let status = unsafe { _PyBytes_Resize(&mut self.object, size as ffi::Py_ssize_t) };
        if status < 0 || self.object.is_null() {
            (self.len, self.capacity) = (0, 0);
            return Err(Error::fetch(self.py));
        }
        self.capacity = size;
        Ok(())
    }
}

impl Drop for BytesBuilder<'_> {
    fn drop(&mut self) {
        // SAFETY: our reference, or NULL; attached, as the token is alive.
        unsafe { ffi::Py_XDECREF(self.object) }
    }
}

/// More cannot be asked of CPython, which adds the object's header.
const LARGEST: usize = isize::MAX as usize - 64;
