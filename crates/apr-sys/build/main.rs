//! Asks `apxs` and `apr-1-config` where the headers are, and has bindgen translate them.
//!
//! Nothing is guessed: a path that the tools do not report is not used. Every failure is one
//! sentence that says what was found where, and the command that mends it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

fn main() -> ExitCode {
    println!("cargo::rerun-if-env-changed=APXS");
    println!("cargo::rerun-if-changed=build");
    match generate() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            println!("cargo::error={message}");
            ExitCode::FAILURE
        }
    }
}

fn generate() -> Result<(), String> {
    let apxs = Apxs::find()?;
    let include = PathBuf::from(apxs.query("INCLUDEDIR")?);
    let version = httpd_version(&include, &apxs)?;
    println!("cargo::metadata=httpd_version={version}");
    println!("cargo::metadata=include={}", include.display());

    let mut flags = vec![format!("-I{}", include.display())];
    for name in ["EXTRA_CPPFLAGS", "EXTRA_INCLUDES", "CFLAGS"] {
        flags.extend(header_flags(&apxs.query(name)?));
    }
    let apr_config = apxs.query("APR_CONFIG")?;
    let apr = output(Command::new(&apr_config).args(["--includes", "--cppflags"]))
        .map_err(|why| format!("{apr_config}, which {} names, {why}", apxs.path.display()))?;
    flags.extend(header_flags(&apr));
    println!("cargo::metadata=cflags={}", flags.join("\u{1f}"));

    let bindings = bindgen::Builder::default()
        .header("build/wrapper.h")
        .clang_args(&flags)
        .allowlist_function("(ap|apr)_.*")
        .allowlist_type("(ap|apr)_.*|.*_rec|module|authn_.*|authz_.*|worker_score|process_score")
        .allowlist_var("(AP|APR|APLOG|MODULE|OK|DECLINED|DONE|HTTP|M|OR|ACCESS|RSRC|EXEC|NOT_IN|GLOBAL|REQUEST|FINFO|STANDARD|SERVER|CONN|PROXYREQ)_?[A-Z0-9_]*|ap_.*|apr_.*")
        // C's long double and stdarg have no stable Rust form.
        .blocklist_function(".*(_va|vformatter|vprintf|vsnprintf|vcprintf|vrputs|vrprintf)$|apr_pvsprintf|ap_vrprintf")
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .derive_debug(false)
        .layout_tests(true)
        .generate_comments(false)
        .formatter(bindgen::Formatter::Prettyplease)
        .generate()
        .map_err(|error| {
            format!("bindgen cannot translate the headers in {}: {error}", include.display())
        })?;
    let out = PathBuf::from(env::var_os("OUT_DIR").ok_or("cargo sets no OUT_DIR")?);
    bindings
        .write_to_file(out.join("bindings.rs"))
        .map_err(|error| format!("cannot write the bindings to {}: {error}", out.display()))
}

/// The build tool of the Apache to build for.
struct Apxs {
    path: PathBuf,
}

impl Apxs {
    fn find() -> Result<Apxs, String> {
        let named = env::var_os("APXS").filter(|value| !value.is_empty()).map(PathBuf::from);
        let path = match named {
            Some(path) => path,
            None => ["apxs", "apxs2"]
                .iter()
                .find_map(|name| on_path(name))
                .ok_or("no apxs on PATH: install Apache's development files (Debian: apt-get install apache2-dev; Fedora: dnf install httpd-devel) or set APXS to its path")?,
        };
        if !path.is_file() {
            return Err(format!(
                "APXS is {}, which is no file: set it to the apxs of the Apache to build for",
                path.display()
            ));
        }
        Ok(Apxs { path })
    }

    fn query(&self, name: &str) -> Result<String, String> {
        output(Command::new(&self.path).args(["-q", name]))
            .map_err(|why| format!("{} -q {name} {why}", self.path.display()))
    }
}

/// Include paths and definitions; what else a compiler is told is of no interest to bindgen.
fn header_flags(flags: &str) -> impl Iterator<Item = String> + '_ {
    flags
        .split_whitespace()
        .filter(|flag| flag.starts_with("-D") || flag.starts_with("-I/"))
        .map(str::to_owned)
}

/// Major, minor and patch level out of `ap_release.h`; only 2.4 will do.
fn httpd_version(include: &Path, apxs: &Apxs) -> Result<String, String> {
    let file = include.join("ap_release.h");
    let text = fs::read_to_string(&file).map_err(|error| {
        format!(
            "{} says that Apache's headers are in {}, but {} cannot be read ({error}): install \
             the development files of that Apache (Debian: apt-get install apache2-dev)",
            apxs.path.display(),
            include.display(),
            file.display()
        )
    })?;
    let number = |name: &str| {
        text.lines().find_map(|line| {
            let mut words = line.split_whitespace();
            (words.next() == Some("#define") && words.next() == Some(name))
                .then(|| words.next()?.parse::<u32>().ok())
                .flatten()
        })
    };
    match (
        number("AP_SERVER_MAJORVERSION_NUMBER"),
        number("AP_SERVER_MINORVERSION_NUMBER"),
        number("AP_SERVER_PATCHLEVEL_NUMBER"),
    ) {
        (Some(2), Some(4), Some(patch)) => Ok(format!("2.4.{patch}")),
        (Some(major), Some(minor), _) => Err(format!(
            "{} belongs to Apache {major}.{minor}, but this module needs 2.4: set APXS to the \
             apxs of an Apache 2.4",
            apxs.path.display()
        )),
        _ => Err(format!("{} does not say which Apache it is of", file.display())),
    }
}

fn on_path(name: &str) -> Option<PathBuf> {
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}

fn output(command: &mut Command) -> Result<String, String> {
    let output = command.output().map_err(|error| format!("cannot be run: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "failed ({}): {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        ));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
