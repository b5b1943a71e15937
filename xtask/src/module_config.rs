//! `module-config`: the two lines of Apache configuration that load a build.
//!
//! Nothing else goes to standard output, so it can be written straight into a configuration file.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::build::Dist;
use crate::setup::python;

/// `cargo xtask module-config`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The Python to name: executable, prefix or virtual environment [default: the first one the
    /// build was made for]
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
}

/// Runs the task.
pub(crate) fn run(args: &Args) -> Result<()> {
    let dist = Dist::place();
    dist.check()?;
    let home = match &args.python {
        Some(path) => {
            let python = python::examine(path).map_err(anyhow::Error::msg)?;
            if !dist.engine(&python).is_file() {
                bail!(
                    "the build in target/dist has no engine for {}; run: cargo xtask build \
                     --python {}",
                    python.describe(),
                    path.display()
                );
            }
            python.prefix
        }
        None => dist.python_home()?,
    };
    print!("{}", lines(&dist.module(), &home)?);
    Ok(())
}

/// The lines for a module at that place and that Python.
pub(crate) fn lines(module: &Path, home: &Path) -> Result<String> {
    let (module, home) = (quote(module)?, quote(home)?);
    Ok(format!("LoadModule wsgi_module {module}\nWSGIPythonHome {home}\n"))
}

/// A path as a quoted argument of a directive: within quotes, Apache takes a backslash before a
/// quote or a backslash away.
pub(crate) fn quote(path: &Path) -> Result<String> {
    let text = path.to_str().with_context(|| {
        format!("{} is not UTF-8, and does not go into a configuration", path.display())
    })?;
    if text.contains(['\n', '\r']) {
        bail!("{text:?} has a line break, and does not go into a configuration");
    }
    // `${NAME}` would be replaced even within quotes, and Apache knows no way to say it literally.
    if text.contains("${") {
        bail!("{text:?} has \"${{\" in it, which Apache's configuration replaces");
    }
    Ok(format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\"")))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_two_lines() {
        let text = lines(Path::new("/srv/a b/mod_wsgi.so"), Path::new("/usr")).unwrap();
        assert_eq!(
            text,
            "LoadModule wsgi_module \"/srv/a b/mod_wsgi.so\"\nWSGIPythonHome \"/usr\"\n"
        );
    }

    #[test]
    fn odd_paths_stay_one_argument() {
        assert_eq!(quote(Path::new(r#"/a"b\c"#)).unwrap(), r#""/a\"b\\c""#);
        assert!(quote(Path::new("/a\nb")).is_err());
        assert!(quote(Path::new("/a/${HOME}")).is_err());
    }
}
