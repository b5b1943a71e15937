//! A request's events: what `wsgi-core` tells becomes payloads for callbacks.
//!
//! Made only when somebody has subscribed by the time the request starts.

use std::sync::Arc;

use engine_api::Request;
use metrics::Cpu;
use py::{Bound, Error, Global, Token};
use wsgi_core::Summary;

use crate::group::Group;
use crate::module::{Event, publish, wanted};
use crate::request::{now, seconds};

/// What the payloads of one request have in common.
pub(crate) struct Observer {
    group: &'static Group,
    request_id: Option<Vec<u8>>,
    callable: Vec<u8>,
    thread_id: u32,
    server_pid: u32,
    daemon_connects: u32,
    daemon_restarts: u32,
    request_start: f64,
    queue_start: f64,
    daemon_start: f64,
    application_start: f64,
    cpu_start: Option<Cpu>,
    /// The request's dict; none only while this is dropped.
    data: Option<Global>,
}

/// An observer for a request, if anybody wants to know.
pub(crate) fn observer(
    py: Token<'_>,
    group: &'static Group,
    request: &Request<'_>,
    thread_id: u32,
    application_start: f64,
    data: &Bound<'_>,
) -> Option<Arc<Observer>> {
    wanted(py, group).then(|| {
        group.graves.empty(py);
        Arc::new(Observer {
            group,
            request_id: request.request_id.get().map(<[u8]>::to_vec),
            callable: request.callable.or_empty().to_vec(),
            thread_id,
            server_pid: request.server_pid,
            daemon_connects: request.daemon_connects,
            daemon_restarts: request.daemon_restarts,
            request_start: seconds(request.request_start),
            queue_start: seconds(request.queue_start),
            daemon_start: seconds(request.daemon_start),
            application_start,
            cpu_start: Cpu::of_thread(),
            data: Some(data.clone().into_global()),
        })
    })
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.group.graves.add(self.data.take());
    }
}

impl Observer {
    fn publish<'py>(
        &self,
        py: Token<'py>,
        event: Event,
        fill: impl FnOnce(&Bound<'py>) -> py::Result<'py, ()>,
    ) -> Option<Bound<'py>> {
        let payload = || {
            let payload = py.dict()?;
            if let Some(id) = &self.request_id {
                payload.dict_set(c"request_id", &py.latin1(id)?)?;
            }
            if let Some(Ok(data)) = self.data.as_ref().map(|data| data.bind(py)) {
                payload.dict_set(c"request_data", &data)?;
            }
            fill(&payload)?;
            Ok(payload)
        };
        // Without memory for a payload there is none for a callback either.
        let payload: py::Result<'py, Bound<'py>> = payload();
        let payload = payload.ok();
        if let Some(payload) = &payload {
            publish(py, self.group, event, payload);
        }
        payload
    }

    fn common<'py>(&self, py: Token<'py>, payload: &Bound<'py>) -> py::Result<'py, ()> {
        payload.dict_set(c"thread_id", &py.int(self.thread_id.into())?)?;
        payload.dict_set(c"server_pid", &py.int(self.server_pid.into())?)?;
        payload.dict_set(c"request_start", &py.float(self.request_start)?)?;
        payload.dict_set(c"queue_start", &py.float(self.queue_start)?)?;
        payload.dict_set(c"daemon_start", &py.float(self.daemon_start)?)
    }
}

impl wsgi_core::Observer for Observer {
    fn request_started<'py>(
        &self,
        py: Token<'py>,
        application: &Bound<'py>,
        environ: &Bound<'py>,
    ) -> Option<Bound<'py>> {
        let payload = self.publish(py, Event::RequestStarted, |payload| {
            self.common(py, payload)?;
            payload.dict_set(c"daemon_connects", &py.int(self.daemon_connects.into())?)?;
            payload.dict_set(c"daemon_restarts", &py.int(self.daemon_restarts.into())?)?;
            payload.dict_set(c"application_object", application)?;
            payload.dict_set(c"callable_object", &py.latin1(&self.callable)?)?;
            payload.dict_set(c"request_environ", environ)?;
            payload.dict_set(c"application_start", &py.float(self.application_start)?)
        })?;
        payload.dict_get(c"application_object").ok().flatten()
    }

    fn response_started<'py>(
        &self,
        py: Token<'py>,
        status: &Bound<'py>,
        headers: &Bound<'py>,
        exc_info: &Bound<'py>,
    ) {
        self.publish(py, Event::ResponseStarted, |payload| {
            payload.dict_set(c"response_status", status)?;
            payload.dict_set(c"response_headers", headers)?;
            payload.dict_set(c"exception_info", exc_info)
        });
    }

    fn request_exception<'py>(&self, py: Token<'py>, error: &Error<'py>) {
        self.publish(py, Event::RequestException, |payload| {
            let value = error.value();
            let class = value.attr(c"__class__")?;
            let traceback = value.attr(c"__traceback__")?;
            let info = py.tuple([class, value.clone(), traceback])?;
            payload.dict_set(c"exception_info", &info)
        });
    }

    fn request_finished(&self, py: Token<'_>, summary: &Summary) {
        let finish = now();
        let time = (finish - self.application_start).max(0.0);
        let cpu = self.cpu_start.zip(Cpu::of_thread()).map(|(start, end)| end.since(start));
        self.publish(py, Event::RequestFinished, |payload| {
            self.common(py, payload)?;
            for (name, value) in [
                (c"application_finish", finish),
                (c"application_time", time),
                (c"input_time", summary.input_time),
                (c"output_time", summary.output_time),
                (c"gil_wait_time", summary.gil_wait_time),
            ] {
                payload.dict_set(name, &py.float(value)?)?;
            }
            for (name, value) in [
                (c"input_reads", summary.input_reads),
                (c"input_length", summary.input_length),
                (c"output_writes", summary.output_writes),
                (c"output_length", summary.output_length),
                (c"gil_wait_count", summary.gil_wait_count),
                (c"status", summary.status.into()),
            ] {
                payload.dict_set(name, &py.int(i64::try_from(value).unwrap_or(i64::MAX))?)?;
            }
            if let Some(cpu) = cpu.map(|cpu| cpu.within(time)) {
                payload.dict_set(c"cpu_user_time", &py.float(cpu.user)?)?;
                payload.dict_set(c"cpu_system_time", &py.float(cpu.system)?)?;
                payload.dict_set(c"cpu_time", &py.float(cpu.sum())?)?;
            }
            Ok(())
        });
    }
}
