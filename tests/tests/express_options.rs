//! Every option's configuration, read by a real Apache with our module.
//!
//! The command lines are those that are held against mod_wsgi 6.1.1, in the tests of
//! `mod_wsgi-express` itself.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use tests::{Express, Package, matrix};

const CASES: &str = include_str!("../../crates/express/tests/table/cases.txt");

#[test]
fn apache_takes_what_every_option_makes() {
    if !matrix::nightly("every option's configuration in a real Apache") {
        return;
    }
    let package = Package::shared(&matrix::python());
    for name in ["app.py", "handler.py", "service.py", "auth.py", "extra.conf", "my.rewrite"] {
        package.write(name, "# nothing\n");
    }
    for name in ["my.env", "site.crt", "site.key", "chain.pem", "ca.pem", "mime.types"] {
        package.write(name, "# nothing\n");
    }
    package.write("static/a.txt", "a");
    package.write("docs/index.html", "");
    let mut wrong = Vec::new();
    let cases = CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for (number, case) in cases.enumerate() {
        // An Apache with PHP 5 is hard to find.
        if case.contains("--with-php5") {
            continue;
        }
        let server = Express::new(&package, &format!("root {number}"));
        let setup = server.command("setup-server", &[]);
        // The numbers there are only there to be recognised; these have a least value.
        let zeros = if case.contains("-buffer-size") { "0000" } else { "" };
        // The words of a case are quoted as for a shell; `-f` is for the stars in names.
        let mut command = Command::new("sh");
        command
            .args(["-fc", &format!("exec \"$0\" \"$@\" {case}{zeros}")])
            .arg(setup.get_program());
        command.args(setup.get_args()).current_dir(&package.place).env_clear();
        command.envs(setup.get_envs().filter_map(|(key, value)| Some((key, value?))));
        let output = command.output().unwrap();
        if !output.status.success() {
            wrong.push(format!("{case}\n  {}", String::from_utf8_lossy(&output.stderr)));
            continue;
        }
        let mut test = Command::new(server.root.join("apachectl"));
        test.arg("configtest").env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
        let output = test.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if !output.status.success() {
            wrong.push(format!("{case}\n  {said}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
