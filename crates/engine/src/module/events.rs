//! Events for callbacks that applications registered.
//!
//! A callback gets the event's name and the payload as keywords; a dict that it returns is merged
//! into the payload for those after it. What one raises is logged, and the others still run.

use log_codes::{WSGI0112, WSGI0114, WSGI0190};
use py::{Bound, Token, ffi};

use crate::group::Group;
use crate::log::{self, Report};

/// What is published.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    RequestStarted,
    ResponseStarted,
    RequestFinished,
    RequestException,
    ProcessStopping,
    ProcessSignal,
}

impl Event {
    fn name(self) -> &'static str {
        match self {
            Event::RequestStarted => "request_started",
            Event::ResponseStarted => "response_started",
            Event::RequestFinished => "request_finished",
            Event::RequestException => "request_exception",
            Event::ProcessStopping => "process_stopping",
            Event::ProcessSignal => "process_signal",
        }
    }
}

/// Whether anybody wants events of requests. Building a payload costs more than asking.
pub(crate) fn wanted(py: Token<'_>, group: &Group) -> bool {
    let list = || {
        let objects = group.objects.get()?;
        let attributes = objects.attributes.bind(py).ok()?;
        attributes.dict_item(&objects.names.event_callbacks(py).ok()?).ok().flatten()
    };
    list().is_some_and(|list| {
        // SAFETY: attached; the object is alive and is a list if the check says so.
        unsafe { ffi::PyList_Check(list.as_ptr()) == 0 || ffi::PyList_GET_SIZE(list.as_ptr()) > 0 }
    })
}

/// Calls everybody who subscribed. `payload` is a dict, into which results are merged.
pub(crate) fn publish<'py>(py: Token<'py>, group: &Group, event: Event, payload: &Bound<'py>) {
    let server = &group.process.log;
    let module = group.objects.get().and_then(|objects| objects.module.bind(py).ok());
    let callbacks = module.map(|module| subscribers(&module, event));
    let Some(Ok(callbacks)) = callbacks else {
        py.detach(|| log::coded(server, &WSGI0114.message([])));
        return;
    };
    for callback in callbacks {
        let call = || {
            let name = py.tuple([py.str(event.name())?])?;
            let result = callback.call_with(&name, Some(payload))?;
            // SAFETY: attached; the object is alive.
            if unsafe { ffi::PyDict_Check(result.as_ptr()) } != 0 {
                payload.call_method(c"update", &[&result])?;
            }
            Ok(())
        };
        let Err(error): py::Result<'_, ()> = call() else { continue };
        let class = error.type_name();
        let code = if log::is_system_exit(&error) { &WSGI0190 } else { &WSGI0112 };
        let report = Report::new(code, [&class, &event.name()], &error);
        py.detach(|| report.log(server));
    }
}

/// A copy of the list, so that a callback may change it.
fn subscribers<'py>(module: &Bound<'py>, event: Event) -> py::Result<'py, Vec<Bound<'py>>> {
    let mut callbacks = module.attr(c"event_callbacks")?.items()?;
    match event {
        Event::ProcessStopping => callbacks.extend(module.attr(c"shutdown_callbacks")?.items()?),
        Event::ProcessSignal => callbacks.extend(module.attr(c"signal_callbacks")?.items()?),
        _ => {}
    }
    Ok(callbacks)
}
