//! `install`: the build, in Apache's directory of modules.
//!
//! ```text
//! <libexecdir>/mod_wsgi.so
//! <libexecdir>/mod_wsgi/engines/...      and whatever else the module needs
//! ```
//!
//! Apache's configuration is not touched: the lines it needs are printed. Files are renamed into
//! place, so a running Apache keeps what it has until it is restarted.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::build::{Dist, replace};
use crate::module_config::lines;
use crate::setup;
use crate::setup::apache::Apache;

/// `cargo xtask install`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    setup: setup::Options,
    /// Put everything below this directory instead of `/` (for packages)
    #[arg(long, value_name = "DIR")]
    destdir: Option<PathBuf>,
}

/// Runs the task.
pub(crate) fn run(args: &Args) -> Result<()> {
    let apache = setup::find_apache(&args.setup)?;
    print!("{}", install(args.destdir.as_deref(), &apache)?);
    Ok(())
}

/// Installs the build; the result is what Apache's configuration needs.
pub(crate) fn install(destdir: Option<&Path>, apache: &Apache) -> Result<String> {
    let dist = Dist::place();
    dist.check()?;
    let target = below(destdir, &apache.libexecdir);
    copy(&dist, &target)?;
    let home = dist.python_home()?;
    // The paths of the machine that will run it: a package's build directory is not part of them.
    eprintln!("Installed below {}; Apache's configuration needs:", target.display());
    lines(&apache.libexecdir.join("mod_wsgi.so"), &home)
}

/// `/usr/lib/apache2/modules` below `/tmp/package` is `/tmp/package/usr/lib/apache2/modules`.
pub(crate) fn below(destdir: Option<&Path>, path: &Path) -> PathBuf {
    match destdir {
        Some(dir) => dir.join(path.strip_prefix("/").unwrap_or(path)),
        None => path.to_path_buf(),
    }
}

fn copy(dist: &Dist, target: &Path) -> Result<()> {
    let support = target.join("mod_wsgi");
    let engines = support.join("engines");
    std::fs::create_dir_all(&engines)
        .with_context(|| format!("cannot make {} (as which user?)", engines.display()))?;
    let mut kept = Vec::new();
    for entry in std::fs::read_dir(dist.engines())? {
        let entry = entry?;
        replace(&entry.path(), &engines.join(entry.file_name()))?;
        kept.push(entry.file_name());
    }
    for file in [dist.supervisor(), dist.default_python()] {
        let name = file.file_name().with_context(|| file.display().to_string())?;
        replace(&file, &support.join(name))?;
    }
    // The module comes last: until then an old one finds a complete set of its own or the new one.
    replace(&dist.module(), &target.join("mod_wsgi.so"))?;
    // Engines of another build would only be refused.
    for entry in std::fs::read_dir(&engines)?.flatten() {
        if !kept.contains(&entry.file_name()) {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_package_is_made_below_a_directory() {
        let modules = Path::new("/usr/lib/apache2/modules");
        assert_eq!(below(None, modules), modules);
        assert_eq!(
            below(Some(Path::new("/tmp/package")), modules),
            Path::new("/tmp/package/usr/lib/apache2/modules")
        );
    }

    #[test]
    fn everything_goes_beside_the_module_and_old_engines_go() {
        let dir = tempfile::tempdir().unwrap();
        let dist = Dist { dir: dir.path().join("dist") };
        std::fs::create_dir_all(dist.engines()).unwrap();
        for (path, text) in [
            (dist.module(), "module"),
            (dist.engines().join("_mod_wsgi.cpython-313-x.so"), "engine"),
            (dist.supervisor(), "supervisor"),
            (dist.default_python(), "/usr\n"),
        ] {
            std::fs::write(path, text).unwrap();
        }
        let target = dir.path().join("modules");
        let old = target.join("mod_wsgi/engines/_mod_wsgi.cpython-310-x.so");
        std::fs::create_dir_all(old.parent().unwrap()).unwrap();
        std::fs::write(&old, "old").unwrap();

        copy(&dist, &target).unwrap();
        let read = |path: &str| std::fs::read_to_string(target.join(path)).unwrap();
        assert_eq!(read("mod_wsgi.so"), "module");
        assert_eq!(read("mod_wsgi/engines/_mod_wsgi.cpython-313-x.so"), "engine");
        assert_eq!(read("mod_wsgi/default-python"), "/usr\n");
        assert!(!old.exists());
        assert_eq!(read("mod_wsgi/wsgi-supervisor"), "supervisor");
    }
}
