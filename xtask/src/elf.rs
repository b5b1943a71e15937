//! What a shared library exports, needs and searches: the promises of a build are checked on what
//! was really linked, not on flags.
//!
//! Only ELF is read; elsewhere there is nothing to check. Format: elf(5),
//! <https://man7.org/linux/man-pages/man5/elf.5.html>.

use std::path::Path;

use anyhow::{Context, Result, bail};
use object::read::elf::{Dyn, ElfFile, FileHeader};
use object::{FileKind, Object, ObjectSymbol, elf};

/// The dynamic section of a library, as text.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Dynamic {
    /// Libraries that are loaded with it.
    pub(crate) needed: Vec<String>,
    /// Names it defines for others.
    pub(crate) exports: Vec<String>,
    /// Directories searched for those libraries (RPATH and RUNPATH).
    pub(crate) search: Vec<String>,
}

impl Dynamic {
    /// Reads a file; `None` if it is not ELF.
    pub(crate) fn read(path: &Path) -> Result<Option<Dynamic>> {
        let data = std::fs::read(path).with_context(|| path.display().to_string())?;
        let read = match FileKind::parse(&*data) {
            Ok(FileKind::Elf64) => Dynamic::parse::<elf::FileHeader64<object::Endianness>>(&data),
            Ok(FileKind::Elf32) => Dynamic::parse::<elf::FileHeader32<object::Endianness>>(&data),
            _ => return Ok(None),
        };
        read.map(Some).with_context(|| format!("{} is damaged", path.display()))
    }

    fn parse<H: FileHeader<Endian = object::Endianness>>(data: &[u8]) -> Result<Dynamic> {
        let file = ElfFile::<H>::parse(data)?;
        let mut found = Dynamic::default();
        for symbol in file.dynamic_symbols() {
            // Hidden symbols do not get into this table, so global means visible.
            if symbol.is_definition() && symbol.is_global() {
                found.exports.push(String::from_utf8_lossy(symbol.name_bytes()?).into_owned());
            }
        }
        found.exports.sort();
        let (endian, sections) = (file.endian(), file.elf_section_table());
        let Some((entries, strings)) = sections.dynamic(endian, data)? else { return Ok(found) };
        let strings = sections.strings(endian, data, strings)?;
        for entry in entries {
            let tag = entry.tag(endian);
            let list = match tag {
                elf::DT_NEEDED => &mut found.needed,
                elf::DT_RPATH | elf::DT_RUNPATH => &mut found.search,
                _ => continue,
            };
            list.push(String::from_utf8_lossy(entry.string(endian, strings)?).into_owned());
        }
        Ok(found)
    }

    /// No Python at load time, and no search path of the building machine: true of the module and
    /// of every engine, whose libpython is in the process before them.
    pub(crate) fn links_no_python(&self) -> Result<()> {
        if let Some(python) = self.needed.iter().find(|name| name.starts_with("libpython")) {
            bail!("it links {python}");
        }
        if let Some(dir) = self.search.first() {
            bail!("it searches {dir} for libraries (RPATH)");
        }
        Ok(())
    }

    /// It exports these names and nothing else.
    pub(crate) fn exports_only(&self, names: &[&str]) -> Result<()> {
        if let Some(extra) = self.exports.iter().find(|name| !names.contains(&name.as_str())) {
            bail!("it exports {extra}, and should export only {}", names.join(", "));
        }
        if let Some(absent) = names.iter().find(|name| !self.exports.iter().any(|e| e == *name)) {
            bail!("it does not export {absent}");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::process::Command;

    use super::*;
    use crate::shell::run;

    fn library(source: &str, flags: &[&str]) -> Dynamic {
        let dir = tempfile::tempdir().unwrap();
        let (from, to) = (dir.path().join("a.c"), dir.path().join("a.so"));
        std::fs::write(&from, source).unwrap();
        run(Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&to).arg(&from).args(flags))
            .unwrap();
        Dynamic::read(&to).unwrap().unwrap()
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_library_is_read() {
        let source =
            "#include <math.h>\nint kept; static int own; int f(double x) { return own + sin(x); }";
        let found = library(source, &["-Wl,--no-as-needed", "-lm", "-Wl,-rpath,/opt/somewhere"]);
        assert!(found.needed.iter().any(|name| name.starts_with("libm.so")), "{found:?}");
        assert_eq!(found.search, ["/opt/somewhere"]);
        assert!(found.exports.contains(&"kept".to_owned()));
        assert!(!found.exports.contains(&"own".to_owned()));
        assert!(!found.exports.contains(&"sin".to_owned()), "undefined is not exported");
        assert_eq!(
            found.links_no_python().unwrap_err().to_string(),
            "it searches /opt/somewhere for libraries (RPATH)"
        );
        assert!(found.exports_only(&["f", "kept"]).is_ok(), "{found:?}");
    }

    #[test]
    fn broken_promises_are_named() {
        let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let found = Dynamic {
            needed: list(&["libc.so.6", "libpython3.13.so.1.0"]),
            exports: list(&["a", "b"]),
            search: list(&[]),
        };
        let error = found.links_no_python().unwrap_err().to_string();
        assert_eq!(error, "it links libpython3.13.so.1.0");
        let error = found.exports_only(&["a"]).unwrap_err().to_string();
        assert_eq!(error, "it exports b, and should export only a");
        let error = found.exports_only(&["a", "b", "c"]).unwrap_err().to_string();
        assert_eq!(error, "it does not export c");
    }

    #[test]
    fn what_is_no_library_is_none_or_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(Dynamic::read(file.path()).unwrap(), None);
        std::fs::write(file.path(), b"\x7fELF\x02\x01\x01and then nothing of the kind").unwrap();
        assert!(Dynamic::read(file.path()).is_err());
    }
}
