//! Writing what was planned.

use crate::docs;
use crate::error::Result;
use crate::machine::Machine;
use crate::plan::{Mode, Plan};
use crate::render::render;
use crate::root::{Owner, Root};
use crate::values::Values;

/// Who the server will run as, if we are root and it is somebody else.
pub(crate) fn owner(plan: &Plan, machine: &Machine) -> Option<Owner> {
    if !plan.root || ["root", "#0"].contains(&plan.user.as_str()) {
        return None;
    }
    let uid = machine.python.uid(&plan.user)?;
    Some(Owner { uid, gid: machine.python.gid(&plan.group).unwrap_or(0) })
}

/// Makes directories and files.
pub(crate) fn write(plan: &Plan, root: &Root, values: &Values) -> Result<()> {
    let paths = &plan.paths;
    // As for the directories: what the application only reads belongs to us, the rest to it.
    root.directory(&paths.document_root)?;
    if paths.mount_point != "/" && !plan.is_static() {
        root.directory(&paths.mounted)?;
    }
    root.directory(&plan.log.directory)?;
    root.writable_directory(&paths.python_eggs)?;
    if plan.mode == Mode::Debug {
        for (name, path) in [
            ("enable-coverage", &paths.coverage),
            ("enable-profiler", &paths.profiler),
            ("enable-recorder", &paths.recorder),
        ] {
            if values.flag(name) {
                root.writable_directory(path)?;
            }
        }
    }

    let file = |template: &str, path: &str| root.write(path, &render(template, plan)?, false);
    file("handler.wsgi", &paths.handler)?;
    file("resource.wsgi", &paths.resource)?;
    file("default.wsgi", &paths.default_script)?;
    if let Some(telemetry) = plan.telemetry.as_ref().filter(|own| own.socket.is_some()) {
        if plan.root {
            root.writable_directory(&paths.within("telemetry"))?;
        }
        file("telemetry-service.py", &telemetry.script)?;
    }
    if plan.docs {
        root.directory(&paths.docs)?;
        root.write(&format!("{}/index.html", paths.docs), &docs::html(), false)?;
        root.directory(&paths.images)?;
        let image = include_str!("../templates/running.svg");
        root.write(&format!("{}/running.svg", paths.images), image, false)?;
    }
    if paths.own_rewrite_rules {
        root.keep(&paths.rewrite_rules)?;
    }
    if paths.own_envvars {
        root.keep(&paths.envvars)?;
    }
    file("httpd.conf", &paths.conf)?;
    root.write(&paths.apachectl, &render("apachectl", plan)?, true)
}
