//! A directory with a build, an Apache and a Python that only look like ones, so that what
//! mod_wsgi-express writes does not depend on what is installed.

#![allow(dead_code, unreachable_pub, clippy::unwrap_used, reason = "each test uses some of it")]

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

pub mod flatten;

/// Apache's modules that some option needs.
const MODULES: [&str; 29] = [
    "access_compat",
    "alias",
    "auth_basic",
    "auth_digest",
    "authn_core",
    "authz_core",
    "authz_host",
    "authz_user",
    "autoindex",
    "cgi",
    "cgid",
    "deflate",
    "dir",
    "env",
    "filter",
    "headers",
    "http2",
    "log_config",
    "mime",
    "mpm_event",
    "mpm_prefork",
    "mpm_worker",
    "proxy",
    "proxy_http",
    "reqtimeout",
    "rewrite",
    "ssl",
    "status",
    "unixd",
];

/// Tells how it was called, then does as it is told by the environment.
const HTTPD: &str = r#"#!/bin/sh
if [ "$1" = -l ]; then
    printf 'Compiled in modules:\n  core.c\n  mod_so.c\n  http_core.c\n  mod_unixd.c\n'
    exit 0
fi
if [ "$1" = -V ]; then
    printf 'Server version: Apache/2.4.99 (Fake)\nArchitecture:   64-bit\n'
    exit 0
fi
if [ -n "$CAPTURE" ]; then
    for word in "$@"; do printf '%s\n' "$word"; done >"$CAPTURE.args"
    env >"$CAPTURE.env"
    tr '\000' '\n' </proc/$$/cmdline >"$CAPTURE.name"
fi
if [ -n "$FAKE_SLEEP" ]; then
    trap 'exit "${FAKE_STATUS:-0}"' TERM INT
    printf '%s\n' $$ >"$MOD_WSGI_SERVER_ROOT/httpd.pid"
    echo started
    while :; do sleep 0.05; done
fi
exit "${FAKE_STATUS:-0}"
"#;

pub struct Sandbox {
    pub dir: PathBuf,
    _remove: tempfile::TempDir,
    _deadline: scenario::patience::Deadline,
}

impl Sandbox {
    pub fn new() -> Sandbox {
        Sandbox::named("sandbox")
    }

    /// The directory is one of that name.
    pub fn named(name: &str) -> Sandbox {
        let remove = tempfile::tempdir().unwrap();
        let dir = remove.path().canonicalize().unwrap().join(name);
        fs::create_dir_all(dir.join("modules")).unwrap();
        fs::create_dir_all(dir.join("dist/engines")).unwrap();
        let _deadline = scenario::patience::Deadline::start();
        let sandbox = Sandbox { dir, _remove: remove, _deadline };
        for name in MODULES {
            sandbox.write(&format!("modules/mod_{name}.so"), "");
        }
        sandbox.write("dist/mod_wsgi.so", "module");
        let suffix = python("import sysconfig; print(sysconfig.get_config_var('EXT_SUFFIX'))");
        sandbox.write(&format!("dist/engines/_mod_wsgi{suffix}"), "engine");
        sandbox.script("httpd", HTTPD);
        sandbox.script("rotatelogs", "#!/bin/sh\ncat >/dev/null\n");
        sandbox.write("app.py", "application = None\n");
        // Anyone may look in, whoever runs the tests.
        fs::set_permissions(sandbox._remove.path(), fs::Permissions::from_mode(0o755)).unwrap();
        sandbox
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub fn text(&self, name: &str) -> String {
        self.path(name).to_str().unwrap().to_owned()
    }

    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    pub fn script(&self, name: &str, text: &str) {
        self.write(name, text);
        fs::set_permissions(self.path(name), fs::Permissions::from_mode(0o755)).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        let path = self.path(name);
        fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
    }

    /// The program, with an environment that holds nothing it does not need.
    pub fn command(&self, name: &str) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mod_wsgi-express"));
        self.prepare(&mut command);
        command.arg(name);
        if ["start-server", "setup-server", "doctor"].contains(&name) {
            command.args(["--httpd-executable", &self.text("httpd")]);
            command.args(["--modules-directory", &self.text("modules")]);
            command.args(["--rotatelogs-executable", &self.text("rotatelogs")]);
        }
        command
    }

    /// Takes away what the environment of the tests would change.
    pub fn prepare(&self, command: &mut Command) {
        command
            .current_dir(&self.dir)
            .env("MOD_WSGI_DIST", self.path("dist"))
            .env("MOD_WSGI_EXPRESS_PYTHON", interpreter())
            .env("LC_ALL", "C.UTF-8")
            .env("TMPDIR", &self.dir)
            .env_remove("HTTPD")
            .env("APXS", self.path("no-apxs"))
            .env_remove("MOD_WSGI_EXPRESS_REFERENCE")
            .env_remove("WSGI_RUN_USER")
            .env_remove("WSGI_RUN_GROUP")
            .env_remove("MOD_WSGI_USER")
            .env_remove("MOD_WSGI_GROUP");
    }

    /// `setup-server` into `root`.
    pub fn setup(&self, words: &[&str]) -> Output {
        let mut command = self.command("setup-server");
        command.args(["--server-root", "root", "--user", "daemon", "--group", "daemon"]);
        command.args(words).output().unwrap()
    }

    /// The same, which must succeed; the configuration that results.
    pub fn conf(&self, words: &[&str]) -> String {
        let output = self.setup(words);
        assert!(output.status.success(), "{words:?}: {}", err(&output));
        self.read("root/httpd.conf")
    }

    /// The same, which must be refused; what it says.
    pub fn refused(&self, words: &[&str]) -> String {
        let output = self.setup(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {}", err(&output));
        assert!(!self.path("root").exists(), "{words:?}: a server root was made all the same");
        let text = err(&output);
        assert!(text.starts_with("Usage: mod_wsgi-express setup-server script [options]\n\n"));
        text.lines().last().unwrap().strip_prefix("mod_wsgi-express: error: ").unwrap().to_owned()
    }

    /// Runs `apachectl`; what it started Apache with.
    pub fn apachectl(&self, root: &str, words: &[&str]) -> Call {
        let mut command = Command::new(self.path(root).join("apachectl"));
        self.prepare(&mut command);
        command.env("CAPTURE", self.path("capture"));
        let output = command.args(words).output().unwrap();
        assert!(output.status.success(), "{}", err(&output));
        let environment = self.read("capture.env");
        Call {
            words: self.read("capture.args").lines().map(str::to_owned).collect(),
            environment: environment
                .lines()
                .filter_map(|line| line.split_once('='))
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .collect(),
            stderr: err(&output),
        }
    }
}

/// How Apache was called.
pub struct Call {
    pub words: Vec<String>,
    pub environment: BTreeMap<String, String>,
    pub stderr: String,
}

impl Call {
    pub fn defines(&self) -> Vec<&str> {
        self.words.iter().filter_map(|word| word.strip_prefix("-D")).collect()
    }
}

pub fn out(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn err(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The executable of the Python of the tests.
pub fn interpreter() -> &'static str {
    static PATH: OnceLock<String> = OnceLock::new();
    PATH.get_or_init(|| python("import sys; print(sys.executable)"))
}

/// What the Python of the tests says.
pub fn python(program: &str) -> String {
    let output = Command::new("python3").args(["-c", program]).output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
    out(&output).trim().to_owned()
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn here(file: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(file)
}
