//! Values from Rust to Python and back.
//!
//! The text functions say in their names how bytes become characters: native strings of WSGI are
//! Latin-1 (PEP 3333), file names are what [`os.fsdecode`] makes of them.
//!
//! [`os.fsdecode`]: https://docs.python.org/3/library/os.html#os.fsdecode

use std::ffi::CStr;

use crate::error::{Error, Result};
use crate::ffi;
use crate::object::Bound;
use crate::token::Token;

impl<'py> Token<'py> {
    /// `None`
    pub fn none(self) -> Bound<'py> {
        // SAFETY: a static of libpython, never NULL.
        let none = unsafe { Bound::from_borrowed(self, ffi::Py_None()) };
        none.unwrap_or_else(|| unreachable!("None is never NULL"))
    }

    /// `True` or `False`.
    pub fn bool(self, value: bool) -> Bound<'py> {
        // SAFETY: statics of libpython, never NULL.
        let object = unsafe {
            Bound::from_borrowed(self, if value { ffi::Py_True() } else { ffi::Py_False() })
        };
        object.unwrap_or_else(|| unreachable!("True and False are never NULL"))
    }

    /// A `str`.
    ///
    /// # Errors
    /// No memory.
    pub fn str(self, text: &str) -> Result<'py, Bound<'py>> {
        // SAFETY: attached; the buffer is valid for its length, and valid UTF-8.
        unsafe {
            let len = text.len() as ffi::Py_ssize_t;
            Bound::from_owned(self, ffi::PyUnicode_FromStringAndSize(text.as_ptr().cast(), len))
        }
    }

    /// A `str` that is the same object wherever it is interned: a name that is looked up often.
    ///
    /// # Errors
    /// No memory.
    pub fn intern(self, text: &CStr) -> Result<'py, Bound<'py>> {
        // SAFETY: attached; a C string; a new reference or NULL with an exception.
        unsafe { Bound::from_owned(self, ffi::PyUnicode_InternFromString(text.as_ptr())) }
    }

    /// A `str` with one character per byte.
    ///
    /// # Errors
    /// No memory.
    pub fn latin1(self, bytes: &[u8]) -> Result<'py, Bound<'py>> {
        // SAFETY: attached; the buffer is valid for its length.
        unsafe {
            let len = bytes.len() as ffi::Py_ssize_t;
            let errors = std::ptr::null();
            let text = ffi::PyUnicode_DecodeLatin1(bytes.as_ptr().cast(), len, errors);
            Bound::from_owned(self, text)
        }
    }

    /// A `str` as `os.fsdecode` makes it.
    ///
    /// # Errors
    /// No memory; a codec that refuses.
    pub fn fs_str(self, bytes: &[u8]) -> Result<'py, Bound<'py>> {
        // SAFETY: attached; the buffer is valid for its length.
        unsafe {
            let len = bytes.len() as ffi::Py_ssize_t;
            let text = ffi::PyUnicode_DecodeFSDefaultAndSize(bytes.as_ptr().cast(), len);
            Bound::from_owned(self, text)
        }
    }

    /// A `bytes`.
    ///
    /// # Errors
    /// No memory.
    pub fn bytes(self, bytes: &[u8]) -> Result<'py, Bound<'py>> {
        // SAFETY: attached; the buffer is valid for its length and copied.
        unsafe {
            let len = bytes.len() as ffi::Py_ssize_t;
            Bound::from_owned(self, ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), len))
        }
    }

    /// An `int`.
    ///
    /// # Errors
    /// No memory.
    pub fn int(self, value: i64) -> Result<'py, Bound<'py>> {
        // SAFETY: attached.
        unsafe { Bound::from_owned(self, ffi::PyLong_FromLongLong(value)) }
    }

    /// A `float`.
    ///
    /// # Errors
    /// No memory.
    pub fn float(self, value: f64) -> Result<'py, Bound<'py>> {
        // SAFETY: attached.
        unsafe { Bound::from_owned(self, ffi::PyFloat_FromDouble(value)) }
    }

    /// An empty `dict`.
    ///
    /// # Errors
    /// No memory.
    pub fn dict(self) -> Result<'py, Bound<'py>> {
        // SAFETY: attached.
        unsafe { Bound::from_owned(self, ffi::PyDict_New()) }
    }

    /// A `list`.
    ///
    /// # Errors
    /// No memory.
    pub fn list(self, items: impl IntoIterator<Item = Bound<'py>>) -> Result<'py, Bound<'py>> {
        // SAFETY: attached; Append takes a reference of its own.
        unsafe {
            let list = Bound::from_owned(self, ffi::PyList_New(0))?;
            for item in items {
                if ffi::PyList_Append(list.as_ptr(), item.as_ptr()) < 0 {
                    return Err(Error::fetch(self));
                }
            }
            Ok(list)
        }
    }

    /// A `tuple`.
    ///
    /// # Errors
    /// No memory.
    pub fn tuple(
        self,
        items: impl IntoIterator<Item = Bound<'py>, IntoIter: ExactSizeIterator>,
    ) -> Result<'py, Bound<'py>> {
        let items = items.into_iter();
        // SAFETY: attached; SetItem takes the reference over and is within bounds, and each place
        // of the new tuple is filled before anybody sees it.
        unsafe {
            let len = items.len() as ffi::Py_ssize_t;
            let tuple = Bound::from_owned(self, ffi::PyTuple_New(len))?;
            for (i, item) in (0..len).zip(items) {
                ffi::PyTuple_SetItem(tuple.as_ptr(), i, item.into_ptr());
            }
            Ok(tuple)
        }
    }
}

impl<'py> Bound<'py> {
    /// The text of a `str`; lone surrogates become `\u{fffd}`.
    ///
    /// # Errors
    /// A `TypeError` if it is none.
    pub fn to_text(&self) -> Result<'py, String> {
        // SAFETY: attached; the object is alive. AsUTF8AndSize returns a buffer that lives as long
        // as the string; AsEncodedString a new `bytes` whose buffer lives as long as it does.
        unsafe {
            let mut len = 0;
            let utf8 = ffi::PyUnicode_AsUTF8AndSize(self.as_ptr(), &mut len);
            if !utf8.is_null() {
                let bytes = std::slice::from_raw_parts(utf8.cast::<u8>(), len as usize);
                return Ok(String::from_utf8_lossy(bytes).into_owned());
            }
            let error = Error::fetch(self.py());
            if !error.matches(ffi::PyExc_UnicodeEncodeError) {
                return Err(error);
            }
            let (codec, errors) = (c"utf-8".as_ptr(), c"surrogatepass".as_ptr());
            let encoded = ffi::PyUnicode_AsEncodedString(self.as_ptr(), codec, errors);
            let encoded = Bound::from_owned(self.py(), encoded)?;
            Ok(String::from_utf8_lossy(encoded.as_bytes()?).into_owned())
        }
    }

    /// The last characters of a `str`, so many at most, as [`Bound::to_text`] has them.
    ///
    /// # Errors
    /// A `TypeError` if it is none.
    pub fn to_text_end(&self, most: usize) -> Result<'py, String> {
        // SAFETY: attached; the object is alive. A length is negative if it is no string, with an
        // exception; a part of a string is a new one.
        unsafe {
            let length = ffi::PyUnicode_GetLength(self.as_ptr());
            if length < 0 {
                return Err(Error::fetch(self.py()));
            }
            let from = length - ffi::Py_ssize_t::try_from(most).unwrap_or(length).min(length);
            let end = ffi::PyUnicode_Substring(self.as_ptr(), from, length);
            Bound::from_owned(self.py(), end)?.to_text()
        }
    }

    /// The content of a `bytes`.
    ///
    /// # Errors
    /// A `TypeError` if it is none.
    pub fn as_bytes(&self) -> Result<'py, &[u8]> {
        let (mut ptr, mut len) = (std::ptr::null_mut(), 0);
        // SAFETY: attached; the object is alive, and a `bytes` keeps its buffer as long as it lives.
        unsafe {
            if ffi::PyBytes_AsStringAndSize(self.as_ptr(), &mut ptr, &mut len) < 0 {
                return Err(Error::fetch(self.py()));
            }
            Ok(std::slice::from_raw_parts(ptr.cast::<u8>(), len as usize))
        }
    }

    /// The value of an `int`.
    ///
    /// # Errors
    /// A `TypeError` or an `OverflowError`.
    pub fn to_int(&self) -> Result<'py, i64> {
        // The one for `long` is several times as fast.
        // SAFETY: attached; the object is alive.
        #[cfg(all(unix, target_pointer_width = "64"))]
        let value = unsafe { ffi::PyLong_AsLong(self.as_ptr()) };
        // SAFETY: as above.
        #[cfg(not(all(unix, target_pointer_width = "64")))]
        let value = unsafe { ffi::PyLong_AsLongLong(self.as_ptr()) };
        if value == -1
            && let Some(error) = Error::take(self.py())
        {
            return Err(error);
        }
        Ok(value)
    }

    /// `self[key]` of a `dict`, or nothing if it has no such key.
    ///
    /// # Errors
    /// A key that cannot be hashed or compared.
    pub fn dict_item(&self, key: &Bound<'py>) -> Result<'py, Option<Bound<'py>>> {
        let mut value = std::ptr::null_mut();
        // SAFETY: attached; both are alive; a new reference, or NULL with or without an exception,
        // which is a SystemError if it is not a dict.
        unsafe {
            let found = ffi::compat::PyDict_GetItemRef(self.as_ptr(), key.as_ptr(), &mut value);
            if found < 0 {
                return Err(Error::fetch(self.py()));
            }
            Ok(Bound::from_owned_or_none(self.py(), value))
        }
    }

    /// `self[key] = value` of a `dict`.
    ///
    /// # Errors
    /// A key that cannot be hashed or compared; no memory.
    pub fn set_dict_item(&self, key: &Bound<'py>, value: &Bound<'py>) -> Result<'py, ()> {
        // SAFETY: attached; all are alive; SetItem takes references of its own.
        let status = unsafe { ffi::PyDict_SetItem(self.as_ptr(), key.as_ptr(), value.as_ptr()) };
        if status < 0 { Err(Error::fetch(self.py())) } else { Ok(()) }
    }

    /// `self[name]` of a `dict`, or nothing if it has no such key.
    ///
    /// # Errors
    /// A key that cannot be compared.
    pub fn dict_get(&self, name: &CStr) -> Result<'py, Option<Bound<'py>>> {
        self.dict_item(&self.py().str(&name.to_string_lossy())?)
    }

    /// `self[name] = value` of a `dict`.
    ///
    /// # Errors
    /// No memory.
    pub fn dict_set(&self, name: &CStr, value: &Bound<'py>) -> Result<'py, ()> {
        // SAFETY: attached; both are alive; the value's reference is not taken over.
        let status =
            unsafe { ffi::PyDict_SetItemString(self.as_ptr(), name.as_ptr(), value.as_ptr()) };
        if status < 0 { Err(Error::fetch(self.py())) } else { Ok(()) }
    }

    /// The items of an iterable.
    ///
    /// # Errors
    /// What the iteration raises.
    pub fn items(&self) -> Result<'py, Vec<Bound<'py>>> {
        // SAFETY: attached; the object is alive; new references, or NULL at the end or with an
        // exception.
        unsafe {
            let iterator = Bound::from_owned(self.py(), ffi::PyObject_GetIter(self.as_ptr()))?;
            let mut items = Vec::new();
            loop {
                let item = ffi::PyIter_Next(iterator.as_ptr());
                match Bound::from_owned_or_none(self.py(), item) {
                    Some(item) => items.push(item),
                    None => return Error::take(self.py()).map_or(Ok(items), Err),
                }
            }
        }
    }
}
