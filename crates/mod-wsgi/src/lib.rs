//! The Apache module `wsgi_module`: hosts Python WSGI applications.
//!
//! This crate is where everything meets, and knows as little as possible itself:
//!
//! * `settings` and `directives`: what the configuration says;
//! * `parent`: what is checked when the server starts;
//! * `translate`: URLs to scripts;
//! * `admission`: may this request run;
//! * `hooks`: scripts that decide who may come in, and where a request runs;
//! * `target`: in which process, interpreter and callable;
//! * `tenants`, `sole`: whether a process can have one application group only;
//! * `groups`: groups of daemon processes, and which of them a request may use;
//! * `environ`: a request as CGI variables;
//! * `shown`: those variables where the server's configuration reads them;
//! * `handler`: from a request to the engine, and what became of it;
//! * `host`: what the engine may ask of a request;
//! * `daemon`: daemon mode: the parent's part, and a request's way to a worker and back;
//! * `meter`: what is recorded of requests, and the page that shows it;
//! * `interpreters`: what is configured for interpreters;
//! * `child`: the engine of a child process; `support`: where the files of this build are;
//! * `scoreboard`: what applications may ask about the server;
//! * `log`: lines in the error log.
//!
//! Only here are errors turned into statuses and log lines. See
//! <https://httpd.apache.org/docs/2.4/developer/> and `docs/directives.md`.

mod admission;
mod child;
mod daemon;
mod directives;
mod environ;
mod groups;
mod handler;
mod hooks;
mod host;
mod interpreters;
mod linger;
mod log;
mod meter;
mod parent;
mod scoreboard;
mod settings;
mod shown;
mod sole;
mod support;
mod target;
mod tenants;
mod translate;

use std::ffi::CStr;
use std::sync::Arc;

use httpd_sys::{Commands, Hooks, Module, Order, Record, Regex, Server};

use settings::{Global, Settings};

/// The version that applications and the server's banner are told: the one whose interface this
/// module has.
pub(crate) const VERSION: [u32; 3] = [6, 1, 1];

/// The record that the server looks up in the file.
// SAFETY: no other symbol of the server has this name; it is the one that `LoadModule` is given.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the name that LoadModule is given")]
pub static wsgi_module: Record<Wsgi> = Record::new(&COMMANDS);

static COMMANDS: Commands<Wsgi, { directives::COUNT }> = Commands::new(&directives::COMMANDS);

/// The module.
#[derive(Debug)]
pub struct Wsgi;

/// A compiled regular expression; virtual hosts share those of the main server.
pub(crate) type Pattern = Arc<Regex>;

/// What is configured in one server.
#[derive(Default)]
pub struct Configured {
    pub(crate) server: settings::Server<Pattern>,
    /// What is said once; in a virtual host only its preloads are looked at.
    pub(crate) global: Global,
}

/// What is configured in this server and those behind it, each once: a virtual host without a
/// directive of ours is given the main server's own configuration (`merge_server_configs`).
pub(crate) fn configured(server: Server<'_>) -> impl Iterator<Item = &Configured> {
    let main = server.config::<Wsgi>();
    let others = server.and_following().skip(1).filter_map(|other| other.config::<Wsgi>());
    let is_own = move |other: &&Configured| main.is_none_or(|main| !std::ptr::eq(main, *other));
    main.into_iter().chain(others.filter(is_own))
}

impl Module for Wsgi {
    // By this name other modules, and every `<IfModule mod_wsgi.c>`, know it.
    const FILE: &'static CStr = c"mod_wsgi.c";
    type Server = Configured;
    type Section = Settings;
    type Shared = groups::Registry;

    fn record() -> &'static Record<Wsgi> {
        &wsgi_module
    }

    fn create_server(_: Server<'_>) -> Configured {
        Configured::default()
    }

    fn merge_servers(main: &Configured, own: &Configured) -> Configured {
        Configured {
            server: main.server.merged(&own.server),
            global: Global { preloads: own.global.preloads.clone(), ..Global::default() },
        }
    }

    fn create_section() -> Settings {
        Settings::default()
    }

    fn merge_sections(outer: &Settings, inner: &Settings) -> Settings {
        outer.merged(inner)
    }

    fn register(hooks: &mut Hooks<'_, Wsgi>) {
        hooks.post_config::<parent::Start>(Order::MIDDLE);
        hooks.child_init::<child::Start>(Order::MIDDLE);
        hooks.monitor::<daemon::Again>(Order::MIDDLE);
        // After mod_alias, whose aliases win, and before what maps the rest of the URLs.
        hooks.translate_name::<translate::Aliases>(
            Order::MIDDLE.after(&[Some(c"mod_alias.c"), None]).before(&[
                Some(c"mod_userdir.c"),
                Some(c"mod_vhost_alias.c"),
                None,
            ]),
        );
        // With what mod_ssl knows of the client, and before the server's own rules about hosts.
        hooks.check_access::<hooks::access::Access>(
            Order::MIDDLE
                .after(&[Some(c"mod_ssl.c"), None])
                .before(&[Some(c"mod_authz_host.c"), None]),
        );
        hooks.authn_provider::<hooks::auth::Users>(c"wsgi");
        hooks.authz_provider::<hooks::auth::Groups>(c"wsgi-group");
        hooks.handler::<handler::Scripts>(Order::MIDDLE);
        hooks.handler::<meter::Page>(Order::MIDDLE);
        hooks.log_transaction::<linger::Linger>(Order::LAST);
    }
}
