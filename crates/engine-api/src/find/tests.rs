//! Layouts of installations and environments, made in a temporary directory, and what is found in them.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::*;

const TAG: &str = "x86_64-linux-gnu";

/// A directory with an installation of Python 3.13 at `py`, and a build at `dist` with engines for
/// 3.11 and 3.13.
struct Tree {
    dir: TempDir,
}

impl Tree {
    fn new() -> Tree {
        let tree = Tree { dir: TempDir::with_prefix("find").unwrap() };
        tree.install("py", "3.13", "313");
        tree.write("py/lib/libpython3.13.so.1.0", "");
        tree.engine("311");
        tree.engine("313");
        tree
    }

    fn path(&self, path: &str) -> PathBuf {
        self.dir.path().canonicalize().unwrap().join(path)
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn link(&self, target: &str, path: &str) {
        let path = self.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
    }

    fn install(&self, at: &str, version: &str, digits: &str) {
        self.write(&format!("{at}/bin/python{version}"), "");
        self.link(&format!("python{version}"), &format!("{at}/bin/python3"));
        self.write(&format!("{at}/lib/python{version}/os.py"), "");
        let data = format!(
            "build_time_vars = {{\n    'INSTSONAME': 'libpython{version}.so.1.0',\n    'LIBDIR': \
             '/install/lib',\n    'MULTIARCH': '{TAG}',\n    'SOABI': 'cpython-{digits}-{TAG}',\n"
        );
        let kind = if version.ends_with('t') { "t" } else { "" };
        let file = format!("{at}/lib/python{version}/_sysconfigdata_{kind}_linux_{TAG}.py");
        self.write(&file, &data);
    }

    fn engine(&self, digits: &str) {
        self.write(&format!("dist/engines/_mod_wsgi.cpython-{digits}-{TAG}.so"), "");
    }

    fn venv(&self, at: &str, base: &str) {
        let bin = self.path(base).join("bin");
        let text = format!("home = {}\nversion = 3.13.0\n", bin.display());
        self.write(&format!("{at}/pyvenv.cfg"), &text);
    }

    fn find(&self, home: &str) -> Result<Python, FindError> {
        find(Some(&self.path(home)), &self.path("dist"))
    }

    /// The message, with the tree's own path as `~`.
    fn error(&self, home: &str) -> String {
        let text = self.find(home).unwrap_err().to_string();
        text.replace(&self.path("").display().to_string(), "~/")
    }
}

#[track_caller]
fn check(tree: &Tree, home: &str, prefix: &str) {
    let found = tree.find(home).unwrap();
    assert_eq!(found.home, tree.path(prefix));
    assert_eq!(found.executable, tree.path(prefix).join("bin/python3"));
    assert_eq!(found.version.to_string(), "3.13");
    assert_eq!(found.soabi, format!("cpython-313-{TAG}"));
    assert_eq!(found.libpython().unwrap(), tree.path("py/lib/libpython3.13.so.1.0"));
    assert_eq!(found.engine, tree.path(&format!("dist/engines/_mod_wsgi.cpython-313-{TAG}.so")));
    assert_eq!(found.python_home, None);
}

#[test]
fn installation_and_paths_inside_it() {
    let tree = Tree::new();
    tree.write("py/lib/python3.13/site-packages/x.py", "");
    for home in [
        "py",
        "py/",
        "py/bin",
        "py/bin/python3",
        "py/bin/python3.13",
        "py/lib",
        "py/lib/python3.13",
        "py/lib/python3.13/site-packages",
    ] {
        check(&tree, home, "py");
    }
}

#[test]
fn venv_with_links_nested_and_symlinked() {
    let tree = Tree::new();
    tree.venv("v1", "py");
    tree.link("../../py/bin/python3", "v1/bin/python3");
    check(&tree, "v1", "v1");
    check(&tree, "v1/bin/python3", "v1");
    check(&tree, "v1/pyvenv.cfg", "v1");

    tree.venv("v2", "v1");
    tree.link("../../v1/bin/python3", "v2/bin/python3");
    check(&tree, "v2", "v2");

    tree.link("v2", "current");
    check(&tree, "current", "current");
}

#[test]
fn venv_with_copies() {
    let tree = Tree::new();
    tree.venv("v1", "py");
    tree.write("v1/bin/python3", "");
    check(&tree, "v1", "v1");
    tree.venv("v2", "v1");
    tree.write("v2/bin/python3", "");
    check(&tree, "v2", "v2");
}

#[test]
fn venv_made_of_itself_is_not_followed_for_ever() {
    let tree = Tree::new();
    tree.venv("v1", "v1");
    tree.write("v1/bin/python3", "");
    assert!(matches!(tree.find("v1"), Err(FindError::BrokenVenv { .. })));
}

#[test]
fn venv_whose_installation_is_gone() {
    let tree = Tree::new();
    tree.venv("v1", "gone");
    tree.write("v1/bin/python3", "");
    assert_eq!(
        tree.error("v1"),
        "virtual environment '~/v1' was made from the Python in '~/gone/bin', which is not there; \
         make it again"
    );
}

#[test]
fn debian_keeps_libpython_in_the_multiarch_directory() {
    let tree = Tree::new();
    tree.install("usr", "3.11", "311");
    tree.write(&format!("usr/lib/{TAG}/libpython3.11.so.1.0"), "");
    let found = tree.find("usr").unwrap();
    let expected = tree.path(&format!("usr/lib/{TAG}/libpython3.11.so.1.0"));
    assert_eq!(found.libpython().unwrap(), expected);
}

#[test]
fn free_threaded_build_has_its_own_tag() {
    let tree = Tree::new();
    tree.install("ft", "3.14t", "314t");
    tree.write("ft/lib/libpython3.14t.so.1.0", "");
    tree.engine("314t");
    let found = tree.find("ft").unwrap();
    assert_eq!(found.version.to_string(), "3.14t");
    assert_eq!(found.libpython().unwrap(), tree.path("ft/lib/libpython3.14t.so.1.0"));
    assert_eq!(available(&tree.path("dist/engines")), ["3.11", "3.13", "3.14t"]);
}

#[test]
fn exec_prefix_becomes_python_home() {
    let tree = Tree::new();
    let prefix = tree.path("py").display().to_string();
    let home = format!("{prefix}:{prefix}");
    let found = find(Some(Path::new(&home)), &tree.path("dist")).unwrap();
    assert_eq!(found.home, tree.path("py"));
    assert_eq!(found.python_home, Some(home));
}

#[test]
fn default_python_of_the_build() {
    let tree = Tree::new();
    let error = find(None, &tree.path("dist")).unwrap_err();
    assert!(matches!(error, FindError::NoDefault { .. }), "{error}");
    assert!(error.to_string().contains("dist/default-python"), "{error}");

    tree.write("dist/default-python", &format!("{}\n", tree.path("py").display()));
    assert_eq!(find(None, &tree.path("dist")).unwrap().home, tree.path("py"));
}

#[test]
fn homes_that_are_none() {
    let tree = Tree::new();
    tree.write("empty/file", "");
    assert_eq!(
        tree.error("empty"),
        "Python home '~/empty' is neither an installation (no bin/python3) nor a virtual \
         environment (no pyvenv.cfg)"
    );
    assert_eq!(
        tree.error("py/venv"),
        "Python home '~/py/venv' cannot be used: No such file or directory (os error 2)"
    );
    assert_eq!(
        tree.error("a/b/c"),
        "Python home '~/a/b/c' cannot be used: '~/a': No such file or directory (os error 2)"
    );
    let error = find(Some(Path::new("py")), &tree.path("dist")).unwrap_err();
    assert_eq!(error.to_string(), "Python home 'py' is not an absolute path");
}

/// A directory beside `bin` and `lib` is not "inside" the installation around it.
#[test]
fn directory_in_an_installation_does_not_become_it() {
    let tree = Tree::new();
    tree.write("py/share/file", "");
    assert!(matches!(tree.find("py/share"), Err(FindError::NotPython { .. })));
    tree.write("py/lib/venv/file", "");
    assert!(matches!(tree.find("py/lib/venv"), Err(FindError::NotPython { .. })));
}

#[test]
fn missing_engine_names_what_there_is() {
    let tree = Tree::new();
    tree.install("other", "3.12", "312");
    assert_eq!(
        tree.error("other"),
        format!(
            "Python home '~/other' is Python 3.12 (cpython-312-{TAG}), but '~/dist/engines' has \
             engines only for Python 3.11, 3.13"
        )
    );
    fs::remove_dir_all(tree.path("dist/engines")).unwrap();
    assert!(tree.error("other").ends_with("'~/dist/engines' has no engines"));
}

#[test]
fn old_python() {
    let tree = Tree::new();
    tree.install("old", "3.9", "39");
    assert_eq!(tree.error("old"), "Python home '~/old' is Python 3.9, but 3.10 or newer is needed");
}

#[test]
fn static_python_is_found_and_says_what_to_do_in_embedded_mode() {
    let tree = Tree::new();
    fs::remove_file(tree.path("py/lib/libpython3.13.so.1.0")).unwrap();
    let found = tree.find("py").unwrap();
    let error = found.libpython().unwrap_err().to_string();
    assert!(
        error.contains("no shared library (libpython3.13.so.1.0, libpython3.13.so)"),
        "{error}"
    );
    assert!(error.contains("use daemon mode"), "{error}");
}

/// An executable whose name says nothing, in a prefix that says nothing, is run.
#[test]
fn asks_the_executable_if_files_do_not_tell() {
    use std::os::unix::fs::PermissionsExt;

    let tree = Tree::new();
    let script = format!(
        "#!/bin/sh\necho VERSION 3.13\necho PREFIX {}\necho SOABI cpython-313-{TAG}\n\
         echo INSTSONAME libpython3.13.so.1.0\necho LIBDIR\necho MULTIARCH {TAG}\n",
        tree.path("py").display()
    );
    tree.write("odd/bin/python3", &script);
    let file = tree.path("odd/bin/python3");
    let error = tree.error("odd");
    assert!(error.contains("cannot be told: '~/odd/bin/python3' cannot be run"), "{error}");

    fs::set_permissions(&file, fs::Permissions::from_mode(0o755)).unwrap();
    check(&tree, "odd", "odd");

    // What it leaves behind keeps its output open, and is not waited for.
    fs::write(&file, script.replace("#!/bin/sh\n", "#!/bin/sh\nsleep 40 &\n")).unwrap();
    let begun = Instant::now();
    check(&tree, "odd", "odd");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());

    fs::write(&file, "#!/bin/sh\nexit 3\n").unwrap();
    assert!(tree.error("odd").contains("fails when asked (exit status: 3)"));
}

/// The Pythons of this machine, as far as it has any: files and executable must say the same.
#[test]
fn real_installations_say_the_same_as_their_files() {
    let mut prefixes = vec![PathBuf::from("/usr"), PathBuf::from("/usr/local")];
    let homes = std::env::var_os("HOME").map(|home| Path::new(&home).join(".pyenv/versions"));
    for entry in homes.iter().filter_map(|dir| fs::read_dir(dir).ok()).flatten() {
        prefixes.push(entry.unwrap().path());
    }
    for prefix in prefixes {
        let Some(executable) = executable_of(&prefix) else { continue };
        let install = match install::of(&prefix, &executable, Running::Allowed) {
            Err(FindError::TooOld { .. }) => continue,
            found => found.unwrap(),
        };
        let asked = install::ask(&executable).unwrap();
        assert_eq!(install.version.to_string(), asked.version, "{}", prefix.display());
        assert_eq!(install.soabi, asked.config.soabi, "{}", prefix.display());
        if asked.config.soname.ends_with(".so.1.0") {
            let libpython = install.libpython.unwrap();
            assert!(libpython.ends_with(&asked.config.soname), "{}", libpython.display());
        }
    }
}
