//! Heap types: made once per interpreter, holding a Rust value.
//!
//! Static types are shared by all interpreters and so are wrong as soon as there are two, hence
//! [`PyType_FromSpec`] and a plain struct behind it. What this leaves out on purpose: instances
//! that take part in garbage collection (write their own `tp_traverse`) and macros.
//!
//! [`PyType_FromSpec`]: https://docs.python.org/3/c-api/type.html#c.PyType_FromSpec

use std::ffi::{CStr, c_int, c_uint, c_ulong, c_void};
use std::ptr;

use crate::error::Result;
use crate::ffi;
use crate::object::Bound;
use crate::token::Token;

/// A table for the C API (methods, getters) that may be a `static`.
#[repr(transparent)]
#[derive(Debug)]
pub struct Table<T>(pub T);

// SAFETY: the tables hold pointers to functions and to C strings, all `'static`; CPython only
// reads them.
unsafe impl<T> Sync for Table<T> {}

/// The end of a method table.
pub const END_OF_METHODS: ffi::PyMethodDef = ffi::PyMethodDef::zeroed();

/// The end of a table of getters.
pub const END_OF_GETTERS: ffi::PyGetSetDef = ffi::PyGetSetDef {
    name: ptr::null(),
    get: None,
    set: None,
    doc: ptr::null(),
    closure: ptr::null_mut(),
};

/// An instance in memory: the object header, then the Rust value.
#[repr(C)]
pub struct Instance<T> {
    base: ffi::PyObject,
    value: T,
}

/// A function of C's `METH_FASTCALL | METH_KEYWORDS` convention.
pub type FastFunction = unsafe extern "C" fn(
    *mut ffi::PyObject,
    *const *mut ffi::PyObject,
    ffi::Py_ssize_t,
    *mut ffi::PyObject,
) -> *mut ffi::PyObject;

/// An entry of a method table for a function that takes positional and keyword arguments.
pub const fn method(name: &'static CStr, function: FastFunction) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunctionFastWithKeywords: function },
        ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
        ml_doc: ptr::null(),
    }
}

/// An entry of a method table for a function without arguments.
pub const fn method0(name: &'static CStr, function: ffi::PyCFunction) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: function },
        ml_flags: ffi::METH_NOARGS,
        ml_doc: ptr::null(),
    }
}

/// A slot of a type.
pub const fn slot(id: c_int, value: *mut c_void) -> ffi::PyType_Slot {
    ffi::PyType_Slot { slot: id, pfunc: value }
}

/// Makes a type whose instances hold a `T`, without subclasses or construction from Python.
///
/// # Errors
/// What Python raises.
///
/// # Safety
/// The slots are right for instances of this size and do not include `tp_dealloc`, which is added
/// here; what they point at lives for ever.
pub unsafe fn make<'py, T>(
    py: Token<'py>,
    name: &'static CStr,
    slots: &[ffi::PyType_Slot],
) -> Result<'py, Bound<'py>> {
    let mut all = vec![slot(ffi::Py_tp_dealloc, dealloc::<T> as *mut c_void)];
    all.extend_from_slice(slots);
    // SAFETY: the slots by contract; the size is that of what `instance` writes.
    unsafe {
        make_raw(
            py,
            name,
            size_of::<Instance<T>>(),
            ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION,
            all,
        )
    }
}

/// Makes a type from all of its parts.
///
/// # Errors
/// What Python raises.
///
/// # Safety
/// Size, flags and slots fit together as the C API demands; what the slots point at lives for
/// ever.
pub unsafe fn make_raw<'py>(
    py: Token<'py>,
    name: &'static CStr,
    size: usize,
    flags: c_ulong,
    mut slots: Vec<ffi::PyType_Slot>,
) -> Result<'py, Bound<'py>> {
    slots.push(slot(0, ptr::null_mut()));
    let mut spec = ffi::PyType_Spec {
        name: name.as_ptr(),
        basicsize: size as c_int,
        itemsize: 0,
        flags: flags as c_uint,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: attached; the spec is well-formed and its slots by contract; CPython copies what it
    // keeps, except for the name and the tables, which are static.
    unsafe { Bound::from_owned(py, ffi::PyType_FromSpec(&mut spec)) }
}

/// Makes an instance of a type that [`make`] made for `T`.
///
/// # Errors
/// No memory; the value is dropped.
///
/// # Safety
/// `class` came from `make::<T>` in `py`'s interpreter.
pub unsafe fn instance<'py, T>(
    py: Token<'py>,
    class: *mut ffi::PyObject,
    value: T,
) -> Result<'py, Bound<'py>> {
    // SAFETY: a type by contract; the allocation has room for an `Instance<T>` and its header is
    // initialised. Nobody else sees the object before `value` is written.
    unsafe {
        let object = ffi::PyType_GenericAlloc(class.cast(), 0);
        let object = Bound::from_owned(py, object);
        match object {
            Ok(object) => {
                let value_at = &raw mut (*object.as_ptr().cast::<Instance<T>>()).value;
                value_at.write(value);
                Ok(object)
            }
            Err(error) => Err(error),
        }
    }
}

/// The value in an instance.
///
/// # Safety
/// `object` is a live instance of a type that [`make`] made for `T`, and stays alive for `'a`.
pub unsafe fn value<'a, T>(object: *mut ffi::PyObject) -> &'a T {
    // SAFETY: by contract; the value was written when the object was made.
    unsafe { &(*object.cast::<Instance<T>>()).value }
}

/// `tp_dealloc` of such types.
unsafe extern "C" fn dealloc<T>(object: *mut ffi::PyObject) {
    // SAFETY: CPython calls this once, with the last reference gone and the thread attached; an
    // instance of a heap type owns a reference to its type.
    unsafe {
        let class = ffi::Py_TYPE(object);
        ptr::drop_in_place(&raw mut (*object.cast::<Instance<T>>()).value);
        ffi::PyObject_Free(object.cast());
        ffi::Py_DECREF(class.cast());
    }
}

/// Positional and keyword arguments of a [`FastFunction`], borrowed for the call.
#[derive(Clone, Copy)]
pub struct Arguments<'a, 'py> {
    py: Token<'py>,
    positional: &'a [*mut ffi::PyObject],
    /// One per name, after the positional ones.
    named: &'a [*mut ffi::PyObject],
    /// A tuple of `str`, or NULL.
    names: *mut ffi::PyObject,
}

impl<'a, 'py> Arguments<'a, 'py> {
    /// Wraps what a [`FastFunction`] gets.
    ///
    /// # Safety
    /// The arguments are those of a running call by Python in `py`'s interpreter.
    pub unsafe fn new(
        py: Token<'py>,
        args: *const *mut ffi::PyObject,
        count: ffi::Py_ssize_t,
        names: *mut ffi::PyObject,
    ) -> Arguments<'a, 'py> {
        // SAFETY: by the calling convention `args` has `count` values and one more for each name.
        unsafe {
            let named = if names.is_null() { 0 } else { ffi::PyTuple_GET_SIZE(names) as usize };
            let count = count as usize;
            let (positional, named): (&[_], &[_]) = if args.is_null() {
                (&[], &[])
            } else {
                std::slice::from_raw_parts(args, count + named).split_at(count)
            };
            Arguments { py, positional, named, names }
        }
    }

    /// Number of positional arguments.
    pub fn len(&self) -> usize {
        self.positional.len()
    }

    /// Whether there are no positional arguments.
    pub fn is_empty(&self) -> bool {
        self.positional.is_empty()
    }

    /// Whether there are keyword arguments.
    pub fn has_names(&self) -> bool {
        !self.named.is_empty()
    }

    /// A positional argument, as a borrowed pointer.
    pub fn get(&self, index: usize) -> Option<*mut ffi::PyObject> {
        self.positional.get(index).copied()
    }

    /// The only argument of a function that takes at most one, under `name` or without a name.
    ///
    /// # Errors
    /// A `TypeError` worded as CPython's own.
    pub fn at_most_one(
        &self,
        function: &str,
        name: &str,
    ) -> Result<'py, Option<*mut ffi::PyObject>> {
        let count = self.positional.len() + self.named.len();
        if count > 1 {
            let text = format!("{function}() takes at most 1 argument ({count} given)");
            // SAFETY: the class is a static of libpython.
            return Err(unsafe { crate::Error::new(self.py, ffi::PyExc_TypeError, &text) });
        }
        if let Some(value) = self.named.first() {
            // SAFETY: there is a name for each value (field).
            let given =
                unsafe { Bound::from_borrowed(self.py, ffi::PyTuple_GET_ITEM(self.names, 0)) };
            let given = given.map_or(Ok(String::new()), |given| given.to_text())?;
            if given != name {
                let text = format!("{function}() got an unexpected keyword argument '{given}'");
                // SAFETY: the class is a static of libpython.
                return Err(unsafe { crate::Error::new(self.py, ffi::PyExc_TypeError, &text) });
            }
            return Ok(Some(*value));
        }
        Ok(self.get(0))
    }
}
