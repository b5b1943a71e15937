//! What the directives say: per server, per section, and once for all.
//!
//! Two trees meet in a request, as everywhere in Apache: what was written in the server or virtual
//! host, and what was written in the sections (and `.htaccess` files) that apply. A value that is
//! set in the section tree wins over the server's, and "not set" is distinct from every value.
//! This file knows no Apache type; `R` is whatever a compiled regular expression is.

use std::sync::Arc;

use engine_api::worker::Telemetry;
use proxy_trust::{Headers, Networks};

use crate::interpreters::Block;

/// How `HEAD` is shown to applications: `WSGIMapHEADToGET`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum MapHead {
    /// As it is.
    Off,
    /// As `GET`.
    On,
    /// As `GET` where an output filter wants to see the body.
    Auto,
}

macro_rules! settings {
    ($($(#[$doc:meta])* $field:ident: $type:ty,)*) => {
        /// What may be said in a server and, more specifically, in a section.
        #[derive(Clone, Debug, Default)]
        pub struct Settings {
            $($(#[$doc])* pub(crate) $field: Option<$type>,)*
            /// `WSGIHandlerScript`; of the same name, the last one counts.
            pub(crate) handler_scripts: Vec<HandlerScript>,
        }

        impl Settings {
            /// What holds where `inner` was written inside of `self`.
            pub(crate) fn merged(&self, inner: &Settings) -> Settings {
                let scripts = self.scripts_under(inner);
                Settings {
                    $($field: inner.$field.clone().or_else(|| self.$field.clone()),)*
                    handler_scripts: scripts,
                }
            }
        }
    };
}

settings! {
    /// `WSGIProcessGroup`, as written.
    process_group: Vec<u8>,
    /// `WSGIRestrictProcess`; the empty name is embedded mode.
    restrict_process: Vec<Vec<u8>>,
    /// `WSGIApplicationGroup`, as written.
    application_group: Vec<u8>,
    /// `WSGICallableObject`, as written.
    callable_object: Vec<u8>,
    /// `WSGIPassAuthorization`.
    pass_authorization: bool,
    /// `WSGIPassApacheRequest`.
    pass_apache_request: bool,
    /// `WSGIScriptReloading`.
    script_reloading: bool,
    /// `WSGIChunkedRequest`.
    chunked_request: bool,
    /// `WSGIEnableSendfile`.
    enable_sendfile: bool,
    /// `WSGIMapHEADToGET`.
    map_head_to_get: MapHead,
    /// `WSGITrustedProxyHeaders`; lists replace each other as a whole.
    trusted_proxy_headers: Headers,
    /// `WSGITrustedProxies`.
    trusted_proxies: Networks,
    /// `WSGIIgnoreActivity`.
    ignore_activity: bool,
    /// `WSGIErrorOverride`.
    error_override: bool,
    /// `WSGITraceContext`.
    trace_context: bool,
    /// `WSGIAccessScript`.
    access_script: Arc<HookScript>,
    /// `WSGIAuthUserScript`.
    auth_user_script: Arc<HookScript>,
    /// `WSGIAuthGroupScript`.
    auth_group_script: Arc<HookScript>,
    /// `WSGIDispatchScript`.
    dispatch_script: Arc<HookScript>,
    /// `WSGIBufferRequests`.
    buffer_requests: bool,
    /// `WSGIBufferResponses`.
    buffer_responses: bool,
    /// `WSGIBufferMemory`, in bytes.
    buffer_memory: u32,
    /// `WSGIBufferLimit`, in bytes.
    buffer_limit: u64,
    /// `WSGIBufferDirectory`.
    buffer_directory: Vec<u8>,
}

/// A script that decides about requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HookScript {
    pub(crate) path: Vec<u8>,
    /// Where it runs, as written; `None` is the main interpreter.
    pub(crate) application_group: Option<Vec<u8>>,
}

/// A script that serves whatever has a handler of this name: `WSGIHandlerScript`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HandlerScript {
    pub(crate) name: Vec<u8>,
    pub(crate) script: Vec<u8>,
    /// As written: they may be different for each request.
    pub(crate) process_group: Option<Vec<u8>>,
    pub(crate) application_group: Option<Vec<u8>>,
    pub(crate) pass_authorization: Option<bool>,
}

impl HandlerScript {
    /// Apache makes the names of `SetHandler` lower case, and those here are as people wrote them.
    fn is(&self, name: &[u8]) -> bool {
        self.name.eq_ignore_ascii_case(name)
    }
}

impl Settings {
    /// The names of `self`, less those that `inner` has too, and those of `inner`.
    fn scripts_under(&self, inner: &Settings) -> Vec<HandlerScript> {
        let kept = self.handler_scripts.iter().filter(|outer| inner.script(&outer.name).is_none());
        kept.chain(&inner.handler_scripts).cloned().collect()
    }

    fn script(&self, name: &[u8]) -> Option<&HandlerScript> {
        self.handler_scripts.iter().rev().find(|script| script.is(name))
    }
}

/// The two trees of one request; a value in a section wins.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effective<'a> {
    pub(crate) section: &'a Settings,
    pub(crate) server: &'a Settings,
}

impl<'a> Effective<'a> {
    /// The value that holds, if any was set.
    pub(crate) fn get<T>(self, field: impl Fn(&'a Settings) -> &'a Option<T>) -> Option<&'a T> {
        field(self.section).as_ref().or_else(|| field(self.server).as_ref())
    }

    /// The script for a handler of this name.
    pub(crate) fn handler_script(self, name: &[u8]) -> Option<&'a HandlerScript> {
        self.section.script(name).or_else(|| self.server.script(name))
    }

    /// The flag that holds.
    pub(crate) fn flag(
        self,
        field: impl Fn(&'a Settings) -> &'a Option<bool>,
        default: bool,
    ) -> bool {
        self.get(field).copied().unwrap_or(default)
    }
}

/// What `WSGIScriptAlias` and its kin add to a request they take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct AliasOptions {
    pub(crate) process_group: Option<Vec<u8>>,
    pub(crate) application_group: Option<Vec<u8>>,
    pub(crate) callable_object: Option<Vec<u8>>,
    pub(crate) pass_authorization: Option<bool>,
}

/// Which URLs an alias takes.
#[derive(Clone, Debug)]
pub(crate) enum Location<R> {
    /// `WSGIScriptAlias`.
    Prefix(Vec<u8>),
    /// `WSGIScriptAliasMatch`.
    Pattern(R),
}

/// One `WSGIScriptAlias` or `WSGIScriptAliasMatch`.
#[derive(Clone, Debug)]
pub(crate) struct Alias<R> {
    pub(crate) location: Location<R>,
    /// The file, directory, or (for patterns) template of a file.
    pub(crate) target: Vec<u8>,
    pub(crate) options: AliasOptions,
}

/// A script to load before requests come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Preload {
    pub(crate) script: Vec<u8>,
    /// Empty for embedded mode.
    pub(crate) process_group: Vec<u8>,
    /// Empty for the main interpreter.
    pub(crate) application_group: Vec<u8>,
    /// Of an alias, where the callable is known; an import script has none.
    pub(crate) callable_object: Option<Vec<u8>>,
    /// An alias, not an import script.
    pub(crate) from_alias: bool,
}

/// `WSGITelemetryOptions`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TelemetryFlags {
    /// `CaptureUserAgent`.
    pub(crate) user_agent: bool,
    /// `InterpreterNames`.
    pub(crate) interpreter_names: bool,
}

/// What can be said once, in the main server.
#[derive(Clone, Debug, Default)]
pub(crate) struct Global {
    /// `WSGIPythonHome`.
    pub(crate) python_home: Option<Vec<u8>>,
    /// `WSGIPythonPath`.
    pub(crate) python_path: Option<Vec<u8>>,
    /// `WSGIPythonEggs`.
    pub(crate) python_eggs: Option<Vec<u8>>,
    /// `WSGIPythonOptimize`.
    pub(crate) python_optimize: Option<i32>,
    /// `WSGIPythonWarnings`, in order.
    pub(crate) python_warnings: Vec<Vec<u8>>,
    /// `WSGIPythonHashSeed`; `None` for Python's own choice.
    pub(crate) python_hash_seed: Option<u32>,
    /// `WSGIDontWriteBytecode`.
    pub(crate) dont_write_bytecode: Option<bool>,
    /// `WSGIDestroyInterpreter`.
    pub(crate) destroy_interpreter: Option<bool>,
    /// `WSGISwitchInterval`, in seconds.
    pub(crate) switch_interval: Option<f64>,
    /// `<WSGIInterpreterOptions>`, in order.
    pub(crate) interpreter_options: Vec<Block>,
    /// `WSGIInterpreterReplicas`.
    pub(crate) interpreter_replicas: Option<u32>,
    /// `WSGIFreeThreading`.
    pub(crate) free_threading: Option<bool>,
    /// `WSGIPerInterpreterGIL`.
    pub(crate) per_interpreter_gil: Option<bool>,
    /// `WSGISoleTenant`.
    pub(crate) sole_tenant: Option<bool>,
    /// `WSGISwapConcurrency`.
    pub(crate) swap_concurrency: Option<u32>,
    /// `WSGIRestrictEmbedded`.
    pub(crate) restrict_embedded: Option<bool>,
    /// `WSGIRestrictStdin`.
    pub(crate) restrict_stdin: Option<bool>,
    /// `WSGIRestrictStdout`.
    pub(crate) restrict_stdout: Option<bool>,
    /// `WSGIRestrictSignal`.
    pub(crate) restrict_signal: Option<bool>,
    /// `WSGICaseSensitivity`.
    pub(crate) case_sensitivity: Option<bool>,
    /// `WSGISlowRequests`, in seconds.
    pub(crate) slow_requests: Option<f64>,
    /// `WSGITelemetryService`: the path of the socket.
    pub(crate) telemetry_target: Option<Vec<u8>>,
    /// The same: its `interval=`, in seconds.
    pub(crate) telemetry_interval: Option<f64>,
    /// `WSGITelemetryOptions`.
    pub(crate) telemetry_options: TelemetryFlags,
    /// `WSGIVerboseDebugging` was written.
    pub(crate) verbose_debugging: bool,
    /// `WSGIServerMetrics`.
    pub(crate) server_metrics: Option<bool>,
    /// `WSGIImportScript` and the aliases that name both groups, in the order they were written.
    pub(crate) preloads: Vec<Preload>,
}

impl Global {
    /// What the processes of an application report, in the words of the engine.
    pub(crate) fn telemetry(&self, parent_pid: u32) -> Telemetry {
        let TelemetryFlags { user_agent, interpreter_names } = self.telemetry_options;
        Telemetry {
            target: self.telemetry_target.clone(),
            interval: self.telemetry_interval.unwrap_or(1.0),
            slow_requests: self.slow_requests.unwrap_or(0.0),
            user_agent,
            interpreter_names,
            parent_pid,
        }
    }

    /// Whether paths that differ in case are different files.
    pub(crate) fn is_case_sensitive(&self) -> bool {
        self.case_sensitivity.unwrap_or(!cfg!(target_os = "macos"))
    }
}

/// What was written in one server: the main one, or a virtual host.
#[derive(Clone, Debug)]
pub(crate) struct Server<R> {
    pub(crate) settings: Settings,
    pub(crate) aliases: Vec<Alias<R>>,
}

impl<R> Default for Server<R> {
    fn default() -> Server<R> {
        Server { settings: Settings::default(), aliases: Vec::new() }
    }
}

impl<R: Clone> Server<R> {
    /// What holds in a virtual host: its own aliases come first, then the main server's.
    pub(crate) fn merged(&self, vhost: &Server<R>) -> Server<R> {
        Server {
            settings: self.settings.merged(&vhost.settings),
            aliases: vhost.aliases.iter().chain(&self.aliases).cloned().collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(group: Option<&[u8]>, reloading: Option<bool>) -> Settings {
        Settings {
            process_group: group.map(<[u8]>::to_vec),
            script_reloading: reloading,
            ..Settings::default()
        }
    }

    #[test]
    fn what_is_set_inside_wins_and_off_is_a_value() {
        let merged = settings(Some(b"a"), Some(true)).merged(&settings(None, Some(false)));
        assert_eq!(merged.process_group.as_deref(), Some(&b"a"[..]));
        assert_eq!(merged.script_reloading, Some(false));
    }

    #[test]
    fn handler_scripts_are_laid_over_each_other_by_name() {
        let scripts = |pairs: &[(&str, &str)]| Settings {
            handler_scripts: pairs
                .iter()
                .map(|(name, script)| HandlerScript {
                    name: name.as_bytes().to_vec(),
                    script: script.as_bytes().to_vec(),
                    process_group: None,
                    application_group: None,
                    pass_authorization: None,
                })
                .collect(),
            ..Settings::default()
        };
        let main = scripts(&[("a", "1"), ("b", "2")]);
        let server = main.merged(&scripts(&[("B", "3"), ("c", "4"), ("c", "5")]));
        let section = scripts(&[("a", "6")]);
        let effective = Effective { section: &section, server: &server };
        let found = |name: &str| Some(effective.handler_script(name.as_bytes())?.script.clone());
        assert_eq!(found("a"), Some(b"6".to_vec()));
        assert_eq!(found("b"), Some(b"3".to_vec()));
        assert_eq!(found("c"), Some(b"5".to_vec()));
        assert_eq!(found("d"), None);
        assert_eq!(server.handler_scripts.len(), 4);
    }

    #[test]
    fn a_section_wins_over_a_server() {
        let (section, server) = (settings(None, Some(false)), settings(Some(b"s"), Some(true)));
        let effective = Effective { section: &section, server: &server };
        assert!(!effective.flag(|s| &s.script_reloading, true));
        assert_eq!(effective.get(|s| &s.process_group).map(Vec::as_slice), Some(&b"s"[..]));
        assert!(effective.flag(|s| &s.chunked_request, true));
    }

    #[test]
    fn a_virtual_host_asks_its_own_aliases_first() {
        let alias = |target: &[u8]| Alias::<()> {
            location: Location::Prefix(b"/".to_vec()),
            target: target.to_vec(),
            options: AliasOptions::default(),
        };
        let server = |target| Server { aliases: vec![alias(target)], ..Server::default() };
        let merged = server(b"main").merged(&server(b"vhost"));
        let targets: Vec<_> = merged.aliases.iter().map(|alias| &alias.target[..]).collect();
        assert_eq!(targets, [b"vhost".as_slice(), b"main"]);
    }
}
