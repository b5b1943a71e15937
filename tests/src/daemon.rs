//! The processes of daemon mode, as a test finds them: by what `ps` shows.

use crate::process::{Process, wait_for};
use crate::server::Server;
use std::time::Duration;

/// How long a process may take to come or go.
const PATIENCE: Duration = Duration::from_secs(60);

impl Server {
    /// The supervisor of process groups.
    ///
    /// # Panics
    /// When there is not exactly one in good time.
    #[track_caller]
    pub fn supervisor(&self) -> Process {
        let one = wait_for(PATIENCE, || match self.supervisors()[..] {
            [one] => Some(one),
            _ => None,
        });
        one.unwrap_or_else(|| panic!("supervisors: {:?}", self.supervisors()))
    }

    /// All processes that are a supervisor.
    pub fn supervisors(&self) -> Vec<Process> {
        self.titled(|title| title.split(' ').next().is_some_and(|it| it.ends_with(SUPERVISOR)))
    }

    /// The workers of a process group without `display-name`, forked children among them.
    pub fn workers(&self, group: &str) -> Vec<Process> {
        let title = format!("(wsgi:{group})");
        self.titled(|found| found == title)
    }

    /// The only worker of a group.
    ///
    /// # Panics
    /// When there is not exactly one in good time.
    #[track_caller]
    pub fn worker(&self, group: &str) -> Process {
        let one = wait_for(PATIENCE, || match self.workers(group)[..] {
            [one] => Some(one),
            _ => None,
        });
        one.unwrap_or_else(|| panic!("workers of {group}: {:?}", self.workers(group)))
    }

    fn titled(&self, is_it: impl Fn(&str) -> bool) -> Vec<Process> {
        let found = self.processes().into_iter();
        found.filter(|process| is_it(&process.command_line())).collect()
    }
}

impl Process {
    /// Whether it is there, and not a zombie.
    pub fn lives(self) -> bool {
        !self.is_zombie()
    }

    /// Waits until it is gone.
    ///
    /// # Panics
    /// When it is not, in good time.
    #[track_caller]
    pub fn await_end(self) {
        let gone = wait_for(PATIENCE, || (!self.lives()).then_some(()));
        assert!(gone.is_some(), "{} is still there: {}", self.pid, self.command_line());
    }
}

/// What the supervisor's program is called.
const SUPERVISOR: &str = "wsgi-supervisor";
