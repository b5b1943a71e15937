//! Mapping a URL to a file whose place is known: one look at the file system.
//!
//! A translator that gives the server a path with path info behind it makes the server find out
//! where the file ends: it looks for the whole, fails, and then looks at each directory from the
//! root on. One that has looked itself spares it that; the walk through the sections of the
//! directories is the same.
//! <https://httpd.apache.org/docs/2.4/developer/request.html>

use std::mem::MaybeUninit;

use apr_sys as raw;

use crate::request::Request;

impl Request<'_> {
    /// Maps the request to the regular file `file`, with `path_info` behind it. False, with nothing
    /// changed, if there is none.
    pub fn map_to_file(&mut self, file: &[u8], path_info: &[u8]) -> bool {
        let pool = self.pool();
        let file = pool.string(file);
        let mut found = MaybeUninit::<raw::apr_finfo_t>::zeroed();
        // SAFETY: a structure of which all zeros are a value; alive pool; a string that lives as
        // long as the request.
        let found = unsafe {
            let wanted = raw::APR_FINFO_MIN as raw::apr_int32_t;
            let status = raw::apr_stat(found.as_mut_ptr(), file.as_ptr(), wanted, pool.as_ptr());
            if status != raw::APR_SUCCESS as raw::apr_status_t {
                return false;
            }
            found.assume_init()
        };
        if found.filetype != raw::APR_REG {
            return false;
        }
        // SAFETY: alive; the strings and the structure are in the request's memory.
        unsafe {
            let request = self.as_ptr();
            (*request).finfo = found;
            (*request).filename = file.as_ptr().cast_mut();
            if !path_info.is_empty() {
                (*request).path_info = pool.string(path_info).as_ptr().cast_mut();
            }
        }
        true
    }
}
