//! The options, one entry each: name, field, kind of value, default, error, documentation.

use std::time::Duration;

use super::values::{
    ABSOLUTE, Account, BYTES, COUNT, FLAG, FRACTION, GROUP, GROUPS, HEADER_BUFFER, LIMIT,
    MILLISECONDS, MODE, PATH, PATHS, POSITIVE, RECEIVE_BUFFER, RESPONSE_BUFFER, Refused, SECONDS,
    SEND_BUFFER, SIGNED, SIZE, SWAP, Swap, TEXT, THREADS, TIMEOUT, URL, USER,
};

/// What is known about one option.
#[derive(Clone, Copy, Debug)]
pub struct OptionRule {
    /// Its name.
    pub name: &'static str,
    /// Which values it takes.
    pub kind: &'static str,
    /// What holds where it is not given.
    pub default: &'static str,
    /// What it does.
    pub help: &'static str,
    /// mod_wsgi has no such option.
    pub is_addition: bool,
    /// Sets it. The error is what the server prints.
    pub(super) set: fn(&mut DaemonProcess, &[u8]) -> Result<(), &'static str>,
    /// Its value, unless that is the default.
    pub(super) get: fn(&DaemonProcess) -> Option<Vec<u8>>,
}

macro_rules! options {
    ($(
        $(#[doc = $doc:literal])+
        $name:literal $field:ident: $type:ty = $default:expr, $kind:ident, $text:literal, $error:literal $(, $ours:ident)?;
    )+) => {
        /// A group of daemon processes, as it is written.
        #[derive(Clone, Debug, PartialEq)]
        #[non_exhaustive]
        pub struct DaemonProcess {
            /// Its name; not empty.
            pub name: Vec<u8>,
            $($(#[doc = $doc])+ pub $field: $type,)+
        }

        impl Default for DaemonProcess {
            fn default() -> DaemonProcess {
                DaemonProcess { name: Vec::new(), $($field: $default,)+ }
            }
        }

        /// Every option, in the order of the documentation.
        pub static OPTIONS: &[OptionRule] = &[$(OptionRule {
            name: $name,
            kind: $kind.name,
            default: $text,
            help: concat!($($doc),+),
            is_addition: false $(|| options!(@$ours))?,
            set: |process, value| {
                process.$field = ($kind.read)(value).map_err(|refused| match refused {
                    Refused::Invalid => concat!("Invalid ", $error, " for WSGI daemon process."),
                    Refused::Because(text) => text,
                })?;
                Ok(())
            },
            get: |process| {
                let default: $type = $default;
                (process.$field != default).then(|| ($kind.write)(&process.$field))
            },
        },)+];
    };
    (@ours) => { true };
}

options! {
    /// User that the processes run as, if Apache is started as root.
    "user" user: Option<Account> = None, USER, "Apache's `User`", "user";
    /// Group that the processes run as, if Apache is started as root; not the user's own group
    /// unless that is said.
    "group" group: Option<Account> = None, GROUP, "Apache's `Group`", "group";
    /// All further groups of the processes, in place of those the user is in.
    "supplementary-groups" supplementary_groups: Option<Vec<Account>> = None, GROUPS, "the user's", "supplementary groups";
    /// Number of processes. Giving it at all, even as 1, makes `wsgi.multiprocess` true.
    "processes" processes: Option<u32> = None, POSITIVE, "1", "process count";
    /// Threads for requests in each process. With 0 the group takes no requests: its processes
    /// run the import scripts that name it, and end.
    "threads" threads: u32 = 15, THREADS, "15", "thread count";
    /// File mode creation mask.
    "umask" umask: Option<u32> = None, MODE, "Apache's", "umask";
    /// New root directory; needs Apache to be started as root.
    "chroot" chroot: Option<Vec<u8>> = None, ABSOLUTE, "none", "chroot directory";
    /// Working directory, which is also the first entry of `sys.path`.
    "home" home: Option<Vec<u8>> = None, ABSOLUTE, "the user's home, if it is not Apache's user", "home directory";
    /// Environment variable `LANG`.
    "lang" lang: Option<Vec<u8>> = None, TEXT, "Apache's", "lang";
    /// Environment variable `LC_ALL`.
    "locale" locale: Option<Vec<u8>> = None, TEXT, "Apache's", "locale";
    /// Prefix of a Python installation or virtual environment. Groups may have different ones, of
    /// different versions.
    "python-home" python_home: Option<Vec<u8>> = None, PATH, "`WSGIPythonHome`", "Python home";
    /// Directories to put in front of `sys.path`.
    "python-path" python_path: Option<Vec<u8>> = None, PATHS, "none", "Python path";
    /// Environment variable `PYTHON_EGG_CACHE`.
    "python-eggs" python_eggs: Option<Vec<u8>> = None, PATH, "none", "Python eggs directory";
    /// Interval after which Python threads hand over the interpreter lock.
    "switch-interval" switch_interval: Option<Duration> = None, FRACTION, "Python's", "switch interval";
    /// Stack of each thread that runs requests.
    "stack-size" stack_size: Option<u32> = None, SIZE, "the system's", "stack size";
    /// Requests after which a process is replaced; 0 for never.
    "maximum-requests" maximum_requests: u32 = 0, COUNT, "0", "request count";
    /// How long the application may take to load once the first request wants it; 0 for any time.
    "startup-timeout" startup_timeout: Option<Duration> = None, TIMEOUT, "0", "startup timeout";
    /// How long a process may take to end; 0 for any time.
    "shutdown-timeout" shutdown_timeout: Option<Duration> = Some(Duration::from_secs(5)), TIMEOUT, "5", "shutdown timeout";
    /// How long Python's interpreter lock may be unobtainable before the process is replaced; 0
    /// for any time.
    "deadlock-timeout" deadlock_timeout: Option<Duration> = Some(Duration::from_secs(300)), TIMEOUT, "300", "deadlock timeout";
    /// How long a process may be without requests before it is replaced; 0 for any time.
    "inactivity-timeout" inactivity_timeout: Option<Duration> = None, TIMEOUT, "0", "inactivity timeout";
    /// How long a request may take; 0 for any time. The time is scaled by the number of threads,
    /// `1 + ln(threads)`, unless `request-timeout-scaling` is off.
    "request-timeout" request_timeout: Option<Duration> = None, TIMEOUT, "0", "request timeout";
    /// How long a request that took too long has to end after `mod_wsgi.RequestTimeout` was raised
    /// in its thread; with 0 nothing is raised.
    "interrupt-timeout" interrupt_timeout: Option<Duration> = None, TIMEOUT, "0", "interrupt timeout";
    /// How long requests may go on when a process is to be replaced; 0 to replace it at once.
    "graceful-timeout" graceful_timeout: Duration = Duration::from_secs(15), SECONDS, "15", "graceful timeout";
    /// The same where a process was told by SIGUSR1; 0 for `graceful-timeout`.
    "eviction-timeout" eviction_timeout: Option<Duration> = None, TIMEOUT, "0", "eviction timeout";
    /// Age at which a process is replaced; 0 for none.
    "restart-interval" restart_interval: Option<Duration> = None, TIMEOUT, "0", "restart interval";
    /// How long Apache tries to hand a request to a group that does not take it.
    "connect-timeout" connect_timeout: Duration = Duration::from_secs(15), SECONDS, "15", "connect timeout";
    /// How long Apache and the process wait for each other within a request; 0 for `Timeout`.
    "socket-timeout" socket_timeout: Option<Duration> = None, TIMEOUT, "0", "socket timeout";
    /// How long a request may wait before it runs, from its arrival at Apache; 0 for any time.
    "queue-timeout" queue_timeout: Option<Duration> = None, TIMEOUT, "0", "queue timeout";
    /// Requests that may wait for each process.
    "listen-backlog" listen_backlog: u32 = 100, COUNT, "100", "listen backlog";
    /// What `ps` shows; `%{GROUP}` for `(wsgi:NAME)`.
    "display-name" display_name: Option<Vec<u8>> = None, TEXT, "the program's name", "display name";
    /// Send buffer of the socket between Apache and process; 0 for the system's.
    "send-buffer-size" send_buffer_size: u32 = 0, SEND_BUFFER, "0", "send buffer size";
    /// Receive buffer of the socket between Apache and process; 0 for the system's.
    "receive-buffer-size" receive_buffer_size: u32 = 0, RECEIVE_BUFFER, "0", "receive buffer size";
    /// Longest header line of a response, and two bytes more; 0 for 32768.
    "header-buffer-size" header_buffer_size: u32 = 0, HEADER_BUFFER, "0", "header buffer size";
    /// Bytes of a response after which Apache flushes in any case; 0 for 8 MiB.
    "response-buffer-size" response_buffer_size: u32 = 0, RESPONSE_BUFFER, "0", "response buffer size";
    /// How long Apache waits for the client while it sends a response; 0 for `socket-timeout`.
    "response-socket-timeout" response_socket_timeout: Option<Duration> = None, TIMEOUT, "0", "response socket timeout";
    /// How long Apache waits for more of a response before it flushes what it has.
    "response-flush-delay" response_flush_delay: Duration = Duration::from_millis(5), MILLISECONDS, "5", "response flush delay";
    /// Accepted for compatibility: there is no socket file that could have an owner.
    "socket-user" socket_user: Option<Account> = None, USER, "Apache's `User`", "socket user";
    /// User who must own the script and its directory.
    "script-user" script_user: Option<Account> = None, USER, "any", "script user";
    /// Group that the script and its directory must have.
    "script-group" script_group: Option<Account> = None, GROUP, "any", "script group";
    /// Processor time after which a process is replaced; 0 for any.
    "cpu-time-limit" cpu_time_limit: Option<Duration> = None, TIMEOUT, "0", "CPU time limit";
    /// Scheduling priority, from -20 for the most to 20 for the least; 0 to leave it.
    "cpu-priority" cpu_priority: i32 = 0, SIGNED, "0", "CPU priority";
    /// Most memory for data of each process; 0 for any.
    "memory-limit" memory_limit: Option<u64> = None, LIMIT, "0", "memory limit";
    /// Most address space of each process; 0 for any.
    "virtual-memory-limit" virtual_memory_limit: Option<u64> = None, LIMIT, "0", "virtual memory limit";
    /// Whether applications may call `mod_wsgi.server_metrics()`.
    "server-metrics" server_metrics: bool = false, FLAG, "Off", "server metrics flag";
    /// Whether `request-timeout` is scaled by the number of threads; when off it is meant
    /// literally.
    "request-timeout-scaling" request_timeout_scaling: bool = true, FLAG, "On", "request timeout scaling flag", ours;
    /// How processes that load new code take over: all at once, or one after another, which takes
    /// less memory.
    "swap" swap: Swap = Swap::Overlap, SWAP, "overlap", "swap", ours;
    /// Processes that stand by, loaded, to take the place of one that ends.
    "spare" spare: u32 = 0, COUNT, "0", "spare process count", ours;
    /// Whether a graceful restart of Apache leaves the processes alone if nothing about the group
    /// was changed in the configuration; otherwise each one loads the application anew.
    "keep" keep: bool = false, FLAG, "Off", "keep flag", ours;
    /// What a new process asks each application it loads before it gets requests: a path from the
    /// root of the application, or `http://host/path`. An answer of 500 and above counts as an
    /// application that cannot be loaded.
    "warm-up" warm_up: Option<Vec<u8>> = None, URL, "none", "warm-up URL", ours;
    /// Bytes of requests and responses of the group that may wait in buffers at a time; 0 for any.
    /// Beyond them, processes wait for slow clients.
    "buffer-limit" buffer_limit: u64 = 1 << 30, BYTES, "1073741824", "buffer limit", ours;
    /// Allows `user=root`, which is refused otherwise.
    "allow-root" allow_root: bool = false, FLAG, "Off", "root flag", ours;
}
