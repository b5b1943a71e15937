//! The shared object this module was loaded from.
//!
//! The server unloads modules at each restart. That is fine in the parent, which keeps nothing; in
//! a child, threads of others may still run our code when it ends, so there the image is pinned.
//! See dlopen(3), <https://man7.org/linux/man-pages/man3/dlopen.3.html>.

use std::ffi::{CStr, CString, OsStr, c_void};
use std::mem::MaybeUninit;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;

use crate::module::Module;

/// The file this module was loaded from.
#[derive(Clone, Debug)]
pub struct Image {
    path: PathBuf,
}

impl Image {
    /// The image of `M`.
    pub fn of<M: Module>() -> Option<Image> {
        let mut info = MaybeUninit::<libc::Dl_info>::zeroed();
        // SAFETY: the address is in this image; `dladdr` fills the structure if it says so, with a
        // name that lives as long as the image.
        let name = unsafe {
            if libc::dladdr(M::record().address().cast(), info.as_mut_ptr()) == 0 {
                return None;
            }
            let info = info.assume_init();
            if info.dli_fname.is_null() {
                return None;
            }
            CStr::from_ptr(info.dli_fname).to_bytes()
        };
        Some(Image { path: PathBuf::from(OsStr::from_bytes(name)) })
    }

    /// Its file, as the server named it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Keeps the image in this process until it ends. For children only.
    ///
    /// # Errors
    /// What the loader says.
    pub fn pin(&self) -> Result<(), String> {
        let path = CString::new(self.path.as_os_str().as_bytes()).map_err(|e| e.to_string())?;
        // SAFETY: the image is loaded already, so no code of it runs; the handle is never closed.
        unsafe {
            let flags = libc::RTLD_NOW | libc::RTLD_NODELETE | libc::RTLD_NOLOAD;
            if libc::dlopen(path.as_ptr(), flags).is_null() {
                let error = libc::dlerror();
                return Err(if error.is_null() {
                    "no reason given".to_owned()
                } else {
                    CStr::from_ptr(error).to_string_lossy().into_owned()
                });
            }
        }
        Ok(())
    }
}

/// The address of a symbol of the server, or of something else that is loaded globally.
///
/// For functions of servers that are younger than the oldest this is for.
pub fn symbol(name: &CStr) -> Option<NonNull<c_void>> {
    // SAFETY: looks up a name.
    NonNull::new(unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols() {
        assert!(symbol(c"malloc").is_some());
        assert!(symbol(c"no_such_symbol_anywhere").is_none());
    }
}
