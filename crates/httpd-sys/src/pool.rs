//! Pools: memory that lives until its pool is cleared.
//!
//! A handle borrows its pool for `'p`. What is put in does not move and is not freed before (A5),
//! so references with that lifetime can be handed out.
//! <https://apr.apache.org/docs/apr/1.7/group__apr__pools.html>

use std::ffi::{CStr, c_void};
use std::marker::PhantomData;
use std::mem;
use std::ptr::{self, NonNull};

use apr_sys as raw;

use crate::guard;

/// A pool that lives for `'p`, on the thread it belongs to.
#[derive(Clone, Copy)]
pub struct Pool<'p> {
    /// Alive for `'p`. Not `Send`: a pool is one thread's at a time (A4).
    raw: NonNull<raw::apr_pool_t>,
    life: PhantomData<&'p ()>,
}

impl<'p> Pool<'p> {
    /// # Safety
    /// `pool` is alive for `'p`, and belongs to this thread.
    pub unsafe fn from_raw(pool: *mut raw::apr_pool_t) -> Pool<'p> {
        debug_assert!(!pool.is_null());
        // SAFETY: the server never hands out NULL for a pool.
        Pool { raw: unsafe { NonNull::new_unchecked(pool) }, life: PhantomData }
    }

    /// The C pointer.
    pub fn as_ptr(self) -> *mut raw::apr_pool_t {
        self.raw.as_ptr()
    }

    /// A copy of `text` as C has it; ends at its first NUL.
    pub fn string(self, text: &[u8]) -> &'p CStr {
        // SAFETY: alive and ours (field); `text` is as long as it says. The copy is NUL-terminated
        // and lives as long as the pool. APR aborts the process when memory is short.
        unsafe {
            let copy = raw::apr_pstrmemdup(self.as_ptr(), text.as_ptr().cast(), text.len());
            CStr::from_ptr(copy)
        }
    }

    /// A copy of `bytes`.
    pub fn bytes(self, bytes: &[u8]) -> &'p [u8] {
        if bytes.is_empty() {
            return &[];
        }
        // SAFETY: as above.
        unsafe {
            let copy =
                raw::apr_pmemdup(self.as_ptr(), bytes.as_ptr().cast(), bytes.len()).cast::<u8>();
            std::slice::from_raw_parts(copy, bytes.len())
        }
    }

    /// Keeps `value` until the pool is cleared, when it is dropped.
    ///
    /// The value may be dropped on another thread than this one.
    pub fn keep<T: Send + 'static>(self, value: T) -> &'p T {
        // SAFETY: what is put into a pool stays where it is until the pool goes.
        unsafe { &*self.keep_raw(value) }
    }

    /// As [`Pool::keep`], for memory that C will hold.
    pub(crate) fn keep_raw<T: Send + 'static>(self, value: T) -> *mut T {
        unsafe extern "C" fn drop_value<T>(value: *mut c_void) -> raw::apr_status_t {
            guard::quiet((), || {
                // SAFETY: registered below with a value of this type, and run once.
                unsafe { ptr::drop_in_place(value.cast::<T>()) }
            });
            raw::APR_SUCCESS
        }
        const {
            assert!(align_of::<T>() <= 8, "pools align to 8 bytes");
        }
        // SAFETY: alive and ours; the memory is aligned to 8 bytes and large enough. The clean-up
        // function is in this image, which outlives the pools of its configuration (A1): mod_so
        // unloads it with a clean-up that was registered before any of ours.
        unsafe {
            let memory = raw::apr_palloc(self.as_ptr(), size_of::<T>().max(1)).cast::<T>();
            memory.write(value);
            if mem::needs_drop::<T>() {
                raw::apr_pool_cleanup_register(
                    self.as_ptr(),
                    memory.cast::<c_void>().cast_const(),
                    Some(drop_value::<T>),
                    Some(raw::apr_pool_cleanup_null),
                );
            }
            memory
        }
    }

    /// Runs `at_end` when the pool is cleared. A panic in it is dropped.
    pub fn at_end<F: FnOnce() + Send + 'static>(self, at_end: F) {
        struct RunOnDrop<F: FnOnce()>(Option<F>);
        impl<F: FnOnce()> Drop for RunOnDrop<F> {
            fn drop(&mut self) {
                if let Some(run) = self.0.take() {
                    run();
                }
            }
        }
        self.keep(RunOnDrop(Some(at_end)));
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    /// Runs `body` with a pool that is cleared behind it.
    pub(crate) fn with_pool<T>(body: impl for<'p> FnOnce(Pool<'p>) -> T) -> T {
        let mut pool = ptr::null_mut();
        // SAFETY: APR may be initialised any number of times; the pool is destroyed once.
        unsafe {
            raw::apr_initialize();
            raw::apr_pool_create_ex(&mut pool, ptr::null_mut(), None, ptr::null_mut());
            let result = body(Pool::from_raw(pool));
            raw::apr_pool_destroy(pool);
            result
        }
    }

    #[test]
    fn strings_end_at_nul_and_bytes_do_not() {
        with_pool(|pool| {
            assert_eq!(pool.string(b"a\0b"), c"a");
            assert_eq!(pool.string(b""), c"");
            assert_eq!(pool.bytes(b"a\0b"), b"a\0b");
            assert_eq!(pool.bytes(b""), b"");
        });
    }

    #[test]
    fn values_are_dropped_with_the_pool_in_reverse() {
        let count = Arc::new(AtomicUsize::new(0));
        let (one, two) = (count.clone(), count.clone());
        with_pool(|pool| {
            pool.at_end(move || assert_eq!(one.fetch_add(1, Ordering::SeqCst), 1));
            pool.at_end(move || assert_eq!(two.fetch_add(1, Ordering::SeqCst), 0));
            assert_eq!(*pool.keep(Box::new(5)), Box::new(5));
            pool.at_end(|| panic!("this goes nowhere"));
        });
        assert_eq!(count.load(Ordering::SeqCst), 2);
    }
}
