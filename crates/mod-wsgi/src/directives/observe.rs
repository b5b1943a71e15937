//! Directives about what is recorded of requests.
//!
//! Telemetry is checked word for word, since configurations have it, and its start is answered with a
//! warning: nothing is sent yet. Slow requests have a line in the log.

use std::marker::PhantomData;

use wsgi_config::words::Words;

use super::{Contexts, Directive, Setter};
use crate::settings::Global;

/// The table, for any kind of regular expression.
pub(super) struct Entries<R>(PhantomData<R>);

impl<R: 'static> Entries<R> {
    pub(super) const TABLE: &'static [Directive<R>] = &[
        Directive {
            name: c"WSGITelemetryService",
            contexts: Contexts::SERVER,
            help: c"Push telemetry to a metrics service. Args: unix:/path [interval=N]",
            default: "none: nothing is recorded yet",
            setter: Setter::Words(|target, words| service(target.global, words)),
        },
        Directive {
            name: c"WSGISlowRequests",
            contexts: Contexts::SERVER,
            help: c"Enable slow-request reporting. Arg: threshold in seconds.",
            default: "0: off",
            setter: Setter::Word(|target, seconds| {
                let seconds = number(seconds)
                    .ok_or("WSGISlowRequests threshold must be a number of seconds")?;
                if seconds < 0.0 {
                    return Err("WSGISlowRequests threshold must be non-negative".to_owned());
                }
                target.global.slow_requests = Some(seconds);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGITelemetryOptions",
            contexts: Contexts::SERVER,
            help: c"Toggle metrics capture options. Args: [+|-]Flag... | None | All. Flags: CaptureUserAgent.",
            default: "none set",
            setter: Setter::Raw(|target, _, arguments| options(target.global, arguments)),
        },
    ];
}

/// A finite number, and nothing behind it.
fn number(text: &[u8]) -> Option<f64> {
    let number: f64 = std::str::from_utf8(text).ok()?.parse().ok()?;
    number.is_finite().then_some(number)
}

/// What a socket's address has room for.
const MAX_PATH: usize = 107;
/// In seconds.
const LEAST_INTERVAL: f64 = 0.5;

/// `unix:/path [interval=N]`
fn service(global: &mut Global, words: &[&[u8]]) -> Result<(), String> {
    let target = words.first().copied().unwrap_or_default();
    let path = target.strip_prefix(b"unix:").filter(|path| path.starts_with(b"/"));
    let path = path.ok_or(
        "WSGITelemetryService target must be 'unix:/path' (remote 'udp:host:port' targets are no \
         longer supported)",
    )?;
    if path.len() > MAX_PATH {
        return Err(format!(
            "WSGITelemetryService target must be 'unix:/path' with a path of at most {MAX_PATH} \
             bytes"
        ));
    }
    if let Some(option) = words.get(1) {
        let interval = option
            .strip_prefix(b"interval=")
            .ok_or("WSGITelemetryService second argument must be 'interval=N'")?;
        number(interval)
            .filter(|interval| *interval >= LEAST_INTERVAL)
            .ok_or("WSGITelemetryService interval must be at least 0.5 seconds")?;
    }
    global.telemetry = true;
    Ok(())
}

const FLAGS: [&str; 3] = ["CaptureUserAgent", "None", "All"];

/// `[+|-]Flag... | None | All`
fn options(global: &mut Global, arguments: &[u8]) -> Result<(), String> {
    const NAME: &str = "WSGITelemetryOptions";
    let mut words = Words::new(arguments);
    let words: Vec<Vec<u8>> = std::iter::from_fn(|| words.word()).collect();
    if words.is_empty() {
        return Err(format!("{NAME}: at least one flag required"));
    }
    let mut signed = None;
    for word in &words {
        let (sign, flag) = match word.split_first() {
            Some((b'+' | b'-', flag)) => (true, flag),
            _ => (false, word.as_slice()),
        };
        if sign && flag.is_empty() {
            return Err(format!("{NAME}: bare '+' / '-' is not a flag"));
        }
        if *signed.get_or_insert(sign) != sign {
            return Err(format!(
                "{NAME}: cannot mix +/- form with absolute names in a single directive"
            ));
        }
        let found = FLAGS.iter().find(|name| flag.eq_ignore_ascii_case(name.as_bytes()));
        match found {
            Some(name @ (&"None" | &"All")) if sign => {
                return Err(format!("{NAME}: '{name}' may not have a +/- prefix"));
            }
            Some(_) => {}
            None => return Err(format!("{NAME}: unknown flag '{}'", flag.escape_ascii())),
        }
    }
    global.telemetry = true;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::tests::{read, refused};

    #[test]
    fn services() {
        for good in ["unix:/run/x.sock", "unix:/run/x.sock interval=0.5", "unix:/x interval=60"] {
            assert!(read(&format!("WSGITelemetryService {good}")).unwrap().global.telemetry);
        }
        let target = "WSGITelemetryService target must be 'unix:/path' (remote 'udp:host:port' \
                      targets are no longer supported)";
        for bad in ["udp:localhost:9999", "/run/x.sock", "unix:", "unix:relative"] {
            refused(&format!("WSGITelemetryService {bad}"), target);
        }
        let interval = "WSGITelemetryService interval must be at least 0.5 seconds";
        for bad in ["0.4", "-1", "", "nan", "inf", "1s", "often"] {
            refused(&format!("WSGITelemetryService unix:/x interval={bad}"), interval);
        }
        refused(
            "WSGITelemetryService unix:/x every=1",
            "WSGITelemetryService second argument must be 'interval=N'",
        );
        let long = "x".repeat(107);
        assert!(read(&format!("WSGITelemetryService unix:/{long}")).is_err());
    }

    #[test]
    fn slow_requests() {
        let threshold = |text: &str| read(&format!("WSGISlowRequests {text}"));
        assert_eq!(threshold("1.5").unwrap().global.slow_requests, Some(1.5));
        assert_eq!(threshold("0").unwrap().global.slow_requests, Some(0.0));
        refused("WSGISlowRequests -1", "WSGISlowRequests threshold must be non-negative");
        for bad in ["1s", "abc", "nan", "inf"] {
            refused(
                &format!("WSGISlowRequests {bad}"),
                "WSGISlowRequests threshold must be a number of seconds",
            );
        }
    }

    #[test]
    fn telemetry_options() {
        for good in ["CaptureUserAgent", "+captureuseragent", "-CaptureUserAgent", "None", "All"] {
            assert!(read(&format!("WSGITelemetryOptions {good}")).is_ok(), "{good}");
        }
        for (bad, message) in [
            ("", "at least one flag required"),
            ("+", "bare '+' / '-' is not a flag"),
            (
                "+CaptureUserAgent All",
                "cannot mix +/- form with absolute names in a single directive",
            ),
            ("+all", "'All' may not have a +/- prefix"),
            ("-None", "'None' may not have a +/- prefix"),
            ("Everything", "unknown flag 'Everything'"),
        ] {
            refused(
                &format!("WSGITelemetryOptions {bad}"),
                &format!("WSGITelemetryOptions: {message}"),
            );
        }
    }
}
