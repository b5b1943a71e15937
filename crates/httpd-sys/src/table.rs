//! Tables: lists of pairs of strings, whose names compare without case.
//!
//! Strings of a table live as long as its pool, even after they were replaced (A5), so what is
//! read has the table's lifetime and not that of a borrow.
//! <https://apr.apache.org/docs/apr/1.7/group__apr__tables.html>

use std::ffi::CStr;
use std::marker::PhantomData;
use std::ptr::NonNull;

use apr_sys as raw;

use crate::text::bytes;

/// A table that lives for `'p`, on the thread its pool belongs to.
#[derive(Clone, Copy)]
pub struct Table<'p> {
    /// Alive for `'p`.
    raw: NonNull<raw::apr_table_t>,
    life: PhantomData<&'p ()>,
}

impl<'p> Table<'p> {
    /// # Safety
    /// `table` is alive for `'p`, with its strings, and belongs to this thread.
    pub unsafe fn from_raw(table: *mut raw::apr_table_t) -> Table<'p> {
        debug_assert!(!table.is_null());
        // SAFETY: by contract.
        Table { raw: unsafe { NonNull::new_unchecked(table) }, life: PhantomData }
    }

    /// The C pointer.
    pub fn as_ptr(self) -> *mut raw::apr_table_t {
        self.raw.as_ptr()
    }

    /// The value of the first pair of this name.
    pub fn get(self, name: &CStr) -> Option<&'p [u8]> {
        // SAFETY: alive (field); a name or NULL comes back that lives as long.
        unsafe { bytes(raw::apr_table_get(self.as_ptr(), name.as_ptr())) }
    }

    /// Sets a pair, in place of all of that name. Name and value are copied.
    pub fn set(self, name: &CStr, value: &CStr) {
        // SAFETY: alive; both are copied.
        unsafe { raw::apr_table_set(self.as_ptr(), name.as_ptr(), value.as_ptr()) }
    }

    /// Appends a pair, whether or not there is one of that name. Name and value are copied.
    pub fn add(self, name: &CStr, value: &CStr) {
        // SAFETY: as above.
        unsafe { raw::apr_table_add(self.as_ptr(), name.as_ptr(), value.as_ptr()) }
    }

    /// As [`Table::add`], for strings that live as long and need no copy.
    pub fn add_borrowed(self, name: &'p CStr, value: &'p CStr) {
        // SAFETY: alive; both live as long.
        unsafe { raw::apr_table_addn(self.as_ptr(), name.as_ptr(), value.as_ptr()) }
    }

    /// As [`Table::set`], for strings that live as long and need no copy.
    pub fn set_borrowed(self, name: &'p CStr, value: &'p CStr) {
        // SAFETY: as above.
        unsafe { raw::apr_table_setn(self.as_ptr(), name.as_ptr(), value.as_ptr()) }
    }

    /// Removes all pairs of this name.
    pub fn unset(self, name: &CStr) {
        // SAFETY: alive.
        unsafe { raw::apr_table_unset(self.as_ptr(), name.as_ptr()) }
    }

    /// Whether there is no pair.
    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    /// Number of pairs, at most.
    pub fn len(self) -> usize {
        // SAFETY: alive; the array header is part of the table.
        unsafe { usize::try_from((*raw::apr_table_elts(self.as_ptr())).nelts).unwrap_or(0) }
    }

    /// The pairs in order. A value may be missing; a pair without a name is skipped.
    ///
    /// Pairs that are added meanwhile may or may not be seen.
    pub fn iter(self) -> impl Iterator<Item = (&'p [u8], Option<&'p [u8]>)> {
        let mut at = 0;
        std::iter::from_fn(move || {
            loop {
                // SAFETY: alive; the array is read afresh each time and its bound checked, so a
                // table that has changed is no harm. Entries are copied out, no reference is kept.
                let entry = unsafe {
                    let array = &*raw::apr_table_elts(self.as_ptr());
                    if at >= usize::try_from(array.nelts).unwrap_or(0) {
                        return None;
                    }
                    array.elts.cast::<raw::apr_table_entry_t>().add(at).read()
                };
                at += 1;
                // SAFETY: strings of the table (A8), which live as long.
                if let Some(name) = unsafe { bytes(entry.key) } {
                    // SAFETY: as above.
                    return Some((name, unsafe { bytes(entry.val) }));
                }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pool::tests::with_pool;

    #[test]
    fn names_have_no_case_and_may_repeat() {
        with_pool(|pool| {
            // SAFETY: the table lives as long as its pool.
            let table = unsafe { Table::from_raw(raw::apr_table_make(pool.as_ptr(), 1)) };
            assert!(table.is_empty() && table.get(c"a").is_none());
            table.add(c"Set-Cookie", c"a=1");
            table.add_borrowed(c"set-cookie", c"b=2");
            table.set(c"X", c"");
            let pairs: Vec<_> = table.iter().collect();
            assert_eq!(
                pairs,
                [
                    (&b"Set-Cookie"[..], Some(&b"a=1"[..])),
                    (b"set-cookie", Some(b"b=2")),
                    (b"X", Some(b""))
                ]
            );
            assert_eq!(table.get(c"SET-COOKIE"), Some(&b"a=1"[..]));
            table.set(c"SET-COOKIE", c"c");
            assert_eq!(table.len(), 2);
            table.unset(c"x");
            assert_eq!(table.get(c"X"), None);
        });
    }

    #[test]
    fn a_table_may_grow_while_it_is_read() {
        with_pool(|pool| {
            // SAFETY: the table lives as long as its pool.
            let table = unsafe { Table::from_raw(raw::apr_table_make(pool.as_ptr(), 1)) };
            table.add(c"a", c"1");
            let mut seen = 0;
            for (name, value) in table.iter() {
                assert_eq!((name, value), (&b"a"[..], Some(&b"1"[..])));
                seen += 1;
                if seen < 50 {
                    table.add(c"a", c"1");
                }
            }
            assert_eq!(seen, 50);
        });
    }
}
