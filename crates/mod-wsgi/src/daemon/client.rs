//! What a child knows of the groups: how to reach their workers, and how long to wait for them.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use daemon::client::{Address, Child, Group, Options, Overview, Places};
use httpd_sys::{Mpm, Server, with_retained};

use super::start::{KEPT, Kept};
use crate::groups::{Known, defined};
use crate::settings::Global;
use crate::sole::Tenants;
use crate::tenants::Sole;
use crate::{Wsgi, log, scoreboard};

/// A child as a client of workers.
pub(crate) struct Client {
    pub(super) child: Child,
    /// In the order of the configuration, as [`Known::index`] counts; `None` for a group that the
    /// supervisor was not told of.
    lines: Vec<Option<Line>>,
}

/// The way to the workers of one group.
pub(super) struct Line {
    pub(super) group: Arc<Group>,
    pub(super) options: Options,
    /// How long to wait for more of a response before the client gets what there is.
    pub(super) flush_delay: Duration,
    /// Bytes of a response after which there is a flush in any case.
    pub(super) flush_limit: usize,
    /// Bytes that may wait in buffers for the group, over all children; 0 for any.
    pub(super) buffer_limit: u64,
    /// Longest line of a response's head.
    pub(super) header_limit: usize,
    /// How long to wait for the client while it is sent a response, if that is another time than
    /// usual.
    pub(super) client_timeout: Option<Duration>,
    /// `socket-timeout`; where there is none, each server's `Timeout` holds.
    pub(super) socket_timeout: Option<Duration>,
    /// The only application group of its processes.
    sole: Option<Sole>,
}

static CLIENT: OnceLock<Client> = OnceLock::new();

/// Makes this child a client. Before it has threads.
pub(crate) fn join(main: Server<'_>) {
    let groups = defined(main);
    if groups.is_empty() {
        return;
    }
    // SAFETY: in a child that was just forked, or in a server of one process, before it serves: by
    // the only thread.
    let handles = unsafe {
        with_retained(KEPT, |Kept(retained): &mut Kept| match Mpm.single_process() {
            true => retained.in_parent(),
            false => retained.enter_child(),
        })
    };
    let Some(Some(handles)) = handles else { return };
    if groups.iter().any(|group| group.process.server_metrics)
        && let Err(error) = handles.answer(scoreboard::encoded)
    {
        log::process_text(&format!("Process groups cannot be told of the server: {error}"));
    }
    let child = match Child::join(&handles) {
        Ok(child) => child,
        Err(error) => {
            log::process_text(&format!("Process groups cannot be reached: {error}"));
            return;
        }
    };
    let nothing = Global::default();
    let global = main.config::<Wsgi>().map_or(&nothing, |configured| &configured.global);
    let tenants = Tenants::read(main, global);
    let lines = groups
        .iter()
        .map(|group| {
            let process = &group.process;
            let waiting = process.listen_backlog;
            Some(Line {
                group: Arc::clone(child.group(&process.name)?),
                options: Options {
                    domain: 0,
                    connect_timeout: process.connect_timeout,
                    socket_timeout: process.socket_limit(main.timeout()),
                    queue_timeout: process.queue_timeout,
                    deadline: process.request_limit(),
                    capacity: process.threads.saturating_add(waiting.max(1)),
                    idle: Duration::from_secs(10),
                    send_buffer: process.send_buffer_size,
                    receive_buffer: process.receive_buffer_size,
                },
                flush_delay: process.response_flush_delay,
                flush_limit: process.flush_limit(),
                buffer_limit: process.buffer_limit,
                header_limit: process.header_line_limit(),
                client_timeout: process.response_socket_limit(),
                socket_timeout: process.socket_timeout,
                sole: tenants.sole(&process.name),
            })
        })
        .collect();
    let _ = CLIENT.set(Client { child, lines });
}

/// The name under which the application group `name` runs in the processes of a group.
pub(crate) fn application_group(known: &Known, name: Vec<u8>) -> Vec<u8> {
    let sole = line(known).and_then(|(_, line)| line.sole.as_ref());
    sole.filter(|sole| sole.is(&name)).map_or(name, |sole| sole.name.clone())
}

/// What is known of a group now, if it is run.
pub(crate) fn overview(known: &Known) -> Option<Overview> {
    line(known).map(|(child, line)| child.overview(&line.group))
}

/// Asks workers where their requests are.
pub(crate) fn inquire(workers: &[Address], limit: Duration) -> Vec<Option<Places>> {
    CLIENT.get().map_or_else(Vec::new, |client| client.child.inquire(workers, limit))
}

/// The way to a group's workers, if there is one.
pub(super) fn line(known: &Known) -> Option<(&'static Child, &'static Line)> {
    let client = CLIENT.get()?;
    Some((&client.child, client.lines.get(known.index)?.as_ref()?))
}
