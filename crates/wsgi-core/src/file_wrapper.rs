//! `mod_wsgi.FileWrapper`: the type that is `wsgi.file_wrapper`.
//!
//! As an iterator it yields blocks of the file-like object. What makes it more than that is in
//! `respond.rs`: returned by an application as it is, over a real file, it is never iterated, but
//! the host sends the file.
//!
//! <https://peps.python.org/pep-3333/#optional-platform-specific-file-handling>

use std::ffi::{c_int, c_void};
use std::ptr;

use py::class::{self, END_OF_GETTERS, END_OF_METHODS, Table};
use py::{Bound, Error, Result, Token, ffi, guard, text};

/// An instance in memory. It may have a subclass's fields behind it, and takes part in garbage
/// collection, so it is not made with `class::make`.
#[repr(C)]
struct FileWrapper {
    base: ffi::PyObject,
    /// Owned, or NULL: before `__init__` and after `close`.
    filelike: *mut ffi::PyObject,
    blksize: ffi::Py_ssize_t,
}

/// Makes the type.
pub(crate) fn make_class(py: Token<'_>) -> Result<'_, Bound<'_>> {
    let slots = vec![
        class::slot(ffi::Py_tp_new, ffi::PyType_GenericNew as *mut c_void),
        class::slot(ffi::Py_tp_init, init as *mut c_void),
        class::slot(ffi::Py_tp_dealloc, dealloc as *mut c_void),
        class::slot(ffi::Py_tp_traverse, traverse as *mut c_void),
        class::slot(ffi::Py_tp_clear, clear as *mut c_void),
        class::slot(ffi::Py_tp_iter, ffi::PyObject_SelfIter as *mut c_void),
        class::slot(ffi::Py_tp_iternext, next as *mut c_void),
        class::slot(ffi::Py_tp_methods, METHODS.0.as_ptr().cast_mut().cast()),
        class::slot(ffi::Py_tp_getset, GETTERS.0.as_ptr().cast_mut().cast()),
    ];
    // SAFETY: the slots are for `FileWrapper`, of this size; a type with garbage collection has
    // traverse, clear and a dealloc that untracks.
    unsafe {
        class::make_raw(
            py,
            c"mod_wsgi.FileWrapper",
            size_of::<FileWrapper>(),
            ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_BASETYPE | ffi::Py_TPFLAGS_HAVE_GC,
            slots,
        )
    }
}

/// The file-like object of `object`, if that is a wrapper (or of a subclass) and not closed.
pub(crate) fn filelike<'py>(class: &Bound<'py>, object: &Bound<'py>) -> Option<Bound<'py>> {
    // SAFETY: attached; the check makes sure of the layout before it is used.
    unsafe {
        if ffi::PyObject_TypeCheck(object.as_ptr(), class.as_ptr().cast()) == 0 {
            return None;
        }
        Bound::from_borrowed(object.py(), (*object.as_ptr().cast::<FileWrapper>()).filelike)
    }
}

static METHODS: Table<[ffi::PyMethodDef; 2]> =
    Table([class::method0(c"close", close), END_OF_METHODS]);

static GETTERS: Table<[ffi::PyGetSetDef; 3]> = Table([
    ffi::PyGetSetDef {
        name: c"filelike".as_ptr(),
        get: Some(get_filelike),
        set: None,
        doc: ptr::null(),
        closure: ptr::null_mut(),
    },
    ffi::PyGetSetDef {
        name: c"blksize".as_ptr(),
        get: Some(get_blksize),
        set: None,
        doc: ptr::null(),
        closure: ptr::null_mut(),
    },
    END_OF_GETTERS,
]);

/// `FileWrapper(filelike, blksize=8192)`
unsafe extern "C" fn init(
    object: *mut ffi::PyObject,
    args: *mut ffi::PyObject,
    kwargs: *mut ffi::PyObject,
) -> c_int {
    // SAFETY: Python calls with an instance, a tuple and a dict or NULL; the format has two
    // arguments, for which there are two names and two variables of the right types.
    unsafe {
        guard::run(-1, |py| {
            let mut filelike = ptr::null_mut();
            let mut blksize: ffi::Py_ssize_t = 8192;
            let mut names = [c"filelike".as_ptr(), c"blksize".as_ptr(), ptr::null()];
            let parsed = ffi::PyArg_ParseTupleAndKeywords(
                args,
                kwargs,
                c"O|n:FileWrapper".as_ptr(),
                names.as_mut_ptr().cast(),
                &raw mut filelike,
                &raw mut blksize,
            );
            if parsed == 0 {
                return Err(Error::fetch(py));
            }
            if blksize < 0 {
                let text = "blksize must not be negative";
                return Err(Error::new(py, ffi::PyExc_ValueError, text));
            }
            let this = object.cast::<FileWrapper>();
            (*this).blksize = blksize;
            ffi::Py_INCREF(filelike);
            let old = ptr::replace(&raw mut (*this).filelike, filelike);
            ffi::Py_XDECREF(old);
            Ok(0)
        })
    }
}

unsafe extern "C" fn dealloc(object: *mut ffi::PyObject) {
    // SAFETY: the last reference is gone; a subclass's dealloc calls this with the object still
    // whole. The type is a heap type, whose instances own a reference to it.
    unsafe {
        ffi::PyObject_GC_UnTrack(object.cast());
        let filelike =
            ptr::replace(&raw mut (*object.cast::<FileWrapper>()).filelike, ptr::null_mut());
        ffi::Py_XDECREF(filelike);
        let class = ffi::Py_TYPE(object);
        ffi::PyObject_GC_Del(object.cast());
        ffi::Py_DECREF(class.cast());
    }
}

unsafe extern "C" fn traverse(
    object: *mut ffi::PyObject,
    visit: ffi::visitproc,
    arg: *mut c_void,
) -> c_int {
    // SAFETY: called by the collector with an instance; visits what it owns.
    unsafe {
        let filelike = (*object.cast::<FileWrapper>()).filelike;
        for owned in [ffi::Py_TYPE(object).cast(), filelike] {
            if !owned.is_null() {
                let status = visit(owned, arg);
                if status != 0 {
                    return status;
                }
            }
        }
        0
    }
}

unsafe extern "C" fn clear(object: *mut ffi::PyObject) -> c_int {
    // SAFETY: called by the collector with an instance.
    unsafe {
        let filelike =
            ptr::replace(&raw mut (*object.cast::<FileWrapper>()).filelike, ptr::null_mut());
        ffi::Py_XDECREF(filelike);
    }
    0
}

/// The file-like object, unless closed.
///
/// # Safety
/// `object` is a live instance.
unsafe fn open<'py>(py: Token<'py>, object: *mut ffi::PyObject) -> Result<'py, Bound<'py>> {
    // SAFETY: by contract; the class is a static of libpython.
    unsafe {
        Bound::from_borrowed(py, (*object.cast::<FileWrapper>()).filelike)
            .ok_or_else(|| Error::new(py, ffi::PyExc_ValueError, "I/O operation on closed file"))
    }
}

unsafe extern "C" fn next(object: *mut ffi::PyObject) -> *mut ffi::PyObject {
    // SAFETY: Python calls with an instance; NULL without an exception ends the iteration.
    unsafe {
        guard::run(ptr::null_mut(), |py| {
            let filelike = open(py, object)?;
            let blksize = py.int((*object.cast::<FileWrapper>()).blksize as i64)?;
            let block = filelike.call_method(c"read", &[&blksize])?;
            match text::bytes(block.as_ptr()) {
                Some([]) => Ok(ptr::null_mut()),
                Some(_) => Ok(block.into_ptr()),
                None => {
                    let found = block.type_name();
                    let text = format!("file wrapper read() must return bytes, not {found}");
                    Err(Error::new(py, ffi::PyExc_TypeError, &text))
                }
            }
        })
    }
}

unsafe extern "C" fn close(
    object: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls with an instance; the reference taken out of it is ours.
    unsafe {
        guard::object(|py| {
            let this = object.cast::<FileWrapper>();
            let filelike = ptr::replace(&raw mut (*this).filelike, ptr::null_mut());
            if let Some(filelike) = Bound::from_owned_or_none(py, filelike) {
                // A file that cannot be closed is not the response's problem, nor is one that has
                // nothing to close.
                drop(filelike.call_method(c"close", &[]));
            }
            Ok(py.none())
        })
    }
}

unsafe extern "C" fn get_filelike(
    object: *mut ffi::PyObject,
    _: *mut c_void,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls with an instance.
    unsafe { guard::object(|py| open(py, object)) }
}

unsafe extern "C" fn get_blksize(object: *mut ffi::PyObject, _: *mut c_void) -> *mut ffi::PyObject {
    // SAFETY: Python calls with an instance.
    unsafe { guard::object(|py| py.int((*object.cast::<FileWrapper>()).blksize as i64)) }
}
