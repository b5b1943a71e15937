//! Who is measured: one entry per contestant.
//!
//! Everybody serves the same application under the same Python. `configs.rs` has what Apache is told.

use std::fmt::Write;

use anyhow::{Context, Result};

use crate::configs::{self, Group, STATUS, bare, embedded, recording, telemetry};
use crate::httpd::THREADS;
use crate::lab::{Lab, Running};
use crate::loads::{Kind, Load};

/// One contestant.
#[derive(Debug)]
pub(crate) struct Contestant {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Whom to compare it with besides the references: the same thing done by somebody else.
    pub(crate) rival: Option<&'static str>,
    /// The most it can serve.
    pub(crate) serves: Kind,
    /// The loads it takes part in unless the command line names some; all, if none is here.
    loads: &'static [&'static str],
    /// Part of a run without `--only`.
    pub(crate) usual: bool,
    /// Part of `--quick`.
    pub(crate) quick: bool,
    /// Starts it.
    pub(crate) start: fn(&Lab) -> Result<Running>,
}

/// Every table compares with these where they take part.
pub(crate) const REFERENCES: &[&str] = &["static", "bare", "apache-granian"];

/// What a number of threads or processes matters for.
const SIZES: &[&str] = &["hello-16", "busy-16", "django-16", "sleep-16"];
/// What one thread is for.
const SMALL: &[&str] = &["hello-16", "hello-1", "hello-64", "busy-16"];

impl Contestant {
    /// Whether it takes part in a load; `named` if the command line names contestants or loads.
    pub(crate) fn takes(&self, load: &Load, named: bool) -> bool {
        let chosen = named || self.loads.is_empty() || self.loads.contains(&load.name);
        chosen && self.serves >= load.kind
    }
}

/// Starts the contestant of that name.
pub(crate) fn start(name: &str, lab: &Lab) -> Result<Running> {
    let found = ALL.iter().find(|contestant| contestant.name == name);
    (found.with_context(|| format!("no contestant is called {name}"))?.start)(lab)
}

/// All of them.
pub(crate) const ALL: &[Contestant] = &[
    Contestant {
        name: "static",
        about: "Apache serving a file",
        serves: Kind::Content,
        quick: true,
        start: |lab| lab.httpd("static", ""),
        ..APPLICATION
    },
    Contestant {
        name: "bare",
        about: "a Rust handler that writes the 13 bytes: the ceiling",
        serves: Kind::Hello,
        quick: true,
        start: |lab| lab.httpd("bare", &bare(lab)?),
        ..APPLICATION
    },
    Contestant {
        name: "c-embedded",
        about: "mod_wsgi 6 in C, embedded",
        quick: true,
        start: |lab| lab.httpd("c-embedded", &embedded(lab, &lab.peers.c_module()?, "app.py")),
        ..APPLICATION
    },
    Contestant {
        name: "ours-embedded",
        about: "this module, embedded",
        rival: Some("c-embedded"),
        quick: true,
        start: |lab| lab.httpd("ours-embedded", &embedded(lab, lab.module()?, "app.py")),
        ..APPLICATION
    },
    Contestant {
        name: "c-daemon-1",
        about: "mod_wsgi 6 in C, daemon, threads=1",
        loads: SMALL,
        start: |lab| c_daemon(lab, "c-daemon-1", 1, 1),
        ..APPLICATION
    },
    Contestant {
        name: "ours-daemon-1",
        about: "this module, daemon, threads=1",
        rival: Some("c-daemon-1"),
        loads: SMALL,
        start: |lab| ours_daemon(lab, "ours-daemon-1", 1, 1),
        ..APPLICATION
    },
    Contestant {
        name: "c-daemon-5",
        about: "mod_wsgi 6 in C, daemon, threads=5",
        loads: SIZES,
        start: |lab| c_daemon(lab, "c-daemon-5", 1, 5),
        ..APPLICATION
    },
    Contestant {
        name: "ours-daemon-5",
        about: "this module, daemon, threads=5",
        rival: Some("c-daemon-5"),
        loads: SIZES,
        start: |lab| ours_daemon(lab, "ours-daemon-5", 1, 5),
        ..APPLICATION
    },
    Contestant {
        name: "c-daemon-16",
        about: "mod_wsgi 6 in C, daemon, threads=16",
        quick: true,
        start: |lab| c_daemon(lab, "c-daemon-16", 1, 16),
        ..APPLICATION
    },
    Contestant {
        name: "ours-daemon-16",
        about: "this module, daemon, threads=16",
        rival: Some("c-daemon-16"),
        quick: true,
        start: |lab| ours_daemon(lab, "ours-daemon-16", 1, 16),
        ..APPLICATION
    },
    Contestant {
        name: "c-daemon-2x8",
        about: "mod_wsgi 6 in C, daemon, processes=2 threads=8",
        loads: SIZES,
        start: |lab| c_daemon(lab, "c-daemon-2x8", 2, 8),
        ..APPLICATION
    },
    Contestant {
        name: "ours-daemon-2x8",
        about: "this module, daemon, processes=2 threads=8",
        rival: Some("c-daemon-2x8"),
        loads: SIZES,
        start: |lab| ours_daemon(lab, "ours-daemon-2x8", 2, 8),
        ..APPLICATION
    },
    Contestant {
        name: "apache-granian",
        about: "Apache, mod_proxy_http to Granian with 16 blocking threads",
        quick: true,
        start: |lab| {
            let back = granian(lab, "granian-behind", 16)?;
            let front = proxy(lab, "apache-granian", "http", back.port)?;
            Ok(back.behind(front))
        },
        ..APPLICATION
    },
    Contestant {
        name: "apache-uwsgi",
        about: "Apache, mod_proxy_uwsgi to uWSGI with 16 threads",
        start: |lab| {
            let back = uwsgi(lab, "uwsgi-behind")?;
            let front = proxy(lab, "apache-uwsgi", "uwsgi", back.port)?;
            Ok(back.behind(front))
        },
        ..APPLICATION
    },
    Contestant {
        name: "granian-1",
        about: "Granian alone, 1 worker, 1 blocking thread",
        start: |lab| granian(lab, "granian-1", 1),
        ..APPLICATION
    },
    Contestant {
        name: "hyper-1",
        about: "the embedding example, 1 Python thread",
        rival: Some("granian-1"),
        start: |lab| hyper(lab, "hyper-1", 1),
        ..APPLICATION
    },
    Contestant {
        name: "granian-16",
        about: "Granian alone, 1 worker, 16 blocking threads",
        loads: SIZES,
        start: |lab| granian(lab, "granian-16", 16),
        ..APPLICATION
    },
    Contestant {
        name: "hyper-16",
        about: "the embedding example, 16 Python threads",
        rival: Some("granian-16"),
        loads: SIZES,
        start: |lab| hyper(lab, "hyper-16", 16),
        ..APPLICATION
    },
    Contestant {
        name: "ours-recording",
        about: "ours-embedded, recording what it does",
        rival: Some("ours-embedded"),
        usual: false,
        start: |lab| observed(lab, "ours-recording", |lines| recording(lab, lines, "%{GLOBAL}")),
        ..APPLICATION
    },
    Contestant {
        name: "ours-telemetry",
        about: "ours-embedded, reporting, also what takes longer than a second",
        rival: Some("ours-embedded"),
        usual: false,
        start: |lab| observed(lab, "ours-telemetry", |lines| lines.to_owned() + &telemetry(lab, 1)),
        ..APPLICATION
    },
    Contestant {
        name: "ours-status",
        about: "ours-embedded, with a page of its state",
        rival: Some("ours-embedded"),
        usual: false,
        start: |lab| observed(lab, "ours-status", |lines| lines.to_owned() + STATUS),
        ..APPLICATION
    },
    Contestant {
        name: "ours-daemon-recording",
        about: "ours-daemon-16, recording what it does",
        rival: Some("ours-daemon-16"),
        usual: false,
        start: |lab| {
            observed_daemon(lab, "ours-daemon-recording", |lines| recording(lab, lines, "bench"))
        },
        ..APPLICATION
    },
    Contestant {
        name: "ours-daemon-telemetry",
        about: "ours-daemon-16, reporting, also what takes longer than a second",
        rival: Some("ours-daemon-16"),
        usual: false,
        start: |lab| {
            let name = "ours-daemon-telemetry";
            observed_daemon(lab, name, |lines| lines.to_owned() + &telemetry(lab, 1))
        },
        ..APPLICATION
    },
    Contestant {
        name: "ours-daemon-status",
        about: "ours-daemon-16, with a page of its state",
        rival: Some("ours-daemon-16"),
        usual: false,
        start: |lab| observed_daemon(lab, "ours-daemon-status", |lines| lines.to_owned() + STATUS),
        ..APPLICATION
    },
    Contestant {
        name: "gunicorn-16",
        about: "Gunicorn alone, 1 worker, gthread with 16 threads",
        loads: &["hello-16", "django-16"],
        start: gunicorn,
        ..APPLICATION
    },
];

const APPLICATION: Contestant = Contestant {
    name: "",
    about: "",
    rival: None,
    serves: Kind::Work,
    loads: &[],
    usual: true,
    quick: false,
    start: |lab| lab.httpd("", ""),
};

fn c_daemon(lab: &Lab, name: &str, processes: u32, threads: u32) -> Result<Running> {
    let group = Group { name, processes, threads, options: "" };
    lab.httpd(name, &configs::daemon(lab, &lab.peers.c_module()?, "app.py", &group)?)
}

fn ours_daemon(lab: &Lab, name: &str, processes: u32, threads: u32) -> Result<Running> {
    let group = Group { name, processes, threads, options: "" };
    lab.httpd(name, &configs::daemon(lab, lab.module()?, "app.py", &group)?)
}

/// This module embedded, with something that watches.
fn observed(lab: &Lab, name: &str, with: impl FnOnce(&str) -> String) -> Result<Running> {
    lab.httpd(name, &with(&embedded(lab, lab.module()?, "app.py")))
}

/// The same in a process group.
fn observed_daemon(lab: &Lab, name: &str, with: impl FnOnce(&str) -> String) -> Result<Running> {
    let group = Group { name, processes: 1, threads: 16, options: "" };
    lab.httpd(name, &with(&configs::daemon(lab, lab.module()?, "app.py", &group)?))
}

fn proxy(lab: &Lab, name: &str, scheme: &str, back: u16) -> Result<Running> {
    let mut lines = lab.apache.load("proxy") + &lab.apache.load(&format!("proxy_{scheme}"));
    writeln!(lines, "ProxyPass / {scheme}://127.0.0.1:{back}/")?;
    lab.httpd(name, &lines)
}

fn granian(lab: &Lab, name: &str, threads: u32) -> Result<Running> {
    lab.server(name, &lab.peers.script("granian", "granian")?, |port| {
        words(&format!(
            "--interface wsgi --workers 1 --blocking-threads {threads} --log-level warning \
             --host 127.0.0.1 --port {port} app:application"
        ))
    })
}

fn uwsgi(lab: &Lab, name: &str) -> Result<Running> {
    lab.server(name, &lab.peers.script("uwsgi", "uwsgi")?, |port| {
        let venv = lab.peers.venv.display().to_string();
        let mut arguments = words(&format!(
            "--uwsgi-socket 127.0.0.1:{port} --master --processes 1 --threads {THREADS} \
             --need-app --disable-logging --die-on-term --wsgi-file app.py --virtualenv"
        ));
        arguments.push(venv);
        arguments
    })
}

fn gunicorn(lab: &Lab) -> Result<Running> {
    lab.server("gunicorn-16", &lab.peers.script("gunicorn", "gunicorn")?, |port| {
        words(&format!(
            "--workers 1 --worker-class gthread --threads {THREADS} --log-level warning \
             --bind 127.0.0.1:{port} app:application"
        ))
    })
}

fn hyper(lab: &Lab, name: &str, threads: u32) -> Result<Running> {
    let home = lab.peers.venv.display().to_string();
    lab.server(name, lab.hyper()?, |port| {
        let mut arguments =
            words(&format!("--bind 127.0.0.1:{port} --threads {threads} app.py --home"));
        arguments.push(home);
        arguments
    })
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_rivals_exist() {
        for (i, contestant) in ALL.iter().enumerate() {
            assert!(!contestant.name.is_empty() && !contestant.about.is_empty());
            assert!(ALL[..i].iter().all(|other| other.name != contestant.name));
            if let Some(rival) = contestant.rival {
                assert!(ALL.iter().any(|other| other.name == rival), "{rival}");
            }
        }
        for name in REFERENCES {
            assert!(ALL.iter().any(|contestant| contestant.name == *name), "{name}");
        }
    }
}
