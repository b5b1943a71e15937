//! The ports a server would listen on, and who does already.

use std::fs;
use std::net::TcpListener;

use super::Report;
use crate::plan::bare;
use crate::values::Values;

pub(super) fn examine(report: &mut Report, values: &Values) {
    for option in ["port", "https-port"] {
        let Some(port) = values.integer(option).and_then(|port| u16::try_from(port).ok()) else {
            continue;
        };
        let host = values.text("host").map_or("::", bare);
        match TcpListener::bind((host, port)).as_ref().map_err(std::io::Error::kind) {
            Ok(_) => report.ok("port", format!("{port} is free")),
            Err(std::io::ErrorKind::AddrInUse) => {
                let by = match listener(port) {
                    Some((pid, name)) => format!(" by process {pid} ({name})"),
                    None => String::new(),
                };
                report.error(
                    "port",
                    format!("{port} is in use{by}"),
                    format!("stop that, or choose another --{option}"),
                );
            }
            Err(std::io::ErrorKind::PermissionDenied) => report.error(
                "port",
                format!("{port} needs root"),
                format!("--{option} 1024 or more, or run as root with --user and --group"),
            ),
            Err(kind) => report.error(
                "port",
                format!("{host} port {port} cannot be listened on: {kind}"),
                "choose another --host",
            ),
        }
    }
}

/// The process that listens on a port, if it is one that we may look into.
fn listener(port: u16) -> Option<(u32, String)> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|text| text.lines().filter_map(|line| listening(line, port)).collect::<Vec<_>>())
        .map(|inode| format!("socket:[{inode}]"))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok()).find_map(|pid| {
        let mut files = fs::read_dir(format!("/proc/{pid}/fd")).ok()?.flatten();
        files.find(|file| {
            fs::read_link(file.path())
                .is_ok_and(|link| inodes.iter().any(|inode| link.as_os_str() == inode.as_str()))
        })?;
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
        Some((pid, name.trim_end().to_owned()))
    })
}

/// The inode of a socket that listens on the port. A line is
/// `sl local remote st tx:rx tr:when retrnsmt uid timeout inode ...`, numbers in hexadecimal.
fn listening(line: &str, port: u16) -> Option<String> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let (_, local) = fields.get(1)?.rsplit_once(':')?;
    let here = u16::from_str_radix(local, 16) == Ok(port);
    (here && *fields.get(3)? == "0A").then(|| fields.get(9).map(|inode| (*inode).to_owned()))?
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_listener_is_found() {
        let socket = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let port = socket.local_addr().unwrap().port();
        let (pid, _) = listener(port).unwrap();
        assert_eq!(pid, std::process::id());
        drop(socket);
        assert_eq!(listener(port), None);
    }
}
