//! Scripts that decide about requests: access, authentication, groups, dispatch.
//!
//! They are loaded as any other script and run in the server's own children. Whatever goes wrong,
//! from a syntax error to a result of the wrong type, is in the log and ends in
//! [`Verdict::Failed`], which lets nobody in; so does a list of groups that breaks off half way.
//!
//! <https://modwsgi.readthedocs.io/en/latest/user-guides/access-control-mechanisms.html>

use std::ffi::CStr;
use std::sync::Mutex;

use engine_api::{Client, Decision, Fault, FaultKind, Hook, Names, Verdict};
use log_codes::{
    Code, WSGI0043, WSGI0046, WSGI0049, WSGI0050, WSGI0051, WSGI0052, WSGI0055, WSGI0056, WSGI0176,
    WSGI0177, WSGI0178, WSGI0179,
};
use py::{Bound, Error, Token, ffi, text};
use wsgi_core::Value;

use crate::group::Group;
use crate::host::Host;
use crate::log::{self, Log, Report};
use crate::process::Process;
use crate::request::{Pairs, not_attached};
use crate::script::{Ask, OnChange};

/// Asks a script, on the calling thread, which is not attached.
pub(crate) fn decide(
    process: &'static Process,
    hook: &Hook<'_>,
    client: Client<'_>,
    names: &mut Names<'_>,
) -> Result<Verdict, Fault> {
    if process.is_stopping() {
        return Err(Fault::new(FaultKind::Unavailable, "Python has been stopped"));
    }
    let visit = process.enter(hook.application_group.or_empty())?;
    let group = visit.group;
    group.objects()?;
    let client = Mutex::new(client);
    let attached = group.interpreter.attach(|py| {
        let question = Question { py, hook, group, log: &client };
        // What the script raised itself is dealt with; the rest is want of memory and the like.
        question.ask(&client, names).unwrap_or(Verdict::Failed)
    });
    attached.map_err(|error| not_attached(group, &client, &error))
}

/// There is no answer; the log says why.
struct Failed;

struct Question<'a, 'py> {
    py: Token<'py>,
    hook: &'a Hook<'a>,
    group: &'static Group,
    log: &'a dyn Log,
}

/// How to hand over a name that a function returned.
struct Named {
    /// What `TypeError` says of another type.
    expected: &'static str,
    name: &'static CStr,
}

/// The functions of a dispatch script, in the order they are called.
const DISPATCH: [Named; 3] = [
    Named { expected: "Process group must be a byte string", name: c"process_group" },
    Named { expected: "Application group must be a string object", name: c"application_group" },
    Named { expected: "Callable object must be a string object", name: c"callable_object" },
];

impl<'py> Question<'_, 'py> {
    fn ask(&self, client: &Mutex<Client<'_>>, names: &mut Names<'_>) -> Result<Verdict, Failed> {
        let Question { py, hook, group, .. } = *self;
        let objects = group.objects.get().ok_or(Failed)?;
        let globals = self.globals()?;
        let settings = &group.process.settings;
        let mut extra = vec![
            ("mod_wsgi.process_group", Value::Latin1(&settings.process_group)),
            ("mod_wsgi.application_group", Value::Latin1(&group.name)),
        ];
        if hook.decision != Decision::Dispatch {
            extra.push(("apache.version", Value::Version(settings.server.version)));
            extra.push(("mod_wsgi.version", Value::Version(settings.module_version)));
        }
        if !hook.request_rec.is_null() {
            extra.push(("apache.request_rec", Value::Pointer(hook.request_rec)));
        }
        let request = wsgi_core::Request {
            environ: Pairs(hook.environ.get()),
            extra: &extra,
            script: self.script(),
            context: &group.context,
            ..wsgi_core::Request::default()
        };
        let mut host = Host { client, group, script: self.script(), progress: None };
        wsgi_core::consult(py, &objects.core, &request, &mut host, |environ| {
            self.answer(&globals, environ, names)
        })
        .unwrap_or_else(|error| Err(self.raised(&error)))
    }

    fn answer(
        &self,
        globals: &Bound<'py>,
        environ: &Bound<'py>,
        names: &mut Names<'_>,
    ) -> Result<Verdict, Failed> {
        let function = |name, missing: &'static Code<1>| {
            self.function(globals, name)?.ok_or_else(|| self.failed(missing))
        };
        match self.hook.decision {
            Decision::Access => {
                let allow = function(c"allow_access", &WSGI0056)?;
                self.access(&self.call(&allow, environ)?)
            }
            Decision::Password => {
                let check = function(c"check_password", &WSGI0043)?;
                self.password(&self.call(&check, environ)?, names)
            }
            Decision::RealmHash => {
                let hash = function(c"get_realm_hash", &WSGI0046)?;
                self.realm_hash(&self.call(&hash, environ)?, names)
            }
            Decision::Groups => {
                let groups = function(c"groups_for_user", &WSGI0052)?;
                self.groups(&self.call(&groups, environ)?, names)
            }
            Decision::Dispatch => {
                for (number, named) in (0..).zip(&DISPATCH) {
                    if let Some(function) = self.function(globals, named.name)? {
                        let name = self.call(&function, environ)?;
                        self.dispatch(number, named, &name, names)?;
                    }
                }
                Ok(Verdict::Names)
            }
        }
    }

    /// Identity, not truth: a script that returns 1 has another idea of what it was asked.
    fn flag(&self, result: &Bound<'py>) -> Option<Verdict> {
        if result.is_none() {
            Some(Verdict::None)
        } else if result.is(&self.py.bool(true)) {
            Some(Verdict::Yes)
        } else {
            result.is(&self.py.bool(false)).then_some(Verdict::No)
        }
    }

    fn access(&self, result: &Bound<'py>) -> Result<Verdict, Failed> {
        self.flag(result).ok_or_else(|| self.failed(&WSGI0055))
    }

    fn password(&self, result: &Bound<'py>, names: &mut Names<'_>) -> Result<Verdict, Failed> {
        if let Some(verdict) = self.flag(result) {
            return Ok(verdict);
        }
        // SAFETY: attached; a live object.
        if unsafe { ffi::PyUnicode_Check(result.as_ptr()) } == 0 {
            return Err(self.failed_plainly(&WSGI0177));
        }
        let user = self.user(result)?;
        if user.is_empty() {
            return Err(self.failed_plainly(&WSGI0176));
        }
        if user.contains(&0) {
            // The server would take what is before it for the name.
            return Err(self.failed_plainly(&WSGI0177));
        }
        names.give(0, &user);
        Ok(Verdict::Names)
    }

    /// The bytes of a user's name: those the script was given, if it gives them back, so Latin-1;
    /// names with other characters can only come from elsewhere, and are UTF-8.
    fn user(&self, name: &Bound<'py>) -> Result<Vec<u8>, Failed> {
        // SAFETY: attached; a live object, whose characters are copied at once.
        if let Ok(user) = unsafe { text::latin1(self.py, name.as_ptr()) } {
            return Ok(user.to_vec());
        }
        // SAFETY: attached; a `str`; a new `bytes`, or NULL with an exception.
        let encoded =
            unsafe { Bound::from_owned(self.py, ffi::PyUnicode_AsUTF8String(name.as_ptr())) };
        let encoded = encoded.map_err(|error| self.raised(&error))?;
        encoded.as_bytes().map(<[u8]>::to_vec).map_err(|error| self.raised(&error))
    }

    fn realm_hash(&self, result: &Bound<'py>, names: &mut Names<'_>) -> Result<Verdict, Failed> {
        if result.is_none() {
            return Ok(Verdict::None);
        }
        let hash = match self.bytes(result) {
            Some(Ok(hash)) => hash,
            Some(Err(_)) => {
                let text = "Digest auth provider must return None or string object, value \
                            containing non 'latin-1' characters found";
                return Err(self.raised(&type_error(self.py, text)));
            }
            None => return Err(self.failed_plainly(&WSGI0179)),
        };
        if hash.is_empty() {
            return Err(self.failed_plainly(&WSGI0178));
        }
        if hash.contains(&0) {
            return Err(self.failed_plainly(&WSGI0179));
        }
        names.give(0, &hash);
        Ok(Verdict::Names)
    }

    /// All names are looked at before any is handed over: none counts if one cannot be had.
    fn groups(&self, result: &Bound<'py>, names: &mut Names<'_>) -> Result<Verdict, Failed> {
        // SAFETY: attached; a live object; a new reference, or NULL with an exception.
        let iterator =
            unsafe { Bound::from_owned(self.py, ffi::PyObject_GetIter(result.as_ptr())) };
        let iterator = iterator.map_err(|error| {
            // SAFETY: the class is a static of libpython.
            if unsafe { error.matches(ffi::PyExc_TypeError) } {
                self.failed(&WSGI0051);
            }
            self.raised(&error)
        })?;
        let mut groups = Vec::new();
        for item in iterator.items().map_err(|error| self.raised(&error))? {
            match self.bytes(&item) {
                Some(Ok(name)) => groups.push(name),
                Some(Err(_)) => return Err(self.failed(&WSGI0049)),
                None => return Err(self.failed(&WSGI0050)),
            }
        }
        for (number, name) in (0..).zip(&groups) {
            names.give(number, name);
        }
        Ok(Verdict::Names)
    }

    fn dispatch(
        &self,
        number: u32,
        named: &Named,
        result: &Bound<'py>,
        names: &mut Names<'_>,
    ) -> Result<(), Failed> {
        if result.is_none() {
            return Ok(());
        }
        let error = match self.bytes(result) {
            // The server's strings end at a NUL.
            Some(Ok(name)) if !name.contains(&0) => {
                names.give(number, &name);
                return Ok(());
            }
            Some(Err(_)) => {
                let text = "value containing non 'latin-1' characters found";
                type_error(self.py, &format!("{}, {text}", named.expected))
            }
            _ => type_error(self.py, named.expected),
        };
        Err(self.raised(&error))
    }

    /// The bytes of a `bytes`, or of a `str` if it is Latin-1; `None` if it is neither.
    fn bytes(&self, object: &Bound<'py>) -> Option<py::Result<'py, Vec<u8>>> {
        // SAFETY: attached; a live object, whose bytes are copied at once.
        unsafe {
            if let Some(bytes) = text::bytes(object.as_ptr()) {
                return Some(Ok(bytes.to_vec()));
            }
            (ffi::PyUnicode_Check(object.as_ptr()) != 0)
                .then(|| text::latin1(self.py, object.as_ptr()).map(<[u8]>::to_vec))
        }
    }

    fn script(&self) -> &[u8] {
        self.hook.script.or_empty()
    }

    fn globals(&self) -> Result<Bound<'py>, Failed> {
        let ask = Ask {
            path: self.hook.script.or_empty(),
            mtime: None,
            reload: self.hook.reload,
            lower_case: self.hook.lower_case,
            resource: None,
            callable: None,
            group: self.group,
            log: self.log,
            request: true,
            on_change: OnChange::Reload,
        };
        self.group.scripts.globals(self.py, &ask).map_err(|_| Failed)
    }

    fn function(&self, globals: &Bound<'py>, name: &CStr) -> Result<Option<Bound<'py>>, Failed> {
        globals.dict_get(name).map_err(|error| self.raised(&error))
    }

    fn call(&self, function: &Bound<'py>, environ: &Bound<'py>) -> Result<Bound<'py>, Failed> {
        let call = || {
            let arguments = self.hook.arguments.get().iter();
            let arguments = arguments.map(|argument| self.py.latin1(argument.or_empty()));
            let arguments = arguments.collect::<py::Result<'py, Vec<_>>>()?;
            let all: Vec<&Bound<'py>> = std::iter::once(environ).chain(&arguments).collect();
            function.call(&all)
        };
        call().map_err(|error| self.raised(&error))
    }

    fn failed(&self, code: &'static Code<1>) -> Failed {
        let (log, script) = (self.log, self.script());
        self.py.detach(|| log::coded(log, &code.message([&script])));
        Failed
    }

    fn failed_plainly(&self, code: &'static Code<0>) -> Failed {
        let log = self.log;
        self.py.detach(|| log::coded(log, &code.message([])));
        Failed
    }

    fn raised(&self, error: &Error<'py>) -> Failed {
        let report = Report::of_script(error, self.script(), &self.group.context);
        let log = self.log;
        self.py.detach(|| report.log(log));
        Failed
    }
}

fn type_error<'py>(py: Token<'py>, text: &str) -> Error<'py> {
    // SAFETY: the class is a static of libpython.
    unsafe { Error::new(py, ffi::PyExc_TypeError, text) }
}
