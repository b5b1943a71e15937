//! Is there a libclang for bindgen? Looks where bindgen will look, so that its absence is one
//! sentence before the build and not a panic of a build script in the middle of it.
//!
//! Where to look: <https://docs.rs/clang-sys/latest/clang_sys/#environment-variables>.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::Problem;
use super::packages::Need;
use crate::shell::ask;

/// What is wrong, if anything.
pub(crate) fn problem() -> Option<Problem> {
    if let Some(path) = std::env::var_os("LIBCLANG_PATH").map(PathBuf::from) {
        let found = is_libclang(&path) || holds_libclang(&path, 0);
        let text =
            format!("the variable LIBCLANG_PATH says {}, which holds no libclang", path.display());
        return (!found).then(|| Problem::hopeless(text));
    }
    let found = roots().iter().any(|root| holds_libclang(root, 2));
    let text = "libclang, which reads Apache's headers, was found neither by llvm-config nor below \
                /usr/lib or /usr/local/lib";
    (!found).then(|| Problem::mendable(text.to_owned(), Need::Libclang))
}

fn roots() -> Vec<PathBuf> {
    let mut roots = Vec::new();
    let config = std::env::var_os("LLVM_CONFIG_PATH").unwrap_or_else(|| "llvm-config".into());
    if let Ok(output) = ask(Command::new(config).arg("--libdir")) {
        roots.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    let usual = [
        "/usr/lib",
        "/usr/lib64",
        "/usr/local/lib",
        "/usr/local/lib64",
        "/opt/homebrew/opt/llvm/lib",
        "/usr/local/opt/llvm/lib",
        "/Library/Developer/CommandLineTools/usr/lib",
    ];
    roots.extend(usual.map(PathBuf::from));
    roots.retain(|root| root.is_absolute());
    roots
}

/// Looks in `dir` and `depth` levels below it.
fn holds_libclang(dir: &Path, depth: u32) -> bool {
    let Ok(entries) = std::fs::read_dir(dir) else { return false };
    let mut below = Vec::new();
    for entry in entries.flatten() {
        let path = entry.path();
        if is_libclang(&path) {
            return true;
        }
        if depth > 0 && path.is_dir() {
            below.push(path);
        }
    }
    below.iter().any(|dir| holds_libclang(dir, depth - 1))
}

fn is_libclang(path: &Path) -> bool {
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let stem = name.strip_prefix("libclang").unwrap_or_default();
    // `libclang-cpp` is another library.
    let ours = stem.starts_with(".so")
        || stem.starts_with(".dylib")
        || stem.strip_prefix('-').is_some_and(|version| {
            version.starts_with(|c: char| c.is_ascii_digit()) && version.contains(".so")
        });
    ours && path.is_file()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn names_of_the_library() {
        let dir = tempfile::tempdir().unwrap();
        let check = |name: &str| {
            let path = dir.path().join(name);
            std::fs::write(&path, "").unwrap();
            is_libclang(&path)
        };
        for name in ["libclang.so", "libclang.so.1", "libclang-14.so.13", "libclang.dylib"] {
            assert!(check(name), "{name}");
        }
        for name in ["libclang-cpp.so.14", "libclangAST.a", "clang.so", "libclang-14.a"] {
            assert!(!check(name), "{name}");
        }
    }

    #[test]
    fn levels_below_are_looked_at_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("llvm-14/lib");
        std::fs::create_dir_all(&deep).unwrap();
        std::fs::write(deep.join("libclang.so"), "").unwrap();
        assert!(holds_libclang(dir.path(), 2));
        assert!(!holds_libclang(dir.path(), 1));
    }
}
