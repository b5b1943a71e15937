//! Directives that say how a request is shown to an application.

use std::marker::PhantomData;

use proxy_trust::{Headers, Network, Networks};
use wsgi_config::words::Words;

use super::{Contexts, Directive, Setter};
use crate::settings::MapHead;

/// The table, for any kind of regular expression.
pub(super) struct Entries<R>(PhantomData<R>);

impl<R: 'static> Entries<R> {
    pub(super) const TABLE: &'static [Directive<R>] = &[
        Directive {
            name: c"WSGIScriptReloading",
            contexts: Contexts::ANYWHERE,
            help: c"Enable/Disable script reloading mechanism.",
            default: "On",
            setter: Setter::Flag(|target, on| target.settings.script_reloading = Some(on)),
        },
        Directive {
            name: c"WSGIPassAuthorization",
            contexts: Contexts::ANYWHERE,
            help: c"Enable/Disable WSGI authorization.",
            default: "Off",
            setter: Setter::Flag(|target, on| target.settings.pass_authorization = Some(on)),
        },
        Directive {
            name: c"WSGIPassApacheRequest",
            contexts: Contexts::REQUEST,
            help: c"Enable/Disable Apache request object.",
            default: "Off",
            setter: Setter::Flag(|target, on| target.settings.pass_apache_request = Some(on)),
        },
        Directive {
            name: c"WSGIChunkedRequest",
            contexts: Contexts::ANYWHERE,
            help: c"Enable/Disable support for chunked requests.",
            default: "Off",
            setter: Setter::Flag(|target, on| target.settings.chunked_request = Some(on)),
        },
        Directive {
            name: c"WSGIEnableSendfile",
            contexts: Contexts::ANYWHERE,
            help: c"Enable/Disable support for kernel sendfile.",
            default: "Off",
            setter: Setter::Flag(|target, on| target.settings.enable_sendfile = Some(on)),
        },
        Directive {
            name: c"WSGIErrorOverride",
            contexts: Contexts::ANYWHERE,
            help: c"Enable/Disable overriding of error pages.",
            default: "Off",
            setter: Setter::Flag(|target, on| target.settings.error_override = Some(on)),
        },
        Directive {
            name: c"WSGITraceContext",
            contexts: Contexts::ANYWHERE,
            help: c"Enable/Disable traces for requests without a valid traceparent header.",
            default: "Off",
            setter: Setter::Flag(|target, on| target.settings.trace_context = Some(on)),
        },
        Directive {
            name: c"WSGIIgnoreActivity",
            contexts: Contexts::ANYWHERE,
            help: c"Enable/Disable reset of inactvity timeout.",
            default: "Off",
            setter: Setter::Flag(|target, on| target.settings.ignore_activity = Some(on)),
        },
        Directive {
            name: c"WSGIMapHEADToGET",
            contexts: Contexts::ANYWHERE,
            help: c"Enable/Disable mapping of HEAD to GET.",
            default: "Auto",
            setter: Setter::Word(|target, word| {
                let map = if word.eq_ignore_ascii_case(b"off") {
                    MapHead::Off
                } else if word.eq_ignore_ascii_case(b"on") {
                    MapHead::On
                } else if word.eq_ignore_ascii_case(b"auto") {
                    MapHead::Auto
                } else {
                    return Err("WSGIMapHEADToGET must be one of: Off | On | Auto".to_owned());
                };
                target.settings.map_head_to_get = Some(map);
                Ok(())
            }),
        },
        Directive {
            name: c"WSGITrustedProxyHeaders",
            contexts: Contexts::ANYWHERE,
            help: c"Specify a list of trusted proxy headers.",
            default: "none",
            setter: Setter::Raw(|target, _, arguments| {
                let headers =
                    target.settings.trusted_proxy_headers.get_or_insert_with(Headers::default);
                for word in words(arguments)? {
                    headers.push(&word).map_err(|error| error.to_string())?;
                }
                Ok(())
            }),
        },
        Directive {
            name: c"WSGITrustedProxies",
            contexts: Contexts::ANYWHERE,
            help: c"Specify a list of trusted proxies.",
            default: "every peer",
            setter: Setter::Raw(|target, _, arguments| {
                let networks =
                    target.settings.trusted_proxies.get_or_insert_with(Networks::default);
                for word in words(arguments)? {
                    networks.push(Network::parse(&word).map_err(|error| error.to_string())?);
                }
                Ok(())
            }),
        },
    ];
}

/// The words of a list, which are text.
fn words(arguments: &[u8]) -> Result<Vec<String>, String> {
    let mut words = Words::new(arguments);
    std::iter::from_fn(|| words.word())
        .map(|word| {
            String::from_utf8(word).map_err(|error| {
                format!("\"{}\" is no header name and no address.", error.as_bytes().escape_ascii())
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::super::tests::{read, refused};
    use super::*;

    #[test]
    fn head_mapping() {
        let map = |word: &str| {
            read(&format!("WSGIMapHEADToGET {word}")).unwrap().server.settings.map_head_to_get
        };
        assert_eq!(map("auto"), Some(MapHead::Auto));
        assert_eq!(map("ON"), Some(MapHead::On));
        refused("WSGIMapHEADToGET Maybe", "WSGIMapHEADToGET must be one of: Off | On | Auto");
    }

    #[test]
    fn proxy_lists_accumulate_and_an_empty_one_is_set() {
        let read = read(
            "WSGITrustedProxies 10.0.0.0/8 ::1
             WSGITrustedProxies 192.168.0.1
             WSGITrustedProxyHeaders",
        )
        .unwrap();
        let settings = read.server.settings;
        let proxies = settings.trusted_proxies.unwrap();
        assert!(proxies.contains("192.168.0.1".parse().unwrap()));
        assert!(proxies.contains("10.1.1.1".parse().unwrap()));
        assert_eq!(settings.trusted_proxy_headers.unwrap().iter().count(), 0);
    }

    #[test]
    fn proxy_errors() {
        refused(
            "WSGITrustedProxies localhost",
            "Unable to parse trusted proxy IP address/subnet of \"localhost\". \
             The specified IP address is invalid.",
        );
        assert!(read("WSGITrustedProxyHeaders X_Real_IP").is_err());
    }
}
