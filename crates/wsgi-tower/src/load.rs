//! Finding the application's callable: a file, or a module on `sys.path`.
//!
//! A file is run as a module of its own name, with its directory first on `sys.path`, as a script
//! is. It is loaded once; there is no reloading here.

use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use py::{Bound, Global, Token};

use crate::error::{Error, Kind};

/// Where an application is.
#[derive(Debug, Clone)]
pub(crate) enum Source {
    File(PathBuf),
    Module(String),
}

/// Loads it and gives what it calls `callable`.
pub(crate) fn load<'py>(py: Token<'py>, source: &Source, callable: &str) -> Result<Global, Error> {
    let failed = |error: py::Error<'py>| Error::new(Kind::Application, text_of(py, &error));
    let module = match source {
        Source::File(path) => {
            let path = std::path::absolute(path)
                .map_err(|e| Error::new(Kind::Application, format!("{}: {e}", path.display())))?;
            let code = std::fs::read(&path)
                .map_err(|e| Error::new(Kind::Application, format!("{}: {e}", path.display())))?;
            run_file(py, &path, &code).map_err(failed)?
        }
        Source::Module(name) => import(py, name).map_err(failed)?,
    };
    let name = std::ffi::CString::new(callable)
        .map_err(|_| Error::new(Kind::Application, "a name cannot contain NUL"))?;
    let found = module.attr(&name).map_err(failed)?;
    if !found.is_callable() {
        let text = format!("{callable} is not callable, but {}", found.type_name());
        return Err(Error::new(Kind::Application, text));
    }
    Ok(found.into_global())
}

fn run_file<'py>(py: Token<'py>, path: &Path, code: &[u8]) -> py::Result<'py, Bound<'py>> {
    let file = py.fs_str(path.as_os_str().as_bytes())?;
    let name = py.fs_str(path.file_stem().unwrap_or_default().as_bytes())?;
    let sys = py.import(c"sys")?;
    let dir = path.parent().unwrap_or(Path::new("/"));
    let dir = py.fs_str(dir.as_os_str().as_bytes())?;
    sys.attr(c"path")?.call_method(c"insert", &[&py.int(0)?, &dir])?;
    let builtins = py.import(c"builtins")?;
    let code = py.compile(code, path.as_os_str().as_bytes())?;
    let module = py.import(c"types")?.call_method(c"ModuleType", &[&name])?;
    module.set_attr(c"__file__", &file)?;
    sys.attr(c"modules")?.call_method(c"__setitem__", &[&name, &module])?;
    builtins.call_method(c"exec", &[&code, &module.attr(c"__dict__")?])?;
    Ok(module)
}

fn import<'py>(py: Token<'py>, name: &str) -> py::Result<'py, Bound<'py>> {
    py.import(c"importlib")?.call_method(c"import_module", &[&py.str(name)?])
}

/// The traceback as Python prints it, or the message if even that fails.
fn text_of<'py>(py: Token<'py>, error: &py::Error<'py>) -> String {
    let format = || -> py::Result<'py, String> {
        let traceback = py.import(c"traceback")?;
        let lines = traceback.call_method(c"format_exception", &[error.value()])?;
        py.str("")?.call_method(c"join", &[&lines])?.to_text()
    };
    match format() {
        Ok(text) => text.trim_end().to_owned(),
        Err(_) => format!("{}: {}", error.type_name(), error.message()),
    }
}
