//! Attributes, calls and truth: `PyObject_*` for [`Bound`].
//!
//! See <https://docs.python.org/3/c-api/object.html> and <https://docs.python.org/3/c-api/call.html>.

use std::ffi::CStr;
use std::ptr;

use crate::error::{Error, Result};
use crate::ffi;
use crate::object::Bound;
use crate::token::Token;

impl<'py> Token<'py> {
    /// `import name`, returning the innermost module.
    ///
    /// # Errors
    /// What the import raises.
    pub fn import(self, name: &CStr) -> Result<'py, Bound<'py>> {
        // SAFETY: attached; `name` is a C string; a new reference or NULL with an exception.
        unsafe { Bound::from_owned(self, ffi::PyImport_ImportModule(name.as_ptr())) }
    }

    /// The code of a module, as `compile(source, file, "exec", dont_inherit=True)` makes it, from
    /// bytes that may say their encoding. `file` is as on disk.
    ///
    /// The function of that name asks whether the source is a syntax tree, for which it makes more
    /// than a hundred types in each interpreter it is called in, 125 KB of memory.
    ///
    /// # Errors
    /// What compiling raises.
    pub fn compile(self, source: &[u8], file: &[u8]) -> Result<'py, Bound<'py>> {
        let (bytes, file) = (self.bytes(source)?, self.fs_str(file)?);
        if source.contains(&0) {
            // It would be the end of the text; the function says what is wrong.
            let arguments = [&bytes, &file, &self.str("exec")?, &self.int(0)?, &self.bool(true)];
            return self.import(c"builtins")?.call_method(c"compile", &arguments);
        }
        let mode = ffi::Py_file_input;
        // SAFETY: attached; the text is a `bytes` that lives until the end, is followed by a NUL and
        // holds none; `file` is a `str`; no flags are the defaults; a new reference or NULL with an
        // exception.
        unsafe {
            let text = ffi::PyBytes_AsString(bytes.as_ptr());
            let code = ffi::Py_CompileStringObject(text, file.as_ptr(), mode, ptr::null_mut(), -1);
            Bound::from_owned(self, code)
        }
    }
}

impl<'py> Bound<'py> {
    /// `self.name`
    ///
    /// # Errors
    /// What the attribute access raises.
    pub fn attr(&self, name: &CStr) -> Result<'py, Bound<'py>> {
        // SAFETY: attached (the object's token); a new reference or NULL with an exception.
        unsafe {
            Bound::from_owned(self.py(), ffi::PyObject_GetAttrString(self.as_ptr(), name.as_ptr()))
        }
    }

    /// `self.name`, or nothing if there is no such attribute.
    ///
    /// # Errors
    /// What the attribute access raises, unless that is an `AttributeError`.
    pub fn attr_opt(&self, name: &CStr) -> Result<'py, Option<Bound<'py>>> {
        match self.attr(name) {
            Ok(value) => Ok(Some(value)),
            // SAFETY: the class is a static of libpython.
            Err(error) if unsafe { error.matches(ffi::PyExc_AttributeError) } => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// `self.name = value`
    ///
    /// # Errors
    /// What the assignment raises.
    pub fn set_attr(&self, name: &CStr, value: &Bound<'py>) -> Result<'py, ()> {
        // SAFETY: attached; both objects are alive; the value's reference is not taken over.
        let status =
            unsafe { ffi::PyObject_SetAttrString(self.as_ptr(), name.as_ptr(), value.as_ptr()) };
        if status < 0 { Err(Error::fetch(self.py())) } else { Ok(()) }
    }

    /// `self(*args)`
    ///
    /// # Errors
    /// What the call raises.
    pub fn call(&self, args: &[&Bound<'py>]) -> Result<'py, Bound<'py>> {
        let pointers: Vec<*mut ffi::PyObject> = args.iter().map(|arg| arg.as_ptr()).collect();
        // SAFETY: attached; the pointers are to objects that `args` keeps alive; a new reference or
        // NULL with an exception.
        unsafe {
            let result = ffi::PyObject_Vectorcall(
                self.as_ptr(),
                pointers.as_ptr(),
                pointers.len(),
                ptr::null_mut(),
            );
            Bound::from_owned(self.py(), result)
        }
    }

    /// `self(*args)` for a number of arguments known at compile time, without an allocation.
    ///
    /// # Errors
    /// What the call raises.
    pub fn call_n<const N: usize>(&self, args: [&Bound<'py>; N]) -> Result<'py, Bound<'py>> {
        let pointers: [*mut ffi::PyObject; N] = args.map(Bound::as_ptr);
        // SAFETY: as in `call`.
        unsafe {
            let result =
                ffi::PyObject_Vectorcall(self.as_ptr(), pointers.as_ptr(), N, ptr::null_mut());
            Bound::from_owned(self.py(), result)
        }
    }

    /// `self(*args, **kwargs)`: `args` is a tuple and `kwargs` a dict.
    ///
    /// # Errors
    /// What the call raises.
    pub fn call_with(
        &self,
        args: &Bound<'py>,
        kwargs: Option<&Bound<'py>>,
    ) -> Result<'py, Bound<'py>> {
        let kwargs = kwargs.map_or(ptr::null_mut(), Bound::as_ptr);
        // SAFETY: attached; all objects are alive; PyObject_Call checks their types.
        unsafe {
            let result = ffi::PyObject_Call(self.as_ptr(), args.as_ptr(), kwargs);
            Bound::from_owned(self.py(), result)
        }
    }

    /// `self.name(*args)`
    ///
    /// # Errors
    /// What attribute access or call raises.
    pub fn call_method(&self, name: &CStr, args: &[&Bound<'py>]) -> Result<'py, Bound<'py>> {
        self.attr(name)?.call(args)
    }

    /// `bool(self)`
    ///
    /// # Errors
    /// What `__bool__` raises.
    pub fn is_true(&self) -> Result<'py, bool> {
        // SAFETY: attached; the object is alive.
        match unsafe { ffi::PyObject_IsTrue(self.as_ptr()) } {
            0 => Ok(false),
            1 => Ok(true),
            _ => Err(Error::fetch(self.py())),
        }
    }

    /// `self is None`
    pub fn is_none(&self) -> bool {
        // SAFETY: None is a static of libpython.
        self.as_ptr() == unsafe { ffi::Py_None() }
    }

    /// `self is other`
    pub fn is(&self, other: &Bound<'py>) -> bool {
        self.as_ptr() == other.as_ptr()
    }

    /// `callable(self)`
    pub fn is_callable(&self) -> bool {
        // SAFETY: attached; the object is alive; always succeeds.
        unsafe { ffi::PyCallable_Check(self.as_ptr()) != 0 }
    }
}
