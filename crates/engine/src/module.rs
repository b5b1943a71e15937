//! The `mod_wsgi` and `apache` modules of one interpreter.
//!
//! They are plain module objects made here, not imported: `mod_wsgi` is also the name of a package
//! on PyPI, whose `__path__` ours takes over so that its sub-packages can be imported inside the
//! server, too. Built-in functions find their group through the state of the module.
//!
//! Names and behaviour are those of mod_wsgi 6.1.1,
//! <https://modwsgi.readthedocs.io/en/latest/user-guides/>.

mod apache;
mod events;
mod functions;
mod metrics;
mod streams;

use std::ffi::CStr;
use std::ptr;
use std::sync::{Arc, Once, OnceLock};

use engine_api::Level;
use log_codes::{WSGI0183, WSGI0184};
use py::{Bound, Error, Token, ffi};
use wsgi_core::Value;

use crate::group::Group;
use crate::host::ServerLog;
use crate::log::{self, Report};

pub(crate) use events::{Event, publish, wanted};

/// Parts that are shorter in Python.
const SUPPORT: &str = include_str!("module/support.py");

/// Makes the `mod_wsgi` module, puts it and `apache` into `sys.modules`, and sets up the streams
/// and the signal intercept.
///
/// The order is visible to applications: the package of the same name is looked for on Python's own
/// search path, and finds no attributes yet.
pub(crate) fn create<'py>(
    py: Token<'py>,
    group: &'static Group,
    core: &wsgi_core::State,
) -> py::Result<'py, Bound<'py>> {
    let module = own_module(py, group)?;
    let support = support(&module)?;
    if let Some(package) = import_user(py, group, c"mod_wsgi") {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            let line = "Imported existing 'mod_wsgi' Python extension module.";
            py.detach(|| log::plain(&group.process.log, Level::Info, line));
        });
        if let Some(path) = package.attr_opt(c"__path__")? {
            module.set_attr(c"__path__", &path)?;
        }
    }
    let modules = py.import(c"sys")?.attr(c"modules")?;
    modules.dict_set(c"mod_wsgi", &module)?;
    apache::create(py, group, &modules)?;
    streams::install(py, group, core);
    intercept_signals(py, group, &support);
    add_attributes(py, group, core, &module, &support)?;
    if group.process.settings.telemetry.target.is_some() {
        functions::add_gc_callback(&module)?;
    }
    Ok(module)
}

/// `wsgi-core`'s part of the interpreter.
pub(crate) fn core_state<'py>(
    py: Token<'py>,
    group: &Group,
) -> py::Result<'py, Arc<wsgi_core::State>> {
    let settings = &group.process.settings;
    let config = wsgi_core::Config {
        log: Arc::new(ServerLog(group.process.log)),
        constants: &[
            ("mod_wsgi.version", Value::Version(settings.module_version)),
            ("apache.version", Value::Version(settings.server.version)),
            ("mod_wsgi.process_group", Value::Latin1(&settings.process_group)),
            ("mod_wsgi.application_group", Value::Latin1(&group.name)),
        ],
    };
    wsgi_core::State::new(py, &config)
}

fn add_attributes<'py>(
    py: Token<'py>,
    group: &'static Group,
    core: &wsgi_core::State,
    module: &Bound<'py>,
    support: &Bound<'py>,
) -> py::Result<'py, ()> {
    let settings = &group.process.settings;
    for (name, value) in [
        (c"version", version(py, settings.module_version)?),
        (c"process_group", py.latin1(&settings.process_group)?),
        (c"application_group", py.latin1(&group.name)?),
        (c"maximum_processes", py.int(settings.maximum_processes.into())?),
        (c"threads_per_process", py.int(settings.threads_per_process.into())?),
        (c"event_callbacks", py.list([])?),
        (c"shutdown_callbacks", py.list([])?),
        (c"signal_callbacks", py.list([])?),
        (c"active_requests", py.dict()?),
        (c"FileWrapper", core.file_wrapper(py)),
        (c"RequestTimeout", core.request_timeout(py)),
    ] {
        module.set_attr(name, &value)?;
    }
    for name in [c"__getattr__", c"__dir__"] {
        let function = support.dict_get(name)?.unwrap_or_else(|| py.none());
        module.set_attr(name, &function)?;
    }
    functions::add(module)
}

/// `(6, 1, 1)`
fn version<'py>(py: Token<'py>, version: [u32; 3]) -> py::Result<'py, Bound<'py>> {
    let [major, minor, patch] = version.map(|number| py.int(number.into()));
    py.tuple([major?, minor?, patch?])
}

/// Runs `support.py`; the result is its namespace.
fn support<'py>(module: &Bound<'py>) -> py::Result<'py, Bound<'py>> {
    let py = module.py();
    let namespace = py.dict()?;
    let builtins = py.import(c"builtins")?;
    namespace.dict_set(c"__builtins__", &builtins)?;
    namespace.dict_set(c"__name__", &py.str("mod_wsgi")?)?;
    namespace.dict_set(c"module", module)?;
    functions::add_to_support(module, &namespace)?;
    let code = py.compile(SUPPORT.as_bytes(), b"<mod_wsgi>")?;
    builtins.call_method(c"exec", &[&code, &namespace])?;
    Ok(namespace)
}

fn intercept_signals(py: Token<'_>, group: &Group, support: &Bound<'_>) {
    if !group.settings.restrict_signal {
        return;
    }
    let title = &group.title;
    let place = group.process.settings.place();
    let (code, result) = match support.dict_get(c"intercept_signals") {
        Ok(Some(install)) => (&WSGI0183, install.call(&[]).map(|_| ())),
        Ok(None) => (&WSGI0184, Ok(())),
        Err(error) => (&WSGI0184, Err(error)),
    };
    if let Err(error) = result {
        let report = Report::of_setup(&error, &group.context);
        py.detach(|| {
            log::coded(&group.process.log, &code.message([title, &place]));
            report.log(&group.process.log);
        });
    }
}

/// Imports a module of this name that somebody installed; what it raises is logged.
fn import_user<'py>(py: Token<'py>, group: &Group, name: &CStr) -> Option<Bound<'py>> {
    match py.import(name) {
        Ok(module) => Some(module),
        // SAFETY: the class is a static of libpython.
        Err(error) if unsafe { error.matches(ffi::PyExc_ModuleNotFoundError) } => None,
        Err(error) => {
            let report = Report::of_setup(&error, &group.context);
            py.detach(|| report.log(&group.process.log));
            None
        }
    }
}

/// The `mod_wsgi` module: what an extension module of that name would be, with the group as state.
///
/// <https://docs.python.org/3/c-api/module.html#initializing-c-modules>
fn own_module<'py>(py: Token<'py>, group: &'static Group) -> py::Result<'py, Bound<'py>> {
    let definition = DEFINITION.get_or_init(Definition::new).0;
    let machinery = py.import(c"importlib.machinery")?;
    let spec = machinery.call_method(c"ModuleSpec", &[&py.str("mod_wsgi")?, &py.none()])?;
    // SAFETY: attached; a definition that stays, with slots that end with zeros; executing it makes
    // the state, of the size and alignment of a pointer.
    unsafe {
        let module = ffi::PyModule_FromDefAndSpec(definition, spec.as_ptr());
        let module = Bound::from_owned(py, module)?;
        if ffi::PyModule_ExecDef(module.as_ptr(), definition) != 0 {
            return Err(Error::fetch(py));
        }
        let state = ffi::PyModule_GetState(module.as_ptr()).cast::<*const Group>();
        if state.is_null() {
            return Err(runtime_error(py, "a module without state"));
        }
        state.write(group);
        Ok(module)
    }
}

/// What the modules of all interpreters are made by.
struct Definition(*mut ffi::PyModuleDef);

static DEFINITION: OnceLock<Definition> = OnceLock::new();

// SAFETY: only CPython uses what is behind the pointer, while a module is made; one thread makes
// them all.
unsafe impl Send for Definition {}
// SAFETY: as above.
unsafe impl Sync for Definition {}

impl Definition {
    /// It stays for as long as the process.
    fn new() -> Definition {
        Definition(Box::leak(Box::new(ffi::PyModuleDef {
            m_base: ffi::PyModuleDef_HEAD_INIT,
            m_name: c"mod_wsgi".as_ptr(),
            m_doc: ptr::null(),
            m_size: size_of::<*const Group>() as ffi::Py_ssize_t,
            m_methods: ptr::null_mut(),
            m_slots: Box::leak(Box::new(SLOTS)).as_mut_ptr(),
            m_traverse: None,
            m_clear: None,
            m_free: None,
        })))
    }
}

/// The module can be in interpreters with a GIL of their own, and needs none: it keeps nothing
/// beyond its state.
const SLOTS: [ffi::PyModuleDef_Slot; SLOT_COUNT] = [
    #[cfg(Py_3_12)]
    ffi::PyModuleDef_Slot {
        slot: ffi::Py_mod_multiple_interpreters,
        value: ffi::Py_MOD_PER_INTERPRETER_GIL_SUPPORTED,
    },
    #[cfg(Py_3_13)]
    ffi::PyModuleDef_Slot { slot: ffi::Py_mod_gil, value: ffi::Py_MOD_GIL_NOT_USED },
    ffi::PyModuleDef_Slot { slot: 0, value: ptr::null_mut() },
];
const SLOT_COUNT: usize = 1 + cfg!(Py_3_12) as usize + cfg!(Py_3_13) as usize;

/// The group of a `mod_wsgi` module.
///
/// # Safety
/// Attached; `module` was made by `own_module`.
unsafe fn group_of(module: *mut ffi::PyObject) -> Option<&'static Group> {
    // SAFETY: by contract; the state holds a group, and groups live as long as the process.
    unsafe { ffi::PyModule_GetState(module).cast::<*const Group>().as_ref()?.as_ref() }
}

fn new_module<'py>(py: Token<'py>, name: &CStr) -> py::Result<'py, Bound<'py>> {
    // SAFETY: attached; a C string; a new reference or NULL with an exception.
    unsafe { Bound::from_owned(py, ffi::PyModule_New(name.as_ptr())) }
}

fn runtime_error<'py>(py: Token<'py>, text: &str) -> Error<'py> {
    // SAFETY: the class is a static of libpython.
    unsafe { Error::new(py, ffi::PyExc_RuntimeError, text) }
}

fn type_error<'py>(py: Token<'py>, text: &str) -> Error<'py> {
    // SAFETY: the class is a static of libpython.
    unsafe { Error::new(py, ffi::PyExc_TypeError, text) }
}
