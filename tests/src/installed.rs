//! A build as `install` leaves it: the module in a directory of modules, the rest in a folder beside
//! it. Also a build of one's own, to do damage to.

use crate::setup::Setup;
use crate::site::Site;
use std::fs;
use std::path::{Path, PathBuf};

/// Installs the build below the site, readable to everybody; the result is the module.
///
/// # Panics
/// When it cannot be copied.
pub fn installed(site: &Site) -> PathBuf {
    let module = Setup::get().module();
    let modules = site.path("modules");
    copy(module.parent().unwrap(), &modules.join("mod_wsgi"), site);
    fs::rename(modules.join("mod_wsgi/mod_wsgi.so"), modules.join("mod_wsgi.so")).unwrap();
    modules.join("mod_wsgi.so")
}

fn copy(from: &Path, to: &Path, site: &Site) {
    for entry in fs::read_dir(from).unwrap().flatten() {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to, site);
        } else {
            site.write(to.to_str().unwrap(), "");
            fs::copy(&path, &to).unwrap();
        }
    }
}
