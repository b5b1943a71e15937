//! Functions that newer CPythons have and older ones do not, under the newer name and contract.

use crate::error::Result;
use crate::ffi;
use crate::object::Bound;
use crate::token::Token;

/// Takes the raised exception: a new reference to a normalised instance, or NULL if none is set.
///
/// `PyErr_GetRaisedException`, new in 3.12.
///
/// # Safety
/// The thread is attached.
pub unsafe fn get_raised_exception() -> *mut ffi::PyObject {
    #[cfg(Py_3_12)]
    // SAFETY: attached, by contract.
    return unsafe { ffi::PyErr_GetRaisedException() };

    #[cfg(not(Py_3_12))]
    // SAFETY: attached, by contract. The three references are ours after PyErr_Fetch; after
    // normalisation `value` is an instance, and the two others are given back.
    unsafe {
        use std::ptr;
        let (mut class, mut value, mut traceback) =
            (ptr::null_mut(), ptr::null_mut(), ptr::null_mut());
        ffi::PyErr_Fetch(&mut class, &mut value, &mut traceback);
        if class.is_null() {
            return ptr::null_mut();
        }
        ffi::PyErr_NormalizeException(&mut class, &mut value, &mut traceback);
        if !traceback.is_null() {
            ffi::PyException_SetTraceback(value, traceback);
            ffi::Py_DECREF(traceback);
        }
        ffi::Py_XDECREF(class);
        value
    }
}

/// Raises `exception`, taking over the reference.
///
/// `PyErr_SetRaisedException`, new in 3.12.
///
/// # Safety
/// The thread is attached; `exception` is an owned reference to an exception instance.
pub unsafe fn set_raised_exception(exception: *mut ffi::PyObject) {
    #[cfg(Py_3_12)]
    // SAFETY: by contract.
    unsafe {
        ffi::PyErr_SetRaisedException(exception)
    };

    #[cfg(not(Py_3_12))]
    // SAFETY: by contract; PyErr_Restore takes over all three references, and the class is made
    // into one first. GetTraceback returns a new reference or NULL.
    unsafe {
        let class: *mut ffi::PyObject = ffi::Py_TYPE(exception).cast();
        ffi::Py_INCREF(class);
        ffi::PyErr_Restore(class, exception, ffi::PyException_GetTraceback(exception));
    };
}

/// Looks for an attribute: 1 and a new reference, 0 and NULL if there is none, or -1 with an
/// exception.
///
/// `PyObject_GetOptionalAttr`, new in 3.13.
///
/// # Safety
/// The thread is attached; `object` and `name` are live, and `name` is a `str`.
pub unsafe fn get_optional_attr(
    object: *mut ffi::PyObject,
    name: *mut ffi::PyObject,
    value: &mut *mut ffi::PyObject,
) -> std::ffi::c_int {
    #[cfg(Py_3_13)]
    // SAFETY: by contract.
    return unsafe { ffi::PyObject_GetOptionalAttr(object, name, value) };

    #[cfg(not(Py_3_13))]
    {
        unsafe extern "C" {
            // The same function under the name it had before it was public; exported by 3.10 to
            // 3.12.
            fn _PyObject_LookupAttr(
                object: *mut ffi::PyObject,
                name: *mut ffi::PyObject,
                value: *mut *mut ffi::PyObject,
            ) -> std::ffi::c_int;
        }
        // SAFETY: by contract.
        unsafe { _PyObject_LookupAttr(object, name, value) }
    }
}

/// `list[index]`, owned.
///
/// `PyList_GetItemRef`, new in 3.13, where another thread could free the item meanwhile.
///
/// # Errors
/// An `IndexError`.
///
/// # Safety
/// `list` is a live list.
pub unsafe fn list_item<'py>(
    py: Token<'py>,
    list: *mut ffi::PyObject,
    index: ffi::Py_ssize_t,
) -> Result<'py, Bound<'py>> {
    #[cfg(Py_3_13)]
    // SAFETY: attached; a live list; a new reference or NULL with an exception.
    return unsafe { Bound::from_owned(py, ffi::PyList_GetItemRef(list, index)) };

    #[cfg(not(Py_3_13))]
    // SAFETY: attached; a live list; a borrowed reference, which the GIL keeps alive for now, or
    // NULL with an exception.
    return unsafe {
        Bound::from_borrowed(py, ffi::PyList_GetItem(list, index))
            .ok_or_else(|| crate::Error::fetch(py))
    };
}
