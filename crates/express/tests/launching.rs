//! Starting, staying, stopping, and what was wrong with that in mod_wsgi-express 6.1.1.
//!
//! Apache is a script that does what its environment says, so each test is about the launcher.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs::{self, File};
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use common::{Sandbox, err, out, python};
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

/// `start-server` on a port of its own.
fn start(sandbox: &Sandbox) -> Command {
    let mut command = sandbox.command("start-server");
    let port = free_port();
    command.args(["app.py", "--server-root", "root", "--port", &port.to_string()]);
    // Not --user: whether that user can get at everything here depends on where "here" is.
    command.env("WSGI_RUN_USER", "daemon");
    command
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// A terminal, and the end that a person sits at.
fn terminal() -> (OwnedFd, File) {
    let person = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&person).unwrap();
    unlockpt(&person).unwrap();
    let name = ptsname(&person, Vec::new()).unwrap();
    let file = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .custom_flags(rustix::fs::OFlags::NOCTTY.bits().cast_signed())
        .open(name.to_str().unwrap())
        .unwrap();
    (person, file)
}

/// Starts a command on a terminal.
fn on_terminal(command: &mut Command) -> (Child, OwnedFd) {
    let (person, file) = terminal();
    let end = |file: &File| Stdio::from(file.try_clone().unwrap());
    let child = command.stdin(end(&file)).stdout(end(&file)).stderr(end(&file)).spawn().unwrap();
    (child, person)
}

#[track_caller]
fn within<T>(seconds: u64, what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    loop {
        if let Some(found) = probe() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {seconds} s: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The process id of the Apache that was started.
fn apache(sandbox: &Sandbox) -> Pid {
    let raw = within(60, "Apache starts", || {
        fs::read_to_string(sandbox.path("root/httpd.pid")).ok()?.trim().parse::<i32>().ok()
    });
    Pid::from_raw(raw).unwrap()
}

fn gone(pid: Pid) -> Option<()> {
    test_kill_process(pid).is_err().then_some(())
}

fn wait(child: &mut Child) -> ExitStatus {
    within(60, "the launcher ends", || child.try_wait().unwrap())
}

fn read_terminal(person: OwnedFd) -> String {
    let mut text = Vec::new();
    // Reading fails when nobody is left at the other end.
    let _ = File::from(person).read_to_end(&mut text);
    String::from_utf8_lossy(&text).replace("\r\n", "\n")
}

#[test]
fn without_a_terminal_the_launcher_becomes_apache() {
    let sandbox = Sandbox::new();
    let mut child = start(&sandbox)
        .env("FAKE_SLEEP", "1")
        .env("CAPTURE", sandbox.path("capture"))
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let pid = apache(&sandbox);
    assert_eq!(pid.as_raw_nonzero().get().cast_unsigned(), child.id());
    let words = sandbox.read("capture.args");
    assert!(words.ends_with("-k\nstart\n-DFOREGROUND\n"), "{words}");
    kill_process(pid, Signal::TERM).unwrap();
    assert_eq!(wait(&mut child).code(), Some(0));
}

#[test]
fn d14_a_second_start_on_a_live_server_root_is_refused() {
    let sandbox = Sandbox::new();
    let mut child = start(&sandbox).env("FAKE_SLEEP", "1").stdout(Stdio::null()).spawn().unwrap();
    let pid = apache(&sandbox);
    let before = fs::metadata(sandbox.path("root/httpd.conf")).unwrap().ino();

    let output = start(&sandbox).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(
        err(&output),
        format!(
            "mod_wsgi-express: error: a server is running in {0} already (process {1}); stop it \
             with `{0}/apachectl stop`, or choose another --port or --server-root\n",
            sandbox.text("root"),
            pid.as_raw_nonzero()
        )
    );
    assert_eq!(fs::metadata(sandbox.path("root/httpd.conf")).unwrap().ino(), before);

    // To change a running server's options is what setup-server is for.
    assert!(sandbox.setup(&["app.py", "--threads", "9"]).status.success());
    assert_ne!(fs::metadata(sandbox.path("root/httpd.conf")).unwrap().ino(), before);

    kill_process(pid, Signal::TERM).unwrap();
    wait(&mut child);
    // What a dead server leaves behind is in nobody's way.
    assert!(start(&sandbox).stdout(Stdio::null()).status().unwrap().success());
}

#[test]
fn d16_an_occupied_port_is_told_before_anything_is_written() {
    let sandbox = Sandbox::new();
    let socket = std::net::TcpListener::bind("[::]:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let mut command = start(&sandbox);
    let output = command.args(["--port", &port.to_string()]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains(&format!("port {port} is in use by another program")));
    assert!(!sandbox.path("root").exists());
}

#[test]
fn d17_the_exit_status_is_apaches_on_a_terminal_too() {
    let sandbox = Sandbox::new();
    for status in [0, 1, 7] {
        let (mut child, person) =
            on_terminal(start(&sandbox).env("FAKE_STATUS", status.to_string()));
        assert_eq!(wait(&mut child).code(), Some(status));
        assert!(read_terminal(person).contains("Server URL"));
    }
    // And without one.
    let output = start(&sandbox).env("FAKE_STATUS", "7").output().unwrap();
    assert_eq!(output.status.code(), Some(7));
}

#[test]
fn on_a_terminal_signals_are_passed_on_and_a_changed_window_is_not() {
    let sandbox = Sandbox::new();
    let (mut child, _person) = on_terminal(start(&sandbox).env("FAKE_SLEEP", "1"));
    let pid = apache(&sandbox);
    let launcher = Pid::from_child(&child);
    assert_ne!(pid, launcher);
    kill_process(launcher, Signal::WINCH).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    assert!(child.try_wait().unwrap().is_none());
    kill_process(launcher, Signal::INT).unwrap();
    assert_eq!(wait(&mut child).code(), Some(0));
    within(5, "Apache ends", || gone(pid));
}

#[test]
fn d17_apache_does_not_outlive_a_launcher_that_was_killed() {
    let sandbox = Sandbox::new();
    let (mut child, _person) = on_terminal(start(&sandbox).env("FAKE_SLEEP", "1"));
    let pid = apache(&sandbox);
    child.kill().unwrap();
    wait(&mut child);
    within(10, "Apache ends with the launcher", || gone(pid));
}

#[test]
fn on_a_terminal_the_log_files_are_shown() {
    let sandbox = Sandbox::new();
    sandbox.write("root/error_log", "from an earlier run\n");
    let (mut child, person) = on_terminal(start(&sandbox).env("FAKE_SLEEP", "1"));
    let pid = apache(&sandbox);
    sandbox.write("root/error_log", "from an earlier run\nnews from Apache\n");
    std::thread::sleep(Duration::from_millis(300));
    kill_process(pid, Signal::TERM).unwrap();
    wait(&mut child);
    let text = read_terminal(person);
    assert!(text.contains("news from Apache\n"), "{text}");
    assert!(!text.contains("from an earlier run"), "{text}");
}

#[test]
fn d26_there_is_help_and_a_version() {
    let sandbox = Sandbox::new();
    for word in ["--help", "-h"] {
        let output = sandbox.command(word).output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        assert!(out(&output).contains("\n    start-server     Serve an application"));
    }
    let output = sandbox.command("--version").output().unwrap();
    assert!(out(&output).starts_with("mod_wsgi-express "));

    for (words, text) in
        [(&[][..], "No command was specified."), (&["bogus"], "Invalid command was specified.")]
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_mod_wsgi-express"));
        let output = command.args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        let said = err(&output);
        assert!(said.starts_with("Usage: mod_wsgi-express command [params]\n\nCommands:\n"));
        assert!(said.ends_with(&format!("\nmod_wsgi-express: error: {text}\n")), "{said}");
    }
}

#[test]
fn d26_an_environment_without_path_will_do() {
    let sandbox = Sandbox::new();
    let output = sandbox.command("module-config").env_remove("PATH").output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
    let mut command = sandbox.command("setup-server");
    command.args(["app.py", "--server-root", "root"]).env_remove("PATH");
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
}

#[test]
fn d26_files_that_cannot_be_written_are_no_reason_for_a_backtrace() {
    let sandbox = Sandbox::new();
    sandbox.write("file", "");
    for root in ["file", "file/root"] {
        let mut command = sandbox.command("setup-server");
        let output = command.args(["app.py", "--server-root", root]).output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        let text = err(&output);
        assert!(text.starts_with("mod_wsgi-express: error: cannot make "), "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    let mut command = sandbox.command("install-module");
    let output = command.args(["--modules-directory", "no/such"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("there is no directory "), "{}", err(&output));
}

#[test]
fn the_module_is_installed_with_its_engines() {
    let sandbox = Sandbox::new();
    fs::create_dir(sandbox.path("to here")).unwrap();
    let mut command = sandbox.command("install-module");
    let output = command.args(["--modules-directory", "to here"]).output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
    let prefix = python("import sys; print(sys.prefix)");
    assert_eq!(
        out(&output),
        format!(
            "LoadModule wsgi_module \"{}\"\nWSGIPythonHome \"{prefix}\"\n",
            sandbox.text("to here/mod_wsgi.so")
        )
    );
    assert_eq!(sandbox.read("to here/mod_wsgi.so"), "module");
    let mut engines = fs::read_dir(sandbox.path("to here/mod_wsgi/engines")).unwrap();
    assert_eq!(fs::read_to_string(engines.next().unwrap().unwrap().path()).unwrap(), "engine");

    let output = sandbox.command("module-config").output().unwrap();
    assert!(out(&output).starts_with(&format!(
        "LoadModule wsgi_module \"{}\"\n",
        sandbox.text("dist/mod_wsgi.so")
    )));
    let output = sandbox.command("module-location").output().unwrap();
    assert_eq!(out(&output), format!("{}\n", sandbox.text("dist/mod_wsgi.so")));
}

#[test]
fn d27_any_shell_runs_apachectl() {
    // A Python that is taken for Apache tells its name when it is given nonsense, unless it tells
    // the path it found itself at: so the name is a path.
    let interpreter = common::interpreter();
    let shells = ["/bin/sh", "/bin/bash", "/bin/dash", "/bin/busybox"];
    for shell in shells.iter().filter(|path| fs::exists(path).unwrap()) {
        let sandbox = Sandbox::new();
        let name = "/an/odd name";
        let words = [
            "app.py",
            "--server-root",
            "root",
            "--httpd-executable",
            interpreter,
            "--process-name",
            name,
            "--shell-executable",
            shell,
        ];
        let mut command = sandbox.command("setup-server");
        let output = command.args(words).output().unwrap();
        assert!(output.status.success(), "{}", err(&output));
        let mut command = match *shell == "/bin/busybox" {
            true => Command::new("/bin/busybox"),
            false => Command::new(sandbox.path("root/apachectl")),
        };
        if *shell == "/bin/busybox" {
            command.arg("sh").arg(sandbox.path("root/apachectl"));
        }
        sandbox.prepare(&mut command);
        let output = command.arg("start").output().unwrap();
        assert!(err(&output).contains(&format!("usage: {name} ")), "{shell}: {}", err(&output));
    }
}

#[test]
fn d32_prefork_does_not_take_its_caller_along() {
    let group = |sandbox: &Sandbox, mpm: &str| {
        let mut command = start(sandbox);
        command.args(["--server-mpm", mpm]).env("FAKE_SLEEP", "1").stdout(Stdio::null());
        // A script's group, with the launcher not at its head.
        let ours = rustix::process::getpgrp();
        let mut child = command.spawn().unwrap();
        let pid = apache(sandbox);
        let group = rustix::process::getpgid(Some(pid)).unwrap();
        kill_process(pid, Signal::TERM).unwrap();
        wait(&mut child);
        (ours, group, pid)
    };
    let sandbox = Sandbox::new();
    let (ours, group_of_prefork, pid) = group(&sandbox, "prefork");
    assert_ne!(ours, group_of_prefork);
    assert_eq!(pid, group_of_prefork);
    fs::remove_file(sandbox.path("root/httpd.pid")).unwrap();
    // The others end only what they started, and whoever signals the group should reach them.
    let (ours, group_of_event, _) = group(&sandbox, "event");
    assert_eq!(ours, group_of_event);
}

#[test]
fn what_the_command_line_says_can_be_read_in_apachectl() {
    let sandbox = Sandbox::new();
    sandbox.conf(&["app.py", "--setenv", "A", "it's\tme"]);
    let text = sandbox.read("root/apachectl");
    assert!(text.contains("#   mod_wsgi-express setup-server --httpd-executable "), "{text}");
    assert!(text.contains(r"--setenv A 'it'\''s"), "{text}");
}

#[test]
fn as_root_a_user_is_needed() {
    if !common::is_root() {
        return;
    }
    let sandbox = Sandbox::new();
    let mut command = sandbox.command("start-server");
    let output = command.args(["app.py", "--server-root", "root"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains("as root, --user and --group are needed"));
    // A service manager may say it, too.
    let mut command = sandbox.command("start-server");
    command.args(["app.py", "--server-root", "root", "--port", &free_port().to_string()]);
    let output = command.env("WSGI_RUN_USER", "daemon").output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
}

/// What the doctor says of that, as text.
fn doctor(sandbox: &Sandbox, prepare: impl Fn(&mut Command)) -> Output {
    let mut command = sandbox.command("doctor");
    command.args(["app.py", "--port", &free_port().to_string()]);
    command.env("WSGI_RUN_USER", "daemon");
    // A machine that serves: no apxs, and nothing that compiles.
    command.env("PATH", tools(sandbox)).env("HOME", &sandbox.dir).env_remove("APXS");
    prepare(&mut command);
    command.output().unwrap()
}

/// A directory with only those programs in it that scripts here need.
fn tools(sandbox: &Sandbox) -> PathBuf {
    let bin = sandbox.path("bin");
    if fs::create_dir(&bin).is_ok() {
        for name in ["cat", "env", "id", "sh", "sleep", "tr", "true"] {
            let paths = ["/usr/bin", "/bin"].map(|dir| Path::new(dir).join(name));
            let path = paths.iter().find(|path| path.exists()).unwrap();
            std::os::unix::fs::symlink(path, bin.join(name)).unwrap();
        }
    }
    bin
}

/// The errors of a report, each of which says what mends it.
fn errors(report: &serde_json::Value) -> Vec<String> {
    let findings = report["findings"].as_array().unwrap();
    let errors = findings.iter().filter(|finding| finding["level"] == "error").map(|error| {
        assert!(!error["mend"].as_str().unwrap().is_empty());
        format!("{}: {}", error["about"].as_str().unwrap(), error["text"].as_str().unwrap())
    });
    errors.collect()
}

#[test]
fn the_doctor_names_the_cause() {
    let sandbox = Sandbox::new();
    // A library that is one, and needs no Python.
    fs::copy("/bin/true", sandbox.path("dist/mod_wsgi.so")).unwrap();
    let healthy = doctor(&sandbox, |_| {});
    assert!(healthy.status.success(), "{}", out(&healthy));
    assert!(out(&healthy).ends_with("Everything that a server needs is there.\n"));
    // apxs is not needed to serve.
    assert!(out(&healthy).contains("note  apxs         not found"), "{}", out(&healthy));

    let report = |prepare: &dyn Fn(&mut Command)| -> serde_json::Value {
        let output = doctor(&sandbox, |command| {
            command.arg("--json");
            prepare(command);
        });
        assert_eq!(output.status.code(), Some(1), "{}", out(&output));
        serde_json::from_slice(&output.stdout).unwrap()
    };
    let error = |report: &serde_json::Value| errors(report).swap_remove(0);

    // A program that is no Python.
    let text = error(&report(&|command| {
        command.env("MOD_WSGI_EXPRESS_PYTHON", "/bin/false");
    }));
    assert!(text.starts_with("python: /bin/false does not work as a Python 3"), "{text}");

    // A Python that no engine was built for. To build one takes apxs, whose absence is now an error.
    let engines = sandbox.path("dist/engines");
    fs::rename(&engines, sandbox.path("engines")).unwrap();
    fs::create_dir(&engines).unwrap();
    sandbox.write("dist/engines/_mod_wsgi.cpython-399-x86_64-linux-gnu.so", "engine");
    let found = report(&|_| {});
    let broken = errors(&found);
    assert!(broken[0].starts_with("engine: "), "{broken:?}");
    assert!(broken[1].starts_with("apxs: not found: "), "{broken:?}");
    fs::remove_dir_all(&engines).unwrap();
    fs::rename(sandbox.path("engines"), &engines).unwrap();

    // What building needs, if that is the question, and if the answer is wrong already.
    let text = error(&report(&|command| {
        command.arg("--build");
    }));
    assert!(text.starts_with("apxs: not found: building mod_wsgi asks it where "), "{text}");
    let text = error(&report(&|command| {
        command.env("APXS", "/no/such/apxs");
    }));
    assert_eq!(text, "apxs: the variable APXS names /no/such/apxs, which is not Apache's apxs");
    let here = sandbox.dir.display();
    let answer =
        format!("#!/bin/sh\necho '{here};;{here};;{here};;httpd;;{here};;{here}/include'\n");
    sandbox.script("apxs", &answer);
    let found = report(&|command| {
        command.arg("--build").env("APXS", sandbox.path("apxs"));
    });
    assert_eq!(
        errors(&found),
        [
            format!(
                "headers: there is no {here}/include/httpd.h, where apxs says Apache's headers are"
            ),
            "cargo: not found: mod_wsgi is built by Rust's Cargo".to_owned(),
        ]
    );
    sandbox.write("include/httpd.h", "");
    sandbox.script(".cargo/bin/cargo", "#!/bin/sh\n");
    let output = doctor(&sandbox, |command| {
        command.arg("--build").env("APXS", sandbox.path("apxs"));
    });
    assert!(output.status.success(), "{}", out(&output));

    // Nobody to serve as. What follows from that is not told as well.
    if common::is_root() {
        let found = report(&|command| {
            command.env_remove("WSGI_RUN_USER");
        });
        let found = errors(&found);
        assert!(found[0].starts_with("user: as root, --user and --group are needed"), "{found:?}");
        assert_eq!(found.len(), 1, "{found:?}");
    }

    // A port that is taken.
    let socket = std::net::TcpListener::bind("[::]:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let text = error(&report(&|command| {
        command.args(["--port", &port.to_string()]);
    }));
    let pid = std::process::id();
    assert!(text.starts_with(&format!("port: {port} is in use by process {pid} (")), "{text}");

    // A module that Apache lacks.
    fs::rename(sandbox.path("modules/mod_rewrite.so"), sandbox.path("away")).unwrap();
    let text = error(&report(&|_| {}));
    assert_eq!(
        text,
        format!("modules: Apache's module mod_rewrite.so is not in {}", sandbox.text("modules"))
    );
    fs::rename(sandbox.path("away"), sandbox.path("modules/mod_rewrite.so")).unwrap();

    // The module itself.
    fs::rename(sandbox.path("dist/mod_wsgi.so"), sandbox.path("away")).unwrap();
    let found = errors(&report(&|_| {}));
    assert_eq!(found, [format!("module: there is no {}", sandbox.text("dist/mod_wsgi.so"))]);
    fs::rename(sandbox.path("away"), sandbox.path("dist/mod_wsgi.so")).unwrap();

    // A directory that is closed to the user the application runs as.
    if common::is_root() {
        use std::os::unix::fs::PermissionsExt;
        let closed = sandbox.path("closed");
        sandbox.write("closed/app.py", "");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
        let found = report(&|command| {
            command.args(["--entry-point", "closed/app.py", "--user", "daemon"]);
        });
        let text = format!(
            "the entry point, {}/app.py: {0} is closed to daemon (mode 0700)",
            closed.display()
        );
        let findings = found["findings"].as_array().unwrap();
        assert!(findings.iter().any(|finding| finding["text"] == text), "{found:#}");
    }
}
