//! `build`: the module, the supervisor and one engine per Python, checked and put into
//! `target/dist`.
//!
//! ```text
//! target/dist/mod_wsgi.so                          what Apache loads
//! target/dist/engines/_mod_wsgi.<SOABI>.so         one per Python minor version
//! target/dist/wsgi-supervisor                      starts the workers of daemon mode
//! target/dist/mod_wsgi-express                     the command that makes a server of its own
//! target/dist/default-python                       prefix of the first Python, one line
//! ```
//!
//! The directory can be moved as a whole. Files are renamed into place: a server that has the old
//! ones mapped keeps them. What an earlier build left for other Pythons is removed, for a module
//! and an engine of different builds refuse each other; Cargo keeps what it compiled for them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};

use crate::elf::Dynamic;
use crate::setup::python::Python;
use crate::setup::{self, Machine, Missing};
use crate::shell::{cargo, root, short, stdout};

/// `cargo xtask build`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    setup: setup::Options,
    /// A Python to build an engine for: executable, prefix or virtual environment; repeatable
    /// [default: python3 on PATH]
    #[arg(long, value_name = "PATH")]
    python: Vec<PathBuf>,
    /// Optimised and stripped, for real use
    #[arg(long)]
    release: bool,
}

/// How to compile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

/// What a build made.
#[derive(Debug)]
pub(crate) struct Dist {
    /// The directory of everything.
    pub(crate) dir: PathBuf,
}

/// The largest module we are willing to hand out: it is mapped by every child of every Apache, which
/// share it. A bound against accidents (something large linked in), above what it is; four fifths of
/// that are code, and a tenth is what the standard library has for backtraces.
const LARGEST_MODULE: u64 = 1 << 20;

impl Dist {
    /// Where a build goes.
    pub(crate) fn place() -> Dist {
        Dist { dir: root().join("target/dist") }
    }

    pub(crate) fn module(&self) -> PathBuf {
        self.dir.join("mod_wsgi.so")
    }

    pub(crate) fn engines(&self) -> PathBuf {
        self.dir.join("engines")
    }

    pub(crate) fn engine(&self, python: &Python) -> PathBuf {
        self.engines().join(format!("_mod_wsgi{}", python.suffix))
    }

    pub(crate) fn supervisor(&self) -> PathBuf {
        self.dir.join("wsgi-supervisor")
    }

    pub(crate) fn express(&self) -> PathBuf {
        self.dir.join("mod_wsgi-express")
    }

    /// Fails if nothing was built yet.
    pub(crate) fn check(&self) -> Result<()> {
        if !self.module().is_file() {
            bail!("there is no {}; run: cargo xtask build", short(&self.module()));
        }
        Ok(())
    }

    /// The prefix of the Python the build was made for.
    pub(crate) fn python_home(&self) -> Result<PathBuf> {
        let path = self.default_python();
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        Ok(text.trim_end_matches('\n').into())
    }

    pub(crate) fn default_python(&self) -> PathBuf {
        self.dir.join("default-python")
    }
}

/// Runs the task.
pub(crate) fn run(args: &Args) -> Result<()> {
    let machine = setup::ensure(&args.setup, &args.python, Missing::Report)?;
    let profile = if args.release { Profile::Release } else { Profile::Dev };
    let dist = build(&machine, &machine.pythons, profile)?;
    report(&dist, &machine)
}

/// Builds for the given Pythons, the first of which becomes the default.
pub(crate) fn build(machine: &Machine, pythons: &[Python], profile: Profile) -> Result<Dist> {
    let dist = Dist::place();
    let first = pythons.first().context("no Python to build for")?;

    let module =
        compile(cargo_build("mod-wsgi", profile).env("APXS", &machine.apache.apxs), "cdylib")?;
    check_module(&module, profile)?;
    let mut supervisor = cargo_build("daemon", profile);
    let supervisor = compile(supervisor.args(["--bin", "wsgi-supervisor"]), "bin")?;
    let express = compile(&mut cargo_build("express", profile), "bin")?;
    let mut engines: Vec<(PathBuf, PathBuf)> = Vec::new();
    for python in pythons {
        let place = dist.engine(python);
        // Two installations of one minor version share an engine.
        if !engines.iter().any(|(_, other)| *other == place) {
            engines.push((build_engine(python, profile)?, place));
        }
    }

    std::fs::create_dir_all(dist.engines())?;
    replace(&module, &dist.module())?;
    replace(&supervisor, &dist.supervisor())?;
    replace(&express, &dist.express())?;
    for (from, to) in &engines {
        replace(from, to)?;
    }
    for entry in std::fs::read_dir(dist.engines())?.flatten() {
        if !engines.iter().any(|(_, place)| *place == entry.path()) {
            std::fs::remove_file(entry.path())?;
        }
    }
    let prefix = tempfile::NamedTempFile::new_in(&dist.dir)?;
    std::fs::write(prefix.path(), format!("{}\n", first.prefix.display()))?;
    replace(prefix.path(), &dist.default_python())?;
    Ok(dist)
}

/// Prints what is in a dist.
fn report(dist: &Dist, machine: &Machine) -> Result<()> {
    let line = |path: &Path, what: &str| -> Result<()> {
        let size = std::fs::metadata(path)?.len();
        println!("{:<66} {:>6} KiB  {what}", short(path), size.div_ceil(1024));
        Ok(())
    };
    let apache = &machine.apache;
    line(&dist.module(), &format!("Apache {} ({})", apache.version, apache.apxs.display()))?;
    line(&dist.supervisor(), "daemon mode")?;
    line(&dist.express(), "a server of its own, from one command")?;
    for python in &machine.pythons {
        line(&dist.engine(python), &python.describe())?;
        if python.library.is_none() {
            eprintln!("note: {}; daemon mode will not need it", setup::no_library(python));
        }
    }
    Ok(())
}

fn build_engine(python: &Python, profile: Profile) -> Result<PathBuf> {
    // A target directory of its own, or every change of Python would compile everything again.
    let target = root().join("target/engines").join(python.tag());
    let mut command = cargo();
    command.args(["build", "--package", "engine"]);
    if profile == Profile::Release {
        // `release`, with what is small elsewhere made fast.
        command.args(["--profile", "engine"]);
    }
    command.arg("--target-dir").arg(target);
    command.env("PYO3_PYTHON", &python.executable).env("PYO3_BUILD_EXTENSION_MODULE", "1");
    let engine = compile(&mut command, "cdylib")?;
    if let Some(dynamic) = Dynamic::read(&engine)? {
        let fine = dynamic.links_no_python().and_then(|()| {
            let found = dynamic.exports.iter().any(|name| name == "PyInit__mod_wsgi");
            if found { Ok(()) } else { bail!("it does not export PyInit__mod_wsgi") }
        });
        fine.with_context(|| format!("the engine {} is wrong", short(&engine)))?;
    }
    Ok(engine)
}

fn check_module(module: &Path, profile: Profile) -> Result<()> {
    let wrong = || format!("the module {} is wrong", short(module));
    if let Some(dynamic) = Dynamic::read(module)? {
        dynamic
            .links_no_python()
            .and_then(|()| dynamic.exports_only(&["wsgi_module"]))
            .with_context(wrong)?;
    }
    let size = std::fs::metadata(module)?.len();
    if profile == Profile::Release && size >= LARGEST_MODULE {
        return Err(anyhow!("{size} bytes, and {LARGEST_MODULE} are the limit").context(wrong()));
    }
    Ok(())
}

fn cargo_build(package: &str, profile: Profile) -> Command {
    let mut command = cargo();
    command.args(["build", "--package", package]);
    if profile == Profile::Release {
        command.arg("--release");
    }
    command
}

/// Runs a `cargo build` and gives the file it made of that kind. Cargo is asked for the path, since
/// the name of a library and the target directory are its business.
fn compile(command: &mut Command, kind: &str) -> Result<PathBuf> {
    command.arg("--message-format=json-render-diagnostics");
    let messages = stdout(command)?;
    artifact(&messages, kind)
        .with_context(|| format!("`{}` made no {kind}", crate::shell::show(command)))
}

/// The last file of a kind among Cargo's messages; dependencies come before the package itself.
fn artifact(messages: &str, kind: &str) -> Option<PathBuf> {
    let made = messages.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let kinds = message["target"]["kind"].as_array()?;
        let ours = message["reason"] == "compiler-artifact" && kinds.iter().any(|k| k == kind);
        ours.then_some(message)
    })?;
    let mut files = made["filenames"].as_array()?.iter().filter_map(|name| name.as_str());
    let fits = |name: &&str| match kind {
        "cdylib" => name.ends_with(".so") || name.ends_with(".dylib"),
        _ => !name.ends_with(".d"),
    };
    files.find(fits).map(PathBuf::from)
}

/// Copies a file beside its destination and renames it there, readable for everybody.
pub(crate) fn replace(from: &Path, to: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    let what = || format!("cannot put {} at {}", from.display(), to.display());
    let dir = to.parent().with_context(what)?;
    let new = tempfile::Builder::new().prefix(".new-").tempfile_in(dir).with_context(what)?;
    std::fs::copy(from, new.path()).with_context(what)?;
    let runs = std::fs::metadata(from).with_context(what)?.permissions().mode() & 0o111 != 0;
    let mode = if runs { 0o755 } else { 0o644 };
    std::fs::set_permissions(new.path(), std::fs::Permissions::from_mode(mode))
        .with_context(what)?;
    new.persist(to).with_context(what)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::{Read, Seek};

    use super::*;

    #[test]
    fn the_artifact_is_what_cargo_says() {
        let messages = r#"{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"a"},"filenames":["/t/liba.rlib"]}
not json
{"reason":"compiler-artifact","target":{"kind":["cdylib"],"name":"mod_wsgi"},"filenames":["/t/libmod_wsgi.d","/t/libmod_wsgi.so"]}
{"reason":"build-finished","success":true}"#;
        assert_eq!(artifact(messages, "cdylib"), Some("/t/libmod_wsgi.so".into()));
        assert_eq!(artifact(messages, "bin"), None);
        assert_eq!(artifact("", "cdylib"), None);
    }

    #[test]
    fn an_open_file_is_replaced_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        std::fs::write(&from, "new").unwrap();
        std::fs::write(&to, "old").unwrap();
        let mut open = std::fs::File::open(&to).unwrap();
        replace(&from, &to).unwrap();
        let mut text = String::new();
        open.rewind().unwrap();
        open.read_to_string(&mut text).unwrap();
        assert_eq!(text, "old");
        assert_eq!(std::fs::read_to_string(&to).unwrap(), "new");
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing is left over");
    }
}
