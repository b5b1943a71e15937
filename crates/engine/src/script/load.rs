//! Loading one version of a script: reading, compiling, executing, and what may go wrong.
//!
//! It is what `import` does for a source file, less the cache of compiled code, and with the file
//! name as the only identity. See <https://docs.python.org/3/reference/import.html>.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use engine_api::Level;
use log_codes::{Code, WSGI0105, WSGI0106, WSGI0107, WSGI0108, WSGI0109, WSGI0110};
use py::{Bound, Error, Token, ffi};

use crate::hints;
use crate::log::{self, Report};

use super::source::{Source, is_fresh, os_error};
use super::{Ask, Failed, Script, Version, modules};

impl Script {
    /// Loads the script and makes it current. Whoever calls has the turn.
    pub(super) fn load<'py>(
        &self,
        py: Token<'py>,
        ask: &Ask<'_>,
        how: &str,
    ) -> Result<Bound<'py>, Failed> {
        self.graves.empty(py);
        let path = String::from_utf8_lossy(&self.path);
        let line = format!("{how} WSGI script '{path}' into {}.", ask.group.context);
        let source = py.detach(|| {
            log::plain(ask.log, Level::Info, &line);
            Source::read(self.file())
        });
        let source = source.map_err(|error| {
            let errno = error.raw_os_error().unwrap_or(0);
            self.report_unreadable(&os_error(py, errno, &self.path), errno, ask)
        })?;
        let code =
            self.compile(py, &source).map_err(|error| self.report_unreadable(&error, 0, ask))?;
        let old = self.current();
        let mtime = ask.mtime.unwrap_or(source.mtime);
        let (module, globals) = self
            .execute(py, &code, mtime, old.as_deref())
            .map_err(|error| self.report_raised(&error, ask))?;
        if old.is_some() && ask.lacks(&globals) {
            // An empty or unfinished file is no better than a broken one.
            py.detach(|| ask.report_missing());
            self.put_back(py, old.as_deref());
            return Err(Failed);
        }
        let version = Version {
            objects: Some((module.into_global(), globals.clone().into_global())),
            graves: self.graves.clone(),
            digest: source.digest,
            fresh: AtomicBool::new(is_fresh(source.mtime)),
        };
        *super::lock(&self.current) = Some(Arc::new(version));
        self.lock().failed = None;
        drop(old);
        ask.report_loaded();
        self.graves.empty(py);
        let advice = hints::imported(py, ask.group);
        if !advice.is_empty() {
            py.detach(|| advice.iter().for_each(|line| log::plain(ask.log, Level::Info, line)));
        }
        Ok(globals)
    }

    fn report_unreadable(&self, error: &Error<'_>, errno: i32, ask: &Ask<'_>) -> Failed {
        let code = if ask.request { &WSGI0105 } else { &WSGI0106 };
        let report = Report::of_script(error, &self.path, &ask.group.context);
        error.value().py().detach(|| {
            log::coded_errno(ask.log, &code.message([&self.path, &ask.group.context]), errno);
            report.log(ask.log);
        });
        Failed
    }

    fn report_raised(&self, error: &Error<'_>, ask: &Ask<'_>) -> Failed {
        if log::is_system_exit(error) && ask.group.process.settings.is_service() {
            // That is how a service ends.
            return Failed;
        }
        let code: &Code<1> = match (log::is_system_exit(error), ask.request) {
            (true, true) => &WSGI0107,
            (true, false) => &WSGI0108,
            (false, true) => &WSGI0109,
            (false, false) => &WSGI0110,
        };
        let report = Report::of_script(error, &self.path, &ask.group.context);
        error.value().py().detach(|| {
            log::coded(ask.log, &code.message([&self.path]));
            report.log(ask.log);
            if let Some(hint) = hints::hint(ask.group, report.traceback()) {
                log::coded(ask.log, &hint.message([&self.path, &ask.group.title]));
            }
        });
        Failed
    }

    fn compile<'py>(&self, py: Token<'py>, source: &Source) -> py::Result<'py, Bound<'py>> {
        py.compile(&source.text, &self.path)
    }

    /// Runs the code in a new module; on failure `sys.modules` is as before.
    fn execute<'py>(
        &self,
        py: Token<'py>,
        code: &Bound<'py>,
        mtime: i64,
        old: Option<&Version>,
    ) -> py::Result<'py, (Bound<'py>, Bound<'py>)> {
        let module = self.module(py, mtime)?;
        let globals = module.attr(c"__dict__")?;
        let (modules, name) = (modules(py)?, self.bound_name(py)?);
        modules.set_dict_item(&name, &module)?;
        match py.import(c"builtins")?.call_method(c"exec", &[code, &globals]) {
            Ok(_) => Ok((module, globals)),
            Err(error) => {
                self.put_back(py, old);
                Err(error)
            }
        }
    }

    /// Undoes what `execute` did to `sys.modules`.
    fn put_back(&self, py: Token<'_>, old: Option<&Version>) {
        let put = || {
            let (modules, name) = (modules(py)?, self.bound_name(py)?);
            match old.and_then(|old| old.module(py)) {
                Some(old) => modules.set_dict_item(&name, &old),
                None => modules.call_method(c"pop", &[&name, &py.none()]).map(|_| ()),
            }
        };
        // It fails without memory, and then the next request loads the script again.
        let _: py::Result<'_, ()> = put();
    }

    fn module<'py>(&self, py: Token<'py>, mtime: i64) -> py::Result<'py, Bound<'py>> {
        let (name, path) = (self.bound_name(py)?, py.fs_str(&self.path)?);
        let machinery = py.import(c"importlib.machinery")?;
        let loader = machinery.call_method(c"SourceFileLoader", &[&name, &path])?;
        let spec = machinery.call_method(c"ModuleSpec", &[&name, &loader])?;
        spec.set_attr(c"origin", &path)?;
        // SAFETY: attached; the name is a `str`.
        let module = unsafe { Bound::from_owned(py, ffi::PyModule_NewObject(name.as_ptr()))? };
        let none = py.none();
        for (name, value) in [
            (c"__file__", &path),
            (c"__mtime__", &py.int(mtime)?),
            (c"__spec__", &spec),
            (c"__loader__", &loader),
            (c"__package__", &none),
            (c"__cached__", &none),
            (c"__builtins__", &py.import(c"builtins")?.attr(c"__dict__")?),
        ] {
            module.set_attr(name, value)?;
        }
        Ok(module)
    }
}
