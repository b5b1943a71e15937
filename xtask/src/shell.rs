//! Running other programs, and where this checkout is.
//!
//! Every failure names the command as one could type it again. No shell is involved: arguments are
//! passed as they are and quoted only for showing.

use std::ffi::OsStr;
use std::io::{Seek, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use anyhow::{Context, Result, bail};

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    // At run time first: a checkout may have been moved together with its `target`.
    let manifest = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    manifest.parent().map(Path::to_path_buf).unwrap_or(manifest)
}

/// Cargo, of the toolchain that built this program, at the root of the workspace.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root());
    dies_with_us(&mut command);
    command
}

/// Runs a command with our standard streams (its standard input is empty).
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command
        .stdin(Stdio::null())
        .status()
        .with_context(|| format!("cannot run `{}`", show(command)))?;
    if !status.success() {
        bail!("`{}` failed: {status}", show(command));
    }
    Ok(())
}

/// Runs a command and gives its standard output; its standard error is ours.
pub(crate) fn stdout(command: &mut Command) -> Result<String> {
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("cannot run `{}`", show(command)))?;
    if !output.status.success() {
        bail!("`{}` failed: {}", show(command), output.status);
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs a command without showing anything, for questions whose failure is an answer.
pub(crate) fn ask(command: &mut Command) -> std::io::Result<Output> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).output()
}

/// The same with something to read on its standard input.
pub(crate) fn put(command: &mut Command, input: &str) -> std::io::Result<Output> {
    let mut file = tempfile::tempfile()?;
    file.write_all(input.as_bytes())?;
    file.rewind()?;
    command.stdin(file).stdout(Stdio::piped()).stderr(Stdio::piped()).output()
}

/// The command as one would type it, with the variables that were set for it.
pub(crate) fn show(command: &Command) -> String {
    let mut words: Vec<String> = command
        .get_envs()
        .filter_map(|(name, value)| Some(format!("{}={}", name.to_string_lossy(), quote(value?))))
        .collect();
    let program = Path::new(command.get_program());
    let name = match program.file_name() {
        Some(name) if name == "cargo" => name,
        _ => program.as_os_str(),
    };
    words.push(quote(name));
    words.extend(command.get_args().map(quote));
    words.join(" ")
}

/// Quotes a word for a POSIX shell where it needs that.
pub(crate) fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.into_owned();
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// A path relative to the workspace where it lies inside, for showing.
pub(crate) fn short(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).display().to_string()
}

/// True when we run as root.
pub(crate) fn is_root() -> bool {
    // SAFETY: geteuid(2) takes nothing, touches no memory and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Has the kernel end a command when we are killed, so that nothing goes on without us (on Linux).
#[cfg(target_os = "linux")]
pub(crate) fn dies_with_us(command: &mut Command) {
    let parent = std::process::id();
    let die = move || {
        // SAFETY: prctl(2) with PR_SET_PDEATHSIG takes a number and touches no memory.
        let done = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGTERM) };
        // SAFETY: getppid(2) takes nothing and cannot fail.
        let orphaned = unsafe { libc::getppid() } != parent.cast_signed();
        if done != 0 || orphaned {
            return Err(std::io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    };
    use std::os::unix::process::CommandExt;
    // SAFETY: between fork and exec the closure calls only prctl and getppid, which are
    // async-signal-safe, and allocates nothing (L1).
    unsafe { command.pre_exec(die) };
}

#[cfg(not(target_os = "linux"))]
pub(crate) fn dies_with_us(_: &mut Command) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shows_what_could_be_typed() {
        let mut command = Command::new("/opt/rust/bin/cargo");
        command.env("APXS", "/usr/bin/apxs").args(["test", "it's here", ""]);
        assert_eq!(show(&command), r"APXS=/usr/bin/apxs cargo test 'it'\''s here' ''");
    }

    #[test]
    fn a_failure_names_the_command_and_the_status() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).expect_err("fails");
        assert_eq!(error.to_string(), "`sh -c 'exit 3'` failed: exit status: 3");
    }
}
