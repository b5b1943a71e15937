//! `sys.stdout`, `sys.stderr` and `sys.stdin` of an interpreter.
//!
//! The originals stay as `sys.__stdout__` and so on. In single-process mode (`httpd -X`) stdout and
//! stdin belong to whoever debugs.

use std::ffi::CStr;

use log_codes::{Code, WSGI0185, WSGI0186, WSGI0187};
use py::{Bound, Token};

use crate::group::Group;
use crate::log::{self, Report};

/// Replaces the streams. What fails is logged, and leaves the stream that was there.
pub(super) fn install(py: Token<'_>, group: &Group, core: &wsgi_core::State) {
    let single = group.process.settings.single_process;
    let settings = &group.settings;
    set(py, group, c"stderr", &WSGI0185, || core.stream(py, "<stderr>"));
    if !single {
        set(py, group, c"stdout", &WSGI0186, || {
            if settings.restrict_stdout {
                core.restricted(py, "sys.stdout")
            } else {
                core.stream(py, "<stdout>")
            }
        });
        if settings.restrict_stdin {
            set(py, group, c"stdin", &WSGI0187, || core.restricted(py, "sys.stdin"));
        }
    }
}

fn set<'py>(
    py: Token<'py>,
    group: &Group,
    name: &CStr,
    code: &'static Code<2>,
    make: impl FnOnce() -> py::Result<'py, Bound<'py>>,
) {
    let result = make().and_then(|stream| py.import(c"sys")?.set_attr(name, &stream));
    if let Err(error) = result {
        let title = &group.title;
        let place = group.process.settings.place();
        let report = Report::of_setup(&error, &group.context);
        py.detach(|| {
            log::coded(&group.process.log, &code.message([title, &place]));
            report.log(&group.process.log);
        });
    }
}
