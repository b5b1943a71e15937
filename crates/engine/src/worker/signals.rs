//! Signals of a worker: Python's own handlers go, and what applications subscribed to is published.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use py::{Bound, Token};

use crate::log;
use crate::module::{Event, publish};
use crate::process::Process;
use crate::table;
use log_codes::{WSGI0207, WSGI0209};

/// Takes back what a Python that runs as a program does about signals: SIGINT is no
/// `KeyboardInterrupt` here. A service, which nobody serves requests beside, is ended by SIGTERM as
/// by `sys.exit`.
pub(super) fn set_pythons<'py>(py: Token<'py>, service: bool) -> py::Result<'py, ()> {
    let module = py.import(c"signal")?;
    let set = |number: i32, action: &Bound<'py>| {
        module.call_method(c"signal", &[&py.int(number.into())?, action]).map(drop)
    };
    set(libc::SIGINT, &module.attr(c"SIG_DFL")?)?;
    if service {
        let source = "lambda *_: __import__('sys').exit()";
        let exit = py.import(c"builtins")?.call_method(c"eval", &[&py.str(source)?])?;
        set(libc::SIGTERM, &exit)?;
    }
    Ok(())
}

/// Starts the thread that publishes signals. Signals that come faster than callbacks run are
/// dropped: the room is for a few.
pub(super) fn dispatcher(process: &'static Process) -> SyncSender<i32> {
    let (sender, receiver) = sync_channel(16);
    let spawned = std::thread::Builder::new()
        .name("wsgi-signals".to_owned())
        .spawn(move || publish_all(process, &receiver));
    if spawned.is_err() {
        let name = &process.settings.process_group;
        log::coded(&process.log, &WSGI0207.message([name]));
    }
    sender
}

fn publish_all(process: &'static Process, signals: &Receiver<i32>) {
    for signal in signals {
        let name = match signal {
            libc::SIGHUP => "SIGHUP",
            libc::SIGUSR2 => "SIGUSR2",
            _ => continue,
        };
        if process.is_stopping() {
            return;
        }
        for group in process.groups() {
            let published = group.interpreter.attach(|py| {
                let payload = || {
                    let payload = py.dict()?;
                    payload.dict_set(c"signame", &py.str(name)?)?;
                    payload.dict_set(c"signum", &py.int(signal.into())?)?;
                    table::add_generation(py, &payload)?;
                    Ok(payload)
                };
                let payload: py::Result<'_, _> = payload();
                let Ok(payload) = payload else { return false };
                publish(py, group, Event::ProcessSignal, &payload);
                true
            });
            if !published.unwrap_or(false) {
                log::coded(&process.log, &WSGI0209.message([&group.title]));
            }
        }
    }
}
