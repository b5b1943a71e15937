//! Beside other modules of Apache: TLS, HTTP/2, compression, rate limits, rewriting, forms for
//! logging in, proxies, error documents, redirects, static files, users' directories, logs. Each in
//! embedded and in daemon mode.

#![allow(clippy::unwrap_used)]

use std::io::Write;
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tests::http::Response;
use tests::{Mode, Mpm, Site, matrix};

/// Says what it was asked, one thing per line.
const APPLICATION: &str = "
import sys
def application(environ, start_response):
    if environ['QUERY_STRING'] == 'big':
        start_response('200 OK', [('Content-Type', 'text/plain')])
        return [b'0123456789' * 20000]
    if environ['QUERY_STRING'] == 'print':
        print('PRINTED', environ['PATH_INFO'], file=environ['wsgi.errors'])
    names = ['SCRIPT_NAME', 'PATH_INFO', 'QUERY_STRING', 'REQUEST_URI', 'REQUEST_METHOD',
        'SERVER_PROTOCOL', 'wsgi.url_scheme', 'REMOTE_USER', 'REMOTE_ADDR', 'HTTP_HOST',
        'SSL_PROTOCOL', 'REDIRECT_STATUS', 'REDIRECT_URL', 'FROM_REWRITE', 'HTTPS',
        'REDIRECT_REQUEST_URI', 'REDIRECT_HTTP_X_SENT', 'mod_wsgi.application_group']
    lines = [f'{name}={environ[name]}' for name in names if name in environ]
    lines.append('BODY=' + environ['wsgi.input'].read().decode('latin-1'))
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return ['\\n'.join(lines).encode('latin-1')]
";

/// Runs a test in both modes.
fn in_both_modes(test: impl Fn(Site)) {
    for mode in [Mode::Embedded, Mode::Daemon] {
        eprintln!("{mode:?} mode:");
        test(Site::new(Mpm::Event, &matrix::python()).one_child(8).mode(mode));
    }
}

fn with_modules(site: Site, names: &[&str]) -> Site {
    names.iter().fold(site, |site, name| site.module(name))
}

fn mounted(site: Site) -> Site {
    site.mount("/app", "app.wsgi", APPLICATION)
}

/// The value of a line that the application said.
#[track_caller]
fn said(text: &str, name: &str) -> Option<String> {
    assert!(text.contains("BODY="), "not the application: {text}");
    let found = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
    found.map(str::to_owned)
}

fn is(text: &str, name: &str, value: &str) {
    assert_eq!(said(text, name).as_deref(), Some(value), "{name} in {text}");
}

fn curl(arguments: &[&str]) -> String {
    let output = Command::new("curl").args(["-sS", "-m", "20"]).args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port()
}

#[test]
fn mod_ssl() {
    in_both_modes(|site| {
        let made = Command::new("openssl")
            .args(["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj"])
            .args(["/CN=localhost", "-keyout", "key.pem", "-out", "cert.pem"])
            .current_dir(site.dir())
            .output();
        if !made.is_ok_and(|output| output.status.success()) {
            return matrix::skip("mod_ssl", "no openssl");
        }
        let (port, dir) = (free_port(), site.dir().display().to_string());
        let server = mounted(with_modules(site, &["mod_ssl"]))
            .conf(format!("Listen 127.0.0.1:{port}\n<VirtualHost *:{port}>\nSSLEngine on"))
            .conf(format!("SSLCertificateFile {dir}/cert.pem"))
            .conf(format!("SSLCertificateKeyFile {dir}/key.pem"))
            .conf("SSLOptions +StdEnvVars\n</VirtualHost>")
            .start();
        let text = curl(&["-k", &format!("https://127.0.0.1:{port}/app/x")]);
        is(&text, "wsgi.url_scheme", "https");
        assert!(said(&text, "SSL_PROTOCOL").unwrap().starts_with("TLS"), "{text}");
        assert_eq!(said(&text, "HTTPS"), None);
        let text = server.get("/app/x").text();
        is(&text, "wsgi.url_scheme", "http");
        for tail in ["AH01909: ", "AH01906: ", "AH01882: ", "AH01873: "] {
            server.log().allow(tail);
        }
        server.stop();
    });
}

#[test]
fn mod_http2() {
    in_both_modes(|site| {
        let server =
            mounted(with_modules(site, &["mod_http2"])).conf("Protocols h2c http/1.1").start();
        let url = format!("http://{}/app/x", server.address());
        let text = curl(&["--http2-prior-knowledge", "-d", "a body", &url]);
        is(&text, "SERVER_PROTOCOL", "HTTP/2.0");
        is(&text, "BODY", "a body");
        let big = format!("{url}?big");
        std::thread::scope(|scope| {
            let get = || curl(&["--http2-prior-knowledge", &big]).len();
            let several = [0; 3].map(|_| scope.spawn(get));
            assert_eq!(several.map(|one| one.join().unwrap()), [200_000; 3]);
        });
        server.stop();
    });
}

#[test]
fn mod_deflate() {
    in_both_modes(|site| {
        let server = mounted(with_modules(site, &["mod_filter", "mod_deflate"]))
            .conf("<Location /app>\nSetOutputFilter DEFLATE\nSetInputFilter DEFLATE\n</Location>")
            .start();
        let response =
            server.request("GET", "/app?big", &[("Accept-Encoding", "gzip")], b"").with_status(200);
        assert_eq!(response.header("Content-Encoding").as_deref(), Some("gzip"));
        assert!(response.is_complete() && response.body.len() < 20_000);
        let url = format!("http://{}/app?big", server.address());
        assert_eq!(curl(&["--compressed", &url]).len(), 200_000);
        assert_eq!(curl(&[&url]).len(), 200_000);
        server.stop();
    });
}

#[test]
fn mod_ratelimit() {
    in_both_modes(|site| {
        let server = mounted(with_modules(site, &["mod_ratelimit"]))
            .conf("<Location /app>\nSetOutputFilter RATE_LIMIT\nSetEnv rate-limit 200\n</Location>")
            .start();
        let began = Instant::now();
        let response = server.get("/app?big").with_status(200);
        assert!(response.is_complete() && response.body.len() == 200_000);
        assert!(began.elapsed() > Duration::from_millis(400), "{:?}", began.elapsed());
        server.stop();
    });
}

#[test]
fn mod_rewrite() {
    in_both_modes(|site| {
        let server = mounted(with_modules(site, &["mod_rewrite"]))
            .conf("RewriteEngine On")
            .conf("RewriteRule ^/old/(.*)$ /app/new/$1?was=old [PT,QSA,E=FROM_REWRITE:yes]")
            .conf("RewriteRule ^/away$ /app/there [R=302]")
            .start();
        let text = server.get("/old/x%20y?q=1").with_status(200).text();
        is(&text, "SCRIPT_NAME", "/app");
        is(&text, "PATH_INFO", "/new/x y");
        is(&text, "QUERY_STRING", "was=old&q=1");
        is(&text, "REQUEST_URI", "/old/x%20y?q=1");
        is(&text, "FROM_REWRITE", "yes");
        assert!(server.get("/away").with_status(302).header("Location").is_some());
        server.stop();
    });
}

#[test]
fn mod_auth_form() {
    in_both_modes(|site| {
        let users = "
def check_password(environ, user, password):
    return password == 'secret' if user == 'ann' else None
";
        let users = site.write("users.py", users).display().to_string();
        let modules = [
            "mod_authn_core",
            "mod_authz_user",
            "mod_request",
            "mod_session",
            "mod_session_cookie",
            "mod_auth_form",
        ];
        let server = mounted(with_modules(site, &modules))
            .conf("<Location /app>\nAuthType form\nAuthName here\nAuthFormProvider wsgi")
            .conf(format!("WSGIAuthUserScript {users}\nSession On"))
            .conf("SessionCookieName session path=/\nRequire valid-user\n</Location>")
            .conf("<Location /login>\nSetHandler form-login-handler\nAuthType form")
            .conf("AuthName here\nAuthFormProvider wsgi")
            .conf("AuthFormLoginSuccessLocation /app/in")
            .conf(format!("WSGIAuthUserScript {users}\nSession On"))
            .conf("SessionCookieName session path=/\n</Location>")
            .start();
        assert_eq!(server.get("/app").status, 401);
        let log_in = |password: &str| -> Response {
            let body = format!("httpd_username=ann&httpd_password={password}");
            server.post("/login", "application/x-www-form-urlencoded", body.as_bytes())
        };
        assert_eq!(log_in("wrong").status, 401);
        let response = log_in("secret").with_status(302);
        let cookies = response.all("Set-Cookie");
        let cookie = cookies.last().unwrap().split(';').next().unwrap();
        let text = server.request("GET", "/app/in", &[("Cookie", cookie)], b"").with_status(200);
        is(&text.text(), "REMOTE_USER", "ann");
        server.log().allow("AH018");
        server.stop();
    });
}

#[test]
fn mod_proxy_in_front() {
    in_both_modes(|site| {
        let behind = mounted(site)
            .conf("WSGITrustedProxyHeaders X-Forwarded-For X-Forwarded-Host X-Forwarded-Proto")
            .conf("WSGITrustedProxies 127.0.0.1")
            .start();
        let address = behind.address();
        let front =
            with_modules(Site::plain(Mpm::Event), &["mod_proxy", "mod_proxy_http", "mod_headers"])
                .conf("RequestHeader set X-Forwarded-Proto https")
                .conf(format!("ProxyPass /.ready !\nProxyPass / http://{address}/"))
                .conf(format!("ProxyPassReverse / http://{address}/"))
                .start();
        let headers = [("Host", "www.example.org"), ("X-Forwarded-For", "10.9.8.7")];
        let text = front.request("POST", "/app/x?q", &headers, b"a body").with_status(200).text();
        // Each proxy adds whom it talks to; the last one that is not trusted is the client.
        is(&text, "REMOTE_ADDR", "10.9.8.7");
        is(&text, "HTTP_HOST", "www.example.org");
        is(&text, "wsgi.url_scheme", "https");
        is(&text, "BODY", "a body");
        let response = front.get("/app?big").with_status(200);
        assert!(response.is_complete() && response.body.len() == 200_000);
        front.stop();
        behind.stop();
    });
}

#[test]
fn error_documents() {
    in_both_modes(|site| {
        let failing = "
def application(environ, start_response):
    raise ValueError('broken')
";
        let server = mounted(site)
            .mount("/failing", "failing.wsgi", failing)
            .conf("ErrorDocument 404 /app/missing\nErrorDocument 500 /app/broken")
            .start();
        // The status is the application's, which can tell from REDIRECT_STATUS what it is for.
        let text = server.get("/nothing?q=1").with_status(200).text();
        is(&text, "PATH_INFO", "/missing");
        is(&text, "REDIRECT_STATUS", "404");
        is(&text, "REDIRECT_URL", "/nothing");
        let headers = [("X-Sent", "by the client")];
        let response = server.request("GET", "/failing?q=1", &headers, b"");
        let text = response.with_status(200).text();
        is(&text, "PATH_INFO", "/broken");
        is(&text, "REDIRECT_STATUS", "500");
        // What the application got, as Apache hands it on from any other handler.
        is(&text, "REDIRECT_REQUEST_URI", "/failing?q=1");
        is(&text, "REDIRECT_HTTP_X_SENT", "by the client");
        for tail in ["WSGI0174", "Traceback", "  File ", "    ", "ValueError: broken"] {
            server.log().allow(tail);
        }
        server.stop();
    });
}

#[test]
fn internal_redirects_and_directories() {
    in_both_modes(|site| {
        site.write("htdocs/own/index.wsgi", APPLICATION);
        let own = site.path("htdocs/own").display().to_string();
        let server = mounted(site)
            .conf(format!("<Directory {own}>\nOptions ExecCGI\nAddHandler wsgi-script .wsgi"))
            .conf("DirectoryIndex index.wsgi\n</Directory>")
            .conf("<Location /fallen>\nFallbackResource /app/fallback\n</Location>")
            .start();
        let text = server.get("/own/").with_status(200).text();
        is(&text, "SCRIPT_NAME", "/own/index.wsgi");
        let text = server.get("/fallen/somewhere").with_status(200).text();
        is(&text, "PATH_INFO", "/fallback");
        server.stop();
    });
}

#[test]
fn static_files_beside_an_application_at_the_root() {
    in_both_modes(|site| {
        site.write("static/a.css", "body {}");
        let files = site.path("static").display().to_string();
        let server = site
            // An alias for files wins, whatever the order.
            .mount("/", "app.wsgi", APPLICATION)
            .conf(format!("Alias /static {files}\nAddType text/css .css"))
            .start();
        let response = server.get("/static/a.css").with_status(200);
        assert_eq!(response.text(), "body {}");
        assert_eq!(response.header("Content-Type").as_deref(), Some("text/css"));
        assert_eq!(server.get("/static/b.css").status, 404);
        is(&server.get("/statics").with_status(200).text(), "PATH_INFO", "/statics");
        server.stop();
    });
}

/// The length that the client says is not the length of what an application gets.
#[test]
fn a_body_that_a_filter_changes() {
    let plain: String = (0..20_000).map(|number| number.to_string()).collect();
    let mut gzip =
        Command::new("gzip").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    gzip.stdin.take().unwrap().write_all(plain.as_bytes()).unwrap();
    let packed = gzip.wait_with_output().unwrap().stdout;
    assert!(packed.len() < plain.len() / 2);
    in_both_modes(|site| {
        let server = mounted(with_modules(site, &["mod_deflate"]))
            .conf("<Location /app>\nSetInputFilter DEFLATE\n</Location>")
            .start();
        for headers in [&[("Content-Encoding", "gzip")][..], &[]] {
            let body = if headers.is_empty() { plain.as_bytes() } else { &packed };
            let text = server.request("POST", "/app", headers, body).with_status(200).text();
            is(&text, "BODY", &plain);
        }
        is(&server.get("/app").with_status(200).text(), "BODY", "");
        server.stop();
    });
}

/// A filter runs subrequests while a response is being sent: into another application, and through
/// scripts that decide, on the thread that is in the first one.
#[test]
fn mod_include() {
    let page = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/html')])
    yield b'begin '
    for path in ('/app/allowed', '/app/denied', '/page/again'):
        yield f'[<!--#include virtual=\"{path}\" -->] '.encode()
    yield b'end'
";
    let again = "
def application(environ, start_response):
    start_response('200 OK', [('Content-Type', 'text/html')])
    return [b'again']
";
    let access = "
def allow_access(environ, host):
    return environ['PATH_INFO'] != '/denied'
";
    in_both_modes(|site| {
        let script = site.write("access.py", access).display().to_string();
        let server = mounted(with_modules(site, &["mod_include"]))
            .mount("/page/again", "again.wsgi", again)
            .mount("/page", "page.wsgi", page)
            .conf("<Location /page>\nOptions +Includes\nSetOutputFilter INCLUDES\n</Location>")
            .conf(format!("<Location /app>\nWSGIAccessScript {script} application-group=x"))
            .conf("</Location>")
            .start();
        for _ in 0..20 {
            let text = server.get("/page").with_status(200).text();
            assert!(text.starts_with("begin [SCRIPT_NAME=/app/allowed\n"), "{text}");
            assert!(text.ends_with("[again] end"), "{text}");
            assert!(text.contains("PATH_INFO=/allowed") && !text.contains("/denied"), "{text}");
            // Not an interpreter for each path.
            let group = text.lines().find(|line| line.starts_with("mod_wsgi.application_group="));
            assert!(group.is_some_and(|group| group.ends_with("|/app")), "{text}");
        }
        for tail in ["WSGI0057: ", "AH01374: ", "unable to include"] {
            server.log().allow(tail);
        }
        server.stop();
    });
}

#[test]
fn users_directories() {
    in_both_modes(|site| {
        site.write("home/ann/public/app.wsgi", APPLICATION);
        let home = site.path("home").display().to_string();
        let server = with_modules(site, &["mod_userdir"])
            .conf(format!("UserDir {home}/*/public\n<Directory {home}/*/public>"))
            .conf("Options ExecCGI\nAddHandler wsgi-script .wsgi\n</Directory>")
            .start();
        let text = server.get("/~ann/app.wsgi/x").with_status(200).text();
        is(&text, "SCRIPT_NAME", "/~ann/app.wsgi");
        is(&text, "PATH_INFO", "/x");
        server.stop();
    });
}

#[test]
fn logs_of_virtual_hosts() {
    in_both_modes(|site| {
        let dir = site.dir().display().to_string();
        let script = site.write("app.wsgi", APPLICATION).display().to_string();
        let host = |name: &str| {
            format!(
                "<VirtualHost *:*>\nServerName {name}.example\nErrorLog {dir}/{name}.log\n\
                 CustomLog {dir}/{name}.access \"%v %U %>s\"\n\
                 WSGIScriptAlias / \"{script}\"\n</VirtualHost>"
            )
        };
        let server = site.conf(host("one")).conf(host("two")).start();
        for name in ["one", "two"] {
            let host = format!("{name}.example");
            let path = format!("/from-{name}?print");
            let response = server.request("GET", &path, &[("Host", &host)], b"");
            assert_eq!(response.status, 200);
        }
        let read =
            |name: &str| std::fs::read_to_string(server.site().path(name)).unwrap_or_default();
        let deadline = Instant::now() + Duration::from_secs(10);
        for (name, other) in [("one", "two"), ("two", "one")] {
            let log = format!("{name}.log");
            while !read(&log).contains(&format!("PRINTED /from-{name}")) {
                assert!(Instant::now() < deadline, "{log}: {}", read(&log));
                std::thread::sleep(Duration::from_millis(20));
            }
            assert!(!read(&log).contains(&format!("from-{other}")), "{}", read(&log));
            let access = format!("{name}.access");
            while !read(&access).contains(&format!("{name}.example /from-{name} 200")) {
                assert!(Instant::now() < deadline, "{access}: {}", read(&access));
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        server.stop();
    });
}
