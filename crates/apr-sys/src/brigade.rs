//! Brigades are rings of buckets; `apr_ring.h` and `apr_buckets.h` do everything with macros.
//!
//! A ring ends at its sentinel: a pointer computed so that the head's `next` and `prev` lie where a
//! bucket's `link` has its own. Functions have the macros' names, in Rust's case.
//! <https://apr.apache.org/docs/apr-util/1.6/group___a_p_r___util___bucket___brigades.html>

use std::mem::offset_of;
use std::ptr;

use crate::bindings::{apr_bucket, apr_bucket_brigade, apr_bucket_type_t};

/// `APR_BRIGADE_SENTINEL`: the end of the ring.
///
/// # Safety
/// `brigade` is alive.
#[inline]
pub unsafe fn apr_brigade_sentinel(brigade: *mut apr_bucket_brigade) -> *mut apr_bucket {
    // SAFETY: alive by contract; only an address inside it is made. The sentinel may lie before it,
    // hence `wrapping`.
    let head = unsafe { &raw mut (*brigade).list };
    head.cast::<u8>().wrapping_sub(offset_of!(apr_bucket, link)).cast()
}

/// `APR_BRIGADE_EMPTY`.
///
/// # Safety
/// `brigade` is alive.
#[inline]
pub unsafe fn apr_brigade_empty(brigade: *mut apr_bucket_brigade) -> bool {
    // SAFETY: by contract.
    unsafe { apr_brigade_first(brigade) == apr_brigade_sentinel(brigade) }
}

/// `APR_BRIGADE_FIRST`: the first bucket, or the sentinel.
///
/// # Safety
/// `brigade` is alive.
#[inline]
pub unsafe fn apr_brigade_first(brigade: *mut apr_bucket_brigade) -> *mut apr_bucket {
    // SAFETY: by contract.
    unsafe { (*brigade).list.next }
}

/// `APR_BUCKET_NEXT`: the bucket behind `bucket`, or the sentinel.
///
/// # Safety
/// `bucket` is alive and in a ring.
#[inline]
pub unsafe fn apr_bucket_next(bucket: *mut apr_bucket) -> *mut apr_bucket {
    // SAFETY: by contract.
    unsafe { (*bucket).link.next }
}

/// `APR_BRIGADE_INSERT_TAIL`.
///
/// # Safety
/// Both are alive, and `bucket` is in no ring.
#[inline]
pub unsafe fn apr_brigade_insert_tail(brigade: *mut apr_bucket_brigade, bucket: *mut apr_bucket) {
    // SAFETY: by contract. The links of the sentinel are the head's, so an empty ring needs no case
    // of its own.
    unsafe {
        let head = &raw mut (*brigade).list;
        let sentinel = apr_brigade_sentinel(brigade);
        let last = (*head).prev;
        (*bucket).link.next = sentinel;
        (*bucket).link.prev = last;
        (*head).prev = bucket;
        if last == sentinel {
            (*head).next = bucket;
        } else {
            (*last).link.next = bucket;
        }
    }
}

/// `APR_BUCKET_REMOVE`: takes `bucket` out of its ring.
///
/// # Safety
/// `bucket` is alive and in the ring of `brigade`.
#[inline]
pub unsafe fn apr_bucket_remove(brigade: *mut apr_bucket_brigade, bucket: *mut apr_bucket) {
    // SAFETY: by contract, neighbours are buckets of the ring or its sentinel.
    unsafe {
        let head = &raw mut (*brigade).list;
        let sentinel = apr_brigade_sentinel(brigade);
        let (next, prev) = ((*bucket).link.next, (*bucket).link.prev);
        if prev == sentinel {
            (*head).next = next;
        } else {
            (*prev).link.next = next;
        }
        if next == sentinel {
            (*head).prev = prev;
        } else {
            (*next).link.prev = prev;
        }
        (*bucket).link.next = ptr::null_mut();
        (*bucket).link.prev = ptr::null_mut();
    }
}

/// `apr_bucket_destroy`: gives back the data and the bucket itself.
///
/// # Safety
/// `bucket` is alive, in no ring, and not used any more.
#[inline]
pub unsafe fn apr_bucket_destroy(bucket: *mut apr_bucket) {
    // SAFETY: every bucket has a type with a destructor, and was made with its own `free`.
    unsafe {
        if let Some(destroy) = (*(*bucket).type_).destroy {
            destroy((*bucket).data);
        }
        if let Some(free) = (*bucket).free {
            free(bucket.cast());
        }
    }
}

/// `APR_BUCKET_IS_*`: whether `bucket` is of type `kind`, such as `apr_bucket_type_eos`.
///
/// # Safety
/// `bucket` is alive.
#[inline]
pub unsafe fn apr_bucket_is(bucket: *mut apr_bucket, kind: *const apr_bucket_type_t) -> bool {
    // SAFETY: by contract.
    unsafe { ptr::eq((*bucket).type_, kind) }
}

/// `APR_BUCKET_IS_METADATA`: whether `bucket` carries no data.
///
/// # Safety
/// `bucket` is alive.
#[inline]
pub unsafe fn apr_bucket_is_metadata(bucket: *mut apr_bucket) -> bool {
    // SAFETY: by contract; every bucket has a type.
    unsafe { (*(*bucket).type_).is_metadata == crate::bindings::APR_BUCKET_METADATA }
}

/// `apr_bucket_read`.
///
/// # Safety
/// `bucket` is alive; `data` and `len` can be written.
#[inline]
pub unsafe fn apr_bucket_read(
    bucket: *mut apr_bucket,
    data: *mut *const std::ffi::c_char,
    len: *mut crate::bindings::apr_size_t,
    block: crate::bindings::apr_read_type_e,
) -> crate::bindings::apr_status_t {
    // SAFETY: by contract; every type can be read.
    unsafe {
        match (*(*bucket).type_).read {
            Some(read) => read(bucket, data, len, block),
            None => crate::bindings::APR_ENOTIMPL,
        }
    }
}

/// `apr_bucket_split`: cuts `bucket` behind `point` bytes; the rest becomes the next bucket.
///
/// # Safety
/// `bucket` is alive and in a ring; `point` is not beyond its length.
#[inline]
pub unsafe fn apr_bucket_split(
    bucket: *mut apr_bucket,
    point: crate::bindings::apr_size_t,
) -> crate::bindings::apr_status_t {
    // SAFETY: by contract; every type can be split, if only to say that it cannot.
    unsafe {
        match (*(*bucket).type_).split {
            Some(split) => split(bucket, point),
            None => crate::bindings::APR_ENOTIMPL,
        }
    }
}
