//! The diagnostic script prints the right values: process group, interpreter, threading, Python.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use tests::{Mpm, Server, Site, matrix};

const SCRIPT: &str = include_str!("../../examples/diagnostics.wsgi");

fn values(server: &Server, path: &str, host: &str) -> BTreeMap<String, String> {
    let response = server.request("GET", path, &[("Host", host)], b"").with_status(200);
    let pair = |line: &str| line.split_once(" = ").map(|(k, v)| (k.to_owned(), v.to_owned()));
    response.text().lines().filter_map(pair).collect()
}

#[test]
fn the_diagnostic_script_tells_the_truth() {
    matrix::for_each_cell(|cell| {
        let server = Site::new(cell.mpm, &cell.python)
            .mount("/diagnostics.wsgi", "one/diagnostics.wsgi", SCRIPT)
            .mount("/other", "two/diagnostics.wsgi", SCRIPT)
            .start();
        let found = values(&server, "/diagnostics.wsgi", "localhost");
        assert_eq!(found["mod_wsgi.process_group"], "''");
        assert_eq!(found["mod_wsgi.application_group"], "'localhost|/diagnostics.wsgi'");
        let threads = if cell.mpm.threaded() { "True" } else { "False" };
        assert_eq!(found["wsgi.multithread"], threads);
        assert_eq!(found["wsgi.multiprocess"], "True");
        let version = format!("'{} ", cell.python.full_version);
        assert!(found["sys.version"].starts_with(&version), "{}", found["sys.version"]);
        let prefix = cell.python.prefix.display();
        assert_eq!(found["sys.prefix"], format!("'{prefix}'"));
        let library = format!("python{}", cell.python.version);
        assert!(found["sys.path"].contains(&library), "{}", found["sys.path"]);
        server.stop();
    });
}

#[test]
fn the_interpreter_is_named_after_host_port_and_mount() {
    let site = Site::new(Mpm::Event, &matrix::python());
    let server = site
        .mount("/a", "a.wsgi", SCRIPT)
        .mount("/b/C", "b.wsgi", SCRIPT)
        .mount("/", "root.wsgi", SCRIPT)
        .start();
    let name =
        |path: &str, host: &str| values(&server, path, host)["mod_wsgi.application_group"].clone();
    // The server's name is its own; the port is the client's if it is one of ours.
    let port = server.port();
    assert_eq!(name("/a/x/y", "localhost"), "'localhost|/a'");
    assert_eq!(name("/a", &format!("example.org:{port}")), format!("'localhost:{port}|/a'"));
    assert_eq!(name("/a", "example.org:8081"), "'localhost|/a'");
    assert_eq!(name("/a", "example.org:81"), "'localhost|/a'");
    assert_eq!(name("/a", "example.org:80"), "'localhost|/a'");
    assert_eq!(name("/a", "example.org:443"), "'localhost|/a'");
    assert_eq!(name("//b//C//x", "localhost"), "'localhost|/b/C'");
    assert_eq!(name("/else", "localhost"), "'localhost|'");
    server.stop();
}

#[test]
fn groups_can_be_chosen() {
    let site = Site::new(Mpm::Event, &matrix::python());
    let script = site.write("s.wsgi", SCRIPT);
    let script = script.display();
    let server = site
        .conf(format!("WSGIScriptAlias /global {script} application-group=%{{GLOBAL}}"))
        .conf(format!("WSGIScriptAlias /named {script} application-group=named"))
        .conf(format!("WSGIScriptAlias /server {script} application-group=%{{SERVER}}"))
        .conf(format!("WSGIScriptAlias /host {script} application-group=%{{HOST}}"))
        .conf(format!("WSGIScriptAlias /embedded {script} process-group=%{{GLOBAL}}"))
        .conf(format!("WSGIScriptAlias /env {script} application-group=%{{ENV:WHICH}}"))
        .conf(format!("WSGIScriptAlias /section {script}"))
        .conf(format!("WSGIScriptAlias /default {script}"))
        .conf("SetEnv WHICH %{GLOBAL}\nWSGIApplicationGroup outer")
        .conf("<Location /section>\nWSGIApplicationGroup inner\n</Location>")
        .start();
    let name =
        |path: &str| values(&server, path, "Example.org:443")["mod_wsgi.application_group"].clone();
    assert_eq!(name("/global"), "''");
    assert_eq!(name("/named"), "'named'");
    assert_eq!(name("/server"), "'localhost'");
    // A host that is not one of the server's is not believed: each would be an interpreter.
    assert_eq!(name("/host"), "'localhost'");
    assert_eq!(name("/env"), "''");
    assert_eq!(name("/section"), "'inner'");
    assert_eq!(name("/default"), "'outer'");
    assert_eq!(values(&server, "/embedded", "localhost")["mod_wsgi.process_group"], "''");
    server.stop();
}

#[test]
fn a_virtual_host_may_have_an_interpreter_per_name() {
    let site = Site::new(Mpm::Event, &matrix::python());
    let script = site.write("s.wsgi", SCRIPT);
    let alias = format!("WSGIScriptAlias /host {} application-group=%{{HOST}}", script.display());
    let server = site
        .conf("<VirtualHost *:*>\nServerName www.example\nServerAlias *.example.org other.example")
        .conf(format!("{alias}\n</VirtualHost>"))
        .start();
    let name = |host: &str| values(&server, "/host", host)["mod_wsgi.application_group"].clone();
    assert_eq!(name("www.example"), "'www.example'");
    assert_eq!(name("Other.Example:443"), "'other.example'");
    assert_eq!(name("evil.example"), "'www.example'");
    server.stop();
}

#[test]
fn multiprocess_is_false_for_a_single_child() {
    matrix::for_each_mpm(|mpm| {
        let site = Site::new(mpm, &matrix::python()).one_child(4);
        let server = site.mount("/", "s.wsgi", SCRIPT).start();
        let found = values(&server, "/", "localhost");
        assert_eq!(found["wsgi.multiprocess"], "False", "{mpm}");
        assert_eq!(found["wsgi.multithread"], if mpm.threaded() { "True" } else { "False" });
        server.stop();
    });
}

#[test]
fn multithread_is_false_for_a_single_thread() {
    let site = Site::new(Mpm::Worker, &matrix::python()).one_child(1);
    let server = site.mount("/", "s.wsgi", SCRIPT).start();
    assert_eq!(values(&server, "/", "localhost")["wsgi.multithread"], "False");
    server.stop();
}
