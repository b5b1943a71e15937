//! Functions that newer CPythons have and older ones do not, under the newer name and contract.

use crate::ffi;

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
