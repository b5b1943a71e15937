//! Process groups as the configuration defines them: what `httpd -t` accepts and says, and which
//! requests may use which group.

#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use tests::{Mpm, Site, matrix};

/// Checks a configuration with the module and these lines.
fn check(lines: &str) -> tests::Check {
    Site::homeless(Mpm::Event).conf(lines).check()
}

#[track_caller]
fn accepted(lines: &str) {
    let check = check(lines);
    assert!(check.ok, "{lines}\n{}", check.output);
}

/// The configuration is refused with this message, on a line of its own.
#[track_caller]
fn refused(lines: &str, message: &str) {
    check(lines).assert_refused(message);
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

#[test]
fn every_option_is_accepted() {
    accepted(
        "WSGIDaemonProcess a user=daemon group=daemon supplementary-groups=daemon,#77 processes=2 \
         threads=5 umask=0027 home=/ lang=C.UTF-8 locale=C.UTF-8 python-home=/usr \
         python-path=/a:/b python-eggs=/tmp switch-interval=0.01 stack-size=524288 \
         maximum-requests=1000 startup-timeout=30 shutdown-timeout=5 deadlock-timeout=300 \
         inactivity-timeout=300 request-timeout=60 interrupt-timeout=5 graceful-timeout=15 \
         eviction-timeout=10 restart-interval=3600 connect-timeout=15 socket-timeout=60 \
         queue-timeout=45 listen-backlog=100 display-name=%{GROUP} send-buffer-size=8192 \
         receive-buffer-size=8192 header-buffer-size=65536 response-buffer-size=65536 \
         response-socket-timeout=10 response-flush-delay=5 socket-user=root script-user=root \
         cpu-time-limit=60 cpu-priority=5 memory-limit=1073741824 \
         virtual-memory-limit=4294967296 server-metrics=On request-timeout-scaling=Off \
         swap=rolling spare=1 allow-root=Off",
    );
    if is_root() {
        accepted("WSGIDaemonProcess a chroot=/ home=/ script-group=root");
    }
    accepted("WSGIDaemonProcess a\nWSGIDaemonProcess A\nWSGIDaemonProcess \"a b\" threads=0");
    accepted("<VirtualHost *:1>\nWSGIDaemonProcess a\nWSGIProcessGroup a\n</VirtualHost>");
}

#[test]
fn bad_options_are_refused() {
    let option = "Invalid option to WSGI daemon process definition.";
    for (options, message) in [
        ("processes=0", "Invalid process count for WSGI daemon process."),
        ("threads=-1", "Invalid thread count for WSGI daemon process."),
        ("threads=65534", "Invalid thread count for WSGI daemon process."),
        ("umask=9", "Invalid umask for WSGI daemon process."),
        ("chroot=relative", "Invalid chroot directory for WSGI daemon process."),
        ("home=relative", "Invalid home directory for WSGI daemon process."),
        ("switch-interval=0", "Invalid switch interval for WSGI daemon process."),
        ("stack-size=0", "Invalid stack size for WSGI daemon process."),
        ("maximum-requests=-1", "Invalid request count for WSGI daemon process."),
        ("startup-timeout=-1", "Invalid startup timeout for WSGI daemon process."),
        ("shutdown-timeout=-1", "Invalid shutdown timeout for WSGI daemon process."),
        ("deadlock-timeout=-1", "Invalid deadlock timeout for WSGI daemon process."),
        ("inactivity-timeout=-1", "Invalid inactivity timeout for WSGI daemon process."),
        ("request-timeout=-1", "Invalid request timeout for WSGI daemon process."),
        ("interrupt-timeout=-1", "Invalid interrupt timeout for WSGI daemon process."),
        ("graceful-timeout=-1", "Invalid graceful timeout for WSGI daemon process."),
        ("eviction-timeout=-1", "Invalid eviction timeout for WSGI daemon process."),
        ("restart-interval=-1", "Invalid restart interval for WSGI daemon process."),
        ("connect-timeout=-1", "Invalid connect timeout for WSGI daemon process."),
        ("socket-timeout=-1", "Invalid socket timeout for WSGI daemon process."),
        ("queue-timeout=-1", "Invalid queue timeout for WSGI daemon process."),
        ("listen-backlog=-1", "Invalid listen backlog for WSGI daemon process."),
        ("send-buffer-size=511", "Send buffer size must be >= 512 bytes, or 0 for system default."),
        (
            "receive-buffer-size=511",
            "Receive buffer size must be >= 512 bytes, or 0 for system default.",
        ),
        ("header-buffer-size=100", "Header buffer size must be >= 8192 bytes, or 0 for default."),
        (
            "response-buffer-size=100",
            "Response buffer size must be >= 65536 bytes, or 0 for default.",
        ),
        ("response-socket-timeout=-1", "Invalid response socket timeout for WSGI daemon process."),
        ("response-flush-delay=-1", "Invalid response flush delay for WSGI daemon process."),
        ("cpu-time-limit=-1", "Invalid CPU time limit for WSGI daemon process."),
        ("cpu-priority=", "Invalid CPU priority for WSGI daemon process."),
        ("memory-limit=-1", "Invalid memory limit for WSGI daemon process."),
        ("virtual-memory-limit=-1", "Invalid virtual memory limit for WSGI daemon process."),
        ("server-metrics=yes", "Invalid server metrics flag for WSGI daemon process."),
        // Taken for 60, 0 and 0 by mod_wsgi.
        ("request-timeout=60s", "Invalid request timeout for WSGI daemon process."),
        ("threads=abc", "Invalid thread count for WSGI daemon process."),
        ("memory-limit=9999999999999999999", "Invalid memory limit for WSGI daemon process."),
        ("user=", "Invalid user for WSGI daemon process."),
        ("user=#abc", "Invalid user for WSGI daemon process."),
        ("user=root", "WSGI process blocked from running as root."),
        ("user=#0", "WSGI process blocked from running as root."),
        ("user=#77777", "Couldn't determine user name from uid."),
        ("user=no-such-user", "bad user name no-such-user"),
        ("group=", "Invalid group for WSGI daemon process."),
        ("group=no-such-group", "bad group name no-such-group"),
        ("supplementary-groups=daemon,no-such-group", "bad group name no-such-group"),
        ("socket-user=#77777", "Couldn't determine user name from socket user."),
        ("script-user=#77777", "Couldn't determine uid from script user."),
        ("script-group=#77777", "Couldn't determine gid from script group."),
        ("script-user=root script-group=root", "Only one of script-user and script-group allowed."),
        ("nonsense=1", option),
        ("Threads=1", option),
        ("threads", option),
        ("threads =1", option),
        ("newrelic-config-file=/x", option),
    ] {
        refused(&format!("WSGIDaemonProcess a {options}"), message);
    }
}

#[test]
fn names_are_given_and_unique() {
    let none = "Name of WSGI daemon process not supplied.";
    refused("WSGIDaemonProcess", none);
    refused("WSGIDaemonProcess \"\"", none);
    let twice = "Name duplicates previous WSGI daemon definition.";
    refused("WSGIDaemonProcess a\nWSGIDaemonProcess a threads=2", twice);
    refused("WSGIDaemonProcess a\n<VirtualHost *:1>\nWSGIDaemonProcess a\n</VirtualHost>", twice);
    refused(
        "<VirtualHost *:1>\nWSGIDaemonProcess a\n</VirtualHost>\n\
         <VirtualHost *:2>\nWSGIDaemonProcess a\n</VirtualHost>",
        twice,
    );
}

#[test]
fn what_is_missing_in_a_chroot_is_named() {
    if !is_root() {
        refused("WSGIDaemonProcess a chroot=/", "Cannot chroot WSGI daemon process when not root.");
        return;
    }
    refused(
        "WSGIDaemonProcess a chroot=/no/such/place",
        "chroot directory '/no/such/place' for WSGI daemon process does not exist.",
    );
    refused(
        "WSGIDaemonProcess a chroot=/ home=/no/such/place",
        "chroot directory '/' for WSGI daemon process has no '/no/such/place' inside, which home= \
         names.",
    );
}

#[test]
fn places_and_counts() {
    let in_place = |place: &str, line: &str| {
        let name = place.split_whitespace().next().unwrap();
        format!("<{place}>\n{line}\n</{name}>")
    };
    // (line, in a virtual host, in a section)
    for (line, vhost, section) in [
        ("WSGIDaemonProcess a", true, false),
        ("WSGIProcessGroup a", true, true),
        ("WSGIRestrictProcess a %{GLOBAL}", true, true),
        ("WSGIRestrictProcess", true, true),
        ("WSGIRestrictEmbedded On", false, false),
        ("WSGISocketPrefix /run/wsgi", false, false),
        ("WSGISocketRotation Off", false, false),
        ("WSGIAcceptMutex default", false, false),
    ] {
        accepted(line);
        let name = line.split_whitespace().next().unwrap();
        let in_vhost = in_place("VirtualHost *:1", line);
        match vhost {
            true => accepted(&in_vhost),
            false => {
                refused(&in_vhost, &format!("{name} cannot occur within <VirtualHost> section"));
            }
        }
        for place in ["Directory /x", "Location /x", "Files x"] {
            let kind = place.split_whitespace().next().unwrap();
            let in_section = in_place(place, line);
            match section {
                true => accepted(&in_section),
                false => refused(&in_section, &format!("{name} not allowed in <{kind}> context")),
            }
        }
    }
    for (name, help) in [
        ("WSGIProcessGroup", "Name of the WSGI process group."),
        ("WSGIRestrictEmbedded", "Enable/Disable use of embedded mode."),
        ("WSGISocketPrefix", "Path prefix for the daemon process sockets."),
        ("WSGISocketRotation", "Enable/Disable rotation of daemon process sockets."),
        ("WSGIAcceptMutex", "Set accept mutex type for daemon processes."),
    ] {
        for line in [name.to_owned(), format!("{name} \"\""), format!("{name} a b")] {
            refused(&line, &format!("{name} takes one argument, {help}"));
        }
    }
    refused("WSGISocketRotation 1", "WSGISocketRotation must be one of: Off | On");
    refused(
        "WSGIAcceptMutex foo",
        "Accept mutex lock mechanism 'foo' is invalid. Valid accept mutex mechanisms for this \
         platform are: default, flock, fcntl, sysvsem, posixsem, pthread.",
    );
    let long = "/x".repeat(2100);
    refused(&format!("WSGISocketPrefix {long}"), &format!("Invalid WSGISocketPrefix '{long}'."));
    for method in ["default", "Flock", "FCNTL", "sysvsem", "posixsem", "pthread"] {
        accepted(&format!("WSGIAcceptMutex {method}"));
    }
}

#[test]
fn scripts_to_load_in_advance_need_their_group_first() {
    let alias = "WSGIScriptAlias / /x.wsgi process-group=a application-group=b";
    let import = "WSGIImportScript /x.py process-group=a application-group=b";
    let other = "ServerName other.example";
    let own = "ServerName own.example\nWSGIDaemonProcess a";
    let vhosts = |one: &str, two: &str| {
        format!(
            "<VirtualHost *:1>\n{one}\n</VirtualHost>\n<VirtualHost *:2>\n{two}\n</VirtualHost>"
        )
    };
    for script in [alias, import] {
        refused(script, "WSGI process group not yet configured.");
        refused(
            &format!("{script}\nWSGIDaemonProcess a"),
            "WSGI process group not yet configured.",
        );
        accepted(&format!("WSGIDaemonProcess a\n{script}"));
        accepted(&format!(
            "WSGIDaemonProcess a\n<VirtualHost *:1>\n{other}\n{script}\n</VirtualHost>"
        ));
        accepted(&format!("<VirtualHost *:1>\nWSGIDaemonProcess a\n{script}\n</VirtualHost>"));
        accepted(&vhosts(own, &format!("ServerName own.example\n{script}")));
        refused(&vhosts(own, &format!("{other}\n{script}")), "WSGI process group not accessible.");
        refused(&vhosts(own, &format!("{script}\n{other}")), "WSGI process group not matchable.");
    }
    // Nothing is loaded in advance: the name is looked up when a request comes.
    accepted("WSGIScriptAlias / /x.wsgi process-group=a");
    accepted("WSGIScriptAlias / /x.wsgi process-group=a application-group=%{RESOURCE}");
}

const HELLO: &str = "def application(environ, start_response):\n    \
                     start_response('200 OK', [])\n    return [b'hello']\n";

#[test]
fn requests_use_the_groups_they_may_use() {
    let python = matrix::python();
    let site = Site::new(Mpm::Event, &python)
        .mount("/", "app.wsgi", HELLO)
        .conf("WSGIDaemonProcess %{GLOBAL}")
        .conf("<Location /none>\nWSGIProcessGroup nobody\n</Location>")
        .conf("<Location /environment>\nWSGIProcessGroup %{ENV:NO_SUCH_VARIABLE}\n</Location>")
        .conf("<Location /global>\nWSGIProcessGroup %{GLOBAL}\n</Location>")
        .conf("<Location /empty>\nWSGIRestrictProcess\n</Location>")
        .conf("<Location /restricted>\nWSGIRestrictProcess Here\n</Location>")
        .conf("<Location /open>\nWSGIRestrictProcess here %{GLOBAL}\n</Location>")
        .conf("<Location /case>\nWSGIProcessGroup here\nWSGIRestrictProcess HERE\n</Location>")
        .conf("<Location /vhost>\nWSGIProcessGroup here\n</Location>")
        .conf("<VirtualHost *>\nServerName localhost\n</VirtualHost>")
        .conf("<VirtualHost *>\nServerName own.example\nWSGIDaemonProcess here\n</VirtualHost>");
    let server = site.start();
    assert_eq!(server.get("/").with_status(200).text(), "hello");
    assert_eq!(server.get("/global").with_status(200).text(), "hello");
    assert_eq!(server.get("/open").with_status(200).text(), "hello");
    for (path, line) in [
        ("/none", "WSGI0151: No WSGI daemon process called 'nobody' has been configured."),
        (
            "/environment",
            "WSGI0151: No WSGI daemon process called '%{ENV:NO_SUCH_VARIABLE}' has been configured.",
        ),
        (
            "/empty",
            "WSGI0149: Daemon process called '' cannot be accessed by this WSGI application as not \
             a member of allowed groups.",
        ),
        ("/restricted", "WSGI0149: Daemon process called '' cannot be accessed"),
        (
            "/vhost",
            "WSGI0152: Daemon process called 'here' cannot be accessed by this WSGI application.",
        ),
    ] {
        assert_eq!(server.get(path).status, 500, "{path}");
        server.log().expect(line);
    }
    // d22: two groups may differ in nothing but case.
    assert_eq!(server.get("/case").status, 500);
    server.log().expect("WSGI0149: Daemon process called 'here' cannot be accessed");
    server.log().expect("WSGI1003: Daemon process called '%{GLOBAL}' can never be used");
    server.stop();
}

#[test]
fn without_any_group_the_first_message_is_used() {
    let server = Site::new(Mpm::Event, &matrix::python())
        .mount("/", "app.wsgi", HELLO)
        .conf("WSGIProcessGroup nobody")
        .start();
    assert_eq!(server.get("/").status, 500);
    server.log().expect("WSGI0150: No WSGI daemon process called 'nobody' has been configured.");
    server.stop();
}

#[test]
fn htaccess_chooses_no_group() {
    let site = Site::new(Mpm::Event, &matrix::python());
    let root = site.path("htdocs");
    let server = site
        .conf(format!("<Directory {}>\nAllowOverride All\n</Directory>", root.display()))
        .start();
    for line in ["WSGIProcessGroup a", "WSGIRestrictProcess", "WSGIDaemonProcess a"] {
        server.site().write("htdocs/.htaccess", format!("{line}\n"));
        assert_eq!(server.get("/ready.txt").status, 500, "{line}");
        let name = line.split_whitespace().next().unwrap();
        server.log().expect(&format!(".htaccess: {name} not allowed here"));
    }
    server.stop();
}

#[test]
fn scripts_that_others_can_write_to_are_refused() {
    let user = rustix::process::geteuid().as_raw();
    let site = Site::new(Mpm::Event, &matrix::python())
        .conf(format!("WSGIDaemonProcess own script-user=#{user}"))
        .conf("WSGIDaemonProcess other script-user=nobody")
        .conf("<Location /other>\nWSGIProcessGroup other\n</Location>")
        .mount("/other", "other.wsgi", HELLO)
        .conf("WSGIProcessGroup own")
        .mount("/file", "file.wsgi", HELLO)
        .mount("/folder", "folder/app.wsgi", HELLO);
    let set = |name: &str, mode| {
        fs::set_permissions(site.path(name), Permissions::from_mode(mode)).unwrap();
    };
    set("file.wsgi", 0o664);
    set("folder", 0o777);
    let server = site.start();
    for (path, line) in [
        ("/file", "WSGI0166: WSGI script file is writable to group."),
        ("/folder", "WSGI0172: Parent directory of WSGI script file is writable to world."),
        ("/other", "WSGI0164: WSGI script file owner '"),
    ] {
        assert_eq!(server.get(path).status, 403, "{path}");
        server.log().expect(line);
    }
    server.stop();
}

#[test]
fn scripts_of_another_group_are_refused() {
    let group = rustix::process::getegid().as_raw();
    let site = Site::new(Mpm::Event, &matrix::python())
        .conf(format!("WSGIDaemonProcess own script-group=#{group}"))
        .conf(format!("WSGIDaemonProcess other script-group=#{}", if group == 1 { 2 } else { 1 }))
        .conf("<Location /other>\nWSGIProcessGroup other\n</Location>")
        .mount("/other", "other.wsgi", HELLO)
        .conf("WSGIProcessGroup own")
        .mount("/good", "good.wsgi", HELLO)
        .mount("/file", "file.wsgi", HELLO)
        .mount("/folder", "folder/app.wsgi", HELLO);
    let set = |name: &str, mode| {
        fs::set_permissions(site.path(name), Permissions::from_mode(mode)).unwrap();
    };
    // Others of the group may write.
    set("good.wsgi", 0o664);
    set("file.wsgi", 0o646);
    set("folder", 0o777);
    let server = site.start();
    assert_eq!(server.get("/good").status, 200);
    for (path, line) in [
        ("/file", "WSGI0157: WSGI script file is writable to world."),
        ("/folder", "WSGI0161: Parent directory of WSGI script file is writable to world."),
        ("/other", "WSGI0155: WSGI script file group '"),
    ] {
        assert_eq!(server.get(path).status, 403, "{path}");
        server.log().expect(line);
    }
    server.stop();
}
