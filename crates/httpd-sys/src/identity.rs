//! Who the server is: `User` and `Group`.
//! <https://httpd.apache.org/docs/2.4/mod/mod_unixd.html>

use apr_sys as raw;

use crate::text::bytes;

/// The user and group that children run as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Name of the user, or `#` and a number.
    pub user_name: Vec<u8>,
    /// Number of the user.
    pub uid: u32,
    /// Number of the group.
    pub gid: u32,
}

impl Identity {
    /// The one that is configured. Complete when the configuration has been read.
    pub fn configured() -> Identity {
        // SAFETY: a static of the server, written to only while it reads its configuration, which
        // is done by one thread; the name is a string or NULL (A8) that lives as long as the
        // configuration.
        unsafe {
            let unixd = &raw const raw::ap_unixd_config;
            Identity {
                user_name: bytes((*unixd).user_name).unwrap_or_default().to_vec(),
                uid: (*unixd).user_id,
                gid: (*unixd).group_id,
            }
        }
    }
}
