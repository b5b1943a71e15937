//! The `apache` module: facts about the server.
//!
//! In a server's own process a module of that name which somebody installed is used instead, and
//! gets the attributes added.

use engine_api::Level;
use py::{Bound, Token};

use crate::group::Group;
use crate::log;

pub(super) fn create<'py>(
    py: Token<'py>,
    group: &Group,
    modules: &Bound<'py>,
) -> py::Result<'py, ()> {
    let settings = &group.process.settings;
    let found = settings.embedded().then(|| super::import_user(py, group, c"apache")).flatten();
    let module = match found {
        Some(module) => {
            let line = "Imported 'apache' extension module.";
            py.detach(|| log::plain(&group.process.log, Level::Info, line));
            module
        }
        None => super::new_module(py, c"apache")?,
    };
    let server = &settings.server;
    for (name, value) in [
        (c"version", super::version(py, server.version)?),
        (c"maximum_processes", py.int(server.processes.into())?),
        (c"threads_per_process", py.int(server.threads.into())?),
        (c"description", py.latin1(&server.description)?),
        (c"mpm_name", py.latin1(&server.mpm_name)?),
        (c"build_date", py.latin1(&server.build_date)?),
    ] {
        module.set_attr(name, &value)?;
    }
    modules.dict_set(c"apache", &module)
}
