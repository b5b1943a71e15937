//! What `mod_wsgi.server_metrics()` tells: the server's scoreboard, for engines.
//!
//! An engine in a child asks in the child. One in a worker of daemon mode asks its supervisor, which
//! passes the question on to the children, any of which answers ([`crate::daemon`]).

use engine_api::{Scoreboard, ServerProcess, ServerWorker};

/// All of it, as it is now.
pub(crate) fn encoded() -> Option<Vec<u8>> {
    let board = httpd_sys::Scoreboard::get()?;
    let processes = (0..board.server_limit).filter_map(|number| {
        let process = board.process(number)?;
        let threads = 0..board.thread_limit;
        Some(ServerProcess {
            pid: process.pid,
            generation: process.generation,
            quiescing: process.quiescing,
            workers: threads
                .filter_map(|thread| board.thread(number, thread))
                .map(worker)
                .collect(),
        })
    });
    let board = Scoreboard {
        server_limit: board.server_limit,
        thread_limit: board.thread_limit,
        generation: board.generation,
        restart_time: board.restart_time,
        current_time: engine_api::now(),
        processes: processes.collect(),
    };
    board.encode().ok()
}

fn worker(thread: httpd_sys::ServerThread) -> ServerWorker {
    let [start_time, stop_time, last_used] = thread.times();
    ServerWorker {
        generation: thread.generation(),
        status: thread.status(),
        access_count: thread.access_count(),
        bytes_served: thread.bytes_served(),
        start_time,
        stop_time,
        last_used,
        client: thread.client().to_vec(),
        request: thread.request().to_vec(),
        vhost: thread.vhost().to_vec(),
    }
}
