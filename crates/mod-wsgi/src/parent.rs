//! What is checked when the server starts, in the parent.
//!
//! The parent loads no Python, runs none and starts no thread: what is found here is found again by
//! each child. What it keeps is the process supervisor's ([`daemon`]).

use std::ffi::CString;

use engine_api::Version;
use engine_api::find::Running;
use httpd_sys::{
    Level, PostConfig, PostConfigPass, Server, StartPass, add_version_component, is_loaded,
};
use log_codes::{Code, WSGI0198, WSGI0200, WSGI0201, WSGI1003};

use crate::groups::{self, Machine};
use crate::{VERSION, Wsgi, daemon, interpreters, log, meter, support};

/// The hook.
pub(crate) struct Start;

impl PostConfig for Start {
    fn run(pass: &PostConfigPass<'_>) -> Result<(), String> {
        if is_loaded(c"mod_python.c") {
            return Err("mod_wsgi cannot be used together with mod_python: two modules that each \
                        bring a Python of their own into one process end in a crash. Remove one \
                        of the two LoadModule lines."
                .to_owned());
        }
        check_groups(pass)?;
        let [major, minor, patch] = VERSION;
        banner(pass, &format!("mod_wsgi/{major}.{minor}.{patch}"));
        // A Python that cannot be found is reported by the children, which need it.
        let python = pass
            .server
            .config::<Wsgi>()
            .and_then(|configured| support::python(&configured.global, Running::Never).ok());
        if let Some(python) = python {
            let version = python.version;
            if pass.kind != StartPass::Check {
                notices(pass.server, version);
            }
            banner(pass, &format!("Python/{}.{}", version.major, version.minor));
        }
        without_effect(pass);
        if pass.kind == StartPass::Serve {
            daemon::configure(pass)?;
            meter::prepare(pass)?;
        }
        Ok(())
    }
}

/// Looks at every group of daemon processes with the whole configuration known.
fn check_groups(pass: &PostConfigPass<'_>) -> Result<(), String> {
    let machine = Machine::here();
    for group in groups::defined(pass.server) {
        let name = group.process.name.escape_ascii();
        let line = group.place.line;
        groups::resolve(&group, &machine)
            .map_err(|error| format!("WSGIDaemonProcess {name} in line {line}: {error}"))?;
        if !group.process.is_reachable() && pass.kind != StartPass::Check {
            let logger = pass.server.logger::<Wsgi>();
            let message = WSGI1003.message([&group.process.name]).to_bytes();
            logger.log(Level::Warning, httpd_sys::here!(), 0, &message);
        }
    }
    Ok(())
}

/// Says what the configuration asks of a Python that cannot do it.
fn notices(server: Server<'_>, version: Version) {
    let Some(configured) = server.config::<Wsgi>() else { return };
    let global = &configured.global;
    let say = |code: &'static Code<0>| log::process(code.message([]));
    if interpreters::wants_own_gil(global) && version.minor < 12 {
        say(&WSGI0198);
    }
    if interpreters::wants_free_threading(global) && !version.free_threaded {
        say(&WSGI0200);
    }
    if interpreters::misplaces_free_threading(global) {
        say(&WSGI0201);
    }
}

/// Says what has been read and does nothing.
fn without_effect(pass: &PostConfigPass<'_>) {
    let Some(configured) = pass.server.config::<Wsgi>() else { return };
    let global = &configured.global;
    if global.verbose_debugging {
        let text = b"WSGIVerboseDebugging is deprecated and has no effect. Use 'LogLevel info \
                     wsgi_module:debug' for lifecycle messages and 'LogLevel info \
                     wsgi_module:trace1' for per-request and per-thread-binding messages.";
        pass.server.logger::<Wsgi>().log(Level::Info, httpd_sys::here!(), 0, text);
    }
}

fn banner(pass: &PostConfigPass<'_>, component: &str) {
    if let Ok(component) = CString::new(component) {
        add_version_component(pass.config, &component);
    }
}
