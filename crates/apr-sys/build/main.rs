//! Makes the declarations: asks apxs where Apache's headers are, then lets bindgen read them.
//!
//! What goes wrong here goes wrong on somebody's first build, so each failure is one sentence that
//! says what was looked for where, and the command that mends it.

mod apache;
mod generate;

use std::path::PathBuf;
use std::process::ExitCode;

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(sentence) => {
            eprintln!("error: {sentence}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    println!("cargo::rerun-if-changed=build");
    println!("cargo::rerun-if-env-changed=APXS");
    println!("cargo::rerun-if-env-changed=PATH");
    let apache = apache::find()?;
    println!("cargo::rerun-if-changed={}", apache.release_header.display());
    println!("cargo::rerun-if-changed={}", apache.apxs.display());

    // For the ABI test, and for the tests of dependents, which link the real APR.
    println!("cargo::rustc-env=APR_SYS_CLANG_ARGS={}", apache.clang_args.join("\u{1f}"));
    let target = std::env::var("TARGET").map_err(|error| format!("TARGET: {error}"))?;
    println!("cargo::rustc-env=APR_SYS_TARGET={target}");
    println!("cargo::metadata=test-link-args={}", apache.apr_libraries.join("\u{1f}"));

    let out = std::env::var_os("OUT_DIR").map(PathBuf::from).ok_or("OUT_DIR is not set")?;
    generate::bindings(&apache.clang_args, &out.join("bindings.rs"))
}
