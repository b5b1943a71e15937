//! Options that cannot be meant, told before anything is written.
//!
//! Apache would refuse many of these, too, but with a line number of a file that the user never
//! wrote; others it would accept and then not do what was hoped for.

use std::path::Path;

use super::Plan;
use crate::error::Error;
use crate::machine::Machine;
use crate::options::{self, Takes};
use crate::values::{Value, Values};

/// What can be said of the options alone.
pub(super) fn values(values: &Values) -> Result<(), String> {
    texts(values)?;
    numbers(values)?;
    one_of(values, "application-type", &["script", "module", "paste", "static"])?;
    one_of(values, "auth-type", &["Basic", "Digest"])?;
    let head = values.text("map-head-to-get").unwrap_or_default();
    if !["off", "on", "auto"].contains(&head.to_ascii_lowercase().as_str()) {
        return Err(format!("--map-head-to-get: {head:?} is none of Off, On, Auto"));
    }
    if values.flag("debugger-startup") && !values.flag("enable-debugger") {
        return Err("--debugger-startup requires --enable-debugger".to_owned());
    }
    access(values)
}

/// Without the script that asks for passwords, the others would leave the site open.
fn access(values: &Values) -> Result<(), String> {
    if values.text("auth-group-script").is_some() && values.text("auth-user-script").is_none() {
        return Err("--auth-group-script requires --auth-user-script".to_owned());
    }
    if values.given("auth-group") && values.text("auth-group-script").is_none() {
        return Err("--auth-group requires --auth-group-script".to_owned());
    }
    Ok(())
}

/// The configuration is made of lines.
fn texts(values: &Values) -> Result<(), String> {
    let broken = |text: &String| text.contains(['\n', '\r', '\0']);
    let entry = values.entry_point().is_some_and(|text| broken(&text.to_owned()));
    let options = values.iter().filter(|(_, value)| match value {
        Value::Text(text) => broken(text),
        Value::Texts(texts) => texts.iter().any(broken),
        Value::Pairs(pairs) => pairs.iter().any(|(a, b)| broken(a) || broken(b)),
        _ => false,
    });
    let names = options.map(|(name, _)| format!("--{name}"));
    match names.chain(entry.then(|| "the entry point".to_owned())).next() {
        Some(name) => {
            Err(format!("{name}: a line break cannot be written into Apache's configuration"))
        }
        None => Ok(()),
    }
}

fn numbers(values: &Values) -> Result<(), String> {
    for opt in options::all().filter(|opt| matches!(opt.takes, Takes::Integer(_))) {
        let (least, most) = match opt.name {
            "port" | "https-port" | "telemetry-ui-port" => (1, 65535),
            "processes" | "threads" | "max-clients" => (1, 100_000),
            "server-backlog" | "max-log-size" => (1, i64::from(i32::MAX)),
            "limit-request-body" => (0, i64::MAX),
            _ => (0, i64::from(i32::MAX)),
        };
        let Some(number) = values.integer(opt.name) else { continue };
        if number < least {
            return Err(format!("--{} must be at least {least}, not {number}", opt.name));
        }
        if number > most {
            return Err(format!("--{} must be at most {most}, not {number}", opt.name));
        }
    }
    if values.integer("https-port") == values.integer("port") {
        return Err("--https-port and --port are the same".to_owned());
    }
    for name in ["initial-workers", "minimum-spare-workers", "maximum-spare-workers"] {
        // Not-a-number is in no range.
        if values.float(name).is_some_and(|part| !(0.0..=1.0).contains(&part)) {
            return Err(format!("--{name} option value needs to be within the range 0 to 1."));
        }
    }
    let positive = |number: f64| number > 0.0 && number.is_finite();
    if values.float("switch-interval").is_some_and(|seconds| !positive(seconds)) {
        return Err("--switch-interval must be a positive number of seconds".to_owned());
    }
    for what in ["header", "body"] {
        let number = |name: &str| values.integer(&format!("{what}-{name}")).unwrap_or_default();
        let (timeout, longest) = (number("timeout"), number("max-timeout"));
        if timeout > 0 && longest > 0 {
            if number("min-rate") == 0 {
                return Err(format!("--{what}-max-timeout requires --{what}-min-rate"));
            }
            if longest <= timeout {
                return Err(format!(
                    "--{what}-max-timeout must be longer than --{what}-timeout, or 0"
                ));
            }
        }
    }
    Ok(())
}

fn one_of(values: &Values, name: &str, known: &[&str]) -> Result<(), String> {
    match values.text(name) {
        Some(text) if !known.contains(&text) => {
            Err(format!("--{name}: {text:?} is none of {}", known.join(", ")))
        }
        _ => Ok(()),
    }
}

/// What depends on the machine.
pub(super) fn machine(values: &Values, machine: &Machine) -> Result<(), String> {
    if values.flag("free-threading") && !machine.python.free_threaded {
        return Err("--free-threading requires a Python build with free-threading support (PEP \
                    703). Rebuild Python with --disable-gil to use it."
            .to_owned());
    }
    telemetry(values, machine)?;
    if machine.uid != 0 {
        return Ok(());
    }
    let service = |name| values.pairs(name).iter().map(|(_, value)| value.as_str());
    for name in values.text("user").into_iter().chain(service("service-user")) {
        if machine.python.uid(name).is_none() {
            return Err(format!("there is no user {name}"));
        }
    }
    for name in values.text("group").into_iter().chain(service("service-group")) {
        if machine.python.gid(name).is_none() {
            return Err(format!("there is no group {name}"));
        }
    }
    Ok(())
}

fn telemetry(values: &Values, machine: &Machine) -> Result<(), String> {
    let target = values.text("telemetry-service");
    if values.flag("enable-telemetry") {
        if target.is_some() {
            return Err("--enable-telemetry and --telemetry-service are mutually exclusive: the \
                        first runs a collector of its own, the second names another"
                .to_owned());
        }
        if !machine.python.telemetry {
            return Err("--enable-telemetry requires the mod_wsgi-telemetry package: install it \
                        with 'pip install mod_wsgi-telemetry'."
                .to_owned());
        }
        if values.pairs("service-script").iter().any(|(name, _)| name == "telemetry") {
            return Err("--enable-telemetry generates a service named 'telemetry'; rename the \
                        conflicting --service-script entry or drop --enable-telemetry."
                .to_owned());
        }
    } else if target.is_some_and(|target| !target.starts_with("unix:")) {
        return Err(
            "--telemetry-service must be 'unix:/path' (remote 'udp:host:port' targets are \
                    no longer supported)"
                .to_owned(),
        );
    }
    let interval = values.float("telemetry-interval").unwrap_or(1.0);
    if !(0.5..f64::INFINITY).contains(&interval) {
        return Err("--telemetry-interval must be at least 0.5 seconds".to_owned());
    }
    match values.float("slow-requests") {
        Some(seconds) if !(0.0..f64::INFINITY).contains(&seconds) => {
            Err("--slow-requests threshold must be non-negative".to_owned())
        }
        Some(_) if target.is_none() && !values.flag("enable-telemetry") => {
            Err("--slow-requests requires --telemetry-service".to_owned())
        }
        _ => Ok(()),
    }
}

/// Combinations in which an option does nothing.
pub(super) fn warnings(values: &Values) -> Vec<String> {
    let mut warnings = Vec::new();
    let services: Vec<&str> =
        values.pairs("service-script").iter().map(|(name, _)| name.as_str()).collect();
    for option in ["service-user", "service-group", "service-log-file"] {
        for (name, _) in values.pairs(option) {
            if !services.contains(&name.as_str()) && name != "telemetry" {
                warnings.push(format!("--{option}: there is no --service-script {name}"));
            }
        }
    }
    if values.text("hsts-policy").is_some() && !values.flag("https-only") {
        warnings.push("--hsts-policy has no effect without --https-only".to_owned());
    }
    if !values.texts("server-alias").is_empty() && values.text("server-name").is_none() {
        warnings.push("--server-alias has no effect without --server-name".to_owned());
    }
    warnings
}

/// Files that are named and not there. A line for each.
pub(super) fn missing_files(values: &Values, plan: &Plan) -> Vec<String> {
    let mut missing = Vec::new();
    let mut need = |what: &str, path: &str| {
        if let Err(error) = std::fs::metadata(path) {
            missing.push(format!("{what}: {path}: {}", crate::error::plain(&error)));
        }
    };
    if let (Some(path), "script" | "paste") =
        (&plan.paths.entry_point, plan.application.kind.as_str())
    {
        need("the entry point", path);
    }
    need("the working directory", &plan.paths.working_directory);
    if let Some(tls) = &plan.tls {
        let files = [
            ("the certificate", Some(&tls.certificate)),
            ("the certificate's key", Some(&tls.key)),
            ("--ssl-certificate-chain-file", tls.chain.as_ref()),
            ("--ssl-ca-certificate-file", tls.authority.as_ref()),
        ];
        for (what, path) in files {
            if let Some(path) = path {
                need(what, path);
            }
        }
    }
    for (what, path) in plan.paths.named_files() {
        // Apache reads a pattern as any number of files, none included.
        if !path.contains(['*', '?', '[']) {
            need(what, path);
        }
    }
    for service in plan.services.iter().filter(|service| service.script != plan.telemetry_script())
    {
        need("--service-script", &service.script);
    }
    if let Some(path) = values.text("mime-types") {
        need("--mime-types", path);
    }
    if let Some(program) = plan.log.missing_program() {
        // Debian has it in a package of its own.
        missing.push(format!(
            "--rotate-logs: there is no program {program} (apache2-utils has it); install it, or \
             name it with --rotatelogs-executable"
        ));
        return missing;
    }
    if values.text("log-directory").is_some() {
        // The directory itself is made.
        if let Some(parent) = Path::new(&plan.log.directory).parent().and_then(Path::to_str) {
            need("--log-directory", parent);
        }
    }
    missing
}

/// Fails if the user that the application runs as is kept from what it needs.
pub(super) fn reachable(plan: &Plan, machine: &Machine) -> crate::error::Result<()> {
    if !plan.root {
        return Ok(());
    }
    let who = plan.who(machine);
    let closed = plan
        .needed(machine)
        .into_iter()
        .find_map(|(what, path)| Some((what, who.obstacle(&path)?, path)));
    match closed {
        Some((what, obstacle, path)) => Err(Error::other(format!(
            "{} cannot get at {what}, {}: {}; {}",
            who.name,
            path.display(),
            obstacle.describe(&who),
            obstacle.mend()
        ))),
        None => Ok(()),
    }
}

/// Apache does not serve as root, whatever the file permissions.
pub(super) fn not_root(plan: &Plan) -> Result<(), String> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let chosen = variable("MOD_WSGI_USER").or_else(|| variable("WSGI_RUN_USER"));
    let user = chosen.unwrap_or_else(|| plan.user.clone());
    if plan.root && ["root", "#0"].contains(&user.as_str()) {
        return Err("as root, --user and --group are needed: the user and group that Apache's \
                    children and the application run as, such as --user www-data --group www-data"
            .to_owned());
    }
    Ok(())
}
