//! The head of a module record: `STANDARD20_MODULE_STUFF` of `http_config.h`.

use std::ffi::{c_char, c_int};
use std::ptr;

use crate::bindings::{
    MODULE_MAGIC_COOKIE, MODULE_MAGIC_NUMBER_MAJOR, MODULE_MAGIC_NUMBER_MINOR, command_rec, module,
};

/// `module::module_index` before the server has given one.
pub const MODULE_INDEX_UNSET: c_int = -1;

/// A module record whose head is `STANDARD20_MODULE_STUFF` and that has nothing else yet.
///
/// `name` must live as long as the module: C writes `__FILE__` here, and the server compares its
/// last component in `<IfModule>` and in the order of hooks.
pub const fn standard20_module(name: *const c_char) -> module {
    module {
        version: MODULE_MAGIC_NUMBER_MAJOR,
        minor_version: MODULE_MAGIC_NUMBER_MINOR,
        module_index: MODULE_INDEX_UNSET,
        name,
        dynamic_load_handle: ptr::null_mut(),
        next: ptr::null_mut(),
        magic: MODULE_MAGIC_COOKIE,
        rewrite_args: None,
        create_dir_config: None,
        merge_dir_config: None,
        create_server_config: None,
        merge_server_config: None,
        cmds: ptr::null::<command_rec>(),
        register_hooks: None,
        flags: 0,
    }
}
