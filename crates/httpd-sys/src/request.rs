//! Requests.
//!
//! A request is a handle for the length of a hook. Its strings live in its pool and are replaced,
//! not rewritten (A9), so they are handed out for the request's life.
//! <https://httpd.apache.org/docs/2.4/developer/request.html>

use std::ffi::{CStr, c_int};
use std::marker::PhantomData;
use std::ptr::NonNull;

use apr_sys as raw;

use crate::config;
use crate::connection::Connection;
use crate::log::Logger;
use crate::module::Module;
use crate::pool::Pool;
use crate::server::Server;
use crate::table::Table;
use crate::text::bytes;

/// A request that lives for `'r`, on the thread that handles it.
pub struct Request<'r> {
    /// Alive for `'r`.
    raw: NonNull<raw::request_rec>,
    life: PhantomData<&'r ()>,
}

/// What the file name of a request stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileType {
    /// Nothing, or nothing that can be seen.
    Missing,
    /// A regular file.
    Regular,
    /// A directory.
    Directory,
    /// Anything else.
    Other,
}

/// `AcceptPathInfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PathInfo {
    /// `On`.
    Accept,
    /// `Off`.
    Reject,
    /// What the handler likes.
    Default,
}

impl<'r> Request<'r> {
    /// # Safety
    /// `request` is alive for `'r`, belongs to this thread, and there is no other handle of it that
    /// is used meanwhile.
    pub unsafe fn from_raw(request: *mut raw::request_rec) -> Request<'r> {
        debug_assert!(!request.is_null());
        // SAFETY: by contract.
        Request { raw: unsafe { NonNull::new_unchecked(request) }, life: PhantomData }
    }

    /// The C pointer.
    pub fn as_ptr(&self) -> *mut raw::request_rec {
        self.raw.as_ptr()
    }

    /// A pointer to a field is read through this, so that no reference lasts while C runs.
    fn get(&self) -> &raw::request_rec {
        // SAFETY: alive (field); the borrow ends with each accessor below.
        unsafe { self.raw.as_ref() }
    }

    /// Its pool.
    pub fn pool(&self) -> Pool<'r> {
        // SAFETY: a request lives in its pool.
        unsafe { Pool::from_raw(self.get().pool) }
    }

    /// The server it is for.
    pub fn server(&self) -> Server<'r> {
        // SAFETY: outlives the request (A3).
        unsafe { Server::from_raw(self.get().server) }
    }

    /// Its connection.
    pub fn connection(&self) -> Connection<'r> {
        // SAFETY: outlives the request (A3).
        unsafe { Connection::from_raw(self.get().connection) }
    }

    /// The log, for records about this request.
    pub fn logger<M: Module>(&self) -> Logger<'r> {
        // SAFETY: alive for `'r`.
        unsafe { Logger::request::<M>(self.as_ptr()) }
    }

    /// The configuration of `M` in force for this request's URL and file.
    pub fn section<M: Module>(&self) -> Option<&'r M::Section> {
        // SAFETY: a vector of sections, which lives as long as the request.
        unsafe { config::find::<M, M::Section>(self.get().per_dir_config) }
    }

    /// Whether this is a request of its own, not a subrequest nor the result of a redirect.
    pub fn is_initial(&self) -> bool {
        self.get().main.is_null() && self.get().prev.is_null()
    }

    /// Whether its response is a part of another's.
    pub fn is_subrequest(&self) -> bool {
        !self.get().main.is_null()
    }

    /// The method as sent.
    pub fn method(&self) -> &'r [u8] {
        // SAFETY: a string or NULL (A8), as in all accessors that follow.
        unsafe { bytes(self.get().method) }.unwrap_or_default()
    }

    /// Whether it is GET or HEAD.
    pub fn is_get(&self) -> bool {
        self.get().method_number == raw::M_GET
    }

    /// Whether the client waits for `100 Continue` before it sends the body.
    pub fn expects_continue(&self) -> bool {
        self.get().expecting_100 != 0
    }

    /// Whether the client wants no body: HEAD.
    pub fn header_only(&self) -> bool {
        self.get().header_only != 0
    }

    /// `HTTP/1.1` and the like.
    pub fn protocol(&self) -> &'r [u8] {
        // SAFETY: as above.
        unsafe { bytes(self.get().protocol) }.unwrap_or_default()
    }

    /// The request line as sent, or what HTTP/2 makes one of.
    pub fn request_line(&self) -> &'r [u8] {
        // SAFETY: as above.
        unsafe { bytes(self.get().the_request) }.unwrap_or_default()
    }

    /// The path, decoded.
    pub fn uri(&self) -> &'r [u8] {
        // SAFETY: as above.
        unsafe { bytes(self.get().uri) }.unwrap_or_default()
    }

    /// As [`Request::uri`], for functions of C.
    pub fn uri_c(&self) -> &'r CStr {
        let uri = self.get().uri;
        if uri.is_null() {
            return c"";
        }
        // SAFETY: as above.
        unsafe { CStr::from_ptr(uri) }
    }

    /// What follows the question mark.
    pub fn query(&self) -> Option<&'r [u8]> {
        // SAFETY: as above.
        unsafe { bytes(self.get().args) }
    }

    /// The file the path stands for.
    pub fn filename(&self) -> &'r [u8] {
        // SAFETY: as above.
        unsafe { bytes(self.get().filename) }.unwrap_or_default()
    }

    /// Sets it. Hooks before the directory walk may.
    pub fn set_filename(&mut self, filename: &[u8]) {
        let filename = self.pool().string(filename);
        // SAFETY: alive; the string lives in the pool.
        unsafe { (*self.as_ptr()).filename = filename.as_ptr().cast_mut() }
    }

    /// The rest of the path behind the file.
    pub fn path_info(&self) -> &'r [u8] {
        // SAFETY: as above.
        unsafe { bytes(self.get().path_info) }.unwrap_or_default()
    }

    /// Whether such a rest is welcome.
    pub fn accept_path_info(&self) -> PathInfo {
        match self.get().used_path_info {
            raw::AP_REQ_ACCEPT_PATH_INFO => PathInfo::Accept,
            raw::AP_REQ_REJECT_PATH_INFO => PathInfo::Reject,
            _ => PathInfo::Default,
        }
    }

    /// What the file is.
    pub fn file_type(&self) -> FileType {
        match self.get().finfo.filetype {
            raw::APR_NOFILE => FileType::Missing,
            raw::APR_REG => FileType::Regular,
            raw::APR_DIR => FileType::Directory,
            _ => FileType::Other,
        }
    }

    /// When the file was last changed, in microseconds since 1970.
    pub fn file_modified(&self) -> i64 {
        self.get().finfo.mtime
    }

    /// Name of the handler.
    pub fn handler(&self) -> Option<&'r [u8]> {
        // SAFETY: as above.
        unsafe { bytes(self.get().handler) }
    }

    /// Sets it.
    pub fn set_handler(&mut self, handler: &'static CStr) {
        // SAFETY: alive; the image of a module outlives its requests.
        unsafe { (*self.as_ptr()).handler = handler.as_ptr() }
    }

    /// Host the client asked for, in lower case and without a port.
    pub fn hostname(&self) -> Option<&'r [u8]> {
        // SAFETY: as above.
        unsafe { bytes(self.get().hostname) }
    }

    /// The authenticated user.
    pub fn user(&self) -> Option<&'r [u8]> {
        // SAFETY: as above.
        unsafe { bytes(self.get().user) }
    }

    /// `Basic` and the like.
    pub fn auth_type(&self) -> Option<&'r [u8]> {
        // SAFETY: as above.
        unsafe { bytes(self.get().ap_auth_type) }
    }

    /// Address of the client, as far as the server believes in one other than the peer's.
    pub fn client_ip(&self) -> &'r [u8] {
        // SAFETY: as above.
        unsafe { bytes(self.get().useragent_ip) }.unwrap_or_default()
    }

    /// When the request came, in microseconds since 1970.
    pub fn time(&self) -> i64 {
        self.get().request_time
    }

    /// The status of the response so far.
    pub fn status(&self) -> u16 {
        u16::try_from(self.get().status).unwrap_or(0)
    }

    /// Sets it.
    pub fn set_status(&mut self, status: u16) {
        // SAFETY: alive.
        unsafe { (*self.as_ptr()).status = c_int::from(status) }
    }

    /// Header of the request.
    pub fn headers_in(&self) -> Table<'r> {
        // SAFETY: made with the request, in its pool; so are the others.
        unsafe { Table::from_raw(self.get().headers_in) }
    }

    /// Header of the response.
    pub fn headers_out(&self) -> Table<'r> {
        // SAFETY: as above.
        unsafe { Table::from_raw(self.get().headers_out) }
    }

    /// Header of the response that error pages have, too.
    pub fn error_headers_out(&self) -> Table<'r> {
        // SAFETY: as above.
        unsafe { Table::from_raw(self.get().err_headers_out) }
    }

    /// What modules tell each other about the request.
    pub fn notes(&self) -> Table<'r> {
        // SAFETY: as above.
        unsafe { Table::from_raw(self.get().notes) }
    }

    /// Variables that `SetEnv` and modules set for applications.
    pub fn environment(&self) -> Table<'r> {
        // SAFETY: as above.
        unsafe { Table::from_raw(self.get().subprocess_env) }
    }

    /// The most a body may have by `LimitRequestBody`, if there is a limit.
    pub fn body_limit(&self) -> Option<u64> {
        // SAFETY: alive.
        let limit = unsafe { raw::ap_get_limit_req_body(self.as_ptr()) };
        u64::try_from(limit).ok().filter(|limit| *limit > 0)
    }

    /// Whether `Options ExecCGI` is in force.
    pub fn may_execute(&self) -> bool {
        // SAFETY: alive.
        unsafe { raw::ap_allow_options(self.as_ptr()) & raw::OPT_EXECCGI != 0 }
    }

    /// Whether the first filter of the response changes content, and does not just frame it.
    pub fn has_content_filter(&self) -> bool {
        // SAFETY: the filters are alive with the request, and each has a record.
        unsafe {
            let filter = self.get().output_filters;
            !filter.is_null() && (*(*filter).frec).ftype < raw::AP_FTYPE_PROTOCOL
        }
    }

    /// Whether a filter of the body may change it, and does not just frame it.
    pub fn has_input_filter(&self) -> bool {
        !std::ptr::eq(self.get().input_filters, self.get().proto_input_filters)
    }

    /// The request's identifier in the log, made now if there is none.
    pub fn log_id(&self) -> Option<&'r [u8]> {
        if self.get().log_id.is_null() {
            // SAFETY: alive; a string for the log is made, or nothing.
            unsafe {
                let connection = self.connection().as_ptr();
                raw::ap_run_generate_log_id(
                    connection,
                    self.as_ptr(),
                    &raw mut (*self.as_ptr()).log_id,
                );
            }
        }
        // SAFETY: as above.
        unsafe { bytes(self.get().log_id) }
    }
}
