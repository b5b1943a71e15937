//! The Apache module `wsgi_module`: hosts Python WSGI applications.
//!
//! This crate is where everything meets and knows as little as possible itself:
//!
//! * [`settings`] and [`directives`]: what the configuration says;
//! * [`translate`]: URLs to scripts;
//! * [`handler`]: may this request run, where, and what became of it;
//! * [`environ`]: a request as CGI variables;
//! * [`host`]: what the engine may ask of a request;
//! * [`runtime`]: the engine of this child process;
//! * [`log`]: lines in the error log.
//!
//! Only here are errors turned into statuses and log lines. See
//! <https://httpd.apache.org/docs/2.4/developer/> and the reference pages of the directives.

mod directives;
mod environ;
mod handler;
mod host;
mod log;
mod runtime;
mod settings;
mod translate;

use std::ffi::CStr;
use std::sync::Arc;

use httpd_sys::{
    Argument, ChildInit, Command, Commands, Context, Directive, Hooks, Level, Module, Order, Place,
    Pool, PostConfig, PostConfigPass, Record, Regex, Request, RequestHook, Server, StartPass,
    Status,
};

use directives::{Contexts, Setter, Target};
use settings::{Global, Settings};

/// The version that applications and the server's banner are told: the one whose interface this
/// module has.
pub(crate) const VERSION: [u32; 3] = [6, 1, 1];

/// The record that Apache looks up in the file.
// SAFETY: no other symbol of httpd has this name; it is the one that `LoadModule` is given.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals)]
pub static wsgi_module: Record<Wsgi> = Record::new(&COMMANDS);

/// The module.
#[derive(Debug)]
pub struct Wsgi;

/// A compiled expression; configurations share it.
pub(crate) type Pattern = Arc<Regex>;

/// What is configured in one server.
#[derive(Default)]
pub struct Configured {
    pub(crate) server: settings::Server<Pattern>,
    /// Of the main server; in a virtual host only its preloads are looked at.
    pub(crate) global: Global,
}

/// What is configured in one section.
#[derive(Default)]
pub struct Section(pub(crate) Settings);

impl Module for Wsgi {
    const FILE: &'static CStr = c"mod_wsgi.c";
    type Server = Configured;
    type Section = Section;

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

    fn create_section() -> Section {
        Section::default()
    }

    fn merge_sections(outer: &Section, inner: &Section) -> Section {
        Section(outer.0.merged(&inner.0))
    }

    fn register(hooks: &mut Hooks<'_, Wsgi>) {
        // After mod_alias, whose aliases win, and before what maps the rest of the URLs.
        let aliases = Order::MIDDLE.after(&[Some(c"mod_alias.c"), None]).before(&[
            Some(c"mod_userdir.c"),
            Some(c"mod_vhost_alias.c"),
            None,
        ]);
        hooks.post_config::<CheckConfig>(Order::MIDDLE);
        hooks.child_init::<BeginChild>(Order::MIDDLE);
        hooks.translate_name::<MapUrl>(aliases);
        hooks.handler::<RunScript>(Order::MIDDLE);
    }
}

struct CheckConfig;

impl PostConfig for CheckConfig {
    fn run(pass: &PostConfigPass<'_>) -> Result<(), String> {
        if httpd_sys::is_loaded(c"mod_python.c") {
            return Err("mod_wsgi cannot be used together with mod_python: two modules that each \
                        bring a Python of their own into one process end in a crash. Remove one \
                        of the two LoadModule lines."
                .to_owned());
        }
        let [major, minor, patch] = VERSION;
        let component = |text: &str| {
            httpd_sys::add_version_component(pass.config, pass.temp.string(text.as_bytes()));
        };
        component(&format!("mod_wsgi/{major}.{minor}.{patch}"));
        let Some(configured) = pass.server.config::<Wsgi>() else {
            return Ok(());
        };
        match runtime::find(&configured.global) {
            Ok(python) => {
                let version = python.version;
                component(&format!("Python/{}.{}", version.major, version.minor));
            }
            // Children say so again, with the request that needed it; here it reaches the person
            // who starts the server.
            Err(reason) if pass.kind == StartPass::Serve => {
                let text = format!("Python cannot be used in embedded mode: {reason}");
                log::plain(pass.server, Level::Error, &text);
            }
            Err(_) => {}
        }
        Ok(())
    }
}

struct BeginChild;

impl ChildInit for BeginChild {
    fn run(pool: Pool<'_>, server: Server<'_>) {
        runtime::child_init(pool, server);
    }
}

struct MapUrl;

impl RequestHook for MapUrl {
    fn run(request: &mut Request<'_>) -> Status {
        translate::translate(request)
    }
}

struct RunScript;

impl RequestHook for RunScript {
    fn run(request: &mut Request<'_>) -> Status {
        handler::handle(request)
    }
}

/// Every directive, as this crate describes it.
static TABLE: [&[directives::Directive<Pattern>]; 3] = directives::table::<Pattern>();

const COUNT: usize = {
    let table = directives::table::<Pattern>();
    table[0].len() + table[1].len() + table[2].len()
};

/// Every directive, as Apache wants to know it.
static DIRECTIVES: [Directive<Wsgi>; COUNT] = {
    let table = directives::table::<Pattern>();
    let mut all = [const {
        Directive { name: c"", context: Context::MAIN, argument: Argument::One(apply), help: c"" }
    }; COUNT];
    let (mut group, mut at, mut index) = (0, 0, 0);
    while group < table.len() {
        while at < table[group].len() {
            let entry = &table[group][at];
            all[index].name = entry.name;
            all[index].help = entry.help;
            all[index].context = context(entry.contexts);
            if let Setter::Raw(_) = entry.setter {
                all[index].argument = Argument::Raw(apply);
            }
            at += 1;
            index += 1;
        }
        at = 0;
        group += 1;
    }
    all
};

static COMMANDS: Commands<Wsgi, COUNT> = Commands::new(&DIRECTIVES);

/// Where a directive may be written, in Apache's terms.
const fn context(contexts: Contexts) -> Context {
    if contexts.contain(Contexts::FILE_INFO) {
        // Apache counts everything that may stand in `.htaccess` as allowed in sections and servers.
        Context::HTACCESS_FILE_INFO
    } else if contexts.contain(Contexts::SECTION) {
        Context::SERVER.or(Context::SECTION)
    } else if contexts.contain(Contexts::VHOST) {
        Context::SERVER
    } else {
        Context::MAIN
    }
}

/// Takes any directive.
fn apply(command: &mut Command<'_, Wsgi>, arguments: &[u8]) -> Result<(), String> {
    let name = command.name();
    let directive = TABLE
        .into_iter()
        .flatten()
        .find(|directive| directive.name() == name)
        .ok_or_else(|| format!("{name} is not known"))?;
    let pool = command.pool();
    let compile = |pattern: &[u8]| Regex::new(pool.string(pattern)).map(Arc::new);
    match command.place()? {
        Place::Server(configured) => {
            let Configured { server, global } = configured;
            // Aliases and settings are two halves of one server.
            let settings::Server { settings, aliases } = server;
            let mut target = Target { settings, aliases: Some(aliases), global, compile: &compile };
            directive.apply(&mut target, arguments)
        }
        Place::Section(section) => {
            // What is said once cannot be said in a section, so nothing is written there.
            let mut nothing = Global::default();
            let mut target = Target {
                settings: &mut section.0,
                aliases: None,
                global: &mut nothing,
                compile: &compile,
            };
            directive.apply(&mut target, arguments)
        }
    }
}
