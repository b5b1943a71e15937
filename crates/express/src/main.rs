//! `mod_wsgi-express`: an Apache of its own for one WSGI application.

use std::process::ExitCode;

fn main() -> ExitCode {
    express::main()
}
