//! What is said about a server before it starts: where it listens, where its files are, and how
//! much it can take.

use crate::plan::{Mode, Plan};
use crate::values::Values;

/// The text. With `setup`, nothing is started, so the files to look at are named, too.
pub(crate) fn banner(plan: &Plan, values: &Values, setup: bool) -> String {
    let mut lines: Vec<(&str, String)> = Vec::new();
    let mut line = |label, value: String| lines.push((label, value));
    let number = |name| values.integer(name).unwrap_or_default();
    let paths = &plan.paths;
    let url = crate::plan::url("http", plan.names.in_urls(), plan.names.port);

    line("Server URL", url.clone());
    if let Some(tls) = &plan.tls {
        line("Server URL (HTTPS)", crate::plan::url("https", plan.names.in_urls(), tls.port));
    }
    if values.flag("server-status") {
        line("Server Status", format!("{url}server-status"));
    }
    if let Some(telemetry) = plan.telemetry.as_ref().filter(|own| own.socket.is_some()) {
        line("Telemetry", format!("http://127.0.0.1:{}/", telemetry.port));
    }
    line("Server Root", paths.root.clone());
    line("Server Conf", paths.conf.clone());
    let level = values.text("log-level").unwrap_or_default();
    line("Error Log File", format!("{} ({level})", plan.log.error_path));
    if values.flag("access-log") {
        line("Access Log File", plan.log.access_path.clone());
    }
    if let Some(path) = &plan.log.startup {
        line("Startup Log File", path.clone());
    }
    if values.flag("enable-coverage") {
        line("Coverage Output", format!("{}/index.html", paths.coverage));
    }
    if values.flag("enable-profiler") {
        line("Profiler Output", paths.profiler.clone());
    }
    if values.flag("enable-recorder") {
        line("Recorder Output", paths.recorder.clone());
    }
    if setup || !paths.own_rewrite_rules {
        line("Rewrite Rules", paths.rewrite_rules.clone());
    }
    if setup || !paths.own_envvars {
        line("Environ Variables", paths.envvars.clone());
    }
    if setup {
        line("Control Script", paths.apachectl.clone());
    }
    let mode = match plan.mode {
        Mode::Daemon => "daemon",
        Mode::Embedded => "embedded",
        Mode::Debug => "debug",
    };
    line("Operating Mode", mode.to_owned());
    let (processes, threads) = (plan.processes, plan.threads);
    let plural = if processes == 1 { "" } else { "es" };
    let all = processes * threads;
    line("Request Capacity", format!("{all} ({processes} process{plural} * {threads} threads)"));
    if plan.mode == Mode::Daemon {
        let seconds = |name| format!("{} (seconds)", number(name));
        line("Request Timeout", seconds("request-timeout"));
        if number("interrupt-timeout") != 0 {
            line("Interrupt Timeout", seconds("interrupt-timeout"));
        }
        if number("startup-timeout") != 0 {
            line("Startup Timeout", seconds("startup-timeout"));
        }
        line("Queue Backlog", format!("{} (connections)", number("daemon-backlog")));
        line("Queue Timeout", seconds("queue-timeout"));
        let (threaded, prefork) = (plan.sizing.threaded.limit, plan.sizing.prefork.limit);
        line("Server Capacity", format!("{threaded} (event/worker), {prefork} (prefork)"));
    }
    line("Server Backlog", format!("{} (connections)", number("server-backlog")));
    line("Locale Setting", plan.locale.clone());

    lines.iter().map(|(label, value)| format!("{label:<19}: {value}\n")).collect()
}
