//! Directives as data: name, contexts, arguments, help and the function that takes them.
//!
//! [`Commands`] makes the table the server reads. Each kind of argument has one C function; which
//! directive it is called for stands in the table. An error is a sentence, to which the server adds
//! file and line.
//! <https://httpd.apache.org/docs/2.4/developer/modguide.html#configuration>

use std::ffi::{CStr, c_char, c_int, c_void};
use std::marker::PhantomData;
use std::ptr;

use apr_sys as raw;

use crate::guard::guarded;
use crate::lines::Line;
use crate::module::Module;
use crate::pool::Pool;
use crate::server::Server;
use crate::text::bytes;

/// One directive of `M`.
pub struct Directive<M: Module> {
    /// Its name.
    pub name: &'static CStr,
    /// Where it may be written.
    pub context: Context,
    /// What follows it, and who takes that.
    pub argument: Argument<M>,
    /// What the server puts behind its own errors, and into its list of directives.
    pub help: &'static CStr,
}

/// What a setter may answer: an error is a sentence for the administrator.
pub type Set = Result<(), String>;

/// Takes a word, or the rest of the line.
pub type TakeOne<M> = fn(&mut Command<'_, M>, &[u8]) -> Set;
/// Takes a word, and perhaps another.
pub type TakeTwo<M> = fn(&mut Command<'_, M>, &[u8], Option<&[u8]>) -> Set;

/// Arguments of a directive, with the function that takes them.
pub enum Argument<M: Module> {
    /// One word, not empty.
    One(TakeOne<M>),
    /// One word or two.
    OneOrTwo(TakeTwo<M>),
    /// All the rest of the line.
    Raw(TakeOne<M>),
}

/// Where a directive may be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context(u32);

/// A bit that the server does not know: not in virtual hosts either.
const MAIN_ONLY: u32 = 1 << 31;

impl Context {
    /// Nowhere; to begin with.
    pub const NOWHERE: Context = Context(0);
    /// The main server.
    pub const MAIN: Context = Context(raw::RSRC_CONF as u32 | MAIN_ONLY);
    /// The main server and virtual hosts.
    pub const SERVER: Context = Context(raw::RSRC_CONF as u32);
    /// Sections: `<Directory>`, `<Location>`, `<Files>`, `<If>`.
    pub const SECTION: Context = Context(raw::ACCESS_CONF as u32);
    /// `.htaccess`, with `AllowOverride FileInfo`.
    pub const HTACCESS_FILE_INFO: Context = Context(raw::OR_FILEINFO as u32);
    /// `.htaccess`, with `AllowOverride AuthConfig`.
    pub const HTACCESS_AUTH_CONFIG: Context = Context(raw::OR_AUTHCFG as u32);

    /// Either.
    pub const fn or(self, other: Context) -> Context {
        Context(self.0 | other.0)
    }
}

/// The table of directives that the server reads.
#[repr(C)]
pub struct Commands<M: Module, const N: usize> {
    entries: [raw::command_rec; N],
    /// A name of NULL ends the table.
    end: raw::command_rec,
    of: PhantomData<fn() -> M>,
}

// SAFETY: pointers to statics and functions; nobody writes.
unsafe impl<M: Module, const N: usize> Sync for Commands<M, N> {}

impl<M: Module, const N: usize> Commands<M, N> {
    /// The table of `directives`.
    pub const fn new(directives: &'static [Directive<M>; N]) -> Commands<M, N> {
        let end = raw::command_rec {
            name: ptr::null(),
            func: raw::cmd_func { no_args: None },
            cmd_data: ptr::null_mut(),
            req_override: 0,
            args_how: raw::RAW_ARGS,
            errmsg: ptr::null(),
        };
        let mut entries = [end; N];
        let mut at = 0;
        while at < N {
            let directive = &directives[at];
            let (args_how, func) = match directive.argument {
                Argument::One(_) => (raw::TAKE1, raw::cmd_func { take1: Some(one::<M>) }),
                Argument::OneOrTwo(_) => (raw::TAKE12, raw::cmd_func { take2: Some(two::<M>) }),
                Argument::Raw(_) => (raw::RAW_ARGS, raw::cmd_func { raw_args: Some(rest::<M>) }),
            };
            entries[at] = raw::command_rec {
                name: directive.name.as_ptr(),
                func,
                cmd_data: ptr::from_ref(directive).cast_mut().cast(),
                req_override: (directive.context.0 & !MAIN_ONLY) as c_int,
                args_how,
                errmsg: directive.help.as_ptr(),
            };
            at += 1;
        }
        Commands { entries, end, of: PhantomData }
    }

    /// The first entry; `end` follows the last.
    pub(crate) const fn first(&'static self) -> *const raw::command_rec {
        ptr::from_ref(self).cast()
    }
}

/// A directive that is being read.
pub struct Command<'c, M: Module> {
    /// Alive for `'c`.
    parms: *mut raw::cmd_parms,
    /// The section's value, or NULL.
    section: *mut c_void,
    directive: &'static Directive<M>,
    life: PhantomData<&'c mut ()>,
}

/// Where a directive is written.
#[derive(Debug)]
pub enum Place<'a, M: Module> {
    /// In the main server or a virtual host.
    Server(&'a mut M::Server),
    /// In a section.
    Section(&'a mut M::Section),
}

impl<'c, M: Module> Command<'c, M> {
    /// # Safety
    /// The server called a function of this file with these, for a directive of `M`.
    unsafe fn new(parms: *mut raw::cmd_parms, section: *mut c_void) -> Command<'c, M> {
        // SAFETY: `cmd_data` of the table is a directive of this `M`, a static.
        let directive = unsafe { &*(*parms).info.cast::<Directive<M>>() };
        Command { parms, section, directive, life: PhantomData }
    }

    fn parms(&self) -> &raw::cmd_parms {
        // SAFETY: alive (field), and not written to while a setter runs.
        unsafe { &*self.parms }
    }

    /// Name of the directive.
    pub fn name(&self) -> &'static str {
        self.directive.name.to_str().unwrap_or_default()
    }

    /// Its help text.
    pub fn help(&self) -> &'static str {
        self.directive.help.to_str().unwrap_or_default()
    }

    /// The server it is written in.
    pub fn server(&self) -> Server<'c> {
        // SAFETY: there always is one, as old as its configuration.
        unsafe { Server::from_raw(self.parms().server) }
    }

    /// The line it is written in.
    pub fn line(&self) -> u32 {
        // SAFETY: NULL, or the directive that is being read.
        let directive = unsafe { self.parms().directive.as_ref() };
        directive.and_then(|directive| u32::try_from(directive.line_num).ok()).unwrap_or(0)
    }

    /// Pool of the configuration, or of the request that reads a `.htaccess`.
    pub fn pool(&self) -> Pool<'c> {
        // SAFETY: there always is one.
        unsafe { Pool::from_raw(self.parms().pool) }
    }

    /// Whether it is in a section: `<Directory>` and its kin, `.htaccess`, or a section of another
    /// module for what can only be in sections (`<AuthnProviderAlias>`), which has no path.
    pub fn in_section(&self) -> bool {
        let only_there = self.directive.context.0 & Context::SERVER.0 == 0;
        only_there || !self.parms().path.is_null()
    }

    /// The directive as the server keeps it.
    pub fn node(&self) -> Option<Line> {
        // SAFETY: a node of the configuration that is being read, as old as that; NULL for what is
        // read in another way.
        unsafe { Line::from_raw(self.parms().directive) }
    }

    /// Has the server name another line in the error that the setter returns.
    pub fn blame(&mut self, line: Line) {
        // SAFETY: alive (field), and `&mut self` is the only way to it while a setter runs.
        unsafe { (*self.parms).err_directive = line.as_ptr() };
    }

    /// The configuration of the server it is written in.
    ///
    /// # Errors
    /// There is none, because making it failed.
    pub fn server_config(&mut self) -> Result<&mut M::Server, String> {
        // SAFETY: made by `M` (A7); one thread reads the configuration, and `&mut self` is the only
        // way to it.
        unsafe {
            let vector = (*self.parms().server).module_config;
            raw::ap_get_module_config(vector, M::record().as_ptr()).cast::<M::Server>().as_mut()
        }
        .ok_or_else(|| "the server's configuration could not be made".to_owned())
    }

    /// The configuration of the place it is written in.
    ///
    /// # Errors
    /// There is none, because making it failed.
    pub fn place(&mut self) -> Result<Place<'_, M>, String> {
        if !self.in_section() {
            return Ok(Place::Server(self.server_config()?));
        }
        // SAFETY: as above: the server passes the value of the section that is being read.
        let section = unsafe { self.section.cast::<M::Section>().as_mut() };
        section
            .map(Place::Section)
            .ok_or_else(|| "the section's configuration could not be made".to_owned())
    }

    /// The server's own error if this is not the main server.
    fn check(&self) -> Result<(), *const c_char> {
        if self.directive.context.0 & MAIN_ONLY == 0 {
            return Ok(());
        }
        // SAFETY: alive (field).
        let error =
            unsafe { raw::ap_check_cmd_context(self.parms, raw::NOT_IN_VIRTUALHOST as u32) };
        if error.is_null() { Ok(()) } else { Err(error) }
    }
}

/// Runs a setter. C gets NULL, or a sentence that lives as long as the configuration; after a
/// panic it is one of ours.
///
/// # Safety
/// As for [`Command::new`].
unsafe fn set<M: Module>(
    parms: *mut raw::cmd_parms,
    section: *mut c_void,
    setter: impl FnOnce(&mut Command<'_, M>) -> Set,
) -> *const c_char {
    let failed = c"internal error: the directive could not be read".as_ptr();
    guarded(failed, crate::config::report::<M>, || {
        // SAFETY: by contract.
        let mut command = unsafe { Command::new(parms, section) };
        if let Err(error) = command.check() {
            return error;
        }
        match setter(&mut command) {
            Ok(()) => ptr::null(),
            Err(text) => command.pool().string(text.as_bytes()).as_ptr(),
        }
    })
}

unsafe extern "C" fn one<M: Module>(
    parms: *mut raw::cmd_parms,
    section: *mut c_void,
    word: *const c_char,
) -> *const c_char {
    // SAFETY: the server calls for a directive of `M`, with a string.
    unsafe {
        set::<M>(parms, section, |command| match command.directive.argument {
            Argument::One(setter) => setter(command, bytes(word).unwrap_or_default()),
            _ => Err(MISMATCH.to_owned()),
        })
    }
}

unsafe extern "C" fn two<M: Module>(
    parms: *mut raw::cmd_parms,
    section: *mut c_void,
    first: *const c_char,
    second: *const c_char,
) -> *const c_char {
    // SAFETY: as above; the second may be NULL.
    unsafe {
        set::<M>(parms, section, |command| match command.directive.argument {
            Argument::OneOrTwo(setter) => {
                setter(command, bytes(first).unwrap_or_default(), bytes(second))
            }
            _ => Err(MISMATCH.to_owned()),
        })
    }
}

unsafe extern "C" fn rest<M: Module>(
    parms: *mut raw::cmd_parms,
    section: *mut c_void,
    rest: *const c_char,
) -> *const c_char {
    // SAFETY: as above.
    unsafe {
        set::<M>(parms, section, |command| match command.directive.argument {
            Argument::Raw(setter) => setter(command, bytes(rest).unwrap_or_default()),
            _ => Err(MISMATCH.to_owned()),
        })
    }
}

const MISMATCH: &str = "internal error: the table of directives is wrong";
