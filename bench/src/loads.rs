//! What is asked for: one entry per load.
//!
//! The bodies are those of `app/app.py`, made here a second time so that a server is not judged by
//! what it says itself.

/// One load.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Path below every contestant's root.
    pub(crate) path: &'static str,
    pub(crate) connections: u32,
    /// Bytes of a request's body; 0 is a GET.
    pub(crate) upload: usize,
    /// The response's body.
    pub(crate) body: Expected,
    /// Who can serve this besides applications.
    pub(crate) kind: Kind,
    /// Rounds unless the command line says otherwise.
    pub(crate) rounds: u32,
    /// Part of a run without `--load`.
    pub(crate) usual: bool,
    /// Part of `--quick`.
    pub(crate) quick: bool,
}

/// A response's body.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Expected {
    /// Made here.
    Made(fn() -> Vec<u8>),
    /// Made by this program among the applications, when a run is set up.
    Printed(&'static str),
}

/// What it takes to serve a load, least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// The thirteen bytes every kind of contestant has.
    Hello,
    /// A file of the same content would do.
    Content,
    /// Only an application can.
    Work,
}

/// All of them, in the order they run.
pub(crate) const ALL: &[Load] = &[
    Load {
        name: "hello-16",
        about: "13 bytes, 16 connections",
        connections: 16,
        rounds: 7,
        quick: true,
        ..HELLO
    },
    Load { name: "hello-1", about: "13 bytes, 1 connection", connections: 1, ..HELLO },
    Load {
        name: "hello-64",
        about: "13 bytes, 64 connections",
        connections: 64,
        rounds: 3,
        ..HELLO
    },
    Load {
        name: "page-16",
        about: "10 KiB in one piece, 16 connections",
        path: "/page",
        connections: 16,
        body: Expected::Made(|| b"0123456789abcdef".repeat(640)),
        kind: Kind::Content,
        rounds: 3,
        quick: true,
        ..HELLO
    },
    Load {
        name: "stream-4",
        about: "1 MiB in 16 pieces, length unknown, 4 connections",
        path: "/stream",
        connections: 4,
        body: Expected::Made(mebibyte),
        kind: Kind::Content,
        rounds: 3,
        ..HELLO
    },
    Load {
        name: "whole-4",
        about: "1 MiB in one piece, 4 connections",
        path: "/whole",
        connections: 4,
        body: Expected::Made(mebibyte),
        kind: Kind::Content,
        rounds: 3,
        usual: false,
        ..HELLO
    },
    Load {
        name: "upload-4",
        about: "10 MiB request body read in pieces of 64 KiB, 4 connections",
        path: "/upload",
        connections: 4,
        upload: 10 << 20,
        body: Expected::Made(|| b"10485760".to_vec()),
        kind: Kind::Work,
        rounds: 3,
        ..HELLO
    },
    Load {
        name: "busy-16",
        about: "about 1 ms of pure Python, 16 connections",
        path: "/busy",
        connections: 16,
        body: Expected::Made(|| (0..24000u32).map(|i| i & 7).sum::<u32>().to_string().into_bytes()),
        kind: Kind::Work,
        rounds: 3,
        ..HELLO
    },
    Load {
        name: "django-16",
        about: "Django: 20 rows from SQLite through a template, 16 connections",
        path: "/django",
        connections: 16,
        body: Expected::Printed("page.py"),
        kind: Kind::Work,
        ..HELLO
    },
    Load {
        name: "sleep-16",
        about: "time.sleep(0.01), 16 connections (ideal with 16 threads: 1600/s)",
        path: "/sleep",
        connections: 16,
        kind: Kind::Work,
        rounds: 3,
        ..HELLO
    },
    Load {
        name: "waits-1",
        about: "20 times time.sleep(0.0002), 1 connection",
        path: "/waits",
        connections: 1,
        kind: Kind::Work,
        usual: false,
        ..HELLO
    },
    Load {
        name: "hello-15",
        about: "13 bytes, 15 connections",
        connections: 15,
        usual: false,
        ..HELLO
    },
];

const HELLO: Load = Load {
    name: "",
    about: "",
    path: "/hello",
    connections: 16,
    upload: 0,
    body: Expected::Made(|| b"Hello, world!".to_vec()),
    kind: Kind::Hello,
    rounds: 5,
    usual: true,
    quick: false,
};

fn mebibyte() -> Vec<u8> {
    b"0123456789abcdef".repeat(65536)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique() {
        for (i, load) in ALL.iter().enumerate() {
            assert!(!load.name.is_empty() && !load.about.is_empty());
            assert!(ALL[..i].iter().all(|other| other.name != load.name), "{}", load.name);
        }
    }
}
