//! Macros of the headers that bindgen cannot translate.
//!
//! Each says which header and macro it stands for; the ring macros of `apr_ring.h` are written
//! out for the one ring that httpd modules meet, a brigade's list of buckets.

use core::ffi::{c_char, c_int};
use core::mem::offset_of;
use core::ptr;

use crate::{apr_bucket, apr_bucket_brigade, module};

/// `OK` of `httpd.h`, as hooks return it.
pub const OK: c_int = 0;
/// `DECLINED` of `httpd.h`.
pub const DECLINED: c_int = -1;
/// `DONE` of `httpd.h`.
pub const DONE: c_int = -2;

/// `MODULE_MAGIC_COOKIE` of `ap_mmn.h`: "AP24".
pub const MODULE_MAGIC_COOKIE: core::ffi::c_ulong = 0x4150_3234;

/// `STANDARD20_MODULE_STUFF` of `http_config.h`: a module record with its fixed fields filled in.
///
/// `name` is the source file's name, which `<IfModule>` compares.
pub const fn standard20_module(name: &'static core::ffi::CStr) -> module {
    // SAFETY: all fields of `module` are integers, raw pointers and optional functions, for which
    // zero is a value (0, NULL, None).
    let mut record: module = unsafe { core::mem::zeroed() };
    record.version = crate::MODULE_MAGIC_NUMBER_MAJOR as c_int;
    record.minor_version = crate::MODULE_MAGIC_NUMBER_MINOR as c_int;
    record.module_index = -1;
    record.name = name.as_ptr();
    record.magic = MODULE_MAGIC_COOKIE;
    record
}

/// `APR_STATUS_IS_TIMEUP` and friends: the numbers behind the names, from `apr_errno.h`.
pub mod status {
    use crate::apr_status_t;

    /// `APR_OS_START_ERROR`.
    pub const APR_OS_START_ERROR: apr_status_t = 20000;
    /// `APR_OS_START_STATUS`.
    pub const APR_OS_START_STATUS: apr_status_t = APR_OS_START_ERROR + 50000;
    /// `APR_OS_START_USERERR`.
    pub const APR_OS_START_USERERR: apr_status_t = APR_OS_START_STATUS + 50000;
    /// `APR_TIMEUP`.
    pub const APR_TIMEUP: apr_status_t = APR_OS_START_STATUS + 7;
    /// `APR_INCOMPLETE`.
    pub const APR_INCOMPLETE: apr_status_t = APR_OS_START_STATUS + 8;
    /// `APR_EOF`.
    pub const APR_EOF: apr_status_t = APR_OS_START_STATUS + 14;
    /// `APR_ENOTIMPL`.
    pub const APR_ENOTIMPL: apr_status_t = APR_OS_START_STATUS + 23;
}

/// `APR_BRIGADE_SENTINEL`: the address that stands for both ends of the list.
///
/// # Safety
/// `brigade` is a live brigade.
pub unsafe fn brigade_sentinel(brigade: *mut apr_bucket_brigade) -> *mut apr_bucket {
    // SAFETY: within the brigade, by contract. As APR_RING_SENTINEL does, the result is where a
    // bucket would be whose `link` field were the list head; it is compared, never read.
    unsafe {
        ptr::addr_of_mut!((*brigade).list)
            .cast::<c_char>()
            .wrapping_sub(offset_of!(apr_bucket, link))
            .cast()
    }
}

/// `APR_BRIGADE_FIRST`: the first bucket, or the sentinel.
///
/// # Safety
/// `brigade` is a live brigade.
pub unsafe fn brigade_first(brigade: *mut apr_bucket_brigade) -> *mut apr_bucket {
    // SAFETY: by contract.
    unsafe { (*brigade).list.next }
}

/// `APR_BRIGADE_EMPTY`.
///
/// # Safety
/// `brigade` is a live brigade.
pub unsafe fn brigade_is_empty(brigade: *mut apr_bucket_brigade) -> bool {
    // SAFETY: by contract.
    unsafe { brigade_first(brigade) == brigade_sentinel(brigade) }
}

/// `APR_BUCKET_NEXT`.
///
/// # Safety
/// `bucket` is in a list.
pub unsafe fn bucket_next(bucket: *mut apr_bucket) -> *mut apr_bucket {
    // SAFETY: by contract.
    unsafe { (*bucket).link.next }
}

/// `APR_BRIGADE_INSERT_TAIL`.
///
/// # Safety
/// `brigade` is live, and `bucket` live and in no list.
pub unsafe fn brigade_insert_tail(brigade: *mut apr_bucket_brigade, bucket: *mut apr_bucket) {
    // SAFETY: by contract. The last bucket may be the sentinel, whose link fields are the list
    // head itself, as the ring macros rely on.
    unsafe {
        let sentinel = brigade_sentinel(brigade);
        let last = (*brigade).list.prev;
        (*bucket).link.prev = last;
        (*bucket).link.next = sentinel;
        if last == sentinel {
            (*brigade).list.next = bucket;
        } else {
            (*last).link.next = bucket;
        }
        (*brigade).list.prev = bucket;
    }
}

/// `APR_BUCKET_REMOVE`.
///
/// # Safety
/// `bucket` is in the list of `brigade`.
pub unsafe fn bucket_remove(brigade: *mut apr_bucket_brigade, bucket: *mut apr_bucket) {
    // SAFETY: by contract; the sentinel's links are the list head.
    unsafe {
        let sentinel = brigade_sentinel(brigade);
        let (previous, next) = ((*bucket).link.prev, (*bucket).link.next);
        if previous == sentinel {
            (*brigade).list.next = next;
        } else {
            (*previous).link.next = next;
        }
        if next == sentinel {
            (*brigade).list.prev = previous;
        } else {
            (*next).link.prev = previous;
        }
    }
}

/// `apr_bucket_destroy`: frees a bucket that is in no list.
///
/// # Safety
/// `bucket` is live and in no list; it is not used again.
pub unsafe fn bucket_destroy(bucket: *mut apr_bucket) {
    // SAFETY: by contract; every bucket has a type, and `free` is set by whoever allocated it.
    unsafe {
        if let Some(destroy) = (*(*bucket).type_).destroy {
            destroy((*bucket).data);
        }
        if let Some(free) = (*bucket).free {
            free(bucket.cast());
        }
    }
}

/// `apr_bucket_delete`: takes a bucket out of its list and frees it.
///
/// # Safety
/// `bucket` is in the list of `brigade`; it is not used again.
pub unsafe fn bucket_delete(brigade: *mut apr_bucket_brigade, bucket: *mut apr_bucket) {
    // SAFETY: by contract.
    unsafe {
        bucket_remove(brigade, bucket);
        bucket_destroy(bucket);
    }
}
