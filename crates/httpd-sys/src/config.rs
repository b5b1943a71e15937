//! The functions with which the server makes and merges configuration, and how values are found.
//!
//! A value lives in the pool the server names, and is dropped with it. Sections are merged for
//! requests, servers only while the configuration is read.

use std::ffi::{CString, c_char, c_void};
use std::ptr;

use apr_sys as raw;

use crate::guard::guarded;
use crate::log::{Level, Logger};
use crate::module::Module;
use crate::pool::Pool;
use crate::server::Server;

/// Logs a panic where there is neither request nor server.
pub(crate) fn report<M: Module>(text: &str) {
    let text = format!("internal error: {text}");
    Logger::process::<M>().log(Level::Critical, crate::here!(), 0, text.as_bytes());
}

/// Fails with NULL, which `find` reports as "no configuration".
pub(crate) unsafe extern "C" fn create_server<M: Module>(
    pool: *mut raw::apr_pool_t,
    server: *mut raw::server_rec,
) -> *mut c_void {
    guarded(ptr::null_mut(), report::<M>, || {
        // SAFETY: the server passes the configuration's pool and one of its servers.
        unsafe { Pool::from_raw(pool).keep_raw(M::create_server(Server::from_raw(server))).cast() }
    })
}

/// Fails with the value of the virtual host alone.
pub(crate) unsafe extern "C" fn merge_servers<M: Module>(
    pool: *mut raw::apr_pool_t,
    main: *mut c_void,
    own: *mut c_void,
) -> *mut c_void {
    guarded(own, report::<M>, || {
        // SAFETY: both were made by `create_server` and live as long as the pool (A7).
        unsafe {
            match (main.cast::<M::Server>().as_ref(), own.cast::<M::Server>().as_ref()) {
                (Some(main), Some(own)) => {
                    Pool::from_raw(pool).keep_raw(M::merge_servers(main, own)).cast()
                }
                _ => own,
            }
        }
    })
}

/// Fails with NULL.
pub(crate) unsafe extern "C" fn create_section<M: Module>(
    pool: *mut raw::apr_pool_t,
    _path: *mut c_char,
) -> *mut c_void {
    guarded(ptr::null_mut(), report::<M>, || {
        // SAFETY: the server passes a pool.
        unsafe { Pool::from_raw(pool).keep_raw(M::create_section()).cast() }
    })
}

/// Fails with the value of the inner section alone.
pub(crate) unsafe extern "C" fn merge_sections<M: Module>(
    pool: *mut raw::apr_pool_t,
    outer: *mut c_void,
    inner: *mut c_void,
) -> *mut c_void {
    guarded(inner, report::<M>, || {
        // SAFETY: both were made by `create_section`, or here, and live as long as the pool (A7).
        unsafe {
            match (outer.cast::<M::Section>().as_ref(), inner.cast::<M::Section>().as_ref()) {
                (Some(outer), Some(inner)) => {
                    Pool::from_raw(pool).keep_raw(M::merge_sections(outer, inner)).cast()
                }
                _ => inner,
            }
        }
    })
}

/// Makes the value that `M` keeps once for the whole configuration.
///
/// # Safety
/// `pool` is the configuration's, which is being read.
pub(crate) unsafe fn share<M: Module>(pool: Pool<'_>) {
    let value = pool.keep_raw(M::Shared::default());
    // SAFETY: the pool is alive and this thread's (A4), and copies the key; what it is told to keep
    // is in the same pool.
    unsafe { raw::apr_pool_userdata_set(value.cast(), key::<M>().as_ptr(), None, pool.as_ptr()) };
}

/// The value that [`share`] made. Not where another thread may write to the pool: while the
/// configuration is read, in the hooks of the parent, and when a child starts.
///
/// # Safety
/// `pool` is the configuration's, and alive for `'a`.
pub(crate) unsafe fn shared<'a, M: Module>(pool: *mut raw::apr_pool_t) -> Option<&'a M::Shared> {
    let mut value: *mut c_void = ptr::null_mut();
    // SAFETY: writes a pointer. Under this key there is a value of `M`, or nothing: the key has
    // the address of the module's record in it.
    unsafe {
        raw::apr_pool_userdata_get(&mut value, key::<M>().as_ptr(), pool);
        value.cast::<M::Shared>().as_ref()
    }
}

/// Where the value is: `Record` of `M` is a static, so its address is no other module's.
fn key<M: Module>() -> CString {
    let key = format!("{} {:p}", std::any::type_name::<M>(), M::record());
    CString::new(key).unwrap_or_default()
}

/// The configuration of `M` in a vector, as `T`.
///
/// # Safety
/// `vector` is NULL or alive for `'a`, and `T` is what `M` keeps in such a vector.
pub(crate) unsafe fn find<'a, M: Module, T>(vector: *const raw::ap_conf_vector_t) -> Option<&'a T> {
    let index = usize::try_from(M::record().index()).ok()?;
    if vector.is_null() {
        return None;
    }
    // SAFETY: a vector is an array of pointers with room for every module (`http_config.h`:
    // `ap_get_module_config`, which this is without the call); the value is `M`'s (A7).
    unsafe { vector.cast::<*const T>().add(index).read().as_ref() }
}
