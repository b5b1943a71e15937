//! Our own contestants, built in release mode for the Python of the run.
//!
//! What cannot be built (or is not in this checkout) becomes a sentence that stands beside the
//! table; the others are measured all the same.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::peers::Wanted;
use crate::place::{self, User};

/// A file, or why there is none.
pub(crate) type Built = Result<PathBuf, String>;

/// What was built.
#[derive(Debug)]
pub(crate) struct Ours {
    /// `mod_wsgi.so` in a directory with all it needs.
    pub(crate) module: Built,
    /// The handler without Python.
    pub(crate) bare: Built,
    /// The embedding example.
    pub(crate) hyper: Built,
}

impl Ours {
    /// Builds, or with `build` false takes what earlier builds left.
    pub(crate) fn make(
        python: &Path,
        cache: &Path,
        user: Option<&User>,
        build: bool,
        wanted: Wanted,
    ) -> Ours {
        let target = cache.join("cargo");
        let release = |file: &str| target.join("release").join(file);
        let module = place::root().join("target/dist/mod_wsgi.so");
        let steps = [
            (&["xtask", "build", "--release"][..], true, module),
            (&["build", "--release", "-p", "bare-handler"], false, release("libmod_bare.so")),
            (&["build", "--release", "-p", "hyper-server"], false, release("hyper-server")),
        ];
        let [module, bare, hyper] = steps.map(|(arguments, own, file)| {
            // The example is a peer of other servers.
            if build && (wanted == Wanted::All || arguments.last() != Some(&"hyper-server")) {
                let mut command = cargo();
                command.args(arguments).env("PYO3_PYTHON", python);
                match own {
                    true => command.arg("--python").arg(python),
                    false => command.arg("--target-dir").arg(&target),
                };
                eprintln!("building: cargo {}", arguments.join(" "));
                run(&mut command)?;
            }
            match file.exists() {
                true => Ok(file),
                false => Err(format!("there is no {}", file.display())),
            }
        });
        Ours { module: module.and_then(|module| reachable(module, cache, user)), bare, hyper }
    }
}

/// The module with its engines, where the children of an Apache started by root can open them.
fn reachable(module: PathBuf, cache: &Path, user: Option<&User>) -> Built {
    let Some(dist) = module.parent().filter(|dist| !place::reaches(user, dist)) else {
        return Ok(module);
    };
    let copy = cache.join("dist");
    place::copy(dist, &copy).map_err(|error| format!("{error:#}"))?;
    Ok(copy.join("mod_wsgi.so"))
}

fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(place::root());
    // What Cargo told us about ourselves is not true of what it builds next.
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("CARGO_") && name != "CARGO_HOME" {
            command.env_remove(name);
        }
    }
    command
}

fn run(command: &mut Command) -> Result<(), String> {
    let shown = format!("cargo {}", words(command));
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("cannot run {shown}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    let first = errors.lines().find(|line| line.starts_with("error"));
    Err(format!("`{shown}`: {}", first.unwrap_or("failed")))
}

fn words(command: &Command) -> String {
    command.get_args().map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}
