//! Directives about what is recorded of requests.
//!
//! The engines report; a slow request has a line in the log beside.

use std::marker::PhantomData;

use wsgi_config::words::Words;

use super::{Contexts, Directive, Setter};
use crate::settings::{Global, TelemetryFlags};

/// The table, for any kind of regular expression.
pub(super) struct Entries<R>(PhantomData<R>);

impl<R: 'static> Entries<R> {
    pub(super) const TABLE: &'static [Directive<R>] = &[
        Directive {
            name: c"WSGITelemetryService",
            contexts: Contexts::SERVER,
            help: c"Push telemetry to a metrics service. Args: unix:/path [interval=N]",
            default: "none; `interval=1.0`",
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
/// A day: as good as any time that is longer.
const LONGEST_INTERVAL: f64 = 86400.0;

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
        let interval = number(interval)
            .filter(|interval| *interval >= LEAST_INTERVAL)
            .ok_or("WSGITelemetryService interval must be at least 0.5 seconds")?;
        // A line that says none leaves the one that was said before.
        global.telemetry_interval = Some(interval.min(LONGEST_INTERVAL));
    }
    global.telemetry_target = Some(path.to_vec());
    Ok(())
}

/// What a name does, with `+` or nothing before it, or `-`.
type Set = fn(&mut TelemetryFlags, bool);

/// `All` is what any reader of telemetry understands: the one of 1.1.0 fails over `InterpreterNames`.
const FLAGS: [(&str, Set); 4] = [
    ("CaptureUserAgent", |flags, on| flags.user_agent = on),
    ("InterpreterNames", |flags, on| flags.interpreter_names = on),
    ("None", |flags, _| *flags = TelemetryFlags::default()),
    ("All", |flags, _| flags.user_agent = true),
];

/// `[+|-]Flag... | None | All`
fn options(global: &mut Global, arguments: &[u8]) -> Result<(), String> {
    const NAME: &str = "WSGITelemetryOptions";
    let mut words = Words::new(arguments);
    let words: Vec<Vec<u8>> = std::iter::from_fn(|| words.word()).collect();
    if words.is_empty() {
        return Err(format!("{NAME}: at least one flag required"));
    }
    let mut signed = None;
    let mut flags = global.telemetry_options;
    for word in &words {
        let (sign, flag) = match word.split_first() {
            Some((b'+' | b'-', flag)) => (true, flag),
            _ => (false, word.as_slice()),
        };
        // What has no sign stands instead of all that was said before.
        if signed.is_none() && !sign {
            flags = TelemetryFlags::default();
        }
        if sign && flag.is_empty() {
            return Err(format!("{NAME}: bare '+' / '-' is not a flag"));
        }
        if *signed.get_or_insert(sign) != sign {
            return Err(format!(
                "{NAME}: cannot mix +/- form with absolute names in a single directive"
            ));
        }
        let found = FLAGS.iter().find(|(name, _)| flag.eq_ignore_ascii_case(name.as_bytes()));
        match found {
            Some((name @ ("None" | "All"), _)) if sign => {
                return Err(format!("{NAME}: '{name}' may not have a +/- prefix"));
            }
            Some((_, set)) => set(&mut flags, !word.starts_with(b"-")),
            None => return Err(format!("{NAME}: unknown flag '{}'", flag.escape_ascii())),
        }
    }
    global.telemetry_options = flags;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::tests::{read, refused};

    #[test]
    fn services() {
        for good in ["unix:/run/x.sock", "unix:/run/x.sock interval=0.5", "unix:/x interval=60"] {
            let global = read(&format!("WSGITelemetryService {good}")).unwrap().global;
            let path = good.strip_prefix("unix:").unwrap().split(' ').next().unwrap();
            assert_eq!(global.telemetry_target.as_deref(), Some(path.as_bytes()));
        }
        let lines = "WSGITelemetryService unix:/a interval=2.5\nWSGITelemetryService unix:/b";
        let global = read(lines).unwrap().global;
        assert_eq!(global.telemetry_target.as_deref(), Some(&b"/b"[..]));
        assert_eq!(global.telemetry_interval, Some(2.5));
        assert_eq!(read("").unwrap().global.telemetry(7).interval, 1.0);
        let long = read("WSGITelemetryService unix:/a interval=1e300").unwrap().global;
        assert_eq!(long.telemetry(7).interval, 86400.0);
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
        let flags = |lines: &[&str]| {
            let lines: Vec<String> =
                lines.iter().map(|line| format!("WSGITelemetryOptions {line}\n")).collect();
            let flags = read(&lines.concat()).unwrap().global.telemetry_options;
            (flags.user_agent, flags.interpreter_names)
        };
        assert_eq!(flags(&[]), (false, false));
        assert_eq!(flags(&["+captureuseragent", "+InterpreterNames"]), (true, true));
        assert_eq!(flags(&["+CaptureUserAgent", "-CaptureUserAgent"]), (false, false));
        assert_eq!(flags(&["+CaptureUserAgent", "InterpreterNames"]), (false, true));
        assert_eq!(flags(&["All"]), (true, false));
        assert_eq!(flags(&["All None InterpreterNames"]), (false, true));
        assert_eq!(flags(&["InterpreterNames", "All"]), (true, false));
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
