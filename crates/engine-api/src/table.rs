//! The two tables and what they carry, in C layout.
//!
//! Functions take a context pointer first, return 0 for success, and on failure return a negative
//! number after writing to the caller's [`Failure`]. All memory stays the caller's and is valid for
//! the length of the call; what the other side wants to keep, it copies. Nobody outside this crate
//! calls these functions: [`crate::Engine`], [`crate::Client`] and the traits wrap them.
//!
//! Byte strings are what Apache has: no encoding is promised. Times are microseconds since 1970, as
//! `apr_time_t`; 0 is "not known".

use std::ffi::c_void;
use std::time::{SystemTime, UNIX_EPOCH};

use crate::abi::Header;
use crate::failure::Failure;
use crate::hook::{Hook, TakeName, Verdict};
use crate::slice::{Bytes, Pair, Slice};

/// Now, as times are written here.
pub fn now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_micros()).unwrap_or(i64::MAX)
}

/// A Python version.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Version {
    /// 3.
    pub major: u8,
    /// 10 and up.
    pub minor: u8,
    /// The patch level; 0 where only major and minor matter.
    pub micro: u8,
    /// Built without a GIL (`python3.13t`).
    pub free_threaded: bool,
}

/// Levels of Apache's error log, numbered as there.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Needs somebody at once.
    Alert = 1,
    /// A part does not work at all.
    Critical = 2,
    /// A request or a script failed.
    Error = 3,
    /// Works, but not as meant.
    Warning = 4,
    /// Normal, but worth knowing.
    Notice = 5,
    /// Life cycle.
    Info = 6,
    /// For finding faults.
    Debug = 7,
    /// Per request and thread.
    Trace1 = 8,
}

impl Level {
    /// The level of this number; what is out of range becomes the nearest.
    pub const fn from_raw(level: u32) -> Level {
        match level {
            0 | 1 => Level::Alert,
            2 => Level::Critical,
            3 => Level::Error,
            4 => Level::Warning,
            5 => Level::Notice,
            6 => Level::Info,
            7 => Level::Debug,
            _ => Level::Trace1,
        }
    }
}

/// How the host decorates a log record that belongs to a request.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// `[script FILE] WSGInnnn: text`: messages, and text of the application (without a code).
    Message = 0,
    /// `WSGInnnn: [script FILE] text`: the head line of an exception.
    Exception = 1,
    /// A line of a traceback, which follows its head line.
    Traceback = 2,
}

impl Style {
    /// The style of this number; a message if it has none.
    pub const fn from_raw(style: u32) -> Style {
        match style {
            1 => Style::Exception,
            2 => Style::Traceback,
            _ => Style::Message,
        }
    }
}

/// One record for the error log.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// How bad.
    pub level: Level,
    /// How to decorate it.
    pub style: Style,
    /// The number of the `WSGInnnn` message; 0 for none.
    pub code: u32,
    /// The system's error number that goes with it; 0 for none.
    pub errno: i32,
    /// The text, without a newline. Not a format string.
    pub text: Bytes<'a>,
    /// Source file for Apache's `%F`; absent for "the module".
    pub file: Bytes<'a>,
    /// Line in that file.
    pub line: u32,
}

impl<'a> Record<'a> {
    /// A plain message.
    pub fn new(level: Level, code: u32, text: &'a [u8]) -> Record<'a> {
        Record {
            level,
            style: Style::Message,
            code,
            errno: 0,
            text: Bytes::new(text),
            file: Bytes::ABSENT,
            line: 0,
        }
    }
}

/// Status line and header of a response.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// 100 to 999.
    pub status: u16,
    /// Reason phrase as the application gave it; may be empty.
    pub reason: Bytes<'a>,
    /// Header fields in order, checked: no NUL, CR, LF, hop-by-hop fields, valid names.
    pub headers: Slice<'a, Pair<'a>>,
    /// The length that was promised by Content-Length; negative if none was.
    pub content_length: i64,
}

/// What a call of `respond` or `send_file` asks for.
#[repr(transparent)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Flags(pub u32);

impl Flags {
    /// Nothing special.
    pub const NONE: Flags = Flags(0);
    /// The response ends here and is complete.
    pub const END: Flags = Flags(1);
    /// What was given so far goes to the client now.
    pub const FLUSH: Flags = Flags(2);
    /// The response ends here, short of what was promised: the connection must be closed without
    /// anything that makes it look complete.
    pub const TRUNCATED: Flags = Flags(4);

    /// All flags of both.
    pub const fn with(self, other: Flags) -> Flags {
        Flags(self.0 | other.0)
    }

    /// Whether all flags of `other` are set.
    pub const fn has(self, other: Flags) -> bool {
        self.0 & other.0 == other.0
    }
}

/// A setting that may be left unset.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Switch {
    /// Not said.
    #[default]
    Unset = 0,
    /// On.
    On = 1,
    /// Off.
    Off = 2,
}

/// One `<WSGIInterpreterOptions>` block whose `process-group` matches this process.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct InterpreterOptions<'a> {
    /// The interpreter it is for (empty is the main one); absent for all.
    pub application_group: Bytes<'a>,
    /// Number of selectors given: the higher one wins, the later one on a tie. The values outside
    /// of any block come first in the list, with 0.
    pub specificity: u32,
    /// Directories, separated by `:`; absent if not said.
    pub python_path: Bytes<'a>,
    /// Seconds; 0 or less if not said.
    pub switch_interval: f64,
    /// `WSGIPerInterpreterGIL`.
    pub own_gil: Switch,
    /// How many interpreters with a GIL of their own serve the group; 0 if not said.
    pub replicas: u32,
    /// `WSGIRestrictStdin`.
    pub restrict_stdin: Switch,
    /// `WSGIRestrictStdout`.
    pub restrict_stdout: Switch,
    /// `WSGIRestrictSignal`.
    pub restrict_signal: Switch,
}

impl InterpreterOptions<'_> {
    /// A block that says nothing.
    pub const NONE: InterpreterOptions<'static> = InterpreterOptions {
        application_group: Bytes::ABSENT,
        specificity: 0,
        python_path: Bytes::ABSENT,
        switch_interval: 0.0,
        own_gil: Switch::Unset,
        replicas: 0,
        restrict_stdin: Switch::Unset,
        restrict_stdout: Switch::Unset,
        restrict_signal: Switch::Unset,
    };
}

/// What the process reports of itself to somebody who listens.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct TelemetryOptions<'a> {
    /// Path of the listener's socket; absent to report nothing.
    pub target: Bytes<'a>,
    /// Seconds between two reports.
    pub interval: f64,
    /// Seconds from which on a request is reported by itself; 0 or less for none.
    pub slow_requests: f64,
    /// What the client says it is belongs to a report about a request.
    pub user_agent: bool,
    /// Reports about an interpreter name it.
    pub interpreter_names: bool,
    /// The number of the server's parent.
    pub parent_pid: u32,
}

impl TelemetryOptions<'_> {
    /// Nothing is reported.
    pub const NONE: TelemetryOptions<'static> = TelemetryOptions {
        target: Bytes::ABSENT,
        interval: 1.0,
        slow_requests: 0.0,
        user_agent: false,
        interpreter_names: false,
        parent_pid: 0,
    };
}

/// How to start Python in this process.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Start<'a> {
    /// The functions the engine may call. The image they live in stays loaded until the process
    /// ends.
    pub host: &'static HostTable,
    /// Absolute path of the Python that this process should look like: `<home>/bin/python3`.
    pub executable: Bytes<'a>,
    /// `WSGIPythonHome` where it means Python's own `PYTHONHOME` (`prefix:exec_prefix`); absent
    /// else.
    pub python_home: Bytes<'a>,
    /// Empty in an Apache child.
    pub process_group: Bytes<'a>,
    /// The only application group that this process can ever have, hooks included: it runs in the
    /// main interpreter, under its own name. Absent if there may be several.
    pub main_group: Bytes<'a>,
    /// `PYTHON_EGG_CACHE`; absent if not said.
    pub python_eggs: Bytes<'a>,
    /// `WSGIPythonWarnings`, in order.
    pub warnings: Slice<'a, Bytes<'a>>,
    /// `WSGIPythonHashSeed`; negative is Python's default: random.
    pub hash_seed: i64,
    /// `WSGIPythonOptimize`; 0 and less is off.
    pub optimize: i32,
    /// `WSGIDontWriteBytecode On`.
    pub dont_write_bytecode: bool,
    /// `WSGIFreeThreading`; says nothing to builds with a GIL.
    pub free_threading: bool,
    /// `httpd -X`: stdout and stdin are left alone.
    pub single_process: bool,
    /// The thread that calls `start` will also serve (prefork): Python starts on it, so that it is
    /// `threading.main_thread()`. Otherwise a parked thread of its own is.
    pub serve_on_this_thread: bool,
    /// `<WSGIInterpreterOptions>` blocks, and before them the top level.
    pub interpreters: Slice<'a, InterpreterOptions<'a>>,
    /// `mod_wsgi.version`.
    pub module_version: [u32; 3],
    /// `apache.version`.
    pub server_version: [u32; 3],
    /// `apache.description`.
    pub server_description: Bytes<'a>,
    /// `apache.mpm_name`.
    pub mpm_name: Bytes<'a>,
    /// `apache.build_date`.
    pub server_build_date: Bytes<'a>,
    /// `apache.maximum_processes`.
    pub server_processes: u32,
    /// `apache.threads_per_process`.
    pub server_threads: u32,
    /// `mod_wsgi.maximum_processes`.
    pub maximum_processes: u32,
    /// `mod_wsgi.threads_per_process`.
    pub threads_per_process: u32,
    /// `WSGITelemetryService` and what goes with it.
    pub telemetry: TelemetryOptions<'a>,
}

/// A request for a WSGI application.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// The CGI variables, and the `mod_wsgi.*` ones that are text and have no field here
    /// (`script_name`, `path_info`, `mount_point`, `listener_host`, `listener_port`,
    /// `request_handler`). `HTTPS`, `PATH` and `mod_wsgi.x-*` are left out.
    pub environ: Slice<'a, Pair<'a>>,
    /// File of the script to run.
    pub script: Bytes<'a>,
    /// The file the request is for: `script`, unless a handler script serves it.
    pub resource: Bytes<'a>,
    /// `WSGIHandlerScript`'s file; absent if `script` is the request's own file.
    pub handler_script: Bytes<'a>,
    /// Modification time of `script`; negative if the file cannot be asked.
    pub script_mtime: i64,
    /// The resolved name of the interpreter; empty is the main one.
    pub application_group: Bytes<'a>,
    /// Name of the application in the script.
    pub callable: Bytes<'a>,
    /// `mod_wsgi.request_id`; absent if Apache has none.
    pub request_id: Bytes<'a>,
    /// `mod_wsgi.connection_id`; absent if Apache has none.
    pub connection_id: Bytes<'a>,
    /// When Apache read the request.
    pub request_start: i64,
    /// When it began to wait for a daemon; 0 in an Apache child.
    pub queue_start: i64,
    /// When a daemon took it; 0 in an Apache child.
    pub daemon_start: i64,
    /// Length of the body; negative if it is not known or there is none.
    pub content_length: i64,
    /// `mod_wsgi.server_pid`: the Apache child that read the request.
    pub server_pid: u32,
    /// Connections made to a daemon for this request.
    pub daemon_connects: u32,
    /// Daemons met that were restarting.
    pub daemon_restarts: u32,
    /// What `apache.request_rec` points at; NULL for "not passed on".
    pub request_rec: *mut c_void,
    /// The client used TLS: `wsgi.url_scheme` is `https`.
    pub https: bool,
    /// `wsgi.multithread`.
    pub multithread: bool,
    /// `wsgi.multiprocess`.
    pub multiprocess: bool,
    /// `wsgi.run_once`.
    pub run_once: bool,
    /// The client sees no body of the response.
    pub head: bool,
    /// `WSGIScriptReloading`.
    pub reload: bool,
    /// `WSGICaseSensitivity Off`: the script's path is lower-cased before it becomes a module name.
    pub lower_case: bool,
    /// The reply is to say how long it took.
    pub measure: bool,
}

/// A script to load before any request asks for it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Load<'a> {
    /// Its file.
    pub script: Bytes<'a>,
    /// The interpreter; empty is the main one.
    pub application_group: Bytes<'a>,
    /// `WSGIScriptReloading` of the main server.
    pub reload: bool,
    /// `WSGICaseSensitivity Off`.
    pub lower_case: bool,
}

/// How to end Python in this process.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Stop<'a> {
    /// `shutdown_reason` of the event; empty in an Apache child.
    pub reason: Bytes<'a>,
    /// `WSGIDestroyInterpreter`: whether threads are joined and `atexit` functions run.
    pub destroy: bool,
    /// Give up after this many milliseconds.
    pub limit_ms: u32,
}

/// What became of a request.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Which case.
    pub kind: ReplyKind,
    /// The status that was sent, or that should be.
    pub status: u16,
    /// Microseconds until the application was called; 0 if [`Request::measure`] was not set.
    pub start: u32,
    /// Microseconds from then until it had given its response; likewise.
    pub application: u32,
}

/// What became of a request.
#[repr(u32)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplyKind {
    /// A complete response was sent.
    Sent = 0,
    /// Nothing was sent: render `status`, with an `ErrorDocument` if there is one.
    Render = 1,
    /// The response broke off after its head: the connection must be closed. The host was told
    /// with [`Flags::TRUNCATED`], unless the client was gone anyway.
    Truncated = 2,
}

/// What the engine offers. Made with [`crate::engine_table`].
#[repr(C)]
#[derive(Debug)]
pub struct EngineTable {
    /// Checked before anything else is read.
    pub header: Header,
    /// The Python the engine was compiled for, patch level included.
    pub python: Version,
    pub(crate) start: unsafe extern "C" fn(*const Start<'_>, *mut Failure) -> i32,
    pub(crate) handle:
        unsafe extern "C" fn(*const Request<'_>, *mut c_void, *mut Reply, *mut Failure) -> i32,
    /// The context, and the function for names with its own.
    pub(crate) decide: unsafe extern "C" fn(
        *const Hook<'_>,
        *mut c_void,
        TakeName,
        *mut c_void,
        *mut Verdict,
        *mut Failure,
    ) -> i32,
    pub(crate) load: unsafe extern "C" fn(*const Load<'_>, *mut Failure) -> i32,
    pub(crate) interpreters: extern "C" fn() -> usize,
    /// The threads, and the room for each; gives the text of each with its index.
    pub(crate) places: unsafe extern "C" fn(*const Slice<'_, u64>, usize, TakeName, *mut c_void),
    pub(crate) stop: unsafe extern "C" fn(*const Stop<'_>, *mut Failure) -> i32,
}

/// What the module offers. Made with [`crate::host_table`].
///
/// The context of all but `scoreboard`, `log` and `level` is that of a running `handle` or `decide`; these
/// two take NULL, too, for the server's log.
#[repr(C)]
#[derive(Debug)]
pub struct HostTable {
    /// Checked before anything else is read.
    pub header: Header,
    /// Bytes read; 0 at the end of the body.
    pub(crate) read: unsafe extern "C" fn(*mut c_void, *mut u8, usize, *mut Failure) -> isize,
    pub(crate) respond: unsafe extern "C" fn(
        *mut c_void,
        *const Head<'_>,
        *const Slice<'_, Bytes<'_>>,
        Flags,
        *mut Failure,
    ) -> i32,
    /// As `read`, but -2 if it would have to wait.
    pub(crate) try_read: unsafe extern "C" fn(*mut c_void, *mut u8, usize, *mut Failure) -> isize,
    /// As `respond`, but 1 if it would have to wait: then `respond` is called with the same
    /// arguments, next.
    pub(crate) try_respond: unsafe extern "C" fn(
        *mut c_void,
        *const Head<'_>,
        *const Slice<'_, Bytes<'_>>,
        Flags,
        *mut Failure,
    ) -> i32,
    /// Bytes sent.
    pub(crate) send_file: unsafe extern "C" fn(
        *mut c_void,
        *const Head<'_>,
        i32,
        u64,
        u64,
        Flags,
        *mut Failure,
    ) -> i64,
    pub(crate) client_gone: unsafe extern "C" fn(*mut c_void) -> bool,
    pub(crate) ssl_is_https: unsafe extern "C" fn(*mut c_void) -> bool,
    /// Length of the value, of which as much was written as there was room; negative for none.
    pub(crate) ssl_var_lookup:
        unsafe extern "C" fn(*mut c_void, *const Bytes<'_>, *mut u8, usize) -> isize,
    pub(crate) log: unsafe extern "C" fn(*mut c_void, *const Slice<'_, Record<'_>>),
    pub(crate) level: unsafe extern "C" fn(*mut c_void) -> u32,
    /// Calls the function, with its own context, if there is something to give.
    pub(crate) scoreboard: unsafe extern "C" fn(TakeBytes, *mut c_void),
}

/// Copies bytes that are valid for the length of the call.
pub(crate) type TakeBytes = unsafe extern "C" fn(*mut c_void, *const Bytes<'_>);

// SAFETY: `request_rec` is only passed on, as a pointer; the rest is borrowed, plain data. The
// request itself is used by one thread at a time, see `Host`.
unsafe impl Send for Request<'_> {}
// SAFETY: as above.
unsafe impl Sync for Request<'_> {}
