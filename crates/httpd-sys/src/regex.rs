//! Regular expressions as the server's own directives have them: PCRE with POSIX's interface.
//! <https://httpd.apache.org/docs/2.4/glossary.html#regex>

use std::ffi::CStr;
use std::mem::MaybeUninit;

use apr_sys as raw;

use crate::pool::Pool;
use crate::text::bytes;

/// Groups that are kept, the whole match included.
const GROUPS: usize = raw::AP_MAX_REG_MATCH as usize;

/// A compiled expression.
pub struct Regex {
    raw: Box<raw::ap_regex_t>,
}

// SAFETY: after compiling, the structure is only read; matching keeps its state elsewhere.
unsafe impl Send for Regex {}
// SAFETY: as above.
unsafe impl Sync for Regex {}

impl Regex {
    /// Compiles `pattern`; `None` if it is wrong.
    pub fn new(pattern: &CStr) -> Option<Regex> {
        let mut raw = Box::new(MaybeUninit::<raw::ap_regex_t>::zeroed());
        // SAFETY: the structure may be all zeros, and is filled if the result is 0.
        unsafe {
            let flags = raw::AP_REG_EXTENDED;
            if raw::ap_regcomp(raw.as_mut_ptr(), pattern.as_ptr(), flags) != 0 {
                return None;
            }
            Some(Regex { raw: raw.assume_init() })
        }
    }

    /// Looks for the first match in `text`.
    pub fn find(&self, text: &CStr) -> Option<Captures> {
        let mut groups = [raw::ap_regmatch_t { rm_so: -1, rm_eo: -1 }; GROUPS];
        // SAFETY: compiled (constructor); as many groups as said.
        let status =
            unsafe { raw::ap_regexec(&*self.raw, text.as_ptr(), GROUPS, groups.as_mut_ptr(), 0) };
        (status == 0).then_some(Captures { groups })
    }
}

impl Drop for Regex {
    fn drop(&mut self) {
        // SAFETY: compiled, and not used again.
        unsafe { raw::ap_regfree(&mut *self.raw) }
    }
}

/// Where an expression matched.
#[derive(Clone, Copy)]
pub struct Captures {
    groups: [raw::ap_regmatch_t; GROUPS],
}

impl Captures {
    /// Where the whole match ends.
    pub fn end(&self) -> usize {
        usize::try_from(self.groups[0].rm_eo).unwrap_or(0)
    }

    /// `template` with `$0` to `$9` replaced by the groups that matched in `text`, which must be
    /// what was searched.
    pub fn substitute<'p>(&self, pool: Pool<'p>, template: &CStr, text: &CStr) -> Option<&'p [u8]> {
        let length = text.count_bytes();
        // Offsets into another text would be read beyond its end.
        let fits = |offset: i32| usize::try_from(offset).is_ok_and(|offset| offset <= length);
        let mut groups = self.groups;
        for group in &mut groups {
            if !(fits(group.rm_so) && fits(group.rm_eo) && group.rm_so <= group.rm_eo) {
                (group.rm_so, group.rm_eo) = (-1, -1);
            }
        }
        // SAFETY: groups lie within the text (above), or are marked as unset; the result is in the
        // pool.
        unsafe {
            bytes(raw::ap_pregsub(
                pool.as_ptr(),
                template.as_ptr(),
                text.as_ptr(),
                GROUPS,
                groups.as_mut_ptr(),
            ))
        }
    }
}
