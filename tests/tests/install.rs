//! A build that was installed: the module in Apache's directory of modules, and what it needs in a
//! folder beside it.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tests::{Mpm, Setup, Site, matrix};

const HELLO: &str = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'Hello!']
";

/// Copies a directory, readable to everybody.
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

/// The module of an installation below the site.
fn install(site: &Site) -> PathBuf {
    let module = Setup::get().module();
    let dist = module.parent().unwrap();
    let modules = site.path("modules");
    copy(dist, &modules.join("mod_wsgi"), site);
    fs::rename(modules.join("mod_wsgi/mod_wsgi.so"), modules.join("mod_wsgi.so")).unwrap();
    modules.join("mod_wsgi.so")
}

fn serves(site: Site, module: &Path) {
    let python = matrix::python();
    let script = site.write("hello.wsgi", HELLO);
    let server = site
        .conf(format!("LoadModule wsgi_module \"{}\"", module.display()))
        .conf(format!("WSGIPythonHome \"{}\"", python.prefix.display()))
        .conf(format!("WSGIScriptAlias / \"{}\"", script.display()))
        .start();
    assert_eq!(server.get("/").with_status(200).text(), "Hello!");
    server.stop();
}

#[test]
fn an_installed_build_serves() {
    let site = Site::plain(Mpm::Event);
    let module = install(&site);
    serves(site, &module);
}

#[test]
fn a_link_to_an_installed_build_serves() {
    let site = Site::plain(Mpm::Event);
    let module = install(&site);
    let link = site.path("linked.so");
    symlink(&module, &link).unwrap();
    serves(site, &link);
}
