//! What `serve APP` means: a script, a callable of a script, a callable of a module, or without
//! APP the bundled example.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell::root;

/// An application to serve.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum App {
    /// A WSGI script.
    Script { path: PathBuf, callable: Option<String> },
    /// `module:callable`, imported from `directory`.
    Module { module: String, callable: String, directory: PathBuf },
}

impl App {
    /// Reads the argument. Relative paths are of the directory `here`.
    pub(crate) fn parse(given: Option<&str>, here: &Path) -> Result<App> {
        let Some(text) = given else {
            let path = root().join("examples/hello.wsgi");
            return Ok(App::Script { path, callable: None });
        };
        let path = here.join(text);
        if path.is_dir() {
            bail!("{text} is a directory; serve a .wsgi or .py file in it, or module:callable");
        }
        if path.is_file() {
            return Ok(App::Script { path, callable: None });
        }
        let Some((before, callable)) = text.rsplit_once(':') else {
            bail!("there is no file {text}, and module:callable has a colon");
        };
        if !callable.split('.').all(is_identifier) {
            bail!("{callable:?}, after the colon of {text}, is no name of a callable");
        }
        let path = here.join(before);
        if path.is_file() {
            if callable.contains('.') {
                bail!("the callable of a file is a plain name, and {callable} is not");
            }
            return Ok(App::Script { path, callable: Some(callable.to_owned()) });
        }
        if !before.split('.').all(is_identifier) {
            bail!("there is no file {before}, and it is no name of a module either");
        }
        Ok(App::Module {
            module: before.to_owned(),
            callable: callable.to_owned(),
            directory: here.to_path_buf(),
        })
    }

    /// For the line that announces it.
    pub(crate) fn name(&self) -> String {
        match self {
            App::Script { path, .. } => {
                path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
            }
            App::Module { module, callable, .. } => format!("{module}:{callable}"),
        }
    }
}

/// The script that imports `module:callable`.
pub(crate) fn importing(module: &str, callable: &str, directory: &Path) -> Result<String> {
    let directory = directory.to_str().context("the current directory's name is not UTF-8")?;
    let directory = literal(directory);
    Ok(format!(
        "import importlib\nimport sys\n\nsys.path.insert(0, {directory})\n\n\
         application = importlib.import_module('{module}').{callable}\n"
    ))
}

/// A Python string literal.
fn literal(text: &str) -> String {
    let mut literal = String::from("'");
    for c in text.chars() {
        match c {
            '\\' | '\'' => literal.extend(['\\', c]),
            c if c.is_control() => literal.push_str(&format!("\\x{:02x}", u32::from(c))),
            c => literal.push(c),
        }
    }
    literal.push('\'');
    literal
}

fn is_identifier(text: &str) -> bool {
    let mut chars = text.chars();
    chars.next().is_some_and(|c| c.is_alphabetic() || c == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_')
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn files_and_modules() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path();
        std::fs::write(here.join("app.py"), "").unwrap();
        let path = here.join("app.py");
        let check = |text: &str| App::parse(Some(text), here);
        assert_eq!(check("app.py").unwrap(), App::Script { path: path.clone(), callable: None });
        assert_eq!(
            check("app.py:app").unwrap(),
            App::Script { path, callable: Some("app".into()) }
        );
        assert_eq!(
            check("site.wsgi:make.app").unwrap(),
            App::Module {
                module: "site.wsgi".into(),
                callable: "make.app".into(),
                directory: here.into()
            }
        );
        let wrong = |text: &str| check(text).unwrap_err().to_string();
        assert_eq!(
            wrong("missing.py"),
            "there is no file missing.py, and module:callable has a colon"
        );
        assert!(wrong("app:f()").contains("no name of a callable"));
        assert!(wrong("a/b.py:app").contains("no file a/b.py, and it is no name of a module"));
        assert!(wrong(".").contains("is a directory"));
        assert!(wrong("app:").contains("no name of a callable"));
    }

    #[test]
    fn the_importing_script_quotes_its_directory() {
        let text = importing("a.b", "c.d", Path::new("/srv/it's \\ here\n")).unwrap();
        assert!(text.contains(r"sys.path.insert(0, '/srv/it\'s \\ here\x0a')"), "{text}");
        assert!(text.ends_with("application = importlib.import_module('a.b').c.d\n"));
    }

    #[test]
    fn without_an_argument_there_is_an_example() {
        let App::Script { path, .. } = App::parse(None, Path::new("/")).unwrap() else {
            panic!("the example is a script")
        };
        assert!(path.is_file(), "{}", path.display());
    }
}
