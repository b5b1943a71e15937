//! Borrowed memory in C layout: what a `&[T]` is, with a promised layout.
//!
//! Fields are private and the only constructors take references, so within one side a value is as
//! good as the reference it was made from; across the border the [`crate::ABI`] hash vouches for
//! the layout and the caller for the lifetime.

use std::fmt;
use std::marker::PhantomData;
use std::ptr;
use std::slice;

/// A borrowed `[T]`.
#[repr(C)]
pub struct Slice<'a, T> {
    /// Of `len` values that live for `'a`; dangling if `len` is 0.
    ptr: *const T,
    len: usize,
    of: PhantomData<&'a [T]>,
}

impl<'a, T> Slice<'a, T> {
    /// No values.
    pub const EMPTY: Slice<'a, T> = Slice { ptr: ptr::null(), len: 0, of: PhantomData };

    /// Borrows `values`.
    pub const fn new(values: &'a [T]) -> Slice<'a, T> {
        Slice { ptr: values.as_ptr(), len: values.len(), of: PhantomData }
    }

    /// The values.
    #[inline]
    pub const fn get(&self) -> &'a [T] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: made from a `&'a [T]` of this length (field invariant).
        unsafe { slice::from_raw_parts(self.ptr, self.len) }
    }
}

impl<T> Clone for Slice<'_, T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Slice<'_, T> {}

// SAFETY: a `Slice` is a `&[T]`.
unsafe impl<T: Sync> Send for Slice<'_, T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Slice<'_, T> {}

impl<T: fmt::Debug> fmt::Debug for Slice<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.get().fmt(f)
    }
}

impl<'a, T> From<&'a [T]> for Slice<'a, T> {
    fn from(values: &'a [T]) -> Self {
        Slice::new(values)
    }
}

/// Borrowed bytes, or nothing: an absent value is not an empty one.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Bytes<'a> {
    /// NULL if absent; else of `len` bytes that live for `'a`.
    ptr: *const u8,
    len: usize,
    of: PhantomData<&'a [u8]>,
}

impl<'a> Bytes<'a> {
    /// No value.
    pub const ABSENT: Bytes<'a> = Bytes { ptr: ptr::null(), len: 0, of: PhantomData };

    /// Borrows `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Bytes<'a> {
        Bytes { ptr: bytes.as_ptr(), len: bytes.len(), of: PhantomData }
    }

    /// These bytes, or absent.
    pub fn maybe(bytes: Option<&'a [u8]>) -> Bytes<'a> {
        bytes.map_or(Bytes::ABSENT, Bytes::new)
    }

    /// The bytes, if there are any to speak of.
    #[inline]
    pub const fn get(&self) -> Option<&'a [u8]> {
        if self.ptr.is_null() {
            return None;
        }
        // SAFETY: made from a `&'a [u8]` of this length (field invariant).
        Some(unsafe { slice::from_raw_parts(self.ptr, self.len) })
    }

    /// The bytes; none if absent.
    #[inline]
    pub fn or_empty(&self) -> &'a [u8] {
        self.get().unwrap_or_default()
    }
}

// SAFETY: a `Bytes` is an `Option<&[u8]>`.
unsafe impl Send for Bytes<'_> {}
// SAFETY: as above.
unsafe impl Sync for Bytes<'_> {}

impl fmt::Debug for Bytes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.get() {
            Some(bytes) => write!(f, "\"{}\"", bytes.escape_ascii()),
            None => f.write_str("absent"),
        }
    }
}

impl Default for Bytes<'_> {
    fn default() -> Self {
        Bytes::ABSENT
    }
}

impl<'a> From<&'a [u8]> for Bytes<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Bytes::new(bytes)
    }
}

impl<'a> From<&'a str> for Bytes<'a> {
    fn from(text: &'a str) -> Self {
        Bytes::new(text.as_bytes())
    }
}

impl<'a> From<Option<&'a [u8]>> for Bytes<'a> {
    fn from(bytes: Option<&'a [u8]>) -> Self {
        bytes.map_or(Bytes::ABSENT, Bytes::new)
    }
}

/// A name with a value.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Pair<'a> {
    /// The name; never absent.
    pub name: Bytes<'a>,
    /// The value; absent where Apache has a NULL in a table.
    pub value: Bytes<'a>,
}

impl<'a> Pair<'a> {
    /// A name with a value.
    #[inline]
    pub const fn new(name: &'a [u8], value: &'a [u8]) -> Pair<'a> {
        Pair { name: Bytes::new(name), value: Bytes::new(value) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn absent_is_not_empty() {
        assert_eq!(Bytes::ABSENT.get(), None);
        assert_eq!(Bytes::new(b"").get(), Some(&b""[..]));
        assert_eq!(Bytes::from("x").or_empty(), b"x");
        assert!(Slice::<u8>::EMPTY.get().is_empty());
        assert_eq!(Slice::new(&[1, 2]).get(), [1, 2]);
    }
}
