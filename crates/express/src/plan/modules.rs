//! Which of Apache's modules a server needs.
//!
//! A module can be part of the executable, so each is loaded only if it is not there; and a file
//! that is missing is told before Apache is started, with the option that asks for it.

use serde::Serialize;

use super::Mode;
use crate::machine::Machine;
use crate::machine::apache::Apache;
use crate::values::Values;

/// Modules, in the order in which they are loaded.
#[derive(Debug, Serialize)]
pub(crate) struct Modules {
    /// The MPM to load, if none is built in.
    pub(crate) mpm: Option<&'static str>,
    /// All MPMs that could be loaded.
    #[serde(skip)]
    pub(crate) mpms: Vec<&'static str>,
    /// The names of those before `wsgi` and those after it.
    before: Vec<&'static str>,
    after: Vec<&'static str>,
    #[serde(skip)]
    pub(crate) cgi: Option<&'static str>,
}

/// Needed by every server.
const ALWAYS: [&str; 12] = [
    "access_compat",
    "unixd",
    "authn_core",
    "authz_core",
    "authz_host",
    "mime",
    "rewrite",
    "alias",
    "dir",
    "env",
    "headers",
    "filter",
];

impl Modules {
    /// `Err` is the message for the user.
    pub(super) fn new(
        values: &Values,
        machine: &Machine,
        mode: Mode,
        tls: bool,
    ) -> Result<Modules, String> {
        let apache = &machine.apache;
        let (before, after) = optional(values, apache, tls);
        if let Some(missing) = missing(values, apache, tls).into_iter().next() {
            return Err(missing.text);
        }
        let wanted = |list: &[Optional]| -> Vec<&'static str> {
            list.iter().filter(|(_, wanted, _)| *wanted).map(|(name, ..)| *name).collect()
        };
        let mut first = wanted(&before[..1]);
        first.extend(ALWAYS);
        first.extend(wanted(&before[1..]));
        let (mpm, mpms) = mpm(values, machine, mode)?;
        let cgi = wanted(&after).into_iter().find(|name| ["cgid", "cgi"].contains(name));
        Ok(Modules { mpm, mpms, before: first, after: wanted(&after), cgi })
    }
}

/// A module that Apache lacks.
#[derive(Debug)]
pub(crate) struct Missing {
    /// `ssl`
    pub(crate) name: &'static str,
    /// The option that needs it, if not every server does.
    pub(crate) option: &'static str,
    /// The message for the user.
    pub(crate) text: String,
}

/// The modules that these options need and this Apache has not.
pub(crate) fn missing(values: &Values, apache: &Apache, tls: bool) -> Vec<Missing> {
    let (before, after) = optional(values, apache, tls);
    let all = ALWAYS.map(|name| (name, true, "")).into_iter().chain(before).chain(after);
    let here = |name: &str| apache.has_built_in(name) || apache.has_file(&format!("mod_{name}.so"));
    all.filter(|(name, wanted, _)| *wanted && !here(name))
        .map(|(name, _, option)| {
            let of = if option.is_empty() { String::new() } else { format!("{option}: ") };
            let directory = apache.modules.display();
            let text = format!("{of}Apache's module mod_{name}.so is not in {directory}");
            Missing { name, option, text }
        })
        .collect()
}

/// A module, whether it is wanted, and the option that wants it.
type Optional = (&'static str, bool, &'static str);

/// What is loaded before and after the module itself, besides what always is.
fn optional(values: &Values, apache: &Apache, tls: bool) -> ([Optional; 9], [Optional; 5]) {
    let flag = |name| values.flag(name);
    let cgid = apache.has_file("mod_cgid.so") || apache.has_built_in("cgid");
    let auth = values.text("auth-user-script").is_some();
    let proxy = !values.pairs("proxy-mount-point").is_empty()
        || !values.pairs("proxy-virtual-host").is_empty();
    let before = [
        ("http2", flag("http2"), "--http2"),
        ("autoindex", flag("directory-listing"), "--directory-listing"),
        ("reqtimeout", true, ""),
        ("deflate", flag("compress-responses"), "--compress-responses"),
        ("auth_basic", auth, "--auth-user-script"),
        ("auth_digest", auth, "--auth-user-script"),
        ("authz_user", auth, "--auth-user-script"),
        ("proxy", proxy, "--proxy-mount-point"),
        ("proxy_http", proxy, "--proxy-mount-point"),
    ];
    let after = [
        ("status", flag("server-metrics") || flag("server-status"), "--server-metrics"),
        ("cgid", flag("with-cgi") && cgid, "--with-cgi"),
        ("cgi", flag("with-cgi") && !cgid, "--with-cgi"),
        ("log_config", flag("access-log"), "--access-log"),
        ("ssl", tls, "--https-port"),
    ];
    (before, after)
}

/// The MPM to load, and all that could be.
fn mpm(
    values: &Values,
    machine: &Machine,
    mode: Mode,
) -> Result<(Option<&'static str>, Vec<&'static str>), String> {
    let order = ["event", "worker", "prefork"];
    let asked = values.texts("server-mpm");
    let acceptable = |name: &&str| match (mode, asked) {
        (Mode::Debug, _) | (Mode::Embedded, []) => *name != "event",
        (_, []) => true,
        (_, some) => some.iter().any(|asked| asked == name),
    };
    let loadable = |name: &&str| machine.apache.has_file(&format!("mod_mpm_{name}.so"));
    let mpms: Vec<_> = order.into_iter().filter(acceptable).filter(loadable).collect();
    if machine.apache.built_in_mpm().is_some() {
        return Ok((None, mpms));
    }
    let prefork = values.flag("with-php5").then_some("prefork").filter(|name| mpms.contains(name));
    match prefork.or(mpms.first().copied()) {
        Some(name) => Ok((Some(name), mpms)),
        None => {
            let named = if asked.is_empty() {
                String::new()
            } else {
                format!("--server-mpm {}: ", asked.join(", "))
            };
            let there: Vec<_> = order.into_iter().filter(loadable).collect();
            let there = if there.is_empty() { "none".to_owned() } else { there.join(", ") };
            Err(format!(
                "{named}Apache has no such MPM in {} (there: {there})",
                machine.apache.modules.display()
            ))
        }
    }
}
