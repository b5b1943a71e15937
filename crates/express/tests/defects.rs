//! What was wrong with mod_wsgi-express 6.1.1 in the files it wrote, and what it accepted.
//!
//! The numbers are those of a list of its defects. Those of processes are in `launching.rs`.

#![allow(clippy::unwrap_used)]

mod common;

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Stdio};

use common::flatten::flatten;
use common::{Sandbox, err, is_root, out, python};

/// The configuration as Apache would see it.
fn lines(sandbox: &Sandbox, words: &[&str]) -> Vec<String> {
    let conf = sandbox.conf(words);
    let call = sandbox.apachectl("root", &["-t"]);
    flatten(&conf, &call.defines(), &call.environment)
}

#[track_caller]
fn has(lines: &[String], line: &str) {
    assert!(lines.iter().any(|other| other == line), "no {line:?} in\n{}", lines.join("\n"));
}

#[track_caller]
fn has_none(lines: &[String], text: &str) {
    let found = lines.iter().find(|line| line.contains(text));
    assert!(found.is_none(), "{found:?}");
}

fn with_certificates() -> Sandbox {
    let sandbox = Sandbox::new();
    for name in ["site.crt", "site.key", "ca.pem"] {
        sandbox.write(name, "");
    }
    sandbox
}

const HTTPS: [&str; 5] = ["app.py", "--https-port", "8443", "--ssl-certificate", "site"];

fn https<'a>(more: &[&'a str]) -> Vec<&'a str> {
    HTTPS.iter().chain(more).copied().collect()
}

#[test]
fn d01_https_is_served_without_a_server_name() {
    let sandbox = with_certificates();
    let lines = lines(&sandbox, &HTTPS);
    has(&lines, "Listen 8443");
    has(&lines, "<VirtualHost _default_:8443> SSLEngine On");
    let sandbox = Sandbox::new();
    assert_eq!(
        sandbox.refused(&["app.py", "--https-port", "8443"]),
        "--https-port requires a certificate and its key: --ssl-certificate-file and \
         --ssl-certificate-key-file, or --ssl-certificate"
    );
    assert_eq!(
        sandbox.refused(&["app.py", "--ssl-certificate", "site"]),
        "--https-port must be specified when SSL certificate options are provided."
    );
}

#[test]
fn d02_a_client_certificate_is_not_bypassed_over_http() {
    let sandbox = with_certificates();
    let whole = lines(&sandbox, &https(&["--ssl-ca-certificate-file", "ca.pem"]));
    has(&whole, "<Location /> SSLRequireSSL");
    has(&whole, "<Location /> SSLVerifyClient require");
    let part = lines(
        &sandbox,
        &https(&["--ssl-ca-certificate-file", "ca.pem", "--ssl-verify-client", "/admin"]),
    );
    has(&part, "<Location /admin> SSLRequireSSL");
    has_none(&part, "<Location /> SSL");
    assert_eq!(
        with_certificates().refused(&https(&["--ssl-verify-client", "/admin"])),
        "--ssl-verify-client requires --ssl-ca-certificate-file"
    );
}

#[test]
fn d03_group_options_without_a_user_script_do_not_leave_the_site_open() {
    let sandbox = Sandbox::new();
    assert_eq!(
        sandbox.refused(&["app.py", "--auth-group-script", "app.py"]),
        "--auth-group-script requires --auth-user-script"
    );
    assert_eq!(
        sandbox.refused(&["app.py", "--auth-user-script", "app.py", "--auth-group", "staff"]),
        "--auth-group requires --auth-group-script"
    );
}

#[test]
fn d04_an_hsts_policy_may_have_spaces() {
    let sandbox = with_certificates();
    // Those quotes used to be the way around it.
    for policy in ["max-age=1; includeSubDomains", "\"max-age=1; includeSubDomains\""] {
        let conf = sandbox.conf(&https(&["--https-only", "--hsts-policy", policy]));
        assert!(
            conf.contains(
                "Header set Strict-Transport-Security \"max-age=1; includeSubDomains\"\n"
            ),
            "{conf}"
        );
    }
}

#[test]
fn d05_the_redirect_to_https_is_permanent_and_names_no_default_port() {
    let sandbox = with_certificates();
    let named = https(&["--https-only", "--server-name", "www.example.com"]);
    has(
        &lines(&sandbox, &named),
        "<VirtualHost *:8000> RewriteRule (.*) https://www.example.com:8443%{REQUEST_URI} \
         [R=308,L]",
    );
    let default = [
        "app.py",
        "--https-port",
        "443",
        "--ssl-certificate",
        "site",
        "--https-only",
        "--port",
        "80",
        "--server-name",
        "www.example.com",
    ];
    let default = lines(&sandbox, &default);
    has(
        &default,
        "<VirtualHost *:80> RewriteRule (.*) https://www.example.com%{REQUEST_URI} [R=308,L]",
    );
    has(&default, "<VirtualHost *:443> Redirect permanent / https://www.example.com/");
    // Without a name it is the one the client used.
    has(
        &lines(&sandbox, &https(&["--https-only"])),
        "<VirtualHost _default_:8000> RewriteRule (.*) https://%{SERVER_NAME}:8443%{REQUEST_URI} \
         [R=308,L]",
    );
    assert_eq!(
        Sandbox::new().refused(&["app.py", "--https-only"]),
        "--https-only requires --https-port"
    );
    let www = ["app.py", "--server-name", "www.example.com", "--port", "80"];
    has(&lines(&sandbox, &www), "<VirtualHost *:80> Redirect permanent / http://www.example.com/");
}

#[test]
fn d07_maximum_requests_counts_in_embedded_mode() {
    let sandbox = Sandbox::new();
    let lines = lines(&sandbox, &["app.py", "--embedded-mode", "--maximum-requests", "7"]);
    has(&lines, "MaxConnectionsPerChild 7");
    has_none(&lines, "MaxRequestsPerChild");
}

#[test]
fn d08_the_header_buffer_size_is_not_lost() {
    let sandbox = Sandbox::new();
    has(
        &lines(&sandbox, &["app.py", "--header-buffer-size", "65536"]),
        "WSGIDaemonProcess localhost:8000 : header-buffer-size=65536",
    );
}

#[test]
fn d09_the_default_application_group_may_be_said() {
    let sandbox = Sandbox::new();
    let import = "WSGIImportScript";
    let named = lines(&sandbox, &["app.py", "--application-group", "%{GLOBAL}"]);
    assert!(named.iter().any(|line| line.starts_with(import)), "{named:?}");
    has_none(&lines(&sandbox, &["app.py", "--application-group", "%{RESOURCE}"]), import);
}

#[test]
fn d10_an_ipv6_address_can_be_listened_on() {
    let sandbox = with_certificates();
    for host in ["::1", "[::1]"] {
        let words = https(&[]);
        let words: Vec<&str> = words.into_iter().chain(["--host", host]).collect();
        let output = sandbox.setup(&words);
        assert!(out(&output).contains("Server URL         : http://[::1]:8000/\n"), "{output:?}");
        let lines = lines(&sandbox, &words);
        has(&lines, "Listen [::1]:8000");
        has(&lines, "Listen [::1]:8443");
        has(&lines, "ServerName localhost");
        let call = sandbox.apachectl("root", &["-t"]);
        assert_eq!(call.environment["MOD_WSGI_LISTENER_HOST"], "::1");
    }
}

#[test]
fn d11_a_mount_point_may_end_with_a_slash() {
    let sandbox = Sandbox::new();
    for point in ["/api/", "api", "/api"] {
        let lines = lines(&sandbox, &["app.py", "--mount-point", point]);
        let root = sandbox.text("root");
        has(&lines, &format!("<Directory {root}/htdocs/api>"));
        assert!(sandbox.read("root/handler.wsgi").contains("mount_point=\"/api\",\n"), "{point}");
        assert!(sandbox.path("root/htdocs/api").is_dir());
    }
}

#[test]
fn d12_the_status_page_takes_no_url_of_the_application() {
    let sandbox = Sandbox::new();
    let lines = lines(&sandbox, &["app.py", "--server-status"]);
    let condition = lines.iter().find(|line| line.contains("/server-status(/|$)")).unwrap();
    assert!(condition.ends_with("RewriteCond %{REQUEST_URI} !^/server-status(/|$)"));
}

#[test]
fn d13_spaces_and_quotes_get_through_whole() {
    let name = r#"it's a "place" \ 100% $HERE"#;
    let sandbox = Sandbox::named(name);
    sandbox.write("static/one file.txt", "");
    let words = [
        "app.py",
        "--setenv",
        "IT'S",
        r#"a "b" \ c"#,
        "--error-document",
        "404",
        "it's \"gone\"",
        "--url-alias",
        "/one",
        "static/one file.txt",
        "--url-alias",
        "/two",
        "static",
        "--access-log",
        "--access-log-format",
        r#"%h "%r" \"x\""#,
        "--rotate-logs",
        "--process-name",
        "my \"httpd\"",
        "--callable-object",
        "it's",
        "--service-script",
        "a b",
        "app.py",
    ];
    let lines = lines(&sandbox, &words);
    let here = sandbox.dir.to_str().unwrap();
    has(&lines, &format!("ServerRoot {here}/root"));
    has(&lines, r#"SetEnv IT'S a "b" \ c"#);
    has(&lines, "ErrorDocument 404 it's \"gone\"");
    has(&lines, &format!("Alias /one {here}/static/one file.txt"));
    has(&lines, r#"LogFormat %h "%r" \"x\" custom"#);
    has(&lines, "WSGICallableObject it's");
    has(&lines, "WSGIDaemonProcess service:a b : threads=0");
    // In a pattern, a backslash stands before what would not be taken literally.
    let pattern = here.replace('\\', r"\\");
    has(&lines, &format!("<Directory {pattern}/static> <Files one file.txt> Require all granted"));
    // rotatelogs reads the words of its command line, and per cent signs.
    let piped = here.replace('\\', r"\\").replace('"', r#"\""#).replace('%', "%%");
    let log = format!("{piped}/root/error_log.%Y-%m-%d-%H_%M_%S\" 5M");
    assert!(lines.iter().any(|line| line.starts_with("ErrorLog |") && line.ends_with(&log)));

    let call = sandbox.apachectl("root", &["-t"]);
    assert_eq!(call.words[..2], ["-f".to_owned(), sandbox.text("root/httpd.conf")]);
    assert_eq!(call.environment["MOD_WSGI_WORKING_DIRECTORY"], here);

    // Python gets its strings whole, too.
    let program = format!(
        "import ast, sys\n\
         tree = ast.parse(open({0}).read())\n\
         calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]\n\
         handler = [c for c in calls if getattr(c.func, 'id', '') == 'ApplicationHandler'][0]\n\
         print(handler.args[0].value == {1} and handler.keywords[1].value.value == \"it's\")",
        serde_json::to_string(&sandbox.text("root/handler.wsgi")).unwrap(),
        serde_json::to_string(&sandbox.text("app.py")).unwrap(),
    );
    assert_eq!(python(&program), "True");
}

#[test]
fn d13_what_cannot_be_written_is_refused() {
    let sandbox = Sandbox::new();
    assert_eq!(
        sandbox.refused(&["app.py", "--setenv", "A", "b\nLoadModule x y"]),
        "--setenv: a line break cannot be written into Apache's configuration"
    );
    assert_eq!(
        sandbox.refused(&["app.py", "--document-root", "${NO_SUCH_VARIABLE}/static"]),
        format!(
            "--document-root: the variable in \"{}/${{NO_SUCH_VARIABLE}}/static\" is not set",
            sandbox.dir.display()
        )
    );
}

#[test]
fn d15_nobody_else_gets_into_the_default_server_root() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command("setup-server");
    let output = command.args(["app.py", "--setenv", "SECRET", "x"]).output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
    let uid = rustix::process::getuid().as_raw();
    let root = sandbox.path(&format!("mod_wsgi-localhost:8000:{uid}"));
    assert_eq!(fs::metadata(&root).unwrap().mode() & 0o777, 0o700);

    // Somebody was there first and can change what will be run.
    fs::set_permissions(&root, fs::Permissions::from_mode(0o777)).unwrap();
    let output = sandbox.command("setup-server").arg("app.py").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(err(&output).contains("can be written to by others, so it is not used"));

    if is_root() {
        fs::set_permissions(&root, fs::Permissions::from_mode(0o700)).unwrap();
        let mut command = sandbox.command("setup-server");
        let output = command.args(["app.py", "--user", "daemon", "--group", "daemon"]).output();
        assert!(output.unwrap().status.success());
        // Processes that run as somebody else have to read what is theirs.
        let found = fs::metadata(&root).unwrap();
        assert_eq!((found.uid(), found.mode() & 0o777), (0, 0o750));
        assert_ne!(found.gid(), 0);
    }
}

#[test]
fn d16_mistakes_are_told_before_anything_is_written() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command("start-server");
    command.args(["--server-root", "root"]).env("WSGI_RUN_USER", "daemon");
    let output = command.arg("missing.py").output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    let text = err(&output);
    assert!(
        text.contains(&format!(
            "error: the entry point: {}: No such file or directory\n",
            sandbox.text("missing.py")
        )),
        "{text}"
    );
    assert!(!sandbox.path("root").exists());
    // What is set up may be completed later.
    let output = sandbox.setup(&["missing.py"]);
    assert!(output.status.success());
    assert!(err(&output).contains("warning: the entry point: "), "{}", err(&output));

    for (words, text) in [
        (&["--log-directory", "no/such"][..], "--log-directory: "),
        (&["--include-file", "missing.conf"], "--include-file: "),
        (&["--rewrite-rules", "missing.conf"], "--rewrite-rules: "),
        (&["--auth-user-script", "missing.py"], "--auth-user-script: "),
        (&["--add-handler", ".x", "missing.py"], "--add-handler: "),
        (&["--service-script", "x", "missing.py"], "--service-script: "),
        (&["--https-port", "8443", "--ssl-certificate", "site"], "the certificate: "),
    ] {
        let mut command = sandbox.command("start-server");
        command.args(["app.py", "--server-root", "other"]).env("WSGI_RUN_USER", "daemon");
        let output = command.args(words).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{words:?}");
        let said = err(&output);
        assert!(said.contains(&format!("error: {text}")), "{words:?}: {said}");
        assert!(!sandbox.path("other").exists(), "{words:?}");
    }
    if is_root() {
        assert_eq!(sandbox.setup(&["app.py", "--user", "nobody-at-all"]).status.code(), Some(2));
    }
}

#[test]
fn d16_directories_above_the_server_root_are_made() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command("setup-server");
    let output = command.args(["app.py", "--server-root", "a/b/c"]).output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
    assert!(sandbox.path("a/b/c/httpd.conf").is_file());
}

#[test]
fn d18_logs_on_the_terminal_do_not_cut_what_was_written_before() {
    let sandbox = Sandbox::new();
    sandbox.write("log", "from before\n");
    let log = || {
        let file = fs::OpenOptions::new().append(true).open(sandbox.path("log")).unwrap();
        Stdio::from(file)
    };
    let mut command = sandbox.command("setup-server");
    command.args(["app.py", "--server-root", "root", "--log-to-terminal", "--access-log"]);
    assert!(command.stdout(log()).stderr(log()).status().unwrap().success());
    let text = sandbox.read("log");
    assert!(text.starts_with("from before\nServer URL"), "{text}");
    assert!(sandbox.read("root/httpd.conf").contains("ErrorLog \"/dev/stderr\"\n"));
}

#[test]
fn d19_a_reader_that_goes_away_does_not_leave_half_a_server_root() {
    let sandbox = Sandbox::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let mut command = sandbox.command("setup-server");
    command.args(["app.py", "--server-root", "root"]).stdout(writer);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", err(&output));
    assert_eq!(err(&output), "");
    for name in ["httpd.conf", "apachectl", "handler.wsgi", "envvars"] {
        assert!(sandbox.path("root").join(name).is_file(), "{name}");
    }
}

#[test]
fn d20_output_directories_belong_to_whom_the_application_runs_as() {
    let sandbox = Sandbox::new();
    sandbox.conf(&["app.py", "--enable-coverage", "--enable-profiler", "--enable-recorder"]);
    let expect: u32 = match is_root() {
        true => python("import pwd; print(pwd.getpwnam('daemon').pw_uid)").parse().unwrap(),
        false => rustix::process::getuid().as_raw(),
    };
    for name in ["htmlcov", "pstats", "archive", "python-eggs"] {
        let found = fs::metadata(sandbox.path("root").join(name)).unwrap();
        assert_eq!(found.uid(), expect, "{name}");
    }
    // The measurements go there as well, not into the current directory.
    let handler = sandbox.read("root/handler.wsgi");
    assert!(handler.contains(&format!("start_coverage(\"{}\")", sandbox.text("root/htmlcov"))));
}

#[test]
fn d21_every_tool_of_debug_mode_chooses_its_mpm() {
    let sandbox = Sandbox::new();
    for option in ["debugger", "coverage", "profiler", "recorder", "gdb"] {
        let lines = lines(&sandbox, &["app.py", &format!("--enable-{option}")]);
        has_none(&lines, "mpm_event_module");
        assert!(lines.iter().any(|line| line.starts_with("LoadModule mpm_worker_module")));
    }
}

#[test]
fn d22_the_chosen_gdb_is_run() {
    let sandbox = Sandbox::new();
    sandbox.script("my gdb", "#!/bin/sh\nfor word in \"$@\"; do echo \"$word\"; done\n");
    sandbox.conf(&["app.py", "--enable-gdb", "--gdb-executable", &sandbox.text("my gdb")]);
    let mut command = Command::new(sandbox.path("root/apachectl"));
    sandbox.prepare(&mut command);
    let output = command.args(["start", "-DFOREGROUND"]).output().unwrap();
    let text = out(&output);
    let words: Vec<&str> = text.lines().collect();
    assert_eq!(words[..4], ["-ex", "run", "--args", &sandbox.text("httpd")]);
    assert_eq!(words[words.len() - 3..], ["-k", "start", "-DFOREGROUND"]);
}

#[test]
fn d24_a_dropped_envvars_script_is_forgotten_and_a_written_one_kept() {
    let sandbox = Sandbox::new();
    sandbox.write("my env", "export MINE=1\n");
    sandbox.conf(&["app.py", "--envvars-script", "my env"]);
    assert_eq!(sandbox.apachectl("root", &["-t"]).environment["MINE"], "1");
    sandbox.conf(&["app.py"]);
    assert!(!sandbox.apachectl("root", &["-t"]).environment.contains_key("MINE"));

    sandbox.write("root/envvars", "export OWN=2\n");
    sandbox.conf(&["app.py", "--envvars-script", "my env"]);
    sandbox.conf(&["app.py"]);
    assert_eq!(sandbox.apachectl("root", &["-t"]).environment["OWN"], "2");
}

#[test]
fn d25_a_port_that_is_not_there_has_no_variable() {
    let sandbox = with_certificates();
    sandbox.conf(&["app.py"]);
    let call = sandbox.apachectl("root", &["-t"]);
    assert!(!call.environment.contains_key("MOD_WSGI_HTTPS_PORT"));
    sandbox.conf(&HTTPS);
    assert_eq!(sandbox.apachectl("root", &["-t"]).environment["MOD_WSGI_HTTPS_PORT"], "8443");
}

#[test]
fn d28_values_that_cannot_be_meant_are_refused() {
    let sandbox = Sandbox::new();
    for (words, text) in [
        (
            &["--application-type", "function"][..],
            "--application-type: \"function\" is none of script, module, paste, static",
        ),
        (&["--processes", "0"], "--processes must be at least 1, not 0"),
        (&["--threads", "0"], "--threads must be at least 1, not 0"),
        (&["--port", "70000"], "--port must be at most 65535, not 70000"),
        (&["--request-timeout=-1"], "--request-timeout must be at least 0, not -1"),
        (
            &["--max-clients", "9223372036854775807"],
            "--max-clients must be at most 100000, not 9223372036854775807",
        ),
        (&["--switch-interval", "nan"], "--switch-interval must be a positive number of seconds"),
        (&["--switch-interval", "0"], "--switch-interval must be a positive number of seconds"),
        (
            &["--initial-workers", "nan"],
            "--initial-workers option value needs to be within the range 0 to 1.",
        ),
        (
            &["--maximum-spare-workers", "1.5"],
            "--maximum-spare-workers option value needs to be within the range 0 to 1.",
        ),
        (&["--telemetry-interval", "nan"], "--telemetry-interval must be at least 0.5 seconds"),
        (&["--slow-requests=-1"], "--slow-requests threshold must be non-negative"),
        (&["--slow-requests", "1"], "--slow-requests requires --telemetry-service"),
        (
            &["--telemetry-service", "udp:localhost:1"],
            "--telemetry-service must be 'unix:/path' (remote 'udp:host:port' targets are no \
             longer supported)",
        ),
        (&["--debugger-startup"], "--debugger-startup requires --enable-debugger"),
        (&["--map-head-to-get", "maybe"], "--map-head-to-get: \"maybe\" is none of Off, On, Auto"),
        (&["--auth-type", "Form"], "--auth-type: \"Form\" is none of Basic, Digest"),
        (&["--header-min-rate", "0"], "--header-max-timeout requires --header-min-rate"),
        (&["--server-mpm", "bogus"], "--server-mpm bogus: Apache has no such MPM in "),
    ] {
        let words: Vec<&str> = ["app.py"].iter().chain(words).copied().collect();
        let said = sandbox.refused(&words);
        assert!(said.starts_with(text), "{words:?}: {said}");
    }
}

#[test]
fn d30_the_documentation_is_there() {
    let sandbox = Sandbox::new();
    let lines = lines(&sandbox, &["app.py", "--enable-docs"]);
    let root = sandbox.text("root");
    has(&lines, &format!("Alias /__wsgi__/docs {root}/docs"));
    assert!(sandbox.read("root/docs/index.html").contains("--keep-alive-timeout SECONDS"));
    assert!(sandbox.read("root/images/running.svg").starts_with("<svg "));
    // The page that is served without an application shows both.
    sandbox.conf(&[]);
    assert!(sandbox.read("root/default.wsgi").contains("/__wsgi__/images/running.svg"));
}

#[test]
fn d31_a_proxied_path_keeps_its_scheme_and_is_no_pattern() {
    let sandbox = Sandbox::new();
    let lines = lines(&sandbox, &["app.py", "--proxy-mount-point", "/a.b+", "http://127.0.0.1:1/"]);
    has(
        &lines,
        r"<LocationMatch ^/a\.b\+$> RewriteRule .* %{REQUEST_SCHEME}://%{HTTP_HOST}%{REQUEST_URI}/ [R=302,L]",
    );
}

#[test]
fn d34_a_service_with_a_log_of_its_own() {
    let sandbox = Sandbox::new();
    let words =
        ["app.py", "--service-script", "beat", "app.py", "--service-log-file", "beat", "beat_log"];
    let lines_of_files = lines(&sandbox, &words);
    has(
        &lines_of_files,
        &format!("<VirtualHost *:8000> ErrorLog {}", sandbox.text("root/beat_log")),
    );
    // The virtual host that is there for its sake answers to no name that a client would use.
    has(&lines_of_files, "<VirtualHost *:8000> ServerName _wsgi_service_beat_");
    let words: Vec<&str> = words.into_iter().chain(["--log-to-terminal"]).collect();
    has(&lines(&sandbox, &words), "<VirtualHost *:8000> ErrorLog /dev/stderr");
}

#[test]
fn d35_the_address_of_the_telemetry_page_is_told() {
    let sandbox = Sandbox::new();
    let setup = |sandbox: &Sandbox| {
        let mut command = sandbox.command("setup-server");
        command.env("PYTHONPATH", sandbox.path("packages"));
        command.args(["app.py", "--server-root", "root", "--enable-telemetry"]);
        command.args(["--telemetry-ui-port", "9999", "--user", "daemon", "--group", "daemon"]);
        command.output().unwrap()
    };
    let output = setup(&sandbox);
    assert_eq!(output.status.code(), Some(2));
    assert!(err(&output).contains(
        "--enable-telemetry requires the mod_wsgi-telemetry package: install it with 'pip install \
         mod_wsgi-telemetry'."
    ));
    sandbox.write("packages/mod_wsgi/__init__.py", "");
    sandbox.write("packages/mod_wsgi/telemetry/__init__.py", "");
    let output = setup(&sandbox);
    assert!(output.status.success(), "{}", err(&output));
    assert!(out(&output).contains("Telemetry          : http://127.0.0.1:9999/\n"));
    // The collector makes its socket where it may.
    let socket = if is_root() { "root/telemetry/telemetry.sock" } else { "root/telemetry.sock" };
    let script = sandbox.read("root/telemetry-service.py");
    assert!(script.contains(&format!("socket = \"{}\"\n", sandbox.text(socket))), "{script}");
    let conf = sandbox.read("root/httpd.conf");
    assert!(conf.contains("WSGIDaemonProcess \"service:telemetry\""), "{conf}");
}

#[test]
fn a_missing_rotatelogs_is_told_before_anything_is_started() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command("start-server");
    command.args(["app.py", "--rotate-logs", "--rotatelogs-executable", "/no/such/rotatelogs"]);
    command.args(["--server-root", "root", "--user", "daemon", "--group", "daemon"]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2), "{}", err(&output));
    assert!(err(&output).contains("there is no program /no/such/rotatelogs"), "{}", err(&output));
    assert!(!sandbox.path("root").exists());
}
