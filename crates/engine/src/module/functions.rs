//! The built-in functions of the `mod_wsgi` module, and those that `support.py` uses.
//!
//! They take positional arguments only, in C's oldest convention, whose error messages are part of
//! the interface.

use std::ffi::CStr;

use engine_api::{Level, Record};
use py::class::Table;
use py::{Bound, Token, ffi, guard};
use wsgi_core::lines::Lines;

use crate::current;
use crate::group::Group;
use crate::log;
use crate::telemetry;

use super::{metrics, runtime_error, type_error};

type Function = unsafe extern "C" fn(*mut ffi::PyObject, *mut ffi::PyObject) -> *mut ffi::PyObject;

static PUBLIC: Table<[ffi::PyMethodDef; 8]> = Table([
    function(c"subscribe_events", subscribe_events, ffi::METH_VARARGS),
    function(c"subscribe_shutdown", subscribe_shutdown, ffi::METH_VARARGS),
    function(c"subscribe_signals", subscribe_signals, ffi::METH_VARARGS),
    function(c"request_data", request_data, ffi::METH_NOARGS),
    function(c"start_recording_metrics", metrics::start_recording, ffi::METH_NOARGS),
    function(c"request_metrics", metrics::request, ffi::METH_NOARGS),
    function(c"process_metrics", metrics::process, ffi::METH_NOARGS),
    function(c"server_metrics", metrics::server, ffi::METH_NOARGS),
]);

static SUPPORT: Table<[ffi::PyMethodDef; 2]> = Table([
    function(c"write", write, ffi::METH_VARARGS),
    function(c"threshold", threshold, ffi::METH_NOARGS),
]);

/// Adds the functions that applications use.
pub(super) fn add<'py>(module: &Bound<'py>) -> py::Result<'py, ()> {
    for definition in &PUBLIC.0 {
        module.set_attr(name(definition), &bound_function(definition, module)?)?;
    }
    Ok(())
}

static GC_CALLBACK: Table<[ffi::PyMethodDef; 1]> =
    Table([function(c"_gc_callback", gc_callback, ffi::METH_VARARGS)]);

/// Has Python tell when its garbage collector runs.
pub(super) fn add_gc_callback<'py>(module: &Bound<'py>) -> py::Result<'py, ()> {
    let [definition] = &GC_CALLBACK.0;
    let callbacks = module.py().import(c"gc")?.attr(c"callbacks")?;
    callbacks.call_method(c"append", &[&bound_function(definition, module)?]).map(drop)
}

unsafe extern "C" fn gc_callback(
    this: *mut ffi::PyObject,
    args: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls, with the module and a tuple.
    unsafe {
        guard::object(|py| {
            if let [phase, info] = arguments(py, args)?.items()?.as_slice() {
                telemetry::note_phase(&group(py, this)?.collector, phase, info)?;
            }
            Ok(py.none())
        })
    }
}

/// Adds the functions that `support.py` uses to its namespace.
pub(super) fn add_to_support<'py>(
    module: &Bound<'py>,
    namespace: &Bound<'py>,
) -> py::Result<'py, ()> {
    for definition in &SUPPORT.0 {
        namespace.dict_set(name(definition), &bound_function(definition, module)?)?;
    }
    Ok(())
}

unsafe extern "C" fn subscribe_events(
    this: *mut ffi::PyObject,
    args: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // What a request waits to get in is in its events, from the first one on.
    py::measure_waits();
    // SAFETY: Python calls, with the module and a tuple.
    unsafe { guard::object(|py| subscribe(py, this, args, c"event_callbacks")) }
}

unsafe extern "C" fn subscribe_shutdown(
    this: *mut ffi::PyObject,
    args: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls, with the module and a tuple.
    unsafe { guard::object(|py| subscribe(py, this, args, c"shutdown_callbacks")) }
}

unsafe extern "C" fn subscribe_signals(
    this: *mut ffi::PyObject,
    args: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls, with the module and a tuple.
    unsafe {
        guard::object(|py| {
            let group = group(py, this)?;
            if !group.process.settings.embedded() {
                return subscribe(py, this, args, c"signal_callbacks");
            }
            let callback = only_argument(py, args)?;
            let text = "mod_wsgi.subscribe_signals() called outside daemon mode; the callback \
                        will not be invoked. Signal callbacks are only delivered in daemon mode \
                        processes.";
            let mut lines = Lines::default();
            lines.push(text.as_bytes());
            log::stack(py).iter().for_each(|line| lines.push(line));
            log_lines(py, group, Level::Info, &lines);
            Ok(callback)
        })
    }
}

unsafe extern "C" fn request_data(
    this: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python calls, with the module; the data of a running request is alive.
    unsafe {
        guard::object(|py| {
            current::with(group(py, this)?, |current| Bound::from_borrowed(py, current.data))
                .flatten()
                .ok_or_else(|| runtime_error(py, "no active request for thread"))
        })
    }
}

/// `write(level, text, file, line)`: one record per line of the text.
unsafe extern "C" fn write(
    this: *mut ffi::PyObject,
    args: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: `support.py` calls, with the module and a tuple.
    unsafe {
        guard::object(|py| {
            let group = group(py, this)?;
            let args = arguments(py, args)?.items()?;
            let [level, text, file, line] = args.as_slice() else {
                return Err(type_error(py, "write() takes exactly 4 arguments"));
            };
            let level = Level::from_raw(u32::try_from(level.to_int()?).unwrap_or(0));
            let text = text.to_text()?;
            let file = if file.is_none() { None } else { Some(file.to_text()?) };
            let line = u32::try_from(line.to_int()?).unwrap_or(0);
            let mut lines = Lines::default();
            lines.push_text(text.as_bytes());
            let record = |text| Record {
                file: file.as_deref().map(str::as_bytes).into(),
                line,
                ..Record::new(level, 0, text)
            };
            let records: Vec<Record<'_>> = lines.iter().map(record).collect();
            if !records.is_empty() {
                py.detach(|| current::with_log(group, |log| log.log(&records)));
            }
            Ok(py.none())
        })
    }
}

/// The level down to which records are kept, as Apache counts.
unsafe extern "C" fn threshold(
    this: *mut ffi::PyObject,
    _: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: `support.py` calls, with the module.
    unsafe {
        guard::object(|py| {
            let group = group(py, this)?;
            let level = py.detach(|| current::with_log(group, |log| log.level()));
            py.int(level as i64)
        })
    }
}

/// Appends the only argument to a list of the module, and returns it.
///
/// # Safety
/// `this` and `args` are what Python passed to a function of this file.
unsafe fn subscribe<'py>(
    py: Token<'py>,
    this: *mut ffi::PyObject,
    args: *mut ffi::PyObject,
    list: &CStr,
) -> py::Result<'py, Bound<'py>> {
    // SAFETY: by contract.
    let (group, callback) = unsafe { (group(py, this)?, only_argument(py, args)?) };
    let missing =
        || runtime_error(py, &format!("mod_wsgi {} not initialised", list.to_string_lossy()));
    let objects = group.objects.get().ok_or_else(missing)?;
    let module = objects.module.bind(py).map_err(|_| missing())?;
    let list = module.attr_opt(list)?.ok_or_else(missing)?;
    // SAFETY: attached; the object is alive.
    if unsafe { ffi::PyList_Check(list.as_ptr()) } == 0 {
        return Err(missing());
    }
    list.call_method(c"append", &[&callback])?;
    Ok(callback)
}

/// Logs lines with the request of this thread, if there is one.
fn log_lines(py: Token<'_>, group: &Group, level: Level, lines: &Lines) {
    let records: Vec<Record<'_>> = lines.iter().map(|line| Record::new(level, 0, line)).collect();
    py.detach(|| {
        current::with_log(group, |log| {
            if level <= log.level() {
                log.log(&records);
            }
        });
    });
}

/// # Safety
/// `args` is the tuple that Python passed.
unsafe fn arguments<'py>(py: Token<'py>, args: *mut ffi::PyObject) -> py::Result<'py, Bound<'py>> {
    // SAFETY: by contract.
    unsafe { Bound::from_borrowed(py, args) }.ok_or_else(|| type_error(py, "no arguments"))
}

/// # Safety
/// `args` is the tuple that Python passed.
unsafe fn only_argument<'py>(
    py: Token<'py>,
    args: *mut ffi::PyObject,
) -> py::Result<'py, Bound<'py>> {
    // SAFETY: by contract.
    let args = unsafe { arguments(py, args)? }.items()?;
    match <[Bound<'py>; 1]>::try_from(args) {
        Ok([argument]) => Ok(argument),
        Err(args) => {
            let text = format!("function takes exactly 1 argument ({} given)", args.len());
            Err(type_error(py, &text))
        }
    }
}

/// The group of the module.
///
/// # Safety
/// `this` is what Python passed to a function of this file: the module it was bound to.
pub(super) unsafe fn group<'py>(
    py: Token<'py>,
    this: *mut ffi::PyObject,
) -> py::Result<'py, &'static Group> {
    // SAFETY: by contract.
    unsafe { super::group_of(this) }.ok_or_else(|| runtime_error(py, "mod_wsgi is not set up"))
}

/// A function whose `__self__` is the module, as if it had been defined with it.
fn bound_function<'py>(
    definition: &'static ffi::PyMethodDef,
    module: &Bound<'py>,
) -> py::Result<'py, Bound<'py>> {
    let definition = std::ptr::from_ref(definition).cast_mut();
    // SAFETY: attached; the definition is static and CPython only reads it.
    unsafe {
        let function = ffi::PyCFunction_NewEx(definition, module.as_ptr(), std::ptr::null_mut());
        Bound::from_owned(module.py(), function)
    }
}

fn name(definition: &ffi::PyMethodDef) -> &'static CStr {
    // SAFETY: made by `function` from a static C string.
    unsafe { CStr::from_ptr(definition.ml_name) }
}

const fn function(name: &'static CStr, body: Function, flags: i32) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: body },
        ml_flags: flags,
        ml_doc: std::ptr::null(),
    }
}
