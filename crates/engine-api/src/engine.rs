//! The engine table, from both sides: [`Runtime`] implements it, [`Engine`] calls it.
//!
//! libpython is opened by absolute path with `RTLD_NOW | RTLD_GLOBAL`: extension modules of Python
//! carry no reference to it and resolve its symbols from the global scope. Neither it nor the
//! engine is ever closed, for threads of Python outlive every caller.
//! See dlopen(3), <https://man7.org/linux/man-pages/man3/dlopen.3.html>.

use std::ffi::c_void;
use std::fmt;
use std::mem::ManuallyDrop;
use std::panic::catch_unwind;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use libloading::os::unix::{Library, RTLD_GLOBAL, RTLD_LOCAL, RTLD_NOW};

use crate::abi::{ABI, Header};
use crate::client::Client;
use crate::failure::{Failure, Fault, FaultKind};
use crate::find::Python;
use crate::hook::{self, Hook, Names, TakeName, Verdict};
use crate::host::{self, Host};
use crate::place::Place;
use crate::slice::Slice;
use crate::table::{EngineTable, HostTable, Load, Reply, ReplyKind, Request, Start, Stop, Version};

/// The name of the one function that an engine exports.
pub const ENTRY: &str = "mod_wsgi_engine";

/// That function's type.
pub type EntryPoint = extern "C" fn() -> *const EngineTable;

/// What an engine does. One per library: its state is the library's.
pub trait Runtime: 'static {
    /// Starts Python in this process and makes the main interpreter. Called once.
    ///
    /// # Errors
    /// Python cannot be started; everything else then fails, too.
    fn start(start: &Start<'_>) -> Result<(), Fault>;

    /// Handles a request on the calling thread.
    ///
    /// # Errors
    /// Only for requests that never reached a script: the caller answers 500.
    fn handle(request: &Request<'_>, client: Client<'_>) -> Result<Reply, Fault>;

    /// Asks a script for a decision, on the calling thread. What goes wrong with it is logged.
    ///
    /// # Errors
    /// Only for decisions that never reached a script.
    fn decide(hook: &Hook<'_>, client: Client<'_>, names: &mut Names<'_>)
    -> Result<Verdict, Fault>;

    /// Loads a script. What goes wrong with it is logged.
    ///
    /// # Errors
    /// The script is not loaded.
    fn load(load: &Load<'_>) -> Result<(), Fault>;

    /// Number of interpreters in the process.
    fn interpreters() -> usize;

    /// Where threads are, which are as `pthread_self` says. On a thread that waits for nothing else:
    /// it may take [`PATIENCE`](crate::PATIENCE).
    fn places(threads: &[u64]) -> Vec<Place>;

    /// Runs what is to run at the end of a process. Requests after it fail.
    ///
    /// # Errors
    /// Something was not done within the limit.
    fn stop(stop: &Stop<'_>) -> Result<(), Fault>;
}

/// The table over `R`, compiled for `python`.
pub const fn engine_table<R: Runtime>(python: Version) -> EngineTable {
    EngineTable {
        header: Header::of::<EngineTable>(),
        python,
        start: start::<R>,
        handle: handle::<R>,
        decide: decide::<R>,
        load: load::<R>,
        interpreters: interpreters::<R>,
        places: places::<R>,
        stop: stop::<R>,
    }
}

/// An engine that was opened in this process. Copies are the same engine.
#[derive(Clone, Copy)]
pub struct Engine {
    table: &'static EngineTable,
}

impl Engine {
    /// Opens `python`'s libpython and its engine, for good.
    ///
    /// Call it in a process that will serve, never in Apache's parent.
    ///
    /// # Errors
    /// [`OpenError`], one sentence naming the file.
    pub fn open(python: &Python) -> Result<Engine, OpenError> {
        let failed = |file: &Path, error: &dyn std::error::Error| OpenError {
            file: file.to_owned(),
            // The loader's own words are the source.
            reason: error.source().map_or_else(|| error.to_string(), ToString::to_string),
        };
        let libpython = python.libpython().map_err(|error| OpenError {
            file: python.engine.clone(),
            reason: error.to_string(),
        })?;
        // SAFETY: libpython has no initialisers that depend on the caller; it is opened once and
        // stays. Nothing is unloaded: see ManuallyDrop.
        let library = unsafe { Library::open(Some(libpython), RTLD_NOW | RTLD_GLOBAL) }
            .map_err(|error| failed(libpython, &error))?;
        let _stays = ManuallyDrop::new(library);
        // SAFETY: the engine is ours and has no initialisers.
        let library = unsafe { Library::open(Some(&python.engine), RTLD_NOW | RTLD_LOCAL) }
            .map_err(|error| failed(&python.engine, &error))?;
        let library = ManuallyDrop::new(library);
        // SAFETY: the symbol of this name is of this type in every engine since the first; the
        // table it returns is a static of the library, and begins with a `Header` in every build.
        let table = unsafe {
            let entry = library
                .get::<EntryPoint>(ENTRY.as_bytes())
                .map_err(|error| failed(&python.engine, &error))?;
            entry()
        };
        // SAFETY: only the header is read here, which never changes.
        let header = unsafe { *table.cast::<Header>() };
        if !header.fits::<EngineTable>() {
            return Err(OpenError {
                file: python.engine.clone(),
                reason: format!(
                    "it belongs to another build of mod_wsgi (its interface is {:016x}, this \
                     module's is {ABI:016x}); install module and engines from one build",
                    header.abi
                ),
            });
        }
        // SAFETY: a static of a library that stays, of the layout that the header vouches for.
        Ok(Engine { table: unsafe { &*table } })
    }

    /// The engine with this table, for a process that is linked with it.
    ///
    /// # Errors
    /// The table belongs to another build.
    pub fn from_table(table: &'static EngineTable) -> Result<Engine, Fault> {
        if table.header.fits::<EngineTable>() {
            Ok(Engine { table })
        } else {
            Err(Fault::new(FaultKind::Other, "the engine belongs to another build of mod_wsgi"))
        }
    }

    /// The Python it was compiled for.
    pub fn python(&self) -> Version {
        self.table.python
    }

    /// Starts Python. Once per process.
    ///
    /// # Errors
    /// What the engine says.
    pub fn start(&self, start: &Start<'_>) -> Result<(), Fault> {
        // SAFETY: borrows for the call.
        checked(|failure| unsafe { (self.table.start)(start, failure) })
    }

    /// Handles a request on this thread.
    ///
    /// # Errors
    /// What the engine says; the request was not answered.
    pub fn handle(&self, request: &Request<'_>, mut host: &mut dyn Host) -> Result<Reply, Fault> {
        let mut reply = Reply { kind: ReplyKind::Render, status: 500, start: 0, application: 0 };
        let context = host::context(&mut host);
        // SAFETY: borrows for the call; the context is alive and used by nobody else.
        checked(|failure| unsafe { (self.table.handle)(request, context, &mut reply, failure) })?;
        Ok(reply)
    }

    /// Asks a script for a decision, on this thread. Names that the script returns go to `names`.
    /// Of the host, only log, level and the questions about TLS are used.
    ///
    /// # Errors
    /// What the engine says; the script was not asked.
    pub fn decide(
        &self,
        hook: &Hook<'_>,
        mut host: &mut dyn Host,
        mut names: &mut (dyn FnMut(u32, &[u8]) + Send),
    ) -> Result<Verdict, Fault> {
        let mut verdict = Verdict::Failed;
        let (context, names) = (host::context(&mut host), hook::context(&mut names));
        // SAFETY: borrows for the call; both contexts are alive and used by nobody else.
        checked(|failure| unsafe {
            (self.table.decide)(hook, context, hook::take, names, &mut verdict, failure)
        })?;
        Ok(verdict)
    }

    /// Loads a script.
    ///
    /// # Errors
    /// What the engine says; it is in the log already.
    pub fn load(&self, load: &Load<'_>) -> Result<(), Fault> {
        // SAFETY: borrows for the call.
        checked(|failure| unsafe { (self.table.load)(load, failure) })
    }

    /// Number of interpreters.
    pub fn interpreters(&self) -> usize {
        (self.table.interpreters)()
    }

    /// Where threads are, as [`Place::encode`] writes it into `room` bytes, with the index of each.
    pub fn places(
        &self,
        threads: &[u64],
        room: usize,
        mut places: &mut (dyn FnMut(u32, &[u8]) + Send),
    ) {
        let places = hook::context(&mut places);
        // SAFETY: borrows for the call; the context is alive and used by nobody else.
        unsafe { (self.table.places)(&Slice::new(threads), room, hook::take, places) }
    }

    /// Ends Python, as far as that is possible.
    ///
    /// # Errors
    /// What the engine says.
    pub fn stop(&self, stop: &Stop<'_>) -> Result<(), Fault> {
        // SAFETY: borrows for the call.
        checked(|failure| unsafe { (self.table.stop)(stop, failure) })
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Engine").field("python", &self.table.python).finish_non_exhaustive()
    }
}

/// An engine, or the libpython it needs, cannot be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OpenError {
    file: PathBuf,
    reason: String,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot use '{}': {}", self.file.display(), self.reason)
    }
}

impl std::error::Error for OpenError {}

/// The host table that `start` was given, for `handle`.
static HOST: OnceLock<&'static HostTable> = OnceLock::new();

fn checked(call: impl FnOnce(*mut Failure) -> i32) -> Result<(), Fault> {
    let mut failure = Failure::new();
    if call(&mut failure) < 0 { Err(failure.fault()) } else { Ok(()) }
}

/// Runs `body`; a panic becomes a fault, a fault is written down.
///
/// # Safety
/// `failure` is a buffer of the caller.
unsafe fn run(
    failure: *mut Failure,
    body: impl FnOnce() -> Result<(), Fault> + std::panic::UnwindSafe,
) -> i32 {
    match catch_unwind(body).unwrap_or_else(|panic| Err(Fault::panic(&*panic))) {
        Ok(()) => 0,
        Err(fault) => {
            // SAFETY: by contract.
            unsafe { (*failure).set(&fault) };
            -1
        }
    }
}

unsafe extern "C" fn start<R: Runtime>(start: *const Start<'_>, failure: *mut Failure) -> i32 {
    // SAFETY: `Engine` passes borrows for the call.
    unsafe {
        run(failure, || {
            let start = &*start;
            if !start.host.header.fits::<HostTable>() {
                return Err(Fault::new(
                    FaultKind::Other,
                    "the module belongs to another build of mod_wsgi",
                ));
            }
            if HOST.set(start.host).is_err() {
                return Err(Fault::new(FaultKind::Unavailable, "Python was started before"));
            }
            R::start(start)
        })
    }
}

unsafe extern "C" fn handle<R: Runtime>(
    request: *const Request<'_>,
    context: *mut c_void,
    reply: *mut Reply,
    failure: *mut Failure,
) -> i32 {
    // SAFETY: `Engine` passes borrows for the call, and a context that only this call uses.
    unsafe {
        run(failure, || {
            let Some(host) = HOST.get() else {
                return Err(Fault::new(FaultKind::Unavailable, "Python was not started"));
            };
            *reply = R::handle(&*request, Client::new(host, context))?;
            Ok(())
        })
    }
}

unsafe extern "C" fn decide<R: Runtime>(
    hook: *const Hook<'_>,
    context: *mut c_void,
    take: TakeName,
    names: *mut c_void,
    verdict: *mut Verdict,
    failure: *mut Failure,
) -> i32 {
    // SAFETY: `Engine` passes borrows for the call, and contexts that only this call uses.
    unsafe {
        run(failure, || {
            let Some(host) = HOST.get() else {
                return Err(Fault::new(FaultKind::Unavailable, "Python was not started"));
            };
            let mut names = Names::new(take, names);
            *verdict = R::decide(&*hook, Client::new(host, context), &mut names)?;
            Ok(())
        })
    }
}

unsafe extern "C" fn load<R: Runtime>(load: *const Load<'_>, failure: *mut Failure) -> i32 {
    // SAFETY: `Engine` passes borrows for the call.
    unsafe { run(failure, || R::load(&*load)) }
}

extern "C" fn interpreters<R: Runtime>() -> usize {
    catch_unwind(R::interpreters).unwrap_or(0)
}

unsafe extern "C" fn places<R: Runtime>(
    threads: *const Slice<'_, u64>,
    room: usize,
    take: TakeName,
    to: *mut c_void,
) {
    // A panic has nowhere to go: then nobody knows where they are.
    let _ = catch_unwind(|| {
        // SAFETY: `Engine` passes borrows for the call, and a context that only this call uses.
        let (threads, mut names) = unsafe { ((*threads).get(), Names::new(take, to)) };
        for (index, place) in (0..).zip(R::places(threads)) {
            names.give(index, &place.encode(room));
        }
    });
}

unsafe extern "C" fn stop<R: Runtime>(stop: *const Stop<'_>, failure: *mut Failure) -> i32 {
    // SAFETY: `Engine` passes borrows for the call.
    unsafe { run(failure, || R::stop(&*stop)) }
}
