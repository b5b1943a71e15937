//! Real supervisors, workers and children, without a web server and without Python.
//!
//! This executable is also what the supervisor starts as workers, and what plays a server's parent
//! or a child where a test needs one that it can kill: its first argument says which. So it has a
//! harness of its own, which understands the arguments of the usual one.
#![allow(clippy::unwrap_used)]

#[path = "../app/mod.rs"]
mod app;
#[path = "../app/ask.rs"]
mod ask;

mod adoption;
mod children;
mod deaths;
mod hostile;
mod limits;
mod logs;
mod privileges;
mod server;
mod serving;
mod swaps;
mod worker;

use libtest_mimic::{Arguments, Trial};
use scenario::patience::Deadline;

fn main() {
    let mut args = std::env::args();
    match args.nth(1).as_deref() {
        Some("worker") => worker::main(),
        Some("parent") => return children::parent(args),
        _ => {}
    }
    let mut arguments = Arguments::from_args();
    // They wait more than they compute, but compare times.
    arguments.test_threads.get_or_insert(4);
    let mut trials = Vec::new();
    let mut add = |name: &str, test: fn()| {
        let named = name.to_owned();
        trials.push(Trial::test(name, move || {
            // What was started ends with its parent.
            let _deadline = Deadline::of(&named);
            test();
            Ok(())
        }));
    };
    serving::tests(&mut add);
    deaths::tests(&mut add);
    swaps::tests(&mut add);
    limits::tests(&mut add);
    children::tests(&mut add);
    privileges::tests(&mut add);
    logs::tests(&mut add);
    hostile::tests(&mut add);
    adoption::tests(&mut add);
    libtest_mimic::run(&arguments, trials).exit();
}

/// Names tests as functions are named.
#[macro_export]
macro_rules! tests {
    ($($name:ident)*) => {
        pub(crate) fn tests(add: &mut dyn FnMut(&str, fn())) {
            let module = module_path!().rsplit("::").next().unwrap_or_default();
            $(add(&format!("{module}::{}", stringify!($name)), $name);)*
        }
    };
}
