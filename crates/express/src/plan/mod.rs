//! What a server will be: the options and the machine, thought through to the end.
//!
//! A plan is made without touching anything, so that every mistake is told before a file is
//! written. The templates read it and decide nothing themselves but what to leave out.

mod check;
mod defines;
mod locale;
mod log;
mod modules;
mod names;
mod paths;
mod routes;
mod services;
pub(crate) mod sizing;
mod tls;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

pub(crate) use modules::missing as missing_modules;
pub(crate) use names::{Names, bare, url};
pub(crate) use paths::Paths;

use crate::access::Who;
use crate::command::Command;
use crate::error::{Error, Result};
use crate::machine::Machine;
use crate::values::{Value, Values};
use sizing::Sizing;

/// Where the application runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mode {
    Daemon,
    Embedded,
    /// In the only process, with the terminal.
    Debug,
}

/// A server, planned.
#[derive(Debug, Serialize)]
pub(crate) struct Plan {
    /// The options as given, by their names with underscores.
    pub(crate) o: BTreeMap<String, Value>,
    pub(crate) mode: Mode,
    pub(crate) paths: Paths,
    pub(crate) names: Names,
    pub(crate) programs: Programs,
    pub(crate) application: Application,
    pub(crate) user: String,
    pub(crate) group: String,
    /// Whether processes change to that user.
    pub(crate) root: bool,
    pub(crate) uid: u32,
    pub(crate) locale: String,
    pub(crate) processes: i64,
    pub(crate) threads: i64,
    pub(crate) sizing: Sizing,
    pub(crate) modules: modules::Modules,
    pub(crate) read_timeout: String,
    pub(crate) allow_override: String,
    pub(crate) tls: Option<tls::Tls>,
    pub(crate) log: log::Log,
    pub(crate) aliases: Vec<routes::Alias>,
    pub(crate) proxies: Vec<routes::Proxy>,
    /// Whether the documentation of the options is served.
    pub(crate) docs: bool,
    pub(crate) telemetry: Option<services::Telemetry>,
    pub(crate) services: Vec<services::Service>,
    /// Names for `-D`, in order.
    pub(crate) defines: Vec<String>,
    /// The command line, to be found again in `apachectl`.
    pub(crate) command_line: String,
    /// What is odd, but no reason to stop.
    #[serde(skip)]
    pub(crate) warnings: Vec<String>,
}

/// Programs and libraries that the files name.
#[derive(Debug, Serialize)]
pub(crate) struct Programs {
    pub(crate) httpd: String,
    modules: String,
    module: String,
    libraries: Option<String>,
    shell: String,
    python: String,
    python_home: String,
    /// The directory of the Python package.
    packages: String,
    mime_types: String,
    pub(crate) process_name: String,
    gdb: String,
}

/// What is served.
#[derive(Debug, Serialize)]
pub(crate) struct Application {
    #[serde(rename = "type")]
    pub(crate) kind: String,
    pub(crate) entry_point: String,
    /// The interpreter, as in the configuration.
    group: String,
    /// Whether it is imported when a process starts.
    pub(crate) preload: bool,
    /// Directories for `python-path`, as in the configuration.
    pub(crate) python_path: String,
    reload: bool,
    reload_on_changes: bool,
}

impl Plan {
    /// Thinks it through. `words` is the command line, for the record.
    pub(crate) fn new(
        command: Command,
        values: &Values,
        machine: &Machine,
        words: &[String],
    ) -> Result<Plan> {
        let usage = |text: String| Error::usage(command, text);
        check::values(values).map_err(usage)?;
        check::machine(values, machine).map_err(usage)?;

        let mode = mode(values);
        let names = Names::new(values, machine.uid);
        let paths = Paths::new(values, machine, &names).map_err(usage)?;
        let processes = values.integer("processes").unwrap_or(1);
        let threads = values.integer("threads").unwrap_or(1);
        let sizing = match mode {
            Mode::Daemon => Sizing::daemon(processes, threads, values),
            Mode::Embedded => Sizing::embedded(processes, threads),
            Mode::Debug => sizing::SINGLE,
        };
        let tls = tls::Tls::new(values, machine, &names).map_err(usage)?;
        let log = log::Log::new(values, machine, &paths).map_err(usage)?;
        let modules = modules::Modules::new(values, machine, mode, tls.is_some()).map_err(usage)?;
        let telemetry = services::Telemetry::new(values, machine, &paths);
        let services =
            services::services(values, machine, &log, telemetry.as_ref()).map_err(usage)?;
        let application = application(values, mode, &paths);
        let user = values.text("user").map(str::to_owned);
        let group = values.text("group").map(str::to_owned);
        let mut plan = Plan {
            o: values.iter().map(|(name, value)| (name.replace('-', "_"), value.clone())).collect(),
            user: user.unwrap_or_else(|| own_name(machine.python.user.as_deref(), machine.uid)),
            group: group.unwrap_or_else(|| own_group(machine)),
            root: machine.uid == 0,
            uid: machine.uid,
            locale: locale::choose(values, &machine.python),
            programs: programs(values, machine)?,
            read_timeout: read_timeout(values),
            allow_override: allow_override(values),
            aliases: routes::aliases(values, machine).map_err(usage)?,
            proxies: routes::proxies(values),
            docs: values.flag("enable-docs") || paths.entry_point.is_none(),
            defines: Vec::new(),
            command_line: words
                .iter()
                .map(|w| crate::quote::shell(w))
                .collect::<Vec<_>>()
                .join(" "),
            warnings: check::warnings(values),
            mode,
            names,
            paths,
            application,
            processes,
            threads,
            sizing,
            modules,
            tls,
            log,
            telemetry,
            services,
        };
        plan.defines = defines::defines(&plan, values);
        let missing = check::missing_files(values, &plan);
        if command == Command::StartServer && !values.flag("setup-only") {
            if let Some(first) = missing.into_iter().next() {
                return Err(usage(first));
            }
            check::not_root(&plan).map_err(usage)?;
            check::reachable(&plan, machine)?;
        } else {
            plan.warnings.extend(missing);
        }
        Ok(plan)
    }

    /// What was decided, under the names that `setup_server` of the Python package has for it.
    pub(crate) fn summary(&self) -> serde_json::Value {
        let tls = self.tls.as_ref();
        serde_json::json!({
            "access_log_file": self.log.access_path,
            "application_type": self.application.kind,
            "apachectl": self.paths.apachectl,
            "document_root": self.paths.document_root,
            "entry_point": self.application.entry_point,
            "error_log_file": self.log.error_path,
            "group": self.group,
            "httpd_arguments_list":
                self.defines.iter().map(|name| format!("-D{name}")).collect::<Vec<_>>(),
            "httpd_conf": self.paths.conf,
            "httpd_executable": self.programs.httpd,
            "https_url": tls.map(|tls| url("https", self.names.in_urls(), tls.port)),
            "locale": self.locale,
            "mod_wsgi_so": self.programs.module,
            "mount_point": self.paths.mount_point,
            "pid_file": self.paths.pid_file,
            "python_executable": self.programs.python,
            "python_home": self.programs.python_home,
            "server_root": self.paths.root,
            "url": url("http", self.names.in_urls(), self.names.port),
            "user": self.user,
            "working_directory": self.paths.working_directory,
        })
    }

    /// The user that the application runs as.
    pub(crate) fn who(&self, machine: &Machine) -> Who {
        let own = Who {
            name: self.user.clone(),
            uid: machine.uid,
            groups: rustix::process::getgroups()
                .unwrap_or_default()
                .into_iter()
                .chain([rustix::process::getgid()])
                .map(rustix::process::Gid::as_raw)
                .collect(),
        };
        match machine.python.uid(&self.user).filter(|_| self.root) {
            Some(uid) => {
                let mut groups = machine.python.groups(&self.user).to_vec();
                groups.extend(machine.python.gid(&self.group));
                Who { name: self.user.clone(), uid, groups }
            }
            None => own,
        }
    }

    /// What that user has to be able to read, with what it is.
    pub(crate) fn needed(&self, machine: &Machine) -> Vec<(&'static str, PathBuf)> {
        let mut needed = vec![
            ("Python", machine.python.prefix.clone()),
            ("Python's executable", machine.python.executable.clone()),
            ("the engines", machine.dist.engines()),
            ("the Python package", machine.dist.packages.join("mod_wsgi/express/runtime.py")),
            ("the working directory", self.paths.working_directory.clone().into()),
        ];
        if let (Some(path), "script" | "paste" | "static") =
            (&self.paths.entry_point, self.application.kind.as_str())
        {
            needed.push(("the entry point", path.into()));
        }
        needed
    }

    /// Apache does not serve as root. `Err` says what to do about it.
    pub(crate) fn not_root(&self) -> std::result::Result<(), String> {
        check::not_root(self)
    }

    /// The script of our own collector of metrics.
    fn telemetry_script(&self) -> &str {
        self.telemetry.as_ref().map_or("", |telemetry| &telemetry.script)
    }

    /// Whether Python code is not served at all.
    pub(crate) fn is_static(&self) -> bool {
        self.application.kind == "static"
    }
}

/// Debugging wins over everything, for there is one process then.
fn mode(values: &Values) -> Mode {
    let debugging = [
        "debug-mode",
        "enable-debugger",
        "enable-coverage",
        "enable-profiler",
        "enable-recorder",
        "enable-gdb",
    ];
    if debugging.iter().any(|name| values.flag(name)) {
        Mode::Debug
    } else if values.flag("embedded-mode") {
        Mode::Embedded
    } else {
        Mode::Daemon
    }
}

fn application(values: &Values, mode: Mode, paths: &Paths) -> Application {
    let group = values.text("application-group").unwrap_or("%{GLOBAL}");
    let mut python_path: Vec<&str> =
        values.texts("python-path").iter().map(String::as_str).collect();
    if mode != Mode::Daemon {
        // Daemon processes have it from `home=`.
        python_path.insert(0, &paths.working_directory);
    }
    let reload = mode == Mode::Daemon && !values.flag("disable-reloading");
    Application {
        kind: values.text("application-type").unwrap_or("script").to_owned(),
        entry_point: paths.entry_point.clone().unwrap_or_else(|| paths.default_script.clone()),
        preload: group == "%{GLOBAL}" || !group.contains("%{"),
        group: group.to_owned(),
        python_path: python_path.join(":"),
        reload_on_changes: reload && values.flag("reload-on-changes"),
        reload,
    }
}

fn own_name(name: Option<&str>, id: u32) -> String {
    name.map_or_else(|| format!("#{id}"), str::to_owned)
}

fn own_group(machine: &Machine) -> String {
    let gid = rustix::process::getgid().as_raw();
    own_name(machine.python.group.as_deref(), gid)
}

fn programs(values: &Values, machine: &Machine) -> Result<Programs> {
    let httpd = &machine.apache.httpd;
    let own = httpd.file_name().unwrap_or(httpd.as_os_str()).to_string_lossy();
    let name = values.text("process-name").map(str::to_owned);
    let mime_types = values.text("mime-types").map(str::to_owned);
    let python = &machine.python;
    Ok(Programs {
        process_name: name.unwrap_or_else(|| format!("{own} (mod_wsgi-express)")),
        httpd: text(httpd)?,
        modules: text(&machine.apache.modules)?,
        module: text(&machine.dist.module())?,
        libraries: machine.apache.libraries.as_deref().map(text).transpose()?,
        shell: text(&machine.shell)?,
        python: text(&python.executable)?,
        python_home: text(&python.prefix)?,
        packages: text(&machine.dist.packages)?,
        mime_types: match (mime_types, &python.mime_types) {
            (Some(given), _) => given,
            (None, Some(known)) => text(known)?,
            (None, None) => "/dev/null".to_owned(),
        },
        gdb: values.text("gdb-executable").unwrap_or("gdb").to_owned(),
    })
}

/// A path as text that can stand in Apache's configuration.
fn text(path: &Path) -> Result<String> {
    match path.to_str() {
        Some(text) if !text.contains(['\n', '\r']) && !text.contains("${") => Ok(text.to_owned()),
        _ => Err(Error::other(format!("{path:?} cannot be written into Apache's configuration"))),
    }
}

/// The arguments of `RequestReadTimeout`.
fn read_timeout(values: &Values) -> String {
    let part = |what: &str| {
        let number = |name: &str| values.integer(&format!("{what}-{name}")).filter(|&n| n > 0);
        let mut text = format!("{what}={}", number("timeout")?);
        if let Some(max) = number("max-timeout") {
            text.push_str(&format!("-{max}"));
        }
        if let Some(rate) = number("min-rate") {
            text.push_str(&format!(",MinRate={rate}"));
        }
        Some(text)
    };
    let parts: Vec<String> = ["header", "body"].iter().filter_map(|what| part(what)).collect();
    parts.join(" ")
}

fn allow_override(values: &Values) -> String {
    match values.texts("allow-override") {
        [] => "None".to_owned(),
        some => some.join(" "),
    }
}
