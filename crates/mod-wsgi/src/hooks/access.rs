//! `WSGIAccessScript`: whether a client may ask at all.

use engine_api::{Decision, Verdict};
use httpd_sys::{Request, RequestHook, Status};
use log_codes::{WSGI0054, WSGI0057};

use super::{Ask, ask, effective};
use crate::log;

/// The hook.
pub(crate) struct Access;

impl RequestHook for Access {
    fn run(request: &mut Request<'_>) -> Status {
        let effective = effective(request);
        let Some(script) = &effective.section.access_script else {
            return Status::Declined;
        };
        let host = request.client_name().unwrap_or_else(|| request.client_ip());
        let question =
            Ask { script, decision: Decision::Access, arguments: &[host], unavailable: &WSGI0054 };
        match ask(request, effective, &question, &mut |_, _| {}) {
            Verdict::None => Status::Declined,
            Verdict::Yes => Status::Ok,
            Verdict::No | Verdict::Names | Verdict::Failed => {
                // With `Satisfy Any` this is not the last word.
                if !request.may_authenticate_instead() {
                    log::request(request, WSGI0057.message([&request.filename()]));
                }
                Status::Http(403)
            }
        }
    }
}
