//! The process that writes what the supervisor and the workers say into this server's logs.
//!
//! It is forked from the parent with each configuration, as the programs of piped logs are started,
//! so every form of `ErrorLog` and `ErrorLogFormat` works. What a group says goes to the log of the
//! virtual host it is defined in, and carries the number of the process that has said it. It ends when the next configuration has a relay of its own.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use daemon::log::{Entry, Source, channel, relay};
use httpd_sys::{Identity, Level, Relay, Server, fork_relay, speak_as};
use nix::unistd::{Gid, Uid, geteuid, setgid, setgroups, setuid};

use crate::{Wsgi, log};

/// Starts a relay; returns the supervisor's end of the channel to it.
///
/// # Errors
/// There is no process or descriptor to be had.
pub(super) fn start(server: Server<'_>) -> io::Result<OwnedFd> {
    let (ours, theirs) = channel()?;
    fork_relay::<Wsgi, Writer>(server, theirs.as_fd())?;
    Ok(ours)
}

struct Writer;

impl Relay for Writer {
    fn run(server: Server<'_>, channel: File) {
        become_nobody();
        // It fails if the channel does: then there is nothing to relay any more.
        let _ = relay(channel.as_fd(), |entry| write(server, entry));
    }
}

/// Takes on the rights of the children: the logs are open.
fn become_nobody() {
    let Identity { uid, gid, .. } = Identity::configured();
    if geteuid().is_root() && uid != 0 {
        // Where that fails it goes on as root, which only writes to what is open.
        let _ = setgroups(&[]);
        let _ = setgid(Gid::from_raw(gid));
        let _ = setuid(Uid::from_raw(uid));
    }
}

fn write(main: Server<'_>, entry: &Entry<'_>) {
    let speaker = u32::try_from(entry.pid).ok().filter(|_| entry.source != Source::Supervisor);
    speak_as(speaker.unwrap_or_else(std::process::id));
    let place = main.shared::<Wsgi>().and_then(|groups| groups.place(entry.group));
    let server = place.and_then(|place| place.find(main)).unwrap_or(main);
    log::server(server, &log::of_worker(&entry.record));
}

/// Says in the parent that something of daemon mode does not work.
pub(super) fn complain(server: Server<'_>, text: &str) {
    server.logger::<Wsgi>().log(Level::Error, httpd_sys::here!(), 0, text.as_bytes());
}
