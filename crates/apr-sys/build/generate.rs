//! Running bindgen.

use std::any::Any;
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;

use bindgen::callbacks::{IntKind, ParseCallbacks};

const MEND: &str = "install libclang with `apt-get install libclang-dev` (Debian, Ubuntu), \
                    `dnf install clang-devel` (Fedora, RHEL) or `zypper install clang-devel` \
                    (SUSE), or set the variable LIBCLANG_PATH to the directory it is in";

/// Functions that came after the oldest Apache these declarations are for, from the list in
/// `ap_mmn.h`. Who needs one looks it up when the server runs.
const NEWER: &str = "ap_(set_conn_count|dir_nofnmatch|dir_fnmatch|is_chunked|parse_strict_length\
                     |get_status_line_ex|get_read_buf_size|make_etag_ex|set_etag_fd|ssl_.*\
                     |create_request|parse_request_line|check_request_header|normalize_path\
                     |(hook_|run_)?(pre_translate_name|child_stopping|method_precondition)\
                     |hook_get_(pre_translate_name|child_stopping|method_precondition)\
                     |pre_connection|unescape_url_ex|post_read_request|thread_(main_)?create\
                     |thread_current.*|pcre_version_string|get_pollfd_from_conn\
                     |set_content_type_ex|filepath_merge|set_time_process_request|stat_check\
                     |.*_timingsafe|no2slash_ex)";

/// Writes the declarations to `file`.
pub(crate) fn bindings(clang_args: &[String], file: &Path) -> Result<(), String> {
    let builder = bindgen::Builder::default()
        .header("build/wrapper.h")
        .clang_args(clang_args)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .allowlist_function("(ap|apr|unixd)_.*")
        .allowlist_type("(ap|apr|core|authn|authz)_.*")
        .allowlist_type("(request|server|conn|module|command|process|worker|cmd)_.*")
        .allowlist_var(
            "(AP|APR|APLOG|MODULE|OPT|OR|M|HTTP|REQUEST|AUTHN|AUTHZ|NOT_IN|SATISFY|REMOTE)_.*",
        )
        .allowlist_var("(OK|DECLINED|DONE|SUSPENDED|RSRC_CONF|ACCESS_CONF|EXEC_ON_READ)")
        .allowlist_var("(APLOG_.*|core_module|ap_.*|apr_.*)")
        // Not callable from Rust, or of no use there, but with types that differ by platform.
        .blocklist_function(".*(va_list|vformatter|vsnprintf|vrprintf|vpsprintf|vputs|vprintf).*")
        .blocklist_function(NEWER)
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false)
        .derive_debug(false)
        .layout_tests(false)
        .merge_extern_blocks(true)
        .generate_comments(false)
        .parse_callbacks(Box::new(Integers))
        .parse_callbacks(Box::new(bindgen::CargoCallbacks::new()));

    // Without libclang bindgen panics; its message comes back as ours.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let result = panic::catch_unwind(AssertUnwindSafe(|| builder.generate()));
    panic::set_hook(hook);
    let bindings = result
        .map_err(|panic| format!("libclang cannot be used: {}; {MEND}", text(&*panic)))?
        .map_err(|error| format!("bindgen cannot read Apache's headers: {error}"))?;
    bindings.write_to_file(file).map_err(|error| format!("{}: {error}", file.display()))
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("it gives no reason");
    text.lines().next().unwrap_or_default().to_owned()
}

/// Macros that are numbers become `int`s, as in most of their uses: bindgen's own choice makes
/// `OK` unsigned and `DECLINED` signed.
#[derive(Debug)]
struct Integers;

impl ParseCallbacks for Integers {
    fn int_macro(&self, name: &str, value: i64) -> Option<IntKind> {
        if name == "MODULE_MAGIC_COOKIE" {
            return Some(IntKind::ULong);
        }
        i32::try_from(value).is_ok().then_some(IntKind::Int)
    }
}
