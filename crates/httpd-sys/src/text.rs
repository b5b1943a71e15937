//! Strings of C as bytes.

use std::ffi::{CStr, c_char};

/// The bytes of a string, `None` for NULL.
///
/// # Safety
/// `text` is NULL or NUL-terminated and not written to for `'a`.
#[inline]
pub(crate) unsafe fn bytes<'a>(text: *const c_char) -> Option<&'a [u8]> {
    if text.is_null() {
        return None;
    }
    // SAFETY: by contract.
    Some(unsafe { CStr::from_ptr(text) }.to_bytes())
}
