//! Modules: the static record the server looks for, and the configuration it keeps for us.
//!
//! The record is C data that the server writes to (its index, the list of modules), so it is a
//! static of this type and no other Rust code touches it. Configuration values are made in pools by
//! the functions of [`Module`] and come back as references.
//! <https://httpd.apache.org/docs/2.4/developer/modguide.html>

use std::cell::UnsafeCell;
use std::ffi::{CStr, c_char, c_int};
use std::marker::PhantomData;

use apr_sys as raw;

use crate::config;
use crate::directive::Commands;
use crate::hook::Hooks;
use crate::pool::Pool;
use crate::server::Server;

/// A module of the server.
pub trait Module: Sized + 'static {
    /// The name that C has as `__FILE__`: `<IfModule>` and the order of hooks go by it.
    const FILE: &'static CStr;
    /// Configuration of a server, main or virtual.
    type Server: Send + Sync + 'static;
    /// Configuration of a section: `<Directory>`, `<Location>`, `.htaccess` and their kin.
    type Section: Send + Sync + 'static;
    /// What is kept once for the whole configuration, whichever server a directive stands in.
    /// Begins empty each time the configuration is read.
    type Shared: Default + Send + Sync + 'static;

    /// The record in which the server finds this module.
    fn record() -> &'static Record<Self>;

    /// Configuration of a server before its directives are read.
    fn create_server(server: Server<'_>) -> Self::Server;

    /// Configuration of a virtual host: its own over the main server's.
    fn merge_servers(main: &Self::Server, own: &Self::Server) -> Self::Server;

    /// Configuration of a section before its directives are read.
    fn create_section() -> Self::Section;

    /// What is in force in an inner section. Runs for requests, so it should be cheap.
    fn merge_sections(outer: &Self::Section, inner: &Self::Section) -> Self::Section;

    /// Registers the hooks.
    fn register(hooks: &mut Hooks<'_, Self>);
}

/// The record of a module. A static of this type, exported under the name that `LoadModule` gives,
/// is what the server looks for.
#[repr(transparent)]
pub struct Record<M> {
    module: UnsafeCell<raw::module>,
    of: PhantomData<fn() -> M>,
}

// SAFETY: the server writes to the record while it reads its configuration, when there is one
// thread; afterwards it is only read.
unsafe impl<M> Sync for Record<M> {}

impl<M: Module> Record<M> {
    /// The record of `M`, with its directives.
    pub const fn new<const N: usize>(commands: &'static Commands<M, N>) -> Record<M> {
        let mut module = raw::standard20_module(M::FILE.as_ptr());
        module.create_server_config = Some(config::create_server::<M>);
        module.merge_server_config = Some(config::merge_servers::<M>);
        module.create_dir_config = Some(config::create_section::<M>);
        module.merge_dir_config = Some(config::merge_sections::<M>);
        module.cmds = commands.first();
        module.register_hooks = Some(register::<M>);
        Record { module: UnsafeCell::new(module), of: PhantomData }
    }

    /// The index the server gave; negative before that.
    pub fn index(&self) -> c_int {
        // SAFETY: nobody writes while hooks run, see `Sync`.
        unsafe { (*self.module.get()).module_index }
    }

    /// The C pointer.
    pub fn as_ptr(&self) -> *mut raw::module {
        self.module.get()
    }

    /// Any address in the image this module was loaded from.
    pub(crate) fn address(&self) -> *const c_char {
        self.module.get().cast_const().cast()
    }
}

unsafe extern "C" fn register<M: Module>(pool: *mut raw::apr_pool_t) {
    crate::guard::guarded((), config::report::<M>, || {
        // SAFETY: the server passes the configuration's pool.
        let mut hooks = unsafe {
            config::share::<M>(Pool::from_raw(pool));
            Hooks::new(pool)
        };
        M::register(&mut hooks);
    });
}

/// Whether a module with this source file name is loaded: `mod_ssl.c`.
///
/// True only while, or after, the configuration is read.
pub fn is_loaded(file: &CStr) -> bool {
    // SAFETY: walks the list of modules, which changes only while the configuration is read.
    unsafe { !raw::ap_find_linked_module(file.as_ptr()).is_null() }
}
