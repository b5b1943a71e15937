//! `WSGIDispatchScript`: where a request runs, as a script says.

use engine_api::{Decision, Pair, Verdict};
use httpd_sys::{Request, Status};
use log_codes::WSGI0086;

use super::{Ask, ask_with};
use crate::settings::Effective;
use crate::translate::Options;

/// What a dispatch script says.
#[derive(Debug, Default)]
pub(crate) struct Dispatched {
    /// Process group, application group, callable; each may be said or not.
    names: [Option<Vec<u8>>; 3],
}

impl Dispatched {
    /// `options` with what the script said over them.
    pub(crate) fn over<'a>(&'a self, options: Options<'a>) -> Options<'a> {
        let [process_group, application_group, callable] = self.names.each_ref();
        Options {
            process_group: process_group.as_deref().or(options.process_group),
            application_group: application_group.as_deref().or(options.application_group),
            dispatched_group: application_group.is_some(),
            dispatched_callable: callable.as_deref(),
            ..options
        }
    }
}

/// Asks the dispatch script of a request, if it has one.
///
/// # Errors
/// A script that cannot be asked is no reason to run the request anywhere: 500.
pub(crate) fn dispatch(
    request: &mut Request<'_>,
    effective: Effective<'_>,
    script_name: &[u8],
    pairs: &[Pair<'_>],
    https: bool,
) -> Result<Dispatched, Status> {
    let mut said = Dispatched::default();
    let Some(script) = effective.get(|s| &s.dispatch_script) else {
        return Ok(said);
    };
    let ask = Ask { script, decision: Decision::Dispatch, arguments: &[], unavailable: &WSGI0086 };
    let mut all = pairs.to_vec();
    if https {
        all.push(Pair::new(b"HTTPS", b"1"));
    }
    let keep = &mut |number: u32, name: &[u8]| {
        if let Some(place) = usize::try_from(number).ok().and_then(|at| said.names.get_mut(at)) {
            *place = Some(name.to_vec());
        }
    };
    match ask_with(request, effective, &ask, script_name, &all, keep) {
        Verdict::Names => Ok(said),
        _ => Err(Status::INTERNAL_SERVER_ERROR),
    }
}
