//! Where everything is: the server root, what is in it, and what was moved elsewhere.

use std::path::Path;

use serde::Serialize;

use super::Names;
use crate::machine::{Machine, absolute};
use crate::values::Values;

/// Paths, all absolute.
#[derive(Debug, Serialize)]
pub(crate) struct Paths {
    pub(crate) root: String,
    /// Whether the server root was chosen by us, in a directory that others can write to.
    #[serde(skip)]
    pub(crate) is_default_root: bool,
    pub(crate) conf: String,
    pub(crate) apachectl: String,
    pub(crate) handler: String,
    pub(crate) resource: String,
    pub(crate) default_script: String,
    pub(crate) pid_file: String,
    pub(crate) working_directory: String,
    pub(crate) document_root: String,
    /// The mount point, without a slash at its end; `/` alone is `/`.
    pub(crate) mount_point: String,
    /// The directory below the document root that stands for the mount point.
    pub(crate) mounted: String,
    /// What was asked to be served, if anything was.
    #[serde(skip)]
    pub(crate) entry_point: Option<String>,
    pub(crate) python_eggs: String,
    pub(crate) rewrite_rules: String,
    pub(crate) own_rewrite_rules: bool,
    pub(crate) envvars: String,
    pub(crate) own_envvars: bool,
    socket_prefix: String,
    pub(crate) docs: String,
    pub(crate) images: String,
    pub(crate) coverage: String,
    pub(crate) profiler: String,
    pub(crate) recorder: String,
    include: Vec<String>,
    host_access: Option<String>,
    auth_user: Option<String>,
    auth_group: Option<String>,
    /// Ending and script of each special handler.
    handlers: Vec<(String, String)>,
}

impl Paths {
    /// `Err` is the message for the user.
    pub(crate) fn new(values: &Values, machine: &Machine, names: &Names) -> Result<Paths, String> {
        let given = |name: &str| given(values, machine, name);
        let (root, is_default_root) = match given("server-root")? {
            Some(root) => (root, false),
            None => (default_root(machine, names)?, true),
        };
        let within = |name: &str| format!("{}/{name}", root.trim_end_matches('/'));
        if root.contains(['*', '?', '[']) {
            return Err(format!("--server-root: Apache would take {root:?} for a pattern"));
        }
        let or_within = |option: &str, name: &str| -> Result<String, String> {
            Ok(given(option)?.unwrap_or_else(|| within(name)))
        };

        let kind = values.text("application-type").unwrap_or("script");
        let entry_point = match (values.entry_point(), kind) {
            (Some(name), "module") => Some(name.to_owned()),
            (Some(path), _) => Some(writable("the entry point", path, machine)?),
            (None, "static") => Some(writable("the current directory", ".", machine)?),
            (None, _) => None,
        };
        let document_root = match (given("document-root")?, kind, &entry_point) {
            (Some(given), ..) => given,
            (None, "static", Some(directory)) => directory.clone(),
            _ => within("htdocs"),
        };
        let mount_point = values.text("mount-point").unwrap_or("/");
        let mount_point = writable_text("--mount-point", &absolute(mount_point, Path::new("/")))?;
        let script = |name| given(name);
        let several = |name: &str, values: &[String]| -> Result<Vec<String>, String> {
            values.iter().map(|path| writable(name, path, machine)).collect()
        };
        Ok(Paths {
            conf: within("httpd.conf"),
            apachectl: within("apachectl"),
            handler: within("handler.wsgi"),
            resource: within("resource.wsgi"),
            default_script: within("default.wsgi"),
            pid_file: or_within("pid-file", "httpd.pid")?,
            working_directory: match given("working-directory")? {
                Some(directory) => directory,
                None => writable("the current directory", ".", machine)?,
            },
            mounted: format!("{}{mount_point}", document_root.trim_end_matches('/')),
            document_root,
            mount_point,
            entry_point,
            python_eggs: or_within("python-eggs", "python-eggs")?,
            own_rewrite_rules: values.text("rewrite-rules").is_none(),
            rewrite_rules: or_within("rewrite-rules", "rewrite.conf")?,
            own_envvars: values.text("envvars-script").is_none(),
            envvars: or_within("envvars-script", "envvars")?,
            socket_prefix: match given("socket-prefix")? {
                Some(directory) => format!("{}/wsgi", directory.trim_end_matches('/')),
                None => within("wsgi"),
            },
            docs: within("docs"),
            images: within("images"),
            coverage: or_within("coverage-directory", "htmlcov")?,
            profiler: or_within("profiler-directory", "pstats")?,
            recorder: or_within("recorder-directory", "archive")?,
            include: several("--include-file", values.texts("include-file"))?,
            host_access: script("host-access-script")?,
            auth_user: script("auth-user-script")?,
            auth_group: script("auth-group-script")?,
            handlers: values
                .pairs("add-handler")
                .iter()
                .map(|(ending, path)| {
                    Ok((ending.clone(), writable("--add-handler", path, machine)?))
                })
                .collect::<Result<_, String>>()?,
            root,
            is_default_root,
        })
    }

    /// Files that the user named, with the options that did.
    pub(super) fn named_files(&self) -> Vec<(&'static str, &str)> {
        let mut files = Vec::new();
        let scripts = [
            ("--host-access-script", &self.host_access),
            ("--auth-user-script", &self.auth_user),
            ("--auth-group-script", &self.auth_group),
        ];
        files.extend(scripts.map(|(option, path)| Some((option, path.as_deref()?))));
        let mine = |own: bool, option, path| (!own).then_some((option, path));
        files.push(mine(self.own_rewrite_rules, "--rewrite-rules", &*self.rewrite_rules));
        files.push(mine(self.own_envvars, "--envvars-script", &*self.envvars));
        files.extend(self.handlers.iter().map(|(_, path)| Some(("--add-handler", &**path))));
        files.extend(self.include.iter().map(|path| Some(("--include-file", &**path))));
        files.into_iter().flatten().collect()
    }

    /// A path in the server root.
    pub(crate) fn within(&self, name: &str) -> String {
        format!("{}/{name}", self.root.trim_end_matches('/'))
    }
}

/// The path an option gives, made absolute.
pub(super) fn given(
    values: &Values,
    machine: &Machine,
    name: &str,
) -> Result<Option<String>, String> {
    values.text(name).map(|path| writable(&format!("--{name}"), path, machine)).transpose()
}

/// Made absolute, and fit to be written into Apache's configuration.
pub(super) fn writable(what: &str, path: &str, machine: &Machine) -> Result<String, String> {
    let slash = path.len() > 1 && path.ends_with('/');
    let text = writable_text(what, &absolute(path, &machine.here))?;
    // For an alias of a directory the slash means something.
    Ok(if slash && what == "--url-alias" { text + "/" } else { text })
}

fn writable_text(what: &str, path: &Path) -> Result<String, String> {
    match path.to_str() {
        Some(text) if text.contains("${") => {
            Err(format!("{what}: the variable in {text:?} is not set"))
        }
        Some(text) if !text.contains(['\n', '\r']) => Ok(text.to_owned()),
        _ => Err(format!("{what}: {path:?} cannot be written into Apache's configuration")),
    }
}

fn default_root(machine: &Machine, names: &Names) -> Result<String, String> {
    let name = format!("mod_wsgi-{}:{}:{}", names.host, names.port, machine.uid);
    writable_text("TMPDIR", &absolute(&name, &absolute("", &machine.temporary)))
}
