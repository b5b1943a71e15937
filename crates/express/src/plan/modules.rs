//! Which of Apache's modules a server needs.
//!
//! A module can be part of the executable, so each is loaded only if it is not there; and a file
//! that is missing is told before Apache is started, with the option that asks for it.

use serde::Serialize;

use super::Mode;
use crate::machine::Machine;
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
        let flag = |name| values.flag(name);
        let cgi = flag("with-cgi").then(|| {
            let cgid = apache.has_file("mod_cgid.so") || apache.has_built_in("cgid");
            if cgid { "cgid" } else { "cgi" }
        });
        let auth = values.text("auth-user-script").is_some();
        let proxy = !values.pairs("proxy-mount-point").is_empty()
            || !values.pairs("proxy-virtual-host").is_empty();
        // The module, whether it is wanted, and the option that wants it.
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
            ("cgid", cgi == Some("cgid"), "--with-cgi"),
            ("cgi", cgi == Some("cgi"), "--with-cgi"),
            ("log_config", flag("access-log"), "--access-log"),
            ("ssl", tls, "--https-port"),
        ];
        let here =
            |name: &str| apache.has_built_in(name) || apache.has_file(&format!("mod_{name}.so"));
        for (name, wanted, option) in
            ALWAYS.map(|name| (name, true, "")).into_iter().chain(before).chain(after)
        {
            if wanted && !here(name) {
                let of = if option.is_empty() { String::new() } else { format!("{option}: ") };
                return Err(format!(
                    "{of}Apache's module mod_{name}.so is not in {}",
                    apache.modules.display()
                ));
            }
        }
        let wanted = |list: &[(&'static str, bool, &str)]| -> Vec<&'static str> {
            list.iter().filter(|(_, wanted, _)| *wanted).map(|(name, ..)| *name).collect()
        };
        let mut first = wanted(&before[..1]);
        first.extend(ALWAYS);
        first.extend(wanted(&before[1..]));
        let (mpm, mpms) = mpm(values, machine, mode)?;
        Ok(Modules { mpm, mpms, before: first, after: wanted(&after), cgi })
    }
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
