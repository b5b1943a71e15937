//! Processes beside the application: services, and the collector of metrics.

use serde::Serialize;

use super::Paths;
use super::log::Log;
use super::paths::writable;
use crate::machine::Machine;
use crate::values::Values;

/// Where metrics go.
#[derive(Debug, Serialize)]
pub(crate) struct Telemetry {
    /// As in `WSGITelemetryService`.
    target: String,
    /// The socket of our own collector, if we run one.
    pub(crate) socket: Option<String>,
    pub(crate) script: String,
    pub(crate) port: i64,
}

/// A script with a process of its own.
#[derive(Debug, Serialize)]
pub(crate) struct Service {
    pub(crate) name: String,
    pub(crate) script: String,
    user: String,
    group: String,
    /// The argument of its `ErrorLog`, if it has one.
    log: Option<String>,
}

impl Telemetry {
    pub(super) fn new(values: &Values, machine: &Machine, paths: &Paths) -> Option<Telemetry> {
        let own = values.flag("enable-telemetry");
        // As root, the collector runs as a user who cannot make a socket in the server root.
        let socket = match machine.uid {
            0 => paths.within("telemetry/telemetry.sock"),
            _ => paths.within("telemetry.sock"),
        };
        let target = match (own, values.text("telemetry-service")) {
            (true, _) => format!("unix:{socket}"),
            (false, Some(target)) => target.to_owned(),
            (false, None) => return None,
        };
        Some(Telemetry {
            target,
            socket: own.then_some(socket),
            script: paths.within("telemetry-service.py"),
            port: values.integer("telemetry-ui-port").unwrap_or_default(),
        })
    }
}

pub(super) fn services(
    values: &Values,
    machine: &Machine,
    log: &Log,
    telemetry: Option<&Telemetry>,
) -> Result<Vec<Service>, String> {
    let of = |option: &str, name: &str| {
        // The last one counts.
        let found = values.pairs(option).iter().rev().find(|(service, _)| service == name);
        found.map(|(_, value)| value.clone())
    };
    let service = |name: &str, script: String| Service {
        user: of("service-user", name).unwrap_or_else(|| "${MOD_WSGI_USER}".to_owned()),
        group: of("service-group", name).unwrap_or_else(|| "${MOD_WSGI_GROUP}".to_owned()),
        log: of("service-log-file", name).map(|file| log.another(&file)),
        name: name.to_owned(),
        script,
    };
    let mut services = Vec::new();
    for (name, path) in values.pairs("service-script") {
        if services.iter().any(|known: &Service| known.name == *name) {
            return Err(format!("--service-script: there are two services named {name}"));
        }
        services.push(service(name, writable("--service-script", path, machine)?));
    }
    if let Some(telemetry) = telemetry.filter(|telemetry| telemetry.socket.is_some()) {
        services.push(service("telemetry", telemetry.script.clone()));
    }
    Ok(services)
}
