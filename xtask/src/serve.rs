//! `serve`: one application on a private Apache in the foreground, from nothing.
//!
//! Everything the server uses lies in a temporary directory that is gone afterwards: the generated
//! configuration, a copy of the build (so that building goes on while it serves) and whatever of
//! this project its processes could not read where it is. As root the children run as the web
//! server's user; paths closed to that user are named before anything is started.

pub(crate) mod access;
mod app;
pub(crate) mod config;
mod server;

use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tempfile::TempDir;

use self::access::User;
use self::app::App;
use self::config::{Modules, Mpm, Site};
use self::server::Server;
use crate::build::{self, Dist, Profile, replace};
use crate::setup::python::Python;
use crate::setup::{self, Missing, Obstacle};
use crate::shell::{is_root, root};

/// `cargo xtask serve`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// A .wsgi or .py file, file:callable, or module:callable [default: a bundled example]
    app: Option<String>,
    /// The port; 0 takes a free one
    #[arg(long, default_value_t = 8000)]
    port: u16,
    /// The address to listen on [default: this machine only, 127.0.0.1 and ::1]
    #[arg(long, value_name = "ADDRESS")]
    host: Option<IpAddr>,
    /// Where Python runs
    #[arg(long, value_enum, default_value_t = Mode::Embedded)]
    mode: Mode,
    /// How Apache divides its work [default: event where this Apache has it]
    #[arg(long, value_enum)]
    mpm: Option<Mpm>,
    /// The Python: executable, prefix or virtual environment [default: python3 on PATH]
    #[arg(long, value_name = "PATH")]
    python: Option<PathBuf>,
    /// Optimised: slower to build the first time, faster to answer
    #[arg(long)]
    release: bool,
    #[command(flatten)]
    setup: setup::Options,
}

/// Where Python runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Mode {
    /// In Apache's own processes
    Embedded,
    /// In processes of its own
    Daemon,
}

/// Runs the task.
pub(crate) fn run(args: &Args) -> Result<()> {
    // What can be wrong with the arguments is said before minutes of building.
    let here = std::env::current_dir().context("the current directory is gone")?;
    let app = App::parse(args.app.as_deref(), &here)?;
    let listen = addresses(args.host, args.port)?;

    let named: Vec<PathBuf> = args.python.iter().cloned().collect();
    let machine = setup::ensure(&args.setup, &named, Missing::Ask)?;
    let modules = Modules::of(&machine.apache)?;
    let mpm = choose_mpm(args.mpm, &modules)?;
    let user = if is_root() { Some(User::of_httpd()?) } else { None };
    let default = machine.pythons.first().context("no Python")?;
    let python = choose_python(args, default, user.as_ref())?;

    check_app(&app, user.as_ref())?;

    let profile = if args.release { Profile::Release } else { Profile::Dev };
    if profile == Profile::Dev {
        eprintln!("Building without optimisation, which is quicker; --release for speed");
    }
    let dist = build::build(&machine, std::slice::from_ref(&python), profile)?;

    // From here on there is something to clean up, so a signal is a request and no longer an end.
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        signal_hook::flag::register(signal, Arc::clone(&stop))?;
    }
    let home = Home::make(user.as_ref())?;
    let placed = home.place(&app, &dist, &python)?;
    let site = Site {
        directory: home.path(),
        listen: &listen,
        mpm,
        user: user.as_ref(),
        module: &home.path().join("mod_wsgi.so"),
        python_home: &python.prefix,
        python_path: &placed.import_from,
        script: &placed.script,
        callable: placed.callable.as_deref(),
        daemon: args.mode == Mode::Daemon,
    };
    let file = home.path().join("httpd.conf");
    std::fs::write(&file, site.text(&modules)?)?;

    // The port may have been taken while we built.
    addresses(args.host, listen[0].port())?;
    let mut server = Server::start(&machine.apache.httpd, &file)?;
    let line = |status: u16| {
        let host = match args.host {
            None => "localhost".to_owned(),
            Some(IpAddr::V6(address)) => format!("[{address}]"),
            Some(address) => address.to_string(),
        };
        println!(
            "Serving {} on http://{host}:{}/ (Python {}, Apache {} {}); Ctrl-C stops it",
            app.name(),
            listen[0].port(),
            python.version,
            machine.apache.version,
            mpm.name()
        );
        if status >= 500 {
            eprintln!("note: it answers {status}; the reason is in the log above");
        }
    };
    watch(&mut server, &stop, listen[0], line)?;
    server.stop()
}

/// Announces the server when it answers, and returns when it shall stop. An end of its own is an
/// error.
fn watch(
    server: &mut Server,
    stop: &AtomicBool,
    address: SocketAddr,
    announce: impl Fn(u16),
) -> Result<()> {
    let answer = poll(address);
    let mut announced = false;
    while !stop.load(Ordering::Relaxed) {
        if let Some(status) = server.ended()? {
            bail!("Apache ended by itself: {status}");
        }
        match answer.try_recv() {
            Ok(status) if !announced => {
                announce(status);
                announced = true;
            }
            Err(TryRecvError::Disconnected) if !announced => {
                bail!("the server started, but does not answer on {address}")
            }
            _ => {}
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

/// Asks until there is an answer, beside the loop that watches over signals: the first request may
/// import an application for a minute.
fn poll(address: SocketAddr) -> Receiver<u16> {
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        for _ in 0..600 {
            if let Some(status) = server::probe(address) {
                let _ = sender.send(status);
                return;
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    });
    receiver
}

/// The addresses to listen on, each of which was free a moment ago.
fn addresses(host: Option<IpAddr>, port: u16) -> Result<Vec<SocketAddr>> {
    let taken = |address: SocketAddr, error: std::io::Error| match error.kind() {
        ErrorKind::AddrInUse => anyhow::anyhow!(
            "port {} is in use by another program; choose another with --port",
            address.port()
        ),
        ErrorKind::PermissionDenied => anyhow::anyhow!(
            "port {} is for root only; choose one from 1024 on with --port",
            address.port()
        ),
        _ => anyhow::anyhow!("cannot listen on {address}: {error}"),
    };
    let first = SocketAddr::new(host.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)), port);
    let bound = TcpListener::bind(first).map_err(|error| taken(first, error))?;
    let first = bound.local_addr()?;
    let mut addresses = vec![first];
    if host.is_none() {
        // `localhost` may mean this one. Machines without IPv6 do without.
        let second = SocketAddr::new(IpAddr::V6(Ipv6Addr::LOCALHOST), first.port());
        match TcpListener::bind(second) {
            Ok(_) => addresses.push(second),
            Err(error) if error.kind() == ErrorKind::AddrInUse => return Err(taken(second, error)),
            Err(_) => {}
        }
    }
    Ok(addresses)
}

fn choose_mpm(wanted: Option<Mpm>, modules: &Modules) -> Result<Mpm> {
    if let Some(mpm) = wanted {
        modules.offers(mpm)?;
        return Ok(mpm);
    }
    let found = Mpm::ALL.into_iter().find(|mpm| modules.offers(*mpm).is_ok());
    found.context("this Apache has none of the MPMs event, worker and prefork")
}

/// The Python that was named, if it can be used; else the default, or where that cannot be used,
/// the system's.
fn choose_python(args: &Args, python: &Python, user: Option<&User>) -> Result<Python> {
    let Some(why) = obstacle(python, user)? else { return Ok(python.clone()) };
    if args.python.is_some() {
        return Err(why.into());
    }
    eprintln!("note: {}", why.cause);
    let system = setup::system_python(&args.setup)?;
    if let Some(why) = obstacle(&system, user)? {
        return Err(why.into());
    }
    eprintln!("note: so {} serves; --python names another", system.describe());
    Ok(system)
}

/// Why embedded mode cannot use a Python: it is not shared, or closed to the children's user.
fn obstacle(python: &Python, user: Option<&User>) -> Result<Option<Obstacle>> {
    let Some(library) = &python.library else { return Ok(Some(setup::no_library(python))) };
    let Some(user) = user else { return Ok(None) };
    let os = python.stdlib.join("os.py");
    let what = format!("Python {} at", python.version);
    for part in [&python.prefix, &python.base, &python.executable, library, &os] {
        if let (true, Some(why)) = (part.exists(), user.obstacle(&what, part)?) {
            return Ok(Some(why));
        }
    }
    Ok(None)
}

/// The temporary directory of one server.
struct Home<'a> {
    directory: TempDir,
    user: Option<&'a User>,
}

/// Where an application ended up.
struct Placed {
    script: PathBuf,
    callable: Option<String>,
    import_from: PathBuf,
}

impl Home<'_> {
    fn make(user: Option<&User>) -> Result<Home<'_>> {
        let mut places = vec![std::env::temp_dir()];
        places.extend(["/tmp", "/var/tmp"].map(PathBuf::from));
        let mut closed = None;
        for place in places {
            let Ok(directory) = tempfile::Builder::new().prefix("wsgi-serve-").tempdir_in(&place)
            else {
                continue;
            };
            let Some(user) = user else { return Ok(Home { directory, user: None }) };
            open(directory.path(), 0o755)?;
            match user.check("the temporary directory", directory.path()) {
                Ok(()) => return Ok(Home { directory, user: Some(user) }),
                Err(why) => closed = closed.or(Some(why)),
            }
        }
        Err(closed.unwrap_or_else(|| anyhow::anyhow!("no temporary directory can be made")))
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }

    /// Puts the build here, and gives where the application's script is: where it was, or here if
    /// it is this project's own and closed to the children.
    fn place(&self, app: &App, dist: &Dist, python: &Python) -> Result<Placed> {
        let engines = self.path().join("engines");
        std::fs::create_dir(&engines)?;
        open(&engines, 0o755)?;
        replace(&dist.module(), &self.path().join("mod_wsgi.so"))?;
        let engine = dist.engine(python);
        replace(&engine, &engines.join(engine.file_name().unwrap_or_default()))?;
        replace(&dist.default_python(), &self.path().join("default-python"))?;
        replace(&dist.supervisor(), &self.path().join("wsgi-supervisor"))?;

        match app {
            App::Script { path, callable } => {
                let script = self.open_script(path)?;
                let import_from = script.parent().unwrap_or(Path::new("/")).to_path_buf();
                Ok(Placed { script, callable: callable.clone(), import_from })
            }
            App::Module { module, callable, directory } => {
                let script = self.path().join("app.wsgi");
                std::fs::write(&script, app::importing(module, callable, directory)?)?;
                open(&script, 0o644)?;
                Ok(Placed { script, callable: None, import_from: directory.clone() })
            }
        }
    }

    /// The script itself, or a copy if it is one of this project's and closed to the children.
    fn open_script(&self, path: &Path) -> Result<PathBuf> {
        let closed = match self.user {
            Some(user) => user.closed(path)?.is_some(),
            None => false,
        };
        let examples = examples();
        match path.strip_prefix(&examples) {
            Ok(name) if closed => {
                let copy = self.path().join("examples");
                copy_tree(&examples, &copy)?;
                Ok(copy.join(name))
            }
            _ => Ok(path.to_path_buf()),
        }
    }
}

fn examples() -> PathBuf {
    root().join("examples")
}

/// Fails if the children could not read an application where it is. This project's own are copied.
fn check_app(app: &App, user: Option<&User>) -> Result<()> {
    let Some(user) = user else { return Ok(()) };
    match app {
        App::Script { path, .. } if path.starts_with(examples()) => Ok(()),
        App::Script { path, .. } => user.check("the application", path),
        App::Module { module, directory, .. } => {
            user.check("the application's directory", directory)?;
            let first = module.split('.').next().unwrap_or_default();
            [first.to_owned(), format!("{first}.py")]
                .iter()
                .map(|name| directory.join(name))
                .filter(|path| path.exists())
                .try_for_each(|path| user.check("the application", &path))
        }
    }
}

/// Whatever our umask is, the children can read it.
fn open(path: &Path, mode: u32) -> Result<()> {
    Ok(std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode))?)
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    open(to, 0o755)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let (path, place) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy_tree(&path, &place)?;
        } else {
            replace(&path, &place)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_port_in_use_is_said() {
        let busy = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = busy.local_addr().unwrap().port();
        let error = addresses(None, port).unwrap_err().to_string();
        assert_eq!(
            error,
            format!("port {port} is in use by another program; choose another with --port")
        );
    }

    #[test]
    fn a_free_port_can_be_taken() {
        let found = addresses(None, 0).unwrap();
        assert_ne!(found[0].port(), 0);
        assert!(found.iter().all(|address| address.port() == found[0].port()));
        let any = addresses(Some("0.0.0.0".parse().unwrap()), 0).unwrap();
        assert_eq!(any.len(), 1);
    }

    #[test]
    fn a_tree_is_copied() {
        let dir = tempfile::tempdir().unwrap();
        let from = dir.path().join("from");
        std::fs::create_dir_all(from.join("a/b")).unwrap();
        std::fs::write(from.join("a/b/c.py"), "text").unwrap();
        copy_tree(&from, &dir.path().join("to")).unwrap();
        assert_eq!(std::fs::read_to_string(dir.path().join("to/a/b/c.py")).unwrap(), "text");
    }
}
