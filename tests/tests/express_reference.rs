//! Every option's configuration, as Apache itself understands it, held against mod_wsgi 6.1.1.
//!
//! Both commands, the one of PyPI and ours, set up a server for each of the command lines that the
//! tests of `mod_wsgi-express` know, and Apache, each time with the module of the command, is asked
//! for the configuration that is left when conditions are decided and files included
//! (`-t -D DUMP_CONFIG`, which `mod_info` answers). What is different has to be in the list of
//! differences with their reasons. That each case is on that list of cases, which has every option,
//! is tested there, and so is what Apache does not tell: modules, names given with `-D`, variables.
//!
//! <https://httpd.apache.org/docs/2.4/mod/mod_info.html#startup>

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use tests::{Express, Package, Setup, Venv, matrix};

#[allow(unreachable_pub, dead_code, reason = "each test uses some of it")]
#[path = "../../crates/express/tests/common/flatten.rs"]
mod flatten;

const CASES: &str = include_str!("../../crates/express/tests/table/cases.txt");
const DIFFERENCES: &str = include_str!("../../crates/express/tests/table/differences.txt");

/// Command lines that need more than the tests without a real Apache have, and their differences.
const MORE: &str = include_str!("../../crates/express/tests/table/more.txt");

/// What both have to have for all cases.
const REFERENCE: [&str; 2] = ["mod_wsgi==6.1.1", "mod_wsgi-telemetry"];

#[test]
fn apache_understands_every_option_s_configuration_as_the_reference_s() {
    if !matrix::nightly("every option's configuration against mod_wsgi 6.1.1") {
        return;
    }
    let python = matrix::python();
    let Some(info) = Setup::get().loadable("mod_info") else {
        return matrix::skip("configurations of mod_wsgi 6.1.1", "there is no mod_info");
    };
    let Some(reference) = Venv::with(&python, &REFERENCE) else { return };
    let package = Package::of_wheel(&python);
    if let Err(error) = package.install(&[REFERENCE[1]]) {
        return matrix::skip("configurations of mod_wsgi 6.1.1", &format!("{error:#}"));
    }
    files(&package, &info);

    let allowed = differences();
    let listed = |case: &str, line: &str| {
        // Apache wants more of a buffer than the numbers that are easy to recognise.
        let line = match case.contains("-buffer-size") {
            true => line.strip_suffix("0000").unwrap_or(line),
            false => line,
        };
        ["*", case].iter().any(|case| allowed.get(*case).is_some_and(|set| set.contains(line)))
    };
    let mut wrong = Vec::new();
    let mut compared = 0;
    let cases = CASES.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let more = MORE.lines().filter_map(|line| line.strip_prefix("== "));
    // An Apache with PHP 5 is hard to find.
    for case in cases.chain(more).filter(|case| !case.contains("--with-php5")) {
        let program = reference.prefix.join("bin/mod_wsgi-express");
        let theirs = dump(&package, Some(&program), case);
        let ours = dump(&package, None, case);
        match (theirs, ours) {
            (Ok(theirs), Ok(ours)) => {
                assert!(theirs.len() > 50, "{case}: {theirs:#?}");
                compared += 1;
                let lines = flatten::delta(&theirs, &ours);
                let new = lines.into_iter().filter(|line| !listed(case, line));
                wrong.extend(new.map(|line| format!("[{case}] {line}")));
            }
            // What 6.1.1 makes a configuration of that Apache refuses, and ours does not.
            (Err(_), Ok(_)) if case.contains("-buffer-size") => {}
            (theirs, ours) => {
                let said = [theirs.err(), ours.err()].map(Option::unwrap_or_default);
                wrong.push(format!("[{case}] theirs: {}\nours: {}", said[0], said[1]));
            }
        }
    }
    assert!(wrong.is_empty(), "differences nobody listed:\n{}", wrong.join("\n"));
    assert!(compared > 120, "only {compared} cases were compared");
}

/// A directory without a blank in its name, with which 6.1.1 cannot start anything.
fn plain(package: &Package) -> PathBuf {
    package.place.with_file_name("plain")
}

/// The files that the cases name.
fn files(package: &Package, info: &Path) {
    let write = |name: &str, text: &str| package.write(&format!("../plain/{name}"), text);
    for name in ["app.py", "handler.py", "service.py", "auth.py", "extra.conf", "my.rewrite"] {
        write(name, "# nothing\n");
    }
    for name in ["my.env", "site.crt", "site.key", "chain.pem", "ca.pem", "mime.types", "site.ini"]
    {
        write(name, "# nothing\n");
    }
    write("static/a.txt", "a");
    write("docs/index.html", "");
    write("info.conf", &format!("LoadModule info_module \"{}\"\n", info.display()));
}

/// The configuration of a case, one line per directive, with names instead of paths; or why there
/// is none. `program` is a command other than ours.
fn dump(package: &Package, program: Option<&Path>, case: &str) -> Result<Vec<String>, String> {
    let mut server = Express::new(package, "root");
    server.root = plain(package).join("root");
    if server.root.exists() {
        std::fs::remove_dir_all(&server.root).unwrap();
    }
    let setup = server.command("setup-server", &["--include-file", "info.conf"]);
    let mut words: Vec<String> =
        setup.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
    // The names in the list of differences are those of no options; nobody listens here.
    for option in ["--host", "--port"] {
        let at = words.iter().position(|word| word == option).unwrap();
        words.drain(at..at + 2);
    }
    let place = plain(package);
    let place = place.to_str().unwrap();
    let zeros = if case.contains("-buffer-size") { "0000" } else { "" };
    let mut command = Command::new("sh");
    command.args(["-fc", &format!("exec \"$0\" \"$@\" {case}{zeros}")]);
    command.arg(program.map_or(setup.get_program(), Path::as_os_str)).args(words);
    command.args(["--mime-types", "/dev/null"]).current_dir(place).env_clear();
    command.envs(setup.get_envs().filter_map(|(key, value)| Some((key, value?))));
    let output = command.output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let mut dump = Command::new(server.root.join("apachectl"));
    dump.args(["-t", "-D", "DUMP_CONFIG"]);
    dump.env_clear().env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    let output = dump.output().unwrap();
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let prefix = match program {
        Some(program) => program.parent().unwrap().parent().unwrap(),
        None => &package.prefix,
    };
    let lines = flatten::flatten(&closed(&text), &[], &BTreeMap::new());
    Ok(lines.iter().map(|line| named(line, server.root.to_str().unwrap(), place, prefix)).collect())
}

/// A dump with all of its sections ended, which `mod_info` leaves out of those that are empty. How
/// deep a line is, is told by the blanks before it.
fn closed(dump: &str) -> String {
    let mut text = String::new();
    let mut open: Vec<&str> = Vec::new();
    let lines = dump.lines().filter(|line| {
        let line = line.trim_start();
        !line.is_empty() && !line.starts_with('#') && !line.starts_with("</")
    });
    for line in lines {
        let directive = line.trim_start();
        let depth = (line.len() - directive.len()) / 2;
        while open.len() > depth {
            text.extend(open.pop().map(|name| format!("</{name}>\n")));
        }
        if let Some(section) = directive.strip_prefix('<') {
            open.extend(section.split([' ', '>']).next());
        }
        text.push_str(directive);
        text.push('\n');
    }
    text.extend(open.iter().rev().map(|name| format!("</{name}>\n")));
    text
}

/// A line with the names that the list of differences has.
fn named(line: &str, root: &str, place: &str, prefix: &Path) -> String {
    let package = format!("{}/lib/", prefix.display());
    let line = match line.split_once(&package) {
        // Below the package, whatever the version of Python is.
        Some((begin, rest)) => match rest.split_once("/site-packages/mod_wsgi") {
            Some((_, rest)) => format!("{begin}{{PACKAGE}}{rest}"),
            None => line.to_owned(),
        },
        None => line.to_owned(),
    };
    let prefix = prefix.to_str().unwrap();
    // Longest first: one may be the beginning of another.
    let mut names = [(root, "{ROOT}"), (prefix, "{PREFIX}"), (place, "{HERE}")];
    names.sort_by_key(|(path, _)| std::cmp::Reverse(path.len()));
    names.iter().fold(line, |line, (path, name)| line.replace(path, name))
}

/// The differences that are meant to be, by case.
fn differences() -> BTreeMap<&'static str, BTreeSet<&'static str>> {
    let mut table = BTreeMap::new();
    let mut case = "";
    for line in DIFFERENCES.lines().chain(MORE.lines()) {
        if let Some(name) = line.strip_prefix("== ") {
            case = name;
        } else if !line.is_empty() && !line.starts_with('#') {
            table.entry(case).or_insert_with(BTreeSet::new).insert(line);
        }
    }
    table
}
