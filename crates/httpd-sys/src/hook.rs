//! Hooks: where in the life of the server and of a request a module takes part.
//!
//! A hook is a type that implements a trait of this file; its C function is made here, goes through
//! the guard, and returns what the trait states for a panic.
//! <https://httpd.apache.org/docs/2.4/developer/hooks.html>

use std::ffi::{CStr, c_char, c_int};
use std::marker::PhantomData;
use std::ptr;

use apr_sys as raw;

use crate::config::report;
use crate::guard::guarded;
use crate::log::{self, Level, Logger};
use crate::module::Module;
use crate::pool::Pool;
use crate::request::Request;
use crate::server::Server;
use crate::status::Status;

/// Takes part in a request. A panic is a 500.
pub trait RequestHook {
    /// Does it.
    fn run(request: &mut Request<'_>) -> Status;
}

/// Runs before the configuration is read. A panic stops the start.
pub trait PreConfig {
    /// Does it.
    ///
    /// # Errors
    /// The server does not start; the text is logged.
    fn run(pool: Pool<'_>) -> Result<(), String>;
}

/// Runs when the configuration was read, in the parent. A panic stops the start.
pub trait PostConfig {
    /// Does it.
    ///
    /// # Errors
    /// The server does not start; the text is logged.
    fn run(pass: &PostConfigPass<'_>) -> Result<(), String>;
}

/// Runs in the parent now and then, about every ten seconds. A panic is logged.
pub trait Monitor {
    /// Does it. Must not wait.
    fn run(server: Server<'_>);
}

/// Runs in each child before it serves. A panic is logged, and the child serves.
pub trait ChildInit {
    /// Does it. What is to end with the child goes into the pool.
    fn run(pool: Pool<'_>, server: Server<'_>);
}

/// One run of the hook [`PostConfig`].
pub struct PostConfigPass<'p> {
    /// The configuration's pool: cleared at the next restart.
    pub config: Pool<'p>,
    /// Cleared when the configuration is complete.
    pub temp: Pool<'p>,
    /// The main server.
    pub server: Server<'p>,
    /// What the pass is for.
    pub kind: StartPass,
}

/// What reading the configuration is for. At the start of the server it is read twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StartPass {
    /// The first pass of a start: only to see whether the configuration is right.
    Check,
    /// `httpd -t`, `-S` and the like: nothing will be started.
    Test,
    /// Children follow.
    Serve,
}

impl StartPass {
    fn now() -> StartPass {
        // SAFETY: the query changes nothing.
        unsafe {
            if raw::ap_state_query(raw::AP_SQ_MAIN_STATE) == raw::AP_SQ_MS_CREATE_PRE_CONFIG {
                StartPass::Check
            } else if raw::ap_state_query(raw::AP_SQ_RUN_MODE) == raw::AP_SQ_RM_NORMAL {
                StartPass::Serve
            } else {
                StartPass::Test
            }
        }
    }
}

/// When a hook runs, among those of the same name. Modules are named by their source files.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    after: Names,
    before: Names,
    position: c_int,
}

/// A list for C: ends in NULL.
#[derive(Clone, Copy, Debug)]
struct Names(&'static [Option<&'static CStr>]);

impl Order {
    /// Among the others.
    pub const MIDDLE: Order = Order::at(raw::APR_HOOK_MIDDLE);
    /// Early.
    pub const FIRST: Order = Order::at(raw::APR_HOOK_FIRST);
    /// Late.
    pub const LAST: Order = Order::at(raw::APR_HOOK_LAST);

    /// C's number for it.
    pub(crate) fn position(self) -> c_int {
        self.position
    }

    const fn at(position: c_int) -> Order {
        Order { after: Names(&[None]), before: Names(&[None]), position }
    }

    /// After those of these modules. The list ends in `None`.
    ///
    /// # Panics
    /// If it does not, when this is compiled.
    pub const fn after(self, modules: &'static [Option<&'static CStr>]) -> Order {
        Order { after: Names::new(modules), ..self }
    }

    /// Before those of these modules. The list ends in `None`.
    ///
    /// # Panics
    /// If it does not, when this is compiled.
    pub const fn before(self, modules: &'static [Option<&'static CStr>]) -> Order {
        Order { before: Names::new(modules), ..self }
    }
}

impl Names {
    const fn new(modules: &'static [Option<&'static CStr>]) -> Names {
        assert!(matches!(modules.last(), Some(None)), "a list of modules ends in None");
        Names(modules)
    }

    /// C's `const char *const *`, in memory of `pool`, which outlives the hooks.
    fn as_ptr(self, pool: Pool<'_>) -> *const *const c_char {
        // SAFETY: room for as many pointers as are written.
        unsafe {
            let size = size_of::<*const c_char>() * self.0.len();
            let list = raw::apr_palloc(pool.as_ptr(), size).cast::<*const c_char>();
            for (at, name) in self.0.iter().enumerate() {
                list.add(at).write(name.map_or(ptr::null(), CStr::as_ptr));
            }
            list
        }
    }
}

/// Where hooks are registered.
pub struct Hooks<'p, M> {
    pool: Pool<'p>,
    of: PhantomData<M>,
}

impl<'p, M: Module> Hooks<'p, M> {
    /// # Safety
    /// `pool` is the configuration's, and hooks may be registered now.
    pub(crate) unsafe fn new(pool: *mut raw::apr_pool_t) -> Hooks<'p, M> {
        // SAFETY: by contract.
        Hooks { pool: unsafe { Pool::from_raw(pool) }, of: PhantomData }
    }

    /// Before the configuration is read.
    pub fn pre_config<H: PreConfig>(&mut self, order: Order) {
        let (after, before) = self.lists(order);
        // SAFETY: the lists live as long as the configuration, the function as long as the image.
        unsafe {
            raw::ap_hook_pre_config(Some(pre_config::<M, H>), after, before, order.position);
        }
    }

    /// After the configuration was read.
    pub fn post_config<H: PostConfig>(&mut self, order: Order) {
        let (after, before) = self.lists(order);
        // SAFETY: as above.
        unsafe {
            raw::ap_hook_post_config(Some(post_config::<M, H>), after, before, order.position);
        }
    }

    /// In each child.
    pub fn child_init<H: ChildInit>(&mut self, order: Order) {
        let (after, before) = self.lists(order);
        // SAFETY: as above.
        unsafe {
            raw::ap_hook_child_init(Some(child_init::<M, H>), after, before, order.position);
        }
    }

    /// In the parent, now and then.
    pub fn monitor<H: Monitor>(&mut self, order: Order) {
        let (after, before) = self.lists(order);
        // SAFETY: as above.
        unsafe {
            raw::ap_hook_monitor(Some(monitor::<M, H>), after, before, order.position);
        }
    }

    /// From a URL to a file.
    pub fn translate_name<H: RequestHook>(&mut self, order: Order) {
        let (after, before) = self.lists(order);
        // SAFETY: as above.
        unsafe {
            raw::ap_hook_translate_name(Some(request::<M, H>), after, before, order.position);
        }
    }

    /// The response.
    pub fn handler<H: RequestHook>(&mut self, order: Order) {
        let (after, before) = self.lists(order);
        // SAFETY: as above.
        unsafe {
            raw::ap_hook_handler(Some(request::<M, H>), after, before, order.position);
        }
    }

    /// When a request is over. Everybody is asked.
    pub fn log_transaction<H: RequestHook>(&mut self, order: Order) {
        let (after, before) = self.lists(order);
        // SAFETY: as above.
        unsafe {
            raw::ap_hook_log_transaction(Some(request::<M, H>), after, before, order.position);
        }
    }

    /// The pool they live in.
    pub(crate) fn pool(&self) -> Pool<'p> {
        self.pool
    }

    pub(crate) fn lists(&self, order: Order) -> (*const *const c_char, *const *const c_char) {
        (order.after.as_ptr(self.pool), order.before.as_ptr(self.pool))
    }
}

/// Fails with 500.
pub(crate) unsafe extern "C" fn request<M: Module, H: RequestHook>(
    request: *mut raw::request_rec,
) -> c_int {
    guarded(
        raw::HTTP_INTERNAL_SERVER_ERROR,
        panicked::<M>(request),
        // SAFETY: alive while its hook runs, on the thread it belongs to (A2).
        || H::run(&mut unsafe { Request::from_raw(request) }).to_raw(),
    )
}

/// Logs a panic with the request in whose hook it was.
pub(crate) fn panicked<M: Module>(request: *mut raw::request_rec) -> impl FnOnce(&str) {
    move |text| {
        let text = format!("internal error: {text}");
        // SAFETY: alive while its hook runs (A2).
        let logger = unsafe { Logger::request::<M>(request) };
        logger.log(Level::Critical, crate::here!(), 0, text.as_bytes());
    }
}

/// Fails with 500, which is not `OK`: the server does not start.
unsafe extern "C" fn pre_config<M: Module, H: PreConfig>(
    config: *mut raw::apr_pool_t,
    _log: *mut raw::apr_pool_t,
    _temp: *mut raw::apr_pool_t,
) -> c_int {
    guarded(raw::HTTP_INTERNAL_SERVER_ERROR, report::<M>, || {
        // SAFETY: the server passes the configuration's pool.
        started::<M>(H::run(unsafe { Pool::from_raw(config) }))
    })
}

/// Fails with 500, which is not `OK`: the server does not start.
unsafe extern "C" fn post_config<M: Module, H: PostConfig>(
    config: *mut raw::apr_pool_t,
    _log: *mut raw::apr_pool_t,
    temp: *mut raw::apr_pool_t,
    server: *mut raw::server_rec,
) -> c_int {
    guarded(raw::HTTP_INTERNAL_SERVER_ERROR, report::<M>, || {
        // SAFETY: the server passes its pools and the main server.
        let pass = unsafe {
            PostConfigPass {
                config: Pool::from_raw(config),
                temp: Pool::from_raw(temp),
                server: Server::from_raw(server),
                kind: StartPass::now(),
            }
        };
        started::<M>(H::run(&pass))
    })
}

fn started<M: Module>(result: Result<(), String>) -> c_int {
    match result {
        Ok(()) => raw::OK,
        Err(text) => {
            // What stops a start is said wherever `LogLevel` points to.
            Logger::process::<M>().log(Level::Emergency, crate::here!(), 0, text.as_bytes());
            raw::HTTP_INTERNAL_SERVER_ERROR
        }
    }
}

unsafe extern "C" fn monitor<M: Module, H: Monitor>(
    _pool: *mut raw::apr_pool_t,
    server: *mut raw::server_rec,
) -> c_int {
    // SAFETY: the server passes the main server of its configuration.
    guarded((), report::<M>, || H::run(unsafe { Server::from_raw(server) }));
    raw::OK
}

unsafe extern "C" fn child_init<M: Module, H: ChildInit>(
    pool: *mut raw::apr_pool_t,
    server: *mut raw::server_rec,
) {
    // SAFETY: the server passes the child's pool and the main server, which outlives it.
    let (pool, server) = unsafe {
        log::set_process_server(server);
        (Pool::from_raw(pool), Server::from_raw(server))
    };
    // SAFETY: NULL is always right.
    pool.at_end(|| unsafe { log::set_process_server(ptr::null_mut()) });
    guarded((), report::<M>, || H::run(pool, server));
}
