//! Lines of Apache's configuration for each kind of contestant.
//!
//! Everybody gets the settings their own documentation recommends; what differs from a default
//! stands here in plain sight.

use std::fmt::Write;
use std::path::Path;

use anyhow::Result;

use crate::lab::Lab;

/// The lines of the bare handler.
pub(crate) fn bare(lab: &Lab) -> Result<String> {
    let module = lab.bare()?.display();
    Ok(format!("LoadModule bare_module \"{module}\"\nSetHandler bare\n"))
}

/// The lines of a mod_wsgi, whoever wrote it, that serves `app` embedded.
pub(crate) fn embedded(lab: &Lab, module: &Path, app: &str) -> String {
    format!(
        "LoadModule wsgi_module \"{}\"\n\
         WSGIPythonHome \"{}\"\n\
         WSGIPythonPath \"{}\"\n\
         WSGIScriptAlias / \"{}\"\n\
         WSGIApplicationGroup %{{GLOBAL}}\n",
        module.display(),
        lab.peers.venv.display(),
        lab.app().display(),
        lab.app().join(app).display(),
    )
}

/// The lines of the same in a process group.
pub(crate) fn daemon(lab: &Lab, module: &Path, app: &str, group: &Group<'_>) -> Result<String> {
    let mut lines = embedded(lab, module, app);
    // `display-name` also tells the accounting which processes run Python.
    write!(
        lines,
        "WSGIRestrictEmbedded On\n\
         WSGISocketPrefix \"{}\"\n\
         WSGIDaemonProcess bench threads={} display-name=%{{GROUP}} python-path=\"{}\"",
        lab.app().join(format!("{}.sock", group.name)).display(),
        group.threads,
        lab.app().display(),
    )?;
    // `processes=1` would say wsgi.multiprocess.
    if group.processes > 1 {
        write!(lines, " processes={}", group.processes)?;
    }
    writeln!(lines, " {}\nWSGIProcessGroup bench", group.options)?;
    Ok(lines)
}

/// Makes the processes of a group, or Apache's children, record what they do; `lines` are those of
/// an application in it.
pub(crate) fn recording(lab: &Lab, lines: &str, group: &str) -> String {
    let script = lab.app().join("recording.py");
    format!(
        "{lines}WSGIImportScript \"{}\" process-group={group} application-group=%{{GLOBAL}}\n",
        script.display()
    )
}

/// Reports what processes do, every so many seconds, and requests that take longer than one. That
/// nobody listens makes no difference: a thread tells it, which does not wait.
pub(crate) fn telemetry(lab: &Lab, interval: u32) -> String {
    let socket = lab.app().join("telemetry.sock");
    let socket = socket.display();
    format!("WSGITelemetryService unix:{socket} interval={interval}\nWSGISlowRequests 1\n")
}

/// The page about the server, which counts requests and has those that run.
pub(crate) const STATUS: &str = "<Location /wsgi-status>\nSetHandler wsgi-status\n</Location>\n";

/// A process group.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Group<'a> {
    /// The contestant: names what must not be shared with another one.
    pub(crate) name: &'a str,
    pub(crate) processes: u32,
    pub(crate) threads: u32,
    /// More options of `WSGIDaemonProcess`.
    pub(crate) options: &'a str,
}

/// The lines of a mod_wsgi with many applications, each in an interpreter or a process of its own.
pub(crate) fn many(lab: &Lab, module: &Path, count: u32, daemon: bool) -> Result<String> {
    let mut lines = format!(
        "LoadModule wsgi_module \"{}\"\nWSGIPythonHome \"{}\"\nWSGISocketPrefix \"{}\"\n",
        module.display(),
        lab.peers.venv.display(),
        lab.app().join("many.sock").display(),
    );
    for number in 0..count {
        let script = lab.app().join(format!("app{number}.py"));
        std::fs::copy(lab.app().join("hello.py"), &script)?;
        let mut options = String::new();
        if daemon {
            // Named below, so it has to stand above.
            writeln!(lines, "WSGIDaemonProcess app{number} threads=5 display-name=%{{GROUP}}")?;
            options = format!(" process-group=app{number} application-group=%{{GLOBAL}}");
        }
        writeln!(lines, "WSGIScriptAlias /app{number} \"{}\"{options}", script.display())?;
    }
    Ok(lines)
}
