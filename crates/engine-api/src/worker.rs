//! Daemon mode: how a Python that runs as a program becomes a worker, and what it is told.
//!
//! A worker is the group's own `python3`, started with a few lines of Python ([`arguments`]) that
//! import the engine from its directory and run it. What embedded mode says in [`Start`] and
//! [`Load`] travels as bytes here ([`Config`]), since the two are processes.
//!
//! `-c` and not `-m`, which looks into the current directory first; no `-I`, which would drop what
//! users have set in the server's environment.
//! See <https://docs.python.org/3/using/cmdline.html>.

use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::slice::{Bytes, Slice};
use crate::table::{HostTable, InterpreterOptions, Load, Start, Switch, TelemetryOptions};

/// Name of the engine as an extension module.
pub const MODULE: &str = "_mod_wsgi";

/// Imports the engine and lets it serve. What a program leaves of itself in `sys` goes first.
const BOOT: &str = "\
import sys
def boot(directory):
    sys.argv[:] = ['mod_wsgi']
    if hasattr(sys, 'orig_argv'):
        sys.orig_argv[:] = ['mod_wsgi']
    if sys.path[:1] == ['']:
        del sys.path[0]
    sys.path.insert(0, directory)
    try:
        import _mod_wsgi as engine
    except ImportError as error:
        import importlib.machinery, os
        suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
        try:
            found = sorted(os.listdir(directory))
        except OSError as unreadable:
            found = [str(unreadable)]
        print('mod_wsgi has no engine for %s (%s): %s. There is in %s: %s' % (
            sys.executable, suffix, error, directory, ', '.join(found) or 'nothing'),
            file=sys.stderr, flush=True)
        os._exit(3)
    sys.path.remove(directory)
    del sys.modules['_mod_wsgi']
    globals().pop('boot')
    globals().pop('sys')
    engine.run()
boot(sys.argv[1])
";

/// Room behind the arguments, for a name that is written over them.
const PADDING: usize = 160;

/// How Python is to run, as far as its command line says.
#[derive(Clone, Debug, Default)]
pub struct Flags<'a> {
    /// `-O`, once or twice.
    pub optimize: i32,
    /// `-B`
    pub dont_write_bytecode: bool,
    /// `-W`, in order.
    pub warnings: &'a [Vec<u8>],
}

/// The arguments of a worker whose engine is in `engines`, from its name on.
pub fn arguments(executable: &Path, engines: &Path, flags: &Flags<'_>) -> Vec<Vec<u8>> {
    let mut arguments = vec![executable.as_os_str().as_bytes().to_vec()];
    if flags.optimize > 0 {
        arguments.push(if flags.optimize > 1 { b"-OO".to_vec() } else { b"-O".to_vec() });
    }
    if flags.dont_write_bytecode {
        arguments.push(b"-B".to_vec());
    }
    for warning in flags.warnings {
        arguments.push(b"-W".to_vec());
        arguments.push(warning.clone());
    }
    arguments.push(b"-c".to_vec());
    arguments.push(BOOT.as_bytes().to_vec());
    arguments.push(engines.as_os_str().as_bytes().to_vec());
    arguments.push(vec![b' '; PADDING]);
    arguments
}

/// What the module tells the workers of a group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// Name of the process group.
    pub process_group: Vec<u8>,
    /// [`Start::main_group`].
    pub main_group: Option<Vec<u8>>,
    /// [`Start::free_threading`].
    pub free_threading: bool,
    /// [`Start::interpreters`].
    pub interpreters: Vec<Interpreter>,
    /// [`Start::module_version`].
    pub module_version: [u32; 3],
    /// [`Start::server_version`].
    pub server_version: [u32; 3],
    /// [`Start::server_description`].
    pub server_description: Vec<u8>,
    /// [`Start::mpm_name`].
    pub mpm_name: Vec<u8>,
    /// [`Start::server_build_date`].
    pub server_build_date: Vec<u8>,
    /// [`Start::server_processes`].
    pub server_processes: u32,
    /// [`Start::server_threads`].
    pub server_threads: u32,
    /// Processes of the group.
    pub processes: u32,
    /// Threads that serve in each; 0 for a service.
    pub threads: u32,
    /// `wsgi.multiprocess`
    pub multiprocess: bool,
    /// The process ends after one request.
    pub run_once: bool,
    /// Scripts to load before the worker is ready.
    pub preloads: Vec<Preload>,
    /// [`crate::Stop::destroy`].
    pub destroy: bool,
    /// Level of the log of what belongs to no request, as in [`crate::Level`].
    pub log_level: u32,
    /// How long the end may take; 0 for any time.
    pub shutdown: Duration,
    /// `eviction-timeout` is set: it is what a process told by SIGUSR1 is said to end for.
    pub evicts: bool,
    /// Times after which something is done about requests and the process.
    pub limits: Limits,
    /// What `ps` is to show; absent to leave it.
    pub display_name: Option<Vec<u8>>,
    /// `LC_ALL` was set by the configuration: the C library is told.
    pub locale: Option<Vec<u8>>,
    /// First entry of the search path: the working directory that the configuration names.
    pub home: Option<Vec<u8>>,
    /// The root directory was changed to this; paths of scripts are given without it.
    pub chroot: Option<Vec<u8>>,
    /// What each application is asked before the worker is ready: a path, or a URL with a host.
    pub warm_up: Option<Vec<u8>>,
    /// [`Start::telemetry`].
    pub telemetry: Telemetry,
    /// The server has a page that shows where requests are: who asks is told.
    pub tells_places: bool,
}

/// [`TelemetryOptions`], kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the borrowed type")]
pub struct Telemetry {
    pub target: Option<Vec<u8>>,
    pub interval: f64,
    pub slow_requests: f64,
    pub user_agent: bool,
    pub interpreter_names: bool,
    pub parent_pid: u32,
}

/// Times after which something is done about requests and the process; none is any time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// `request-timeout`, in seconds, as it is written.
    pub request_seconds: u64,
    /// How long a request may run.
    pub request: Option<Duration>,
    /// How long it may go on once it was interrupted; without it, it is not interrupted.
    pub interrupt: Option<Duration>,
    /// How long the process may be without requests.
    pub inactivity: Option<Duration>,
    /// How long Python's lock may not be had.
    pub deadlock: Option<Duration>,
    /// How long the application may take to load once it is asked for.
    pub startup: Option<Duration>,
}

/// [`InterpreterOptions`], kept.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the borrowed type")]
pub struct Interpreter {
    pub application_group: Option<Vec<u8>>,
    pub specificity: u32,
    pub python_path: Option<Vec<u8>>,
    pub switch_interval: f64,
    pub own_gil: Option<bool>,
    pub replicas: u32,
    pub restrict_stdin: Option<bool>,
    pub restrict_stdout: Option<bool>,
    pub restrict_signal: Option<bool>,
}

/// [`Load`], kept.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the fields are those of the borrowed type")]
pub struct Preload {
    pub script: Vec<u8>,
    pub application_group: Vec<u8>,
    pub reload: bool,
    pub lower_case: bool,
}

impl Config {
    /// As bytes, for a worker of the same build.
    ///
    /// # Errors
    /// Only without memory.
    pub fn encode(&self) -> Result<Vec<u8>, String> {
        let bytes = crate::ABI.to_le_bytes().to_vec();
        postcard::to_extend(self, bytes).map_err(|error| error.to_string())
    }

    /// From bytes.
    ///
    /// # Errors
    /// One sentence: another build wrote them, or nobody.
    pub fn decode(bytes: &[u8]) -> Result<Config, String> {
        let (abi, rest) = bytes.split_first_chunk().ok_or("there is no configuration")?;
        if u64::from_le_bytes(*abi) != crate::ABI {
            return Err(
                "the engine belongs to another build of mod_wsgi than the module; install \
                        both from one build"
                    .to_owned(),
            );
        }
        postcard::from_bytes(rest).map_err(|error| error.to_string())
    }

    /// Runs `f` with this as embedded mode says it.
    pub fn with_start<R>(&self, host: &'static HostTable, f: impl FnOnce(&Start<'_>) -> R) -> R {
        let interpreters: Vec<_> = self.interpreters.iter().map(Interpreter::options).collect();
        f(&Start {
            host,
            executable: Bytes::ABSENT,
            python_home: Bytes::ABSENT,
            process_group: Bytes::new(&self.process_group),
            main_group: Bytes::maybe(self.main_group.as_deref()),
            python_eggs: Bytes::ABSENT,
            warnings: Slice::EMPTY,
            hash_seed: -1,
            optimize: 0,
            dont_write_bytecode: false,
            free_threading: self.free_threading,
            single_process: false,
            serve_on_this_thread: false,
            interpreters: Slice::new(&interpreters),
            module_version: self.module_version,
            server_version: self.server_version,
            server_description: Bytes::new(&self.server_description),
            mpm_name: Bytes::new(&self.mpm_name),
            server_build_date: Bytes::new(&self.server_build_date),
            server_processes: self.server_processes,
            server_threads: self.server_threads,
            maximum_processes: self.processes,
            threads_per_process: self.threads,
            telemetry: self.telemetry.options(),
        })
    }
}

impl Telemetry {
    /// Keeps a copy.
    pub fn new(options: &TelemetryOptions<'_>) -> Telemetry {
        let TelemetryOptions { interval, slow_requests, .. } = *options;
        Telemetry {
            target: options.target.get().map(<[u8]>::to_vec),
            interval,
            slow_requests,
            user_agent: options.user_agent,
            interpreter_names: options.interpreter_names,
            parent_pid: options.parent_pid,
        }
    }

    /// As embedded mode says it.
    pub fn options(&self) -> TelemetryOptions<'_> {
        let Telemetry { interval, slow_requests, .. } = *self;
        TelemetryOptions {
            target: Bytes::maybe(self.target.as_deref()),
            interval,
            slow_requests,
            user_agent: self.user_agent,
            interpreter_names: self.interpreter_names,
            parent_pid: self.parent_pid,
        }
    }
}

impl Interpreter {
    /// Keeps a copy.
    pub fn new(options: &InterpreterOptions<'_>) -> Interpreter {
        let flag = |switch| match switch {
            Switch::Unset => None,
            Switch::On => Some(true),
            Switch::Off => Some(false),
        };
        Interpreter {
            application_group: options.application_group.get().map(<[u8]>::to_vec),
            specificity: options.specificity,
            python_path: options.python_path.get().map(<[u8]>::to_vec),
            switch_interval: options.switch_interval,
            own_gil: flag(options.own_gil),
            replicas: options.replicas,
            restrict_stdin: flag(options.restrict_stdin),
            restrict_stdout: flag(options.restrict_stdout),
            restrict_signal: flag(options.restrict_signal),
        }
    }

    fn options(&self) -> InterpreterOptions<'_> {
        let switch = |flag| match flag {
            None => Switch::Unset,
            Some(true) => Switch::On,
            Some(false) => Switch::Off,
        };
        InterpreterOptions {
            application_group: Bytes::maybe(self.application_group.as_deref()),
            specificity: self.specificity,
            python_path: Bytes::maybe(self.python_path.as_deref()),
            switch_interval: self.switch_interval,
            own_gil: switch(self.own_gil),
            replicas: self.replicas,
            restrict_stdin: switch(self.restrict_stdin),
            restrict_stdout: switch(self.restrict_stdout),
            restrict_signal: switch(self.restrict_signal),
        }
    }
}

impl Preload {
    /// As embedded mode says it.
    pub fn load(&self) -> Load<'_> {
        Load {
            script: Bytes::new(&self.script),
            application_group: Bytes::new(&self.application_group),
            reload: self.reload,
            lower_case: self.lower_case,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_configuration_is_read_as_it_was_written() {
        let interpreter =
            Interpreter { own_gil: Some(false), switch_interval: 0.5, ..Interpreter::default() };
        let config = Config {
            process_group: b"g\xff".to_vec(),
            interpreters: vec![interpreter.clone()],
            preloads: vec![Preload { script: b"/a".to_vec(), ..Preload::default() }],
            ..Config::default()
        };
        let bytes = config.encode().unwrap();
        assert_eq!(Config::decode(&bytes).unwrap(), config);
        assert_eq!(Interpreter::new(&interpreter.options()), interpreter);
        let telemetry = Telemetry {
            target: Some(b"/socket".to_vec()),
            interval: 1.5,
            slow_requests: 0.5,
            user_agent: true,
            interpreter_names: true,
            parent_pid: 7,
        };
        assert_eq!(Telemetry::new(&telemetry.options()), telemetry);
        assert_eq!(Telemetry::new(&Telemetry::default().options()), Telemetry::default());
        for length in 0..bytes.len() {
            assert!(Config::decode(&bytes[..length]).is_err());
        }
        let mut other = bytes;
        other[0] ^= 1;
        assert!(Config::decode(&other).unwrap_err().contains("another build"));
    }

    #[test]
    fn the_command_line() {
        let warnings = [b"error".to_vec(), b"ignore".to_vec()];
        let flags = Flags { optimize: 2, dont_write_bytecode: true, warnings: &warnings };
        let arguments = arguments(Path::new("/p/bin/python3"), Path::new("/e"), &flags);
        let shown: Vec<_> = arguments.iter().map(|it| String::from_utf8_lossy(it)).collect();
        assert_eq!(shown[..7], ["/p/bin/python3", "-OO", "-B", "-W", "error", "-W", "ignore"]);
        assert_eq!(shown[7], "-c");
        assert_eq!(shown[9], "/e");
    }
}
