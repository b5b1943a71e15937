//! Users, files, and whether the ones can get at the others.

use std::path::Path;

use super::Report;
use crate::access::Who;
use crate::machine::Machine;
use crate::plan::Plan;

pub(super) fn examine(report: &mut Report, plan: &Plan, machine: &Machine) {
    for warning in &plan.warnings {
        report.note("options", warning.clone(), None);
    }
    let who = plan.who(machine);
    match plan.not_root() {
        Ok(()) => report.ok("user", format!("processes run as {} ({})", who.name, who.uid)),
        Err(text) => {
            report.error("user", text, "--user www-data --group www-data, or whom you like");
        }
    }

    let mut closed = false;
    for (what, path) in plan.needed(machine) {
        if !path.exists() {
            report.error(
                "files",
                format!("{what}: there is no {}", path.display()),
                "make it, or name another",
            );
        } else if let Some(obstacle) = who.obstacle(&path) {
            closed = true;
            report.error(
                "access",
                format!("{what}, {}: {}", path.display(), obstacle.describe(&who)),
                obstacle.mend(),
            );
        }
    }
    if !closed {
        report.ok("access", format!("{} can read everything", who.name));
    }
    labels(report, plan, machine, &who);

    let paths = &plan.paths;
    if let Some(pid) = crate::root::serving(&paths.pid_file, &paths.conf) {
        report.note(
            "server root",
            format!("a server is running in {} (process {pid})", paths.root),
            Some(format!("{} stop", crate::quote::shell(&paths.apachectl))),
        );
    } else {
        report.ok("server root", paths.root.clone());
    }
    report.ok("locale", plan.locale.clone());
}

/// SELinux decides on its own, by labels.
fn labels(report: &mut Report, plan: &Plan, machine: &Machine, _who: &Who) {
    let Ok(mode) = std::fs::read_to_string("/sys/fs/selinux/enforce") else { return };
    let enforcing = if mode.trim() == "1" { "enforcing" } else { "permissive" };
    let mut lines = vec![format!("SELinux is {enforcing}")];
    let mut paths = plan.needed(machine);
    paths.push(("the module", machine.dist.module()));
    for (what, path) in paths {
        if let Some(label) = label(&path) {
            lines.push(format!("{what}, {}: {label}", path.display()));
        }
    }
    let mend = "if access is denied: ausearch -m avc -ts recent; semanage fcontext -a -t \
                httpd_sys_content_t PATH; restorecon -R PATH";
    report.note("selinux", lines.join("\n"), Some(mend.to_owned()));
}

fn label(path: &Path) -> Option<String> {
    #[cfg(target_os = "linux")]
    {
        let mut buffer = [0_u8; 512];
        let length = rustix::fs::getxattr(path, "security.selinux", &mut buffer).ok()?;
        let text = String::from_utf8_lossy(buffer.get(..length)?).into_owned();
        Some(text.trim_end_matches('\0').to_owned())
    }
    #[cfg(not(target_os = "linux"))]
    {
        let _ = path;
        None
    }
}
