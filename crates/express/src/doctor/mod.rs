//! `doctor`: is everything there that a server needs, and if not, which command mends it?
//!
//! It takes the options of `start-server` and looks at what that would use. Nothing is changed: the
//! server it plans is written to a temporary directory, shown to Apache, and thrown away. It also
//! collects what somebody who helps from afar has to know: versions, MPM, mutexes, linkage.

mod apache;
mod build;
mod building;
mod paths;
mod port;

use std::io::IsTerminal;

use serde::Serialize;

use crate::command::Command;
use crate::machine::Machine;
use crate::machine::dist::Dist;
use crate::plan::Plan;
use crate::values::Values;

/// How good or bad something is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    /// Worth knowing.
    Note,
    /// A server cannot work like this.
    Error,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    about: &'static str,
    text: String,
    /// The command or option that mends it.
    mend: Option<String>,
}

/// All of them.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    findings: Vec<Finding>,
}

impl Report {
    fn ok(&mut self, about: &'static str, text: impl Into<String>) {
        self.add(Level::Ok, about, text, None);
    }

    fn note(&mut self, about: &'static str, text: impl Into<String>, mend: Option<String>) {
        self.add(Level::Note, about, text, mend);
    }

    fn error(&mut self, about: &'static str, text: impl Into<String>, mend: impl Into<String>) {
        self.add(Level::Error, about, text, Some(mend.into()));
    }

    fn add(
        &mut self,
        level: Level,
        about: &'static str,
        text: impl Into<String>,
        mend: Option<String>,
    ) {
        self.findings.push(Finding { level, about, text: text.into(), mend });
    }

    /// Whether this was found to be broken.
    fn has_error(&self, about: &str) -> bool {
        let mut findings = self.findings.iter();
        findings.any(|finding| finding.level == Level::Error && finding.about == about)
    }

    /// Whether a server can be expected to work.
    pub(crate) fn is_healthy(&self) -> bool {
        self.findings.iter().all(|finding| finding.level != Level::Error)
    }

    pub(crate) fn json(&self) -> String {
        let value = serde_json::json!({ "ok": self.is_healthy(), "findings": self.findings });
        format!("{value:#}\n")
    }

    /// For people; in colour if they watch.
    pub(crate) fn text(&self) -> String {
        let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
        let paint = |text: &str, colour: &str| match colours {
            true => format!("\x1b[{colour}m{text}\x1b[0m"),
            false => text.to_owned(),
        };
        let mut text = String::new();
        for finding in &self.findings {
            let sign = match finding.level {
                Level::Ok => paint("ok   ", "32"),
                Level::Note => paint("note ", "33"),
                Level::Error => paint("ERROR", "31"),
            };
            let mut lines = finding.text.lines();
            let first = lines.next().unwrap_or_default();
            text.push_str(&format!("{sign} {:<12} {first}\n", finding.about));
            for line in lines {
                text.push_str(&format!("{:19}{line}\n", ""));
            }
            if let Some(mend) = &finding.mend {
                text.push_str(&format!("{:19}-> {mend}\n", ""));
            }
        }
        let errors = self.findings.iter().filter(|finding| finding.level == Level::Error).count();
        text.push_str(&match errors {
            0 => "\nEverything that a server needs is there.\n".to_owned(),
            1 => "\nOne thing has to be mended.\n".to_owned(),
            more => format!("\n{more} things have to be mended.\n"),
        });
        text
    }
}

/// Looks at everything the options would use.
pub(crate) fn examine(values: &Values) -> Report {
    let mut report = Report::default();
    report.ok("version", concat!("mod_wsgi-express ", env!("CARGO_PKG_VERSION")));
    let dist = match Dist::find() {
        Ok(dist) => dist,
        Err(error) => {
            report.error("build", error.to_string(), "install mod_wsgi again");
            return report;
        }
    };
    build::module(&mut report, &dist);
    let python = build::python(&mut report, values, &dist);
    building::examine(&mut report, values, python.as_ref());
    let apache = apache::examine(&mut report, values, python.as_ref());
    port::examine(&mut report, values);
    let (Some(python), Some(apache)) = (python, apache) else { return report };
    if !apache::modules(&mut report, values, &apache) {
        return report;
    }

    let machine = match Machine::with(values, dist, python, apache) {
        Ok(machine) => machine,
        Err(error) => {
            report.error("options", error.to_string(), "change the options");
            return report;
        }
    };
    // Planned as for setup-server, for then what is missing is told and no reason to stop.
    let plan = match Plan::new(Command::SetupServer, values, &machine, &[]) {
        Ok(plan) => plan,
        Err(error) => {
            report.error("options", error.to_string(), "change the options");
            return report;
        }
    };
    paths::examine(&mut report, &plan, &machine);
    // Apache would say again, and less clearly, what has been found.
    if !["module", "user"].into_iter().any(|about| report.has_error(about)) {
        apache::configuration(&mut report, values, &machine);
    }
    report
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_reads_well() {
        let mut report = Report::default();
        report.ok("python", "Python 3.13.0");
        assert!(report.is_healthy());
        report.error("port", "8000 is in use\nby httpd", "--port 8001");
        assert!(!report.is_healthy());
        assert_eq!(
            report.text(),
            "ok    python       Python 3.13.0\n\
             ERROR port         8000 is in use\n                   by httpd\n                   \
             -> --port 8001\n\nOne thing has to be mended.\n"
        );
        assert!(report.json().contains("\"level\": \"error\""));
    }
}
