//! One request from its beginning to its end.

use std::sync::Arc;

use py::{Bound, Error, Result, Token, Waits, ffi};

use crate::exchange::{Current, Exchange};
use crate::handles::Handles;
use crate::host::Host;
use crate::request::{Request, Served, Summary, Variables};
use crate::respond::Run;
use crate::state::State;
use crate::{environ, log};

/// Calls the WSGI application `app` for `request` and sends what it answers to `host`.
///
/// The thread is attached and, on return, still is; in between it detaches whenever the host may
/// wait. A small response that was known as a whole is not sent but returned, as
/// [`Outcome::Collected`](crate::Outcome::Collected): send it after detaching. Exceptions of the
/// application, whichever they are, are logged and become part of the outcome.
///
/// # Panics
/// `state` was made in another interpreter than `py` is attached to.
pub fn serve<'py>(
    py: Token<'py>,
    state: &Arc<State>,
    app: &Bound<'py>,
    request: &Request<'_, impl Variables>,
    host: &mut dyn Host,
) -> Served {
    state.check(py);
    let waited = request.measure.then(|| {
        py::measure_waits();
        request.waited.unwrap_or_else(Waits::of_this_thread)
    });
    // SAFETY: `Ending` expires the exchange before this function is left, however it is left; the
    // exclusive borrow of the host lasts as long.
    let exchange = Arc::new(unsafe { Exchange::new(state, request, host) });
    let _ending = Ending { py, exchange: &exchange };
    let _current = Current::enter(&exchange);
    let context = Context::enter(py);
    let served = run(py, state, app, request, &exchange, waited);
    drop(context);
    exchange.finish_log(py);
    served
}

/// Takes the host away from Python.
pub(crate) struct Ending<'a, 'py> {
    pub(crate) py: Token<'py>,
    pub(crate) exchange: &'a Exchange,
}

impl Drop for Ending<'_, '_> {
    fn drop(&mut self) {
        self.exchange.expire(self.py);
    }
}

/// A copy of the thread's `contextvars` context, entered until drop: what a request sets ends with
/// it, while values set outside of requests stay visible.
pub(crate) struct Context<'py>(Option<Bound<'py>>);

impl<'py> Context<'py> {
    pub(crate) fn enter(py: Token<'py>) -> Context<'py> {
        // SAFETY: attached; a new context that nobody has entered.
        let context = unsafe {
            Bound::from_owned(py, ffi::PyContext_CopyCurrent()).and_then(|context| {
                if ffi::PyContext_Enter(context.as_ptr()) < 0 {
                    return Err(Error::fetch(py));
                }
                Ok(context)
            })
        };
        Context(context.ok())
    }
}

impl Drop for Context<'_> {
    fn drop(&mut self) {
        if let Some(context) = &self.0 {
            // SAFETY: attached; it checks that this is the context that was entered last.
            if unsafe { ffi::PyContext_Exit(context.as_ptr()) } < 0 {
                drop(Error::take(context.py()));
            }
        }
    }
}

fn run<'py>(
    py: Token<'py>,
    state: &State,
    app: &Bound<'py>,
    request: &Request<'_, impl Variables>,
    exchange: &Arc<Exchange>,
    waited: Option<Waits>,
) -> Served {
    let response = Run { py, state, request, exchange };
    let objects = log::errors(py, state, exchange)
        .and_then(|errors| Ok((errors, Handles::new(py, state, exchange)?)));
    let outcome = match objects {
        Ok((errors, handles)) => {
            let end = match call(&response, app, &errors.stream, &handles) {
                Ok(result) => response.consume(result),
                Err(error) => response.fail(&error),
            };
            errors.retire(state);
            handles.retire(state, exchange);
            response.outcome(end)
        }
        Err(error) => response.outcome(response.fail(&error)),
    };
    let mut summary = Summary { status: outcome.status(), ..exchange.summary() };
    if let Some(waited) = waited {
        let waits = Waits::of_this_thread().since(waited);
        summary.gil_wait_time = waits.time.as_secs_f64();
        summary.gil_wait_count = waits.count;
    }
    if let Some(observer) = &request.observer {
        observer.request_finished(py, &summary);
    }
    Served { outcome, summary }
}

/// Makes what the application gets, and calls it.
fn call<'py>(
    run: &Run<'_, 'py, impl Variables>,
    app: &Bound<'py>,
    errors: &Bound<'py>,
    handles: &Handles<'py>,
) -> Result<'py, Bound<'py>> {
    let Run { py, state, request, .. } = *run;
    let environ = environ::build(py, state, request, &handles.input, errors)?;
    let replaced = match &request.observer {
        Some(observer) => observer.request_started(py, app, &environ),
        None => None,
    };
    replaced.as_ref().unwrap_or(app).call_n([&environ, &handles.start_response])
}
