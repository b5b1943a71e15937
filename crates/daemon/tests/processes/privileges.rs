//! Workers are who they should be, and nobody else. Most of it needs root, and is skipped without.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use daemon::client::ErrorKind;
use daemon::config::{Group, Limit, User};

use crate::ask::Ask;
use crate::server::{Server, group};

crate::tests! {
    privileges_are_dropped_for_good
    root_is_refused
    a_user_that_cannot_start_says_why
    the_root_directory_is_another_one
    limits_that_cannot_be_set_are_said
    nothing_of_the_server_reaches_a_worker
}

fn is_root() -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("skipped: not root");
    }
    root
}

/// This executable where everybody can run it.
fn copy(directory: &Path) -> Vec<u8> {
    std::fs::set_permissions(directory, std::fs::Permissions::from_mode(0o755)).unwrap();
    let program = directory.join("program");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    program.into_os_string().into_encoded_bytes()
}

fn nobody() -> Option<User> {
    Some(User { uid: 65_534, gid: 65_533, groups: vec![65_533, 100] })
}

fn privileges_are_dropped_for_good() {
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let server = Server::new(vec![Group {
        program: copy(directory.path()),
        user: nobody(),
        allow_root: false,
        nice: 5,
        ..group("g", 1, 2)
    }]);
    let status = server.text("status");
    let field = |name: &str| {
        let found = status.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        found.unwrap().split_whitespace().collect::<Vec<_>>()
    };
    assert_eq!(field("Uid"), ["65534"; 4]);
    assert_eq!(field("Gid"), ["65533"; 4]);
    assert_eq!(field("Groups"), ["100", "65533"]);
    for set in ["CapInh", "CapPrm", "CapEff", "CapAmb"] {
        assert_eq!(field(set), ["0000000000000000"], "{set}");
    }
    let pid = server.pid();
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let nice = stat.rsplit(") ").next().unwrap().split(' ').nth(16).unwrap();
    assert_eq!(nice, "5");
    // It is replaced with the same privileges.
    assert!(server.get("exit/1").error.is_some());
    assert!(server.text("status").contains("\nUid:\t65534\t65534\t65534\t65534\n"));
}

fn root_is_refused() {
    if !is_root() {
        return;
    }
    let root = Some(User { uid: 0, gid: 65_533, groups: vec![65_533] });
    let server = Server::new(vec![
        Group { allow_root: false, ..group("none", 1, 1) },
        Group { allow_root: false, user: root.clone(), ..group("root", 1, 1) },
        Group { allow_root: true, user: root, ..group("g", 1, 1) },
    ]);
    assert!(server.text("status").contains("\nUid:\t0\t0\t0\t0\n"));
    let text = "WSGI process blocked from running as root.";
    for name in ["none", "root"] {
        let error = server.ask(name, "hello", &Ask::default()).error.unwrap();
        assert_eq!(error.kind(), ErrorKind::Failing);
        server.until_logged(&format!("Unable to start process '{name}': {text}"));
    }
}

fn a_user_that_cannot_start_says_why() {
    if !is_root() {
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let secret = directory.path().join("secret");
    std::fs::create_dir(&secret).unwrap();
    std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o700)).unwrap();
    let path = |path: &Path| path.as_os_str().as_encoded_bytes().to_vec();
    let program = copy(directory.path());
    let user = nobody();
    let server = Server::new(vec![
        Group {
            program: program.clone(),
            user: user.clone(),
            directory: Some(path(&secret)),
            ..group("directory", 1, 1)
        },
        Group { program: path(&secret.join("x")), user, ..group("program", 1, 1) },
        Group { chroot: Some(path(&secret.join("missing"))), program, ..group("chroot", 1, 1) },
    ]);
    let secret = secret.display();
    let denied = "Permission denied";
    server.until_logged(&format!("unable to change working directory to '{secret}': {denied}"));
    server.until_logged(&format!("unable to execute '{secret}/x': {denied}"));
    server.until_logged(&format!("unable to change root directory to '{secret}/missing': No such"));
    for name in ["directory", "program", "chroot"] {
        let error = server.ask(name, "hello", &Ask::default()).error.unwrap();
        assert_eq!(error.kind(), ErrorKind::Failing);
    }
}

fn the_root_directory_is_another_one() {
    if !is_root() {
        return;
    }
    // A root that has everything that this executable needs: the same one, seen through a directory.
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().join("root");
    std::os::unix::fs::symlink("/", &root).unwrap();
    let server = Server::new(vec![Group {
        chroot: Some(root.into_os_string().into_encoded_bytes()),
        ..group("g", 1, 1)
    }]);
    assert!(server.text("env").contains("CWD=/\n"));
    let server = Server::new(vec![Group {
        chroot: Some(directory.path().as_os_str().as_encoded_bytes().to_vec()),
        ..group("g", 1, 1)
    }]);
    // The program is looked for inside.
    server.until_logged("unable to execute");
}

fn limits_that_cannot_be_set_are_said() {
    let limits = vec![Limit { resource: 9_999, soft: 1, hard: 1 }];
    let server = Server::new(vec![Group { limits, ..group("g", 1, 1) }]);
    assert_eq!(server.text("hello"), "Hello");
    server.until_logged("unable to set a resource limit: Invalid argument");
}

fn nothing_of_the_server_reaches_a_worker() {
    // A descriptor that somebody has forgotten to mark, and memory that everybody may write.
    let (end, other_end) = std::os::unix::net::UnixStream::pair().unwrap();
    rustix::io::fcntl_setfd(&end, rustix::io::FdFlags::empty()).unwrap();
    let mut server = Server::new(vec![group("g", 2, 2), group("other", 1, 1)]);
    let pids = server.pids(2);
    let supervisor = server.supervisor();
    let link = |pid: i32, fd: &std::ffi::OsStr| {
        let path = Path::new("/proc").join(pid.to_string()).join("fd").join(fd);
        std::fs::read_link(path).map(|path| path.display().to_string()).unwrap_or_default()
    };
    let of = |pid: i32| {
        let fds = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
        fds.flatten().map(|entry| link(pid, &entry.file_name())).collect::<Vec<_>>()
    };
    let inode = |socket: &dyn AsFd| rustix::fs::fstat(socket).unwrap().st_ino;
    use std::os::fd::AsFd;
    let forgotten = [inode(&end), inode(&other_end)].map(|inode| format!("socket:[{inode}]"));
    assert!(of(supervisor).iter().all(|link| !forgotten.contains(link)));
    for pid in &pids {
        let links = of(*pid);
        assert!(links.iter().all(|link| !forgotten.contains(link)), "{links:?}");
        // It shares sockets with the supervisor: one, and that is its own.
        let count = |name: &str| links.iter().filter(|link| link.contains(name)).count();
        assert_eq!((count("wsgi-status"), count("wsgi-board"), count("wsgi-cells")), (0, 0, 0));
        for other in pids.iter().filter(|other| *other != pid) {
            let shared: Vec<_> = of(*other)
                .into_iter()
                .filter(|link| links.contains(link) && link.starts_with("socket:"))
                .collect();
            assert!(shared.is_empty(), "{shared:?}");
        }
        let maps = std::fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
        assert!(!maps.contains("wsgi-board") && !maps.contains("wsgi-cells"), "{maps}");
        assert_eq!(maps.matches("wsgi-status").count(), 1);
    }
    server.stop();
}
