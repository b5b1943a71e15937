//! Every option, and the configuration it produces, held against mod_wsgi 6.1.1.
//!
//! * `table/cases.txt`: command lines, one per line;
//! * `table/expected.txt`: what mod_wsgi-express 6.1.1 makes of them: the whole configuration
//!   without options, and for each case what is different from that;
//! * `table/differences.txt`: where this one does something else on purpose, with the reason.
//!
//! With the path of a mod_wsgi-express of PyPI in `MOD_WSGI_EXPRESS_REFERENCE`, the expected table
//! is made again and compared with the committed one; with `UPDATE` set as well it is replaced.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use common::flatten::{delta, flatten, words};
use common::{Sandbox, err, here, python};

/// The case without options.
const BASE: &str = "app.py";

type Table = BTreeMap<String, Vec<String>>;

/// The server of one case, as lines.
fn observe(sandbox: &Sandbox, command: &mut Command, case: &str) -> Vec<String> {
    let root = sandbox.path("root");
    if root.exists() {
        std::fs::remove_dir_all(&root).unwrap();
    }
    let output = command
        .args(["--server-root", "root", "--user", "daemon", "--group", "daemon"])
        .args(["--mime-types", &sandbox.text("types")])
        .args(words(case))
        .output()
        .unwrap();
    assert!(output.status.success(), "{case}: {}", err(&output));
    let call = sandbox.apachectl("root", &["-t"]);

    let mut lines: Vec<String> = call
        .environment
        .iter()
        .filter(|(key, _)| key.starts_with("MOD_WSGI_") || ["LANG", "LC_ALL"].contains(&&***key))
        .filter(|(key, _)| !["MOD_WSGI_DIST", "MOD_WSGI_EXPRESS_PYTHON"].contains(&&***key))
        .map(|(key, value)| format!("{key}={value}"))
        .collect();
    lines.extend(call.words.iter().map(|word| format!("httpd {word}")));
    lines.extend(common::out(&output).lines().map(|line| format!("says {line}")));
    let conf = sandbox.read("root/httpd.conf");
    lines.extend(flatten(&conf, &call.defines(), &call.environment));
    lines
}

/// All cases of one program.
fn table(sandbox: &Sandbox, program: &dyn Fn() -> Command, names: &[(String, String)]) -> Table {
    let named = |lines: Vec<String>| -> Vec<String> {
        lines.iter().map(|line| named(line, names)).collect()
    };
    let base = named(observe(sandbox, &mut program(), BASE));
    let mut table = Table::new();
    for case in cases() {
        let lines = named(observe(sandbox, &mut program(), &case));
        table.insert(case, delta(&base, &lines));
    }
    table.insert(BASE.to_owned(), base);
    table
}

fn named(line: &str, names: &[(String, String)]) -> String {
    names.iter().fold(line.to_owned(), |line, (from, to)| line.replace(from, to))
}

fn cases() -> Vec<String> {
    let text = std::fs::read_to_string(here("table/cases.txt")).unwrap();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(str::to_owned).collect()
}

/// Files the cases name.
fn sandbox() -> Sandbox {
    let sandbox = Sandbox::new();
    for name in [
        "handler.py",
        "service.py",
        "auth.py",
        "extra.conf",
        "my.rewrite",
        "my.env",
        "site.crt",
        "site.key",
        "chain.pem",
        "ca.pem",
        "static/a.txt",
        "docs/index.html",
        "mime.types",
    ] {
        sandbox.write(name, "");
    }
    sandbox
}

fn ours() -> Table {
    let sandbox = sandbox();
    let names = names(
        &sandbox,
        &sandbox.path("dist/mod_wsgi.so"),
        &python("import sys; print(sys.prefix)"),
    );
    table(&sandbox, &|| sandbox.command("setup-server"), &names)
}

/// What stands for names of this machine.
fn names(sandbox: &Sandbox, module: &Path, prefix: &str) -> Vec<(String, String)> {
    let uid = rustix::process::getuid().as_raw();
    let mut names = vec![
        (module.to_str().unwrap().to_owned(), "{MODULE}".to_owned()),
        (sandbox.text("root"), "{ROOT}".to_owned()),
        (sandbox.dir.to_str().unwrap().to_owned(), "{HERE}".to_owned()),
    ];
    // Shortest last: one may be the beginning of another.
    names.push((prefix.to_owned(), "{PREFIX}".to_owned()));
    names.push((format!(":{uid})"), ":{UID})".to_owned()));
    names
}

fn reference(program: &str) -> Table {
    let sandbox = sandbox();
    let mut location = Command::new(program);
    sandbox.prepare(&mut location);
    let output = location.arg("module-location").output().unwrap();
    let module = common::out(&output).trim().to_owned();
    let config = Command::new(program).arg("module-config").output().unwrap();
    let config = common::out(&config);
    let prefix = words(config.lines().last().unwrap()).pop().unwrap();
    let package = Path::new(&module).parent().unwrap().parent().unwrap();
    let mut names = names(&sandbox, Path::new(&module), &prefix);
    names.insert(1, (package.to_str().unwrap().to_owned(), "{PACKAGE}".to_owned()));
    let command = || {
        let mut command = Command::new(program);
        sandbox.prepare(&mut command);
        command.args(["setup-server", "--httpd-executable", &sandbox.text("httpd")]);
        command.args(["--modules-directory", &sandbox.text("modules")]);
        command.args(["--rotatelogs-executable", &sandbox.text("rotatelogs")]);
        command
    };
    table(&sandbox, &command, &names)
}

fn write(table: &Table) -> String {
    let mut text = String::new();
    for (case, lines) in table {
        text.push_str(&format!("== {case}\n"));
        for line in lines {
            text.push_str(&format!("{line}\n"));
        }
    }
    text
}

/// Reads such a text. Lines that begin with `#` are for people.
fn read(name: &str) -> Table {
    let text = std::fs::read_to_string(here(name)).unwrap();
    let mut table = Table::new();
    let mut case = None;
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("== ") {
            case = Some(name.to_owned());
            table.entry(name.to_owned()).or_default();
        } else if !line.is_empty() && !line.starts_with('#') {
            let case = case.clone().unwrap_or_else(|| panic!("{name}: {line}: of which case?"));
            table.get_mut(&case).unwrap().push(line.to_owned());
        }
    }
    table
}

#[test]
fn every_option_produces_the_configuration_of_the_reference() {
    let (expected, ours, allowed) =
        (read("table/expected.txt"), ours(), read("table/differences.txt"));
    let everywhere = &allowed["*"];
    let mut found = Table::from([("*".to_owned(), Vec::new())]);
    for case in ours.keys() {
        let (theirs, ours) = (whole(&expected, case), whole(&ours, case));
        for line in delta(&theirs, &ours) {
            let case = if everywhere.contains(&line) { "*" } else { case };
            let lines = found.entry(case.to_owned()).or_default();
            if case != "*" || !lines.contains(&line) {
                lines.push(line);
            }
        }
    }
    if std::env::var_os("UPDATE").is_some() && found != allowed {
        std::fs::write(here("table/found.txt"), write(&found)).unwrap();
    }
    let sorted = |table: &Table| {
        let mut lines = lines(table);
        lines.sort();
        lines
    };
    let (allowed, found) = (sorted(&allowed), sorted(&found));
    assert!(
        found == allowed,
        "differences that are not the ones in differences.txt:\n{}",
        delta(&allowed, &found).join("\n")
    );
    assert_eq!(ours.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
}

/// All lines of a case: those of the one without options, and what is different.
fn whole(table: &Table, case: &str) -> Vec<String> {
    let mut lines = table[BASE].clone();
    if case == BASE {
        return lines;
    }
    for change in &table[case] {
        match (change.strip_prefix("- "), change.strip_prefix("+ ")) {
            (Some(gone), _) => {
                let at = lines.iter().position(|line| line == gone).unwrap();
                lines.remove(at);
            }
            (_, Some(new)) => lines.push(new.to_owned()),
            _ => panic!("[{case}] {change}"),
        }
    }
    lines
}

#[test]
fn without_options_even_the_order_is_that_of_the_reference() {
    let sandbox = sandbox();
    let prefix = python("import sys; print(sys.prefix)");
    let names = names(&sandbox, &sandbox.path("dist/mod_wsgi.so"), &prefix);
    let lines = observe(&sandbox, &mut sandbox.command("setup-server"), BASE);
    let ours: Vec<String> = lines.iter().map(|line| named(line, &names)).collect();
    let theirs = &read("table/expected.txt")[BASE];
    let common = |these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|line| those.contains(line)).cloned().collect()
    };
    assert_eq!(common(&ours, theirs), common(theirs, &ours));
}

fn lines(table: &Table) -> Vec<String> {
    table
        .iter()
        .flat_map(|(case, lines)| lines.iter().map(move |line| format!("[{case}] {line}")))
        .collect()
}

#[test]
fn the_expected_table_is_what_the_reference_says() {
    let Some(program) = std::env::var_os("MOD_WSGI_EXPRESS_REFERENCE") else { return };
    let table = reference(program.to_str().unwrap());
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(here("table/expected.txt"), write(&table)).unwrap();
    }
    let expected = read("table/expected.txt");
    assert!(expected == table, "{}", delta(&lines(&expected), &lines(&table)).join("\n"));
}

#[test]
fn no_option_is_without_a_case() {
    let sandbox = Sandbox::new();
    let output = sandbox.command("options").arg("--json").output().unwrap();
    let options: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let cases = cases();
    let given: Vec<String> = cases.iter().flat_map(|case| words(case)).collect();
    // What the cases are run with anyway, what they cannot have, and what the reference lacks.
    let elsewhere = [
        "server-root",
        "user",
        "group",
        "httpd-executable",
        "modules-directory",
        "free-threading",
        "enable-telemetry",
        "telemetry-ui-port",
        "setup-only",
        "python",
    ];
    for option in options.as_array().unwrap() {
        let name = option["name"].as_str().unwrap();
        assert!(
            given.contains(&format!("--{name}")) != elsewhere.contains(&name),
            "--{name} needs a case"
        );
    }
}
