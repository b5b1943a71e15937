//! Where the files of this build are: engines, and the name of the default Python.
//!
//! The support directory holds an `engines` folder. It is the module's own directory in a build
//! tree, and `mod_wsgi` beside the module once it is installed; symbolic links are followed.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use engine_api::find::{self, Running};
use engine_api::{FindError, Python};
use httpd_sys::Image;

use crate::Wsgi;
use crate::settings::Global;

/// Finds the Python of `WSGIPythonHome`, or the one that the module was built for, and its engine.
///
/// `running` says whether an executable may be run to ask it: never in the parent, which is root.
///
/// # Errors
/// One sentence for the administrator.
pub(crate) fn python(global: &Global, running: Running) -> Result<Python, String> {
    let home = global.python_home.as_deref().map(|home| Path::new(OsStr::from_bytes(home)));
    let support = directory()?;
    find::find_with(home, &support, running).map_err(|error: FindError| error.to_string())
}

pub(crate) fn directory() -> Result<PathBuf, String> {
    let image = Image::of::<Wsgi>().ok_or("the file of mod_wsgi cannot be told (dladdr)")?;
    let module = image.path().canonicalize().map_err(|error| {
        format!("the file of mod_wsgi, '{}', is gone: {error}", image.path().display())
    })?;
    Ok(beside(&module))
}

/// The support directory of a module.
fn beside(module: &Path) -> PathBuf {
    let directory = module.parent().unwrap_or(Path::new("/"));
    let installed = directory.join("mod_wsgi");
    if installed.is_dir() && !directory.join("engines").is_dir() {
        installed
    } else {
        directory.to_owned()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::fs;

    use super::*;

    #[test]
    fn engines_beside_the_module_or_in_a_folder_of_their_own() {
        let dir = tempfile::tempdir().unwrap();
        let module = dir.path().join("mod_wsgi.so");
        assert_eq!(beside(&module), dir.path());
        fs::create_dir_all(dir.path().join("mod_wsgi/engines")).unwrap();
        assert_eq!(beside(&module), dir.path().join("mod_wsgi"));
        fs::create_dir(dir.path().join("engines")).unwrap();
        assert_eq!(beside(&module), dir.path());
    }
}
