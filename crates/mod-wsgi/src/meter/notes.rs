//! A request's times in its notes, where `%{wsgi_queue_us}n` of a log format finds them.
//! <https://httpd.apache.org/docs/2.4/mod/mod_log_config.html#formats>

use std::ffi::CStr;

use httpd_sys::Request;
use status::Phase;

use super::Metered;
use crate::groups::ProcessGroup;

/// Names of the notes: of [`Phase::ALL`] in order, then of what is no time.
pub(super) const NAMES: [&CStr; 9] = [
    c"wsgi_read_us",
    c"wsgi_queue_us",
    c"wsgi_start_us",
    c"wsgi_application_us",
    c"wsgi_send_us",
    c"wsgi_total_us",
    c"wsgi_pid",
    c"wsgi_group",
    c"wsgi_generation",
];

const _: () = assert!(Phase::COUNT == 6);

/// Writes them. What a request does not have it has no note of, which a log shows as `-`.
pub(super) fn write(request: &Request<'_>, metered: &Metered) {
    let (notes, pool) = (request.notes(), request.pool());
    let number = |name: &'static CStr, value: u64| {
        notes.set_borrowed(name, pool.string(value.to_string().as_bytes()));
    };
    let [times @ .., pid, group, generation] = &NAMES;
    for (name, us) in times.iter().zip(metered.phases) {
        if let Some(us) = us {
            number(name, us);
        }
    }
    match metered.group {
        ProcessGroup::Embedded => number(pid, std::process::id().into()),
        ProcessGroup::Daemon(known) => {
            let (worker, of) = metered.worker;
            if worker != 0 {
                number(pid, worker.unsigned_abs().into());
                number(generation, of.into());
            }
            notes.set_borrowed(group, pool.string(&known.group.process.name));
        }
    }
}
