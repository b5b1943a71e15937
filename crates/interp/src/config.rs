//! How Python starts, and starting it.
//!
//! The regular configuration is used, not the isolated one: `PYTHON*` variables count, the locale
//! is set up and coerced as for `python3`. `executable` decides the rest: an installation or virtual
//! environment is found from it as if that program had been run.
//! See <https://docs.python.org/3/c-api/init_config.html>.

use std::ffi::{CStr, CString, c_char};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use py::ffi;

use crate::error::{Error, ErrorKind};

/// Which thread is to be Python's main thread.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MainThread {
    /// A thread of its own, which then waits for jobs.
    #[default]
    Parked,
    /// The thread that starts Python, for servers that serve on it.
    Caller,
}

/// Seed of the hash of `str` and `bytes`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HashSeed {
    /// What `PYTHONHASHSEED` says; random without it.
    #[default]
    Default,
    /// Random.
    Random,
    /// This one; 0 turns randomisation off.
    Fixed(u32),
}

/// How Python starts.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// What `sys.executable` is to be.
    pub executable: PathBuf,
    /// As `PYTHONHOME`: `prefix` or `prefix:exec_prefix`.
    pub home: Option<String>,
    /// `sys.argv`.
    pub argv: Vec<String>,
    /// `-W` options.
    pub warnings: Vec<String>,
    /// `-O` level; `None` is Python's default.
    pub optimize: Option<i32>,
    /// `-B`
    pub dont_write_bytecode: bool,
    /// Seed of hashes.
    pub hash_seed: HashSeed,
    /// Run without the GIL, if the build can.
    pub free_threading: bool,
    /// Variables to put into the environment first.
    pub environment: Vec<(String, String)>,
    /// Which thread becomes the main thread.
    pub main_thread: MainThread,
}

impl Config {
    /// The Python that `executable` is, with nothing special.
    pub fn new(executable: impl Into<PathBuf>) -> Config {
        Config {
            executable: executable.into(),
            home: None,
            argv: Vec::new(),
            warnings: Vec::new(),
            optimize: None,
            dont_write_bytecode: false,
            hash_seed: HashSeed::Default,
            free_threading: false,
            environment: Vec::new(),
            main_thread: MainThread::Parked,
        }
    }

    /// Starts Python on the calling thread, which is then attached to the main interpreter.
    pub(crate) fn initialize(&self) -> Result<(), Error> {
        for (name, value) in &self.environment {
            let (name, value) = (c_string(name.as_bytes())?, c_string(value.as_bytes())?);
            // SAFETY: C strings, copied. Python is not running, and servers start it before their
            // other threads.
            unsafe { libc::setenv(name.as_ptr(), value.as_ptr(), 1) };
        }
        let mut config = PyConfig::new();
        config.fill(self)?;
        // SAFETY: a configuration that was filled; Python is not running (`Runtime::start`).
        check(unsafe { ffi::Py_InitializeFromConfig(&config.0) })
    }
}

/// Owns what hangs on a `PyConfig`.
struct PyConfig(ffi::PyConfig);

impl PyConfig {
    fn new() -> PyConfig {
        let mut config = MaybeUninit::uninit();
        // SAFETY: fills the whole structure.
        unsafe {
            ffi::PyConfig_InitPythonConfig(config.as_mut_ptr());
            PyConfig(config.assume_init())
        }
    }

    fn fill(&mut self, from: &Config) -> Result<(), Error> {
        let executable = c_string(from.executable.as_os_str().as_bytes())?;
        // SAFETY: the field is one of this configuration. This also pre-initialises Python, which
        // the calls below need.
        unsafe {
            let field = &raw mut self.0.executable;
            check(ffi::PyConfig_SetBytesString(&mut self.0, field, executable.as_ptr()))?;
        }
        if let Some(home) = &from.home {
            let home = c_string(home.as_bytes())?;
            // SAFETY: as above.
            unsafe {
                let field = &raw mut self.0.home;
                check(ffi::PyConfig_SetBytesString(&mut self.0, field, home.as_ptr()))?;
            }
        }
        self.0.parse_argv = 0;
        self.0.install_signal_handlers = 0;
        append(&raw mut self.0.argv, &from.argv)?;
        append(&raw mut self.0.warnoptions, &from.warnings)?;
        if let Some(level) = from.optimize {
            self.0.optimization_level = level;
        }
        if from.dont_write_bytecode {
            self.0.write_bytecode = 0;
        }
        match from.hash_seed {
            HashSeed::Default => {}
            HashSeed::Random => self.0.use_hash_seed = 0,
            HashSeed::Fixed(seed) => {
                self.0.use_hash_seed = 1;
                self.0.hash_seed = seed.into();
            }
        }
        #[cfg(Py_GIL_DISABLED)]
        {
            self.0.enable_gil = i32::from(!from.free_threading);
        }
        Ok(())
    }
}

impl Drop for PyConfig {
    fn drop(&mut self) {
        // SAFETY: filled by `PyConfig_InitPythonConfig`; frees what it owns.
        unsafe { ffi::PyConfig_Clear(&mut self.0) }
    }
}

/// Appends to a list of a configuration, after pre-initialisation.
fn append(list: *mut ffi::PyWideStringList, items: &[String]) -> Result<(), Error> {
    for item in items {
        // A `wchar_t` is a code point where Apache runs Python on Unix.
        let wide: Vec<libc::wchar_t> =
            item.chars().map(|c| c as libc::wchar_t).chain([0]).collect();
        // SAFETY: a list of a live configuration; the item is terminated, and copied.
        check(unsafe { ffi::PyWideStringList_Append(list, wide.as_ptr()) })?;
    }
    Ok(())
}

fn c_string(bytes: &[u8]) -> Result<CString, Error> {
    CString::new(bytes).map_err(|_| {
        let text = format!("'{}' contains a NUL byte", bytes.escape_ascii());
        Error::new(ErrorKind::Start, text)
    })
}

fn check(status: ffi::PyStatus) -> Result<(), Error> {
    // SAFETY: plain questions.
    unsafe {
        if ffi::PyStatus_Exception(status) == 0 {
            return Ok(());
        }
        if ffi::PyStatus_IsExit(status) != 0 {
            let text = format!("Python wants to exit with status {}", status.exitcode);
            return Err(Error::new(ErrorKind::Start, text));
        }
    }
    let text = |text: *const c_char| {
        // SAFETY: a C string that lives for ever, or NULL.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_string_lossy())
    };
    let mut reason = text(status.err_msg).unwrap_or("no reason given".into()).into_owned();
    if let Some(function) = text(status.func) {
        reason = format!("{function}: {reason}");
    }
    Err(Error::new(ErrorKind::Start, reason))
}
