//! What is asked of a script, and where the answer goes if there is none.

use engine_api::worker::Preload;
use log_codes::WSGI0089;
use py::{Bound, Error};

use crate::group::Group;
use crate::log::{self, Log, Report};
use crate::names::Names;
use crate::worker::report_loaded;

/// What is asked of a script.
pub(crate) struct Ask<'a> {
    /// Its file.
    pub(crate) path: &'a [u8],
    /// Its modification time in microseconds, if known.
    pub(crate) mtime: Option<i64>,
    /// Whether to look for changes.
    pub(crate) reload: bool,
    /// Whether the path is lower-cased to name the module.
    pub(crate) lower_case: bool,
    /// The argument of the script's `reload_required`; `None` not to call it.
    pub(crate) resource: Option<&'a [u8]>,
    /// The name of what is wanted of it, if anything is.
    pub(crate) callable: Option<&'a [u8]>,
    /// Where it runs.
    pub(crate) group: &'a Group,
    /// Where the lines go.
    pub(crate) log: &'a dyn Log,
    /// Whether this is for a request; it decides the numbers of messages.
    pub(crate) request: bool,
    /// What to do if the script has changed.
    pub(crate) on_change: OnChange,
}

/// What to do if a script that is loaded has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OnChange {
    /// Load it again, here.
    Reload,
    /// Say so to one request: other processes load it.
    GiveBack,
    /// Use what is loaded: others have tried, and failed.
    Keep,
}

/// Why a script cannot be used. The log says more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unusable {
    /// It cannot be loaded.
    Broken,
    /// It has nothing of the name wanted.
    NoCallable,
    /// It has changed, to a version with this time stamp, and was not to be loaded here.
    Outdated(i64),
}

impl Ask<'_> {
    pub(super) fn names(&self) -> Option<&Names> {
        self.group.objects.get().map(|objects| &objects.names)
    }

    pub(super) fn lookup<'py>(&self, globals: &Bound<'py>) -> Option<Bound<'py>> {
        let py = globals.py();
        let name = self.callable?;
        let name = match self.names() {
            Some(names) => names.callable(py, name),
            None => py.latin1(name),
        };
        globals.dict_item(&name.ok()?).ok().flatten()
    }

    pub(super) fn lacks(&self, globals: &Bound<'_>) -> bool {
        self.callable.is_some() && self.lookup(globals).is_none()
    }

    /// Says in a worker that the script is in use, so that the next workers load it at once.
    pub(super) fn report_loaded(&self) {
        let process = self.group.process;
        if self.request && process.worker.is_some() {
            let preload = Preload {
                script: self.path.to_vec(),
                application_group: self.group.name.clone(),
                reload: self.reload,
                lower_case: self.lower_case,
            };
            report_loaded(process, &preload);
        }
    }

    pub(super) fn report_missing(&self) {
        let name = self.callable.unwrap_or_default();
        log::coded(self.log, &WSGI0089.message([&self.path, &name]));
    }

    pub(super) fn report_broken(&self, error: &Error<'_>) -> Unusable {
        let report = Report::of_script(error, self.path, &self.group.context);
        error.value().py().detach(|| report.log(self.log));
        Unusable::Broken
    }
}
