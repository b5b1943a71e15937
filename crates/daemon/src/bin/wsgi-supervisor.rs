//! The program that starts and watches the processes of WSGI applications. It is started by the
//! server's module; see `daemon::supervisor`.

use std::process::ExitCode;

fn main() -> ExitCode {
    // SAFETY: the process was started for this: the descriptors are what the parent put there, or
    // none, which is refused; and there are no threads.
    match unsafe { daemon::supervisor::run(std::env::args_os()) } {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("wsgi-supervisor: {error}");
            ExitCode::FAILURE
        }
    }
}
