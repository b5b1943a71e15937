//! Which Apache to compile for: `APXS`, else apxs on PATH or in the usual places.
//!
//! Paths and flags are asked, never guessed:
//! <https://httpd.apache.org/docs/2.4/programs/apxs.html>, and `apr-1-config --help`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Oldest Apache whose structures and functions these declarations may be used with.
const OLDEST: (u32, u32, u32) = (2, 4, 37);

/// Where apxs is on systems that keep it off PATH.
const USUAL: [&str; 6] = [
    "/usr/bin/apxs2",
    "/usr/sbin/apxs",
    "/usr/sbin/apxs2",
    "/usr/local/apache2/bin/apxs",
    "/usr/local/bin/apxs",
    "/opt/homebrew/bin/apxs",
];

const MEND: &str = "install Apache's headers with `apt-get install apache2-dev` (Debian, Ubuntu), \
                    `dnf install httpd-devel` (Fedora, RHEL) or `zypper install apache2-devel` \
                    (SUSE), or set the variable APXS to the path of apxs";

/// What apxs and apr-config say about an Apache.
pub(crate) struct Apache {
    /// The apxs that was asked.
    pub(crate) apxs: PathBuf,
    /// The header that names the version.
    pub(crate) release_header: PathBuf,
    /// Include paths and definitions.
    pub(crate) clang_args: Vec<String>,
    /// How to link a program with APR.
    pub(crate) apr_libraries: Vec<String>,
}

/// Finds it.
pub(crate) fn find() -> Result<Apache, String> {
    let (apxs, origin) = match env::var_os("APXS").filter(|value| !value.is_empty()) {
        Some(value) => (PathBuf::from(value), " (from the variable APXS)"),
        None => (on_path().ok_or_else(not_found)?, ""),
    };
    // A bare name means PATH, as in a shell.
    let apxs = which::which(&apxs)
        .map_err(|_| format!("'{}'{origin} is not an executable apxs; {MEND}", apxs.display()))?;

    let include = required(&apxs, "INCLUDEDIR")?;
    let release_header = Path::new(&include).join("ap_release.h");
    let text = fs::read_to_string(&release_header).map_err(|error| {
        format!(
            "{} says that Apache's headers are in {include}, but {}: {error}; {MEND}",
            apxs.display(),
            release_header.display()
        )
    })?;
    check_release(&text, &apxs)?;

    let mut clang_args = vec![format!("-I{include}")];
    clang_args.extend(flags(&query(&apxs, "EXTRA_INCLUDES")?));
    for variable in ["CFLAGS", "EXTRA_CFLAGS", "EXTRA_CPPFLAGS", "NOTEST_CPPFLAGS"] {
        clang_args.extend(flags(&query(&apxs, variable)?));
    }
    let apr = required(&apxs, "APR_CONFIG")?;
    let apu = required(&apxs, "APU_CONFIG")?;
    clang_args.extend(flags(&ask(&apr, &["--includes", "--cppflags"])?));
    clang_args.extend(flags(&ask(&apu, &["--includes"])?));
    let mut seen = Vec::new();
    clang_args.retain(|arg| {
        let new = !seen.contains(arg);
        seen.push(arg.clone());
        new
    });
    let mut apr_libraries = Vec::new();
    for config in [&apu, &apr] {
        let libraries = ask(config, &["--link-ld"])?;
        apr_libraries.extend(libraries.split_whitespace().map(str::to_owned));
    }
    Ok(Apache { apxs, release_header, clang_args, apr_libraries })
}

fn on_path() -> Option<PathBuf> {
    let named = ["apxs", "apxs2"].iter().find_map(|name| which::which(name).ok());
    named.or_else(|| USUAL.iter().map(PathBuf::from).find(|path| path.is_file()))
}

fn not_found() -> String {
    format!(
        "apxs, which says where Apache's headers are, is neither on PATH nor at {}; {MEND}",
        USUAL.join(", ")
    )
}

/// What apxs says of a variable that it always has a value for.
fn required(apxs: &Path, variable: &str) -> Result<String, String> {
    let value = query(apxs, variable)?;
    if value.is_empty() {
        return Err(format!(
            "{} is not Apache's apxs: it has no answer to `-q {variable}`; {MEND}",
            apxs.display()
        ));
    }
    Ok(value)
}

fn query(apxs: &Path, variable: &str) -> Result<String, String> {
    ask(apxs, &["-q", variable])
}

fn ask(program: impl AsRef<Path>, args: &[&str]) -> Result<String, String> {
    let program = program.as_ref();
    let called = format!("`{} {}`", program.display(), args.join(" "));
    let output = Command::new(program)
        .args(args)
        .output()
        .map_err(|error| format!("{called} cannot be run: {error}; {MEND}"))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let said = said.lines().next().unwrap_or("it says nothing");
        return Err(format!("{called} fails ({}: {said}); {MEND}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

/// The include paths and definitions among some compiler flags.
///
/// Hardening (`_FORTIFY_SOURCE`) declares nothing, and complains where nothing is optimised; the
/// working directory is no place for headers.
fn flags(text: &str) -> Vec<String> {
    text.split_whitespace()
        .filter(|flag| {
            let wanted = ["-I", "-D", "-U"].iter().any(|kind| flag.starts_with(kind));
            wanted && *flag != "-I." && !flag.contains("_FORTIFY_SOURCE")
        })
        .map(str::to_owned)
        .collect()
}

fn check_release(header: &str, apxs: &Path) -> Result<(), String> {
    let number = |name: &str| -> Option<u32> {
        let line = header.lines().find(|line| line.starts_with(&format!("#define {name} ")))?;
        line.split_whitespace().nth(2)?.parse().ok()
    };
    let version = (
        number("AP_SERVER_MAJORVERSION_NUMBER").unwrap_or(0),
        number("AP_SERVER_MINORVERSION_NUMBER").unwrap_or(0),
        number("AP_SERVER_PATCHLEVEL_NUMBER").unwrap_or(0),
    );
    let (major, minor, patch) = version;
    if (major, minor) != (2, 4) || version < OLDEST {
        return Err(format!(
            "{} belongs to Apache {major}.{minor}.{patch}, and this needs 2.4 from 2.4.{} on; set \
             the variable APXS to the apxs of such a one",
            apxs.display(),
            OLDEST.2
        ));
    }
    Ok(())
}
