//! Names that every request looks up, made once per interpreter.

use arc_swap::ArcSwapOption;
use py::{Bound, Error, Global, Token, ffi};

use crate::graves::Graves;

/// Interned strings of one interpreter.
pub(crate) struct Names {
    mtime: Global,
    reload_required: Global,
    active_requests: Global,
    event_callbacks: Global,
    /// The name that an application has unless something else is configured.
    application: Global,
    /// The name of another one that was asked for last.
    callable: ArcSwapOption<Callable>,
    graves: Graves,
}

struct Callable {
    bytes: Vec<u8>,
    name: Option<Global>,
    graves: Graves,
}

impl Drop for Callable {
    fn drop(&mut self) {
        self.graves.add(self.name.take());
    }
}

impl Names {
    pub(crate) fn new<'py>(py: Token<'py>, graves: &Graves) -> py::Result<'py, Names> {
        Ok(Names {
            mtime: py.intern(c"__mtime__")?.into_global(),
            reload_required: py.intern(c"reload_required")?.into_global(),
            active_requests: py.intern(c"active_requests")?.into_global(),
            event_callbacks: py.intern(c"event_callbacks")?.into_global(),
            application: py.intern(c"application")?.into_global(),
            callable: ArcSwapOption::empty(),
            graves: graves.clone(),
        })
    }

    pub(crate) fn mtime<'py>(&self, py: Token<'py>) -> py::Result<'py, Bound<'py>> {
        bind(py, &self.mtime)
    }

    pub(crate) fn reload_required<'py>(&self, py: Token<'py>) -> py::Result<'py, Bound<'py>> {
        bind(py, &self.reload_required)
    }

    pub(crate) fn active_requests<'py>(&self, py: Token<'py>) -> py::Result<'py, Bound<'py>> {
        bind(py, &self.active_requests)
    }

    pub(crate) fn event_callbacks<'py>(&self, py: Token<'py>) -> py::Result<'py, Bound<'py>> {
        bind(py, &self.event_callbacks)
    }

    /// The name of an application in a script.
    pub(crate) fn callable<'py>(
        &self,
        py: Token<'py>,
        bytes: &[u8],
    ) -> py::Result<'py, Bound<'py>> {
        if bytes == b"application" {
            return bind(py, &self.application);
        }
        if let Some(last) = self.callable.load().as_ref().filter(|last| last.bytes == bytes)
            && let Some(name) = &last.name
        {
            return bind(py, name);
        }
        let name = py.latin1(bytes)?;
        let last = Callable {
            bytes: bytes.to_vec(),
            name: Some(name.clone().into_global()),
            graves: self.graves.clone(),
        };
        self.callable.store(Some(last.into()));
        self.graves.empty(py);
        Ok(name)
    }
}

fn bind<'py>(py: Token<'py>, name: &Global) -> py::Result<'py, Bound<'py>> {
    // SAFETY: the class is a static of libpython.
    name.bind(py)
        .map_err(|error| unsafe { Error::new(py, ffi::PyExc_SystemError, &error.to_string()) })
}
