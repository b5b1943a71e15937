//! HTTPS of `mod_wsgi-express`: certificates of one's own, and those of clients.

#![allow(clippy::unwrap_used)]

use std::process::Command;

use tests::{Express, Package, Setup, matrix};

const APP: &str = "
def application(environ, start_response):
    names = ('PATH_INFO', 'wsgi.url_scheme', 'SSL_PROTOCOL', 'SSL_CLIENT_S_DN_CN')
    lines = ['%s=%s\\n' % (name, environ.get(name)) for name in names]
    start_response('200 OK', [('Content-Type', 'text/plain')])
    return [''.join(lines).encode()]
";

/// A package with the application and a certificate for localhost, if there can be HTTPS here.
fn package() -> Option<Package> {
    let package = Package::shared(&matrix::python());
    package.write("app.py", APP);
    let subject = "/CN=localhost";
    let words = "req -x509 -newkey rsa:2048 -nodes -days 2 -keyout site.key -out site.crt -subj";
    if Setup::get().loadable("mod_ssl").is_none() || !openssl(&package, words, &[subject]) {
        matrix::skip("HTTPS", "no openssl, or no mod_ssl");
        return None;
    }
    Some(package)
}

fn openssl(package: &Package, words: &str, more: &[&str]) -> bool {
    let mut command = Command::new("openssl");
    command.args(words.split(' ')).args(more).current_dir(&package.place);
    command.output().is_ok_and(|output| output.status.success())
}

/// What curl gets, head and body, or `None` if there is no HTTP in it.
fn curl(package: &Package, words: &[&str], url: &str) -> Option<String> {
    let output = Command::new("curl")
        .args(["--silent", "--show-error", "--insecure", "--include", "--max-time", "20"])
        .args(words)
        .arg(url)
        .current_dir(&package.place)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).replace('\r', "");
    output.status.success().then_some(text)
}

/// A certificate of one's own says that it is an authority's, and not whose the catch-all is; and
/// mod_ssl may have been built with another OpenSSL than there is, and has no cache here.
fn allow_grumbling(server: &Express<'_>) {
    for code in ["AH01906", "AH01909", "AH01882", "AH01873"] {
        server.log().allow(code);
    }
}

#[test]
fn https_with_a_certificate_of_ones_own() {
    let Some(package) = package() else { return };
    let other = Express::new(&package, "https port");
    let tls = other.address().port().to_string();
    let server = Express::new(&package, "https").start(&[
        "app.py",
        "--https-port",
        &tls,
        "--ssl-certificate",
        "site",
        "--ssl-environment",
        "--https-only",
        "--hsts-policy",
        "max-age=100; includeSubDomains",
        "--server-name",
        "localhost",
        "--allow-localhost",
    ]);
    let text = curl(&package, &[], &format!("https://localhost:{tls}/x")).unwrap();
    assert!(text.contains("\nwsgi.url_scheme=https\n"), "{text}");
    assert!(text.contains("\nSSL_PROTOCOL=TLSv1"), "{text}");
    assert!(text.contains("\nStrict-Transport-Security: max-age=100; includeSubDomains\n"));
    let away = server.request("GET", "/x?y=z", &[("Host", "localhost")]);
    assert_eq!(away.status, 308, "{away:?}");
    assert_eq!(away.header("Location").unwrap(), format!("https://localhost:{tls}/x?y=z"));
    allow_grumbling(&server);
    server.stop();
}

/// An authority, and a certificate that it gave to somebody called Ada.
fn somebody(package: &Package) -> bool {
    let authority = "req -x509 -newkey rsa:2048 -nodes -days 2 -keyout ca.key -out ca.pem -subj";
    let request = "req -newkey rsa:2048 -nodes -keyout ada.key -out ada.csr -subj";
    let sign =
        "x509 -req -in ada.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -out ada.pem";
    openssl(package, authority, &["/CN=an authority"])
        && openssl(package, request, &["/CN=Ada"])
        && openssl(package, sign, &[])
}

const HANDSHAKE: &str = "
import http.client, ssl, sys
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
context.load_cert_chain('ada.pem', 'ada.key')
connection = http.client.HTTPSConnection('localhost', int(sys.argv[1]), context=context, timeout=20)
connection.request('GET', '/members/x')
print(connection.sock.version(), connection.getresponse().status)
";

#[test]
fn clients_show_certificates() {
    let Some(package) = package() else { return };
    assert!(somebody(&package));
    let ada = ["--cert", "ada.pem", "--key", "ada.key"];
    for (name, only) in [("everywhere", false), ("below a path", true)] {
        let other = Express::new(&package, "https port");
        let tls = other.address().port().to_string();
        let mut words = vec!["app.py", "--https-port", &tls, "--ssl-certificate", "site"];
        words.extend(["--ssl-ca-certificate-file", "ca.pem", "--ssl-environment"]);
        if only {
            words.extend(["--ssl-verify-client", "/members"]);
        }
        let server = Express::new(&package, name).start(&words);
        let url = |path: &str| format!("https://localhost:{tls}{path}");
        for protocol in ["--tls-max=1.2", "--tlsv1.3"] {
            let protocol: Vec<&str> = protocol.split('=').collect();
            let get = |words: &[&str], path: &str| {
                curl(&package, &[&protocol[..], words].concat(), &url(path))
            };
            let text = get(&ada, "/members/x").unwrap_or_default();
            assert!(text.contains("\nSSL_CLIENT_S_DN_CN=Ada\n"), "{protocol:?}: {text}");
            let closed = get(&[], "/members/x").unwrap_or_default();
            assert!(!closed.contains("wsgi.url_scheme"), "{protocol:?}: {closed}");
            let open = get(&[], "/open").unwrap_or_default();
            assert_eq!(open.contains("\nwsgi.url_scheme=https\n"), only, "{protocol:?}: {open}");
        }
        // Browsers, and Python, show a certificate only while they connect, if they speak TLS 1.3.
        if !only {
            let mut python = package.python();
            python.args(["-c", HANDSHAKE, &tls]).current_dir(&package.place);
            let output = python.output().unwrap();
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            assert_eq!(said, "TLSv1.3 200\n", "{}", String::from_utf8_lossy(&output.stderr));
        }
        // What needs a certificate is not to be had where nobody can show one.
        assert_eq!(server.get("/members/x").status, 403);
        assert_eq!(server.get("/open").status, if only { 200 } else { 403 });
        allow_grumbling(&server);
        // The handshake that failed, and plain HTTP for what needs a certificate.
        for code in ["AH02261", "AH02263", "AH10158", "AH02008", "AH02219", "SSL Library Error"] {
            server.log().allow(code);
        }
        server.stop();
    }
}
