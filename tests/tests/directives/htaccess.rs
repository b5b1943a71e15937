//! `.htaccess` files.

use super::*;

/// A site that serves a file from a directory with this `AllowOverride`.
fn overridable(allowed: &str) -> Server {
    let site = Site::new(Mpm::Event, &matrix::python()).one_child(8);
    site.write("htdocs/d/a.txt", "a file");
    let root = site.path("htdocs/d").display().to_string();
    site.conf(format!("<Directory {root}>\nAllowOverride {allowed}\n</Directory>")).start()
}

#[test]
fn htaccess_files_say_what_they_may_and_nothing_else() {
    for (allowed, letters) in
        [("FileInfo", "F"), ("AuthConfig", "A"), ("Options Limit Indexes", ""), ("All", "FA")]
    {
        let server = overridable(allowed);
        for row in TABLE {
            // A script that is not there lets nobody in, wherever it is named.
            let denies = row.name == "WSGIAccessScript";
            server.site().write("htdocs/d/.htaccess", row.line(1));
            let status = server.get("/d/a.txt").status;
            if letters.chars().any(|letter| row.may(letter)) {
                assert_eq!(status, if denies { 403 } else { 200 }, "{allowed}: {}", row.name);
            } else {
                assert_eq!(status, 500, "{allowed}: {}", row.name);
                server.log().expect(&format!(".htaccess: {} not allowed here", row.name));
            }
        }
        for tail in ["WSGI0105", "WSGI0174", "WSGI0057", "FileNotFoundError", "  File ", "    "] {
            server.log().allow(tail);
        }
        server.log().allow("Traceback");
        server.stop();
    }
    // Where nothing may be overridden, such files are not even looked at.
    let server = overridable("None");
    server.site().write("htdocs/d/.htaccess", "WSGINonsense\n");
    assert_eq!(server.get("/d/a.txt").status, 200);
    server.stop();
}

#[test]
fn whatever_an_htaccess_file_says_is_a_setting_or_a_message() {
    let server = overridable("FileInfo AuthConfig");
    let nasty = [
        "\"",
        "'",
        "\\",
        "%{ENV:",
        "%{ENV:}",
        "%n%s%n",
        "=",
        "a==",
        "application-group=%{HOST}",
        "\u{e9}\u{17c}",
        "/etc/passwd",
        "::::",
        "1.2.3.4/99",
        "999.1.1.1",
        "X-\u{1}",
        "- +",
    ];
    for row in TABLE.iter().filter(|row| row.may('F') || row.may('A')) {
        for value in nasty.iter().copied().chain([&*"x".repeat(7000)]) {
            server.site().write("htdocs/d/.htaccess", format!("{} {value}\n", row.name));
            let status = server.get("/d/a.txt").status;
            assert!([200, 403, 500].contains(&status), "{} {value}: {status}", row.name);
        }
    }
    server.site().write("htdocs/d/.htaccess", "");
    assert_eq!(server.get("/d/a.txt").status, 200);
    for tail in [".htaccess: ", "WSGI0", "Error", "  File ", "    ", "Traceback", "xxxxxx"] {
        server.log().allow(tail);
    }
    server.stop();
}
