//! The smallest module: a handler of 13 bytes.
//!
//! It is what any handler in this layer can reach at best, so measurements compare with it; and it
//! shows what a module is made of. Not part of what is installed.
//!
//! ```text
//! LoadModule bare_module target/release/libmod_bare.so
//! <Location /bare>
//!     SetHandler bare
//! </Location>
//! ```

use std::ffi::CStr;
use std::iter;

use httpd_sys::{Brigade, Commands, Flush, Head, Hooks, Module, Order, Record, Request};
use httpd_sys::{RequestHook, Server, Status};

/// The module.
#[derive(Debug)]
pub struct Bare;

/// What the server looks for.
#[unsafe(no_mangle)]
#[allow(non_upper_case_globals, reason = "the name that LoadModule is given")]
pub static bare_module: Record<Bare> = Record::new(&COMMANDS);

static COMMANDS: Commands<Bare, 0> = Commands::new(&[]);

impl Module for Bare {
    const FILE: &'static CStr = c"mod_bare.c";
    type Server = ();
    type Section = ();
    type Shared = ();

    fn record() -> &'static Record<Self> {
        &bare_module
    }

    fn create_server(_: Server<'_>) {}
    fn merge_servers(_: &(), _: &()) {}
    fn create_section() {}
    fn merge_sections(_: &(), _: &()) {}

    fn register(hooks: &mut Hooks<'_, Self>) {
        hooks.handler::<Hello>(Order::MIDDLE);
    }
}

struct Hello;

impl RequestHook for Hello {
    fn run(request: &mut Request<'_>) -> Status {
        if request.handler() != Some(b"bare") {
            return Status::Declined;
        }
        let headers: [(&[u8], &[u8]); 2] =
            [(b"Content-Type", b"text/plain"), (b"Content-Length", b"13")];
        request.set_head(Head { status: 200, reason: None, headers: headers.into_iter() });
        let mut brigade = Brigade::new(request);
        // Whether the client still wants it is the client's business.
        let _ = request.send(&mut brigade, iter::once(&b"Hello, world!"[..]), Flush::End);
        Status::Ok
    }
}
