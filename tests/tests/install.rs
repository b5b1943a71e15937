//! A build that was installed: the module in Apache's directory of modules, and what it needs in a
//! folder beside it.

#![allow(clippy::unwrap_used)]

use std::os::unix::fs::symlink;
use std::path::Path;
use tests::{Mpm, Site, installed, matrix};

const HELLO: &str = "
def application(environ, start_response):
    start_response('200 OK', [])
    return [b'Hello!']
";

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
    let module = installed(&site);
    serves(site, &module);
}

#[test]
fn a_link_to_an_installed_build_serves() {
    let site = Site::plain(Mpm::Event);
    let module = installed(&site);
    let link = site.path("linked.so");
    symlink(&module, &link).unwrap();
    serves(site, &link);
}
