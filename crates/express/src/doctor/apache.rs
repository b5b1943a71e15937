//! Apache: its executable and how that was built, its modules and mutexes, and whether it takes the
//! configuration that would be written.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use super::Report;
use crate::files;
use crate::machine::Machine;
use crate::machine::apache::Apache;
use crate::machine::python::Python;
use crate::plan::Plan;
use crate::root::Root;
use crate::values::Values;

const INSTALL: &str = "install Apache (Debian: apt-get install apache2-bin; Fedora: dnf install \
                       httpd), or name it with --httpd-executable and --modules-directory";

/// What there is, as far as it can be told without a configuration.
pub(super) fn examine(
    report: &mut Report,
    values: &Values,
    python: Option<&Python>,
) -> Option<Apache> {
    let apache = match Apache::find(values, python) {
        Ok(apache) => apache,
        Err(error) => {
            report.error("apache", error.to_string(), INSTALL);
            return None;
        }
    };
    let Some(text) = run(&apache.httpd, &["-V"]) else {
        report.error("apache", format!("{} does not run", apache.httpd.display()), INSTALL);
        return None;
    };
    let field = |name: &str| {
        let line = text.lines().find(|line| line.starts_with(name))?;
        Some(line.split_once(':')?.1.trim().to_owned()).filter(|value| !value.is_empty())
    };
    let lines: Vec<String> = ["Server version", "Server built", "Architecture", "Server loaded"]
        .into_iter()
        .filter_map(|name| Some(format!("{name}: {}", field(name)?)))
        .collect();
    report.ok("apache", format!("{}\n{}", apache.httpd.display(), lines.join("\n")));

    let loadable: Vec<&str> = ["event", "worker", "prefork"]
        .into_iter()
        .filter(|name| apache.has_file(&format!("mod_mpm_{name}.so")))
        .collect();
    match (apache.built_in_mpm(), loadable.as_slice()) {
        (Some(name), _) => report.ok("mpm", format!("{name}, built in")),
        (None, []) => {
            report.error("mpm", format!("there is none in {}", apache.modules.display()), INSTALL)
        }
        (None, some) => report.ok("mpm", format!("can load {}", some.join(", "))),
    }
    let built_in = apache.built_in.join(" ");
    report.ok("modules", format!("{}\nbuilt in: {built_in}", apache.modules.display()));

    let serialize: Vec<&str> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("-D APR_USE_")?.strip_suffix("_SERIALIZE"))
        .collect();
    let mut mutexes = format!("default: {}", serialize.join(", ").to_lowercase());
    if let Some(known) = mechanisms(&apache, loadable.first().copied()) {
        mutexes.push_str(&format!("\navailable: {known}"));
    }
    report.ok("mutexes", mutexes);
    Some(apache)
}

/// Whether the modules are there that the options need.
pub(super) fn modules(report: &mut Report, values: &Values, apache: &Apache) -> bool {
    let tls = values.integer("https-port").is_some();
    let missing = crate::plan::missing_modules(values, apache, tls);
    for module in &missing {
        // Debian has all in one package.
        let package = match module.name {
            "ssl" => "mod_ssl",
            "http2" => "mod_http2",
            _ => "httpd",
        };
        let without = match module.option {
            "" => String::new(),
            option => format!(", leave out {option},"),
        };
        report.error(
            "modules",
            module.text.clone(),
            format!(
                "install it (Debian: apt-get install --reinstall apache2-bin; Fedora: dnf install \
                 {package}){without} or name another Apache's --modules-directory"
            ),
        );
    }
    missing.is_empty()
}

/// The mechanisms Apache offers, which it tells those who ask for one that is none.
fn mechanisms(apache: &Apache, mpm: Option<&str>) -> Option<String> {
    let mut command = Command::new(&apache.httpd);
    command.args(["-t", "-f", "/dev/null"]);
    if let Some(name) = mpm {
        let file = apache.modules.join(format!("mod_mpm_{name}.so"));
        let file = crate::quote::apache(&file.to_string_lossy());
        command.arg("-C").arg(format!("LoadModule mpm_{name}_module {file}"));
    }
    let output = command.args(["-C", "Mutex none-such"]).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    let list = text.split_once("Mutex mechanisms are: ")?.1;
    Some(list.trim_end().trim_end_matches(')').replace('\'', ""))
}

/// Whether Apache takes the configuration of the server that was planned.
pub(super) fn configuration(report: &mut Report, values: &Values, machine: &Machine) {
    let name = format!("mod_wsgi-doctor-{}", std::process::id());
    let directory = std::env::temp_dir().join(name);
    let checked = check(values, machine, &directory);
    let _ = std::fs::remove_dir_all(&directory);
    match checked {
        Ok(output) if output.status.success() => report.ok("syntax", "Apache takes it"),
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            // The place is gone when this is read.
            let said = said.replace(&*directory.to_string_lossy(), "SERVER_ROOT");
            report.error("syntax", said.trim(), "see what Apache says");
        }
        Err(error) => report.error("syntax", error, "see what is said"),
    }
}

fn check(values: &Values, machine: &Machine, directory: &Path) -> Result<Output, String> {
    let mut values = values.clone();
    values.replace("server-root", &directory.to_string_lossy());
    // Logs go there, too: nobody wants to see what a trial run says.
    values.replace("log-directory", &directory.to_string_lossy());
    let text = |e: crate::error::Error| e.to_string();
    let plan =
        Plan::new(crate::command::Command::SetupServer, &values, machine, &[]).map_err(text)?;
    let owner = files::owner(&plan, machine);
    let (root, _) = Root::open(directory, true, owner).map_err(text)?;
    files::write(&plan, &root, &values).map_err(text)?;
    Command::new(&plan.paths.apachectl)
        .arg("configtest")
        .stdin(Stdio::null())
        .output()
        .map_err(|e| format!("{}: {e}", plan.paths.apachectl))
}

/// What a program prints, if it runs. Apache grumbles about its configuration even when asked for
/// its version, so the exit status says nothing.
fn run(program: &Path, words: &[&str]) -> Option<String> {
    let output = Command::new(program).args(words).stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (!text.trim().is_empty()).then_some(text)
}
