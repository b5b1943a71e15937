//! One request: when its parts began and ended.
//!
//! Of what a worker says about its times only the length is believed, and that only to be shown.

use daemon::wire::Times;
use engine_api::Reply;
use httpd_sys::{Request, Status};
use status::{Phase, Running};

use super::{METER, Meter, notes};
use crate::groups::ProcessGroup;

/// A request that is recorded.
pub(crate) struct Metered {
    meter: &'static Meter,
    pub(super) group: ProcessGroup,
    running: Option<Running>,
    /// When the server read it; microseconds since 1970, as all times here.
    started: i64,
    /// When it was handed to a process; 0 before.
    handed: i64,
    /// The process that has it, and of which generation.
    pub(super) worker: (i32, u32),
    /// By [`Phase`], in microseconds.
    pub(super) phases: [Option<u64>; Phase::COUNT],
}

impl Metered {
    /// Begins to record a request, if anybody wants to know.
    pub(crate) fn begin(request: &Request<'_>, group: ProcessGroup) -> Option<Metered> {
        let meter = METER.get().filter(|meter| meter.child.is_some() || meter.notes)?;
        let started = request.time();
        let running = meter.child.as_ref().zip(meter.number(group)).and_then(|(child, number)| {
            // Without its query, which may hold what is nobody else's business.
            child.begin(number, started.cast_unsigned(), request.method(), request.uri())
        });
        Some(Metered {
            meter,
            group,
            running,
            started,
            handed: 0,
            worker: (0, 0),
            phases: [None; Phase::COUNT],
        })
    }

    /// It is handed to a process.
    pub(crate) fn hand(&mut self, now: i64) {
        self.handed = now;
        self.set(Phase::Read, now.saturating_sub(self.started));
        if let Some(running) = &self.running {
            running.handed(now.cast_unsigned());
        }
    }

    /// This process has it.
    pub(crate) fn with_worker(&mut self, pid: Option<i32>, generation: Option<u32>) {
        let worker = (pid.unwrap_or(0), generation.unwrap_or(0));
        if worker != self.worker && worker.0 != 0 {
            self.worker = worker;
            if let Some(running) = &self.running {
                running.worker(worker.0.unsigned_abs());
            }
        }
    }

    /// The worker answers.
    pub(crate) fn answered(&mut self, times: Option<Times>) {
        if let Some(times) = times {
            self.set(Phase::Queue, times.queue.into());
            self.set(Phase::Start, times.start.into());
            if let Some(application) = times.application {
                self.set(Phase::Application, application.into());
            }
        }
        if let Some(running) = &self.running {
            running.answering();
        }
    }

    /// The worker has said all. Where it could not say how long the application would take, it has
    /// taken until now.
    pub(crate) fn complete(&mut self) {
        if self.phases[Phase::Start as usize].is_some() && self.of(Phase::Application).is_none() {
            let before = self.handed.saturating_add_unsigned(self.before_application());
            self.set(Phase::Application, engine_api::now().saturating_sub(before));
        }
    }

    /// The engine of this process has answered.
    pub(crate) fn replied(&mut self, reply: &Reply) {
        self.set(Phase::Start, reply.start.into());
        self.set(Phase::Application, reply.application.into());
    }

    /// It is over.
    pub(crate) fn finish(mut self, request: &Request<'_>, status: Status) {
        let now = engine_api::now();
        self.set(Phase::Total, now.saturating_sub(self.started));
        if let Some(application) = self.of(Phase::Application) {
            let before = self.before_application().saturating_add(application);
            let before = self.handed.saturating_add_unsigned(before);
            self.set(Phase::Send, now.saturating_sub(before));
        }
        let status = match status {
            Status::Http(status) => status,
            Status::Ok | Status::Done => request.status(),
            Status::Declined => 0,
        };
        if let Some((child, number)) = self.meter.child.as_ref().zip(self.meter.number(self.group))
        {
            child.count(number, &self.phases, status);
        }
        if self.meter.notes {
            notes::write(request, &self);
        }
    }

    /// From being handed on until the application is called.
    fn before_application(&self) -> u64 {
        self.of(Phase::Queue).unwrap_or(0).saturating_add(self.of(Phase::Start).unwrap_or(0))
    }

    fn of(&self, phase: Phase) -> Option<u64> {
        self.phases[phase as usize]
    }

    /// A clock that was set back makes no time negative.
    fn set(&mut self, phase: Phase, us: i64) {
        self.phases[phase as usize] = Some(us.max(0).unsigned_abs());
    }
}
