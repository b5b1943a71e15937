//! The page of `SetHandler wsgi-status`, in whichever form it is asked for.
//!
//! Who may see it is for `Require` in the same section. It is there only if the server's own
//! configuration names the handler; see [`super`].

use engine_api::{Bytes, Flags, Head, Host, Pair, Slice};
use httpd_sys::{Request, RequestHook, Status};
use status::{PageOptions, Snapshot};

use super::seen::Seen;
use super::{HANDLER, METER};
use crate::host::RequestHost;

/// The hook.
pub(crate) struct Page;

impl RequestHook for Page {
    fn run(request: &mut Request<'_>) -> Status {
        if request.handler() != Some(HANDLER) {
            return Status::Declined;
        }
        let Some(meter) = METER.get().filter(|meter| meter.child.is_some()) else {
            return Status::Declined;
        };
        if !request.is_get() {
            return Status::Http(405);
        }
        let query = request.query().unwrap_or_default();
        let option = |name: &[u8]| {
            query.split(|byte| *byte == b'&').find_map(|part| part.strip_prefix(name))
        };
        let mut seen = Seen::now(meter, request);
        let format = option(b"format=");
        // Numbers have no places, and their readers come often.
        if format != Some(b"openmetrics") {
            seen.locate(meter);
        }
        let snapshot = seen.snapshot;
        let (kind, text) = match format {
            None | Some(b"html") => {
                let options =
                    PageOptions { refresh: refresh(option(b"refresh=")), ..clock(&snapshot) };
                ("text/html; charset=utf-8", status::html(&snapshot, &options))
            }
            Some(b"json") => ("application/json", status::json(&snapshot)),
            Some(b"openmetrics") => (status::MEDIA_TYPE, status::openmetrics(&snapshot)),
            Some(_) => return Status::Http(400),
        };
        let length = text.len().to_string();
        let mut headers = vec![
            Pair::new(b"Content-Type", kind.as_bytes()),
            Pair::new(b"Content-Length", length.as_bytes()),
        ];
        headers.extend(
            status::HEADERS.map(|(name, value)| Pair::new(name.as_bytes(), value.as_bytes())),
        );
        let head = Head {
            status: 200,
            reason: Bytes::new(b"OK"),
            headers: Slice::new(&headers),
            content_length: text.len() as i64,
        };
        let mut host = RequestHost::new(request, false);
        let body = [Bytes::new(text.as_bytes())];
        // To a client that has gone there is nothing to say.
        let _ = host.respond(Some(&head), &body, Flags::END);
        Status::Ok
    }
}

/// Seconds until the page asks for itself again.
fn refresh(asked: Option<&[u8]>) -> u32 {
    let asked = asked.and_then(|text| std::str::from_utf8(text).ok()?.parse::<u32>().ok());
    asked.map_or(5, |seconds| seconds.min(3600))
}

/// The time of day, in UTC.
fn clock(snapshot: &Snapshot) -> PageOptions {
    let seconds = snapshot.now / 1_000_000 % 86_400;
    let digits = |number: u64| [b'0' + (number / 10) as u8, b'0' + (number % 10) as u8];
    let [a, b] = digits(seconds / 3600);
    let [c, d] = digits(seconds / 60 % 60);
    let [e, f] = digits(seconds % 60);
    PageOptions { refresh: 0, clock: [a, b, b':', c, d, b':', e, f] }
}
