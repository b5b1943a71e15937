//! Directives about clients that are slower than the processes of daemon mode.

use std::marker::PhantomData;

use super::{Contexts, Directive, Setter};

/// The table, for any kind of regular expression.
pub(super) struct Entries<R>(PhantomData<R>);

impl<R: 'static> Entries<R> {
    pub(super) const TABLE: &'static [Directive<R>] = &[
        Directive {
            name: c"WSGIBufferRequests",
            contexts: Contexts::ANYWHERE,
            help: c"Enable/Disable reading a request's body before a daemon process is asked.",
            default: "On",
            setter: Setter::Flag(|target, on| target.settings.buffer_requests = Some(on)),
        },
        Directive {
            name: c"WSGIBufferResponses",
            contexts: Contexts::ANYWHERE,
            help:
                c"Enable/Disable taking a response from a daemon process before a slow client does.",
            default: "On",
            setter: Setter::Flag(|target, on| target.settings.buffer_responses = Some(on)),
        },
        Directive {
            name: c"WSGIBufferMemory",
            contexts: Contexts::REQUEST,
            help: c"Bytes of a request or response that are buffered in memory (K, M).",
            default: "64K",
            setter: Setter::Word(|target, text| {
                let size = size(text).and_then(|size| u32::try_from(size).ok());
                let size = size.filter(|size| *size <= MOST_MEMORY);
                target.settings.buffer_memory = Some(size.ok_or_else(|| {
                    format!("WSGIBufferMemory must be a number of bytes from 0 to {MOST_MEMORY}.")
                })?);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIBufferLimit",
            contexts: Contexts::REQUEST,
            help:
                c"Bytes of a request or response that are buffered in a file (K, M, G), 0 for none.",
            default: "64M",
            setter: Setter::Word(|target, text| {
                target.settings.buffer_limit = Some(
                    size(text)
                        .ok_or_else(|| "WSGIBufferLimit must be a number of bytes.".to_owned())?,
                );
                Ok(())
            }),
        },
        Directive {
            name: c"WSGIBufferDirectory",
            contexts: Contexts::REQUEST,
            help: c"Absolute path of the directory for files of buffered requests and responses.",
            default: "that of the system for temporary files",
            setter: Setter::Word(|target, path| {
                if path.first() != Some(&b'/') {
                    return Err("WSGIBufferDirectory must be an absolute path.".to_owned());
                }
                target.settings.buffer_directory = Some(path.to_vec());
                Ok(())
            }),
        },
    ];
}

/// More than this for one request is a mistake: every request may take it.
const MOST_MEMORY: u32 = 256 << 20;

/// A number of bytes, perhaps with a unit.
fn size(text: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(text).ok()?;
    let at = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (digits, unit) = text.split_at(at);
    let unit: u64 = match unit.to_ascii_uppercase().as_str() {
        "" => 1,
        "K" => 1 << 10,
        "M" => 1 << 20,
        "G" => 1 << 30,
        _ => return None,
    };
    digits.parse::<u64>().ok()?.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::tests::{read, refused};
    use super::*;

    #[test]
    fn sizes() {
        for (text, bytes) in
            [("0", 0), ("12", 12), ("64k", 64 << 10), ("3M", 3 << 20), ("1G", 1 << 30)]
        {
            assert_eq!(size(text.as_bytes()), Some(bytes), "{text}");
        }
        for bad in ["", "K", "-1", "1KB", "1 K", "+1", "18446744073709551615G", "1.5M", "\u{661}"] {
            assert_eq!(size(bad.as_bytes()), None, "{bad}");
        }
    }

    #[test]
    fn what_is_written_holds() {
        let settings = read(
            "WSGIBufferRequests Off
             WSGIBufferMemory 1M
             WSGIBufferLimit 2G
             WSGIBufferDirectory /var/tmp",
        )
        .unwrap()
        .server
        .settings;
        assert_eq!((settings.buffer_requests, settings.buffer_responses), (Some(false), None));
        assert_eq!(settings.buffer_memory, Some(1 << 20));
        assert_eq!(settings.buffer_limit, Some(2 << 30));
        assert_eq!(settings.buffer_directory.as_deref(), Some(&b"/var/tmp"[..]));
    }

    #[test]
    fn mistakes() {
        refused(
            "WSGIBufferMemory 1G",
            "WSGIBufferMemory must be a number of bytes from 0 to 268435456.",
        );
        refused("WSGIBufferLimit much", "WSGIBufferLimit must be a number of bytes.");
        refused("WSGIBufferDirectory tmp", "WSGIBufferDirectory must be an absolute path.");
    }
}
