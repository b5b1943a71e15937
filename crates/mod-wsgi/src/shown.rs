//! Variables of a request where the server's own configuration reads them: `%{HTTP_X}e` in a log
//! format or a header, `env=HTTP_X` as a condition, `reqenv('HTTP_X')` in an expression.
//!
//! Such things look into a table of the request, into which mod_wsgi has everything put that an
//! application gets. That is a copy and a search for each variable, so it is done only where some
//! directive has such a name in it; each child looks once. What is written in a `.htaccess` file
//! does not count.
//!
//! <https://httpd.apache.org/docs/2.4/mod/mod_log_config.html#formats>

use std::ffi::CString;

use engine_api::{Bytes, Pair};
use httpd_sys::Request;

use crate::groups::ProcessGroup;
use crate::target::Target;

/// What names of our variables start with.
const PREFIXES: [&[u8]; 9] = [
    b"HTTP_",
    b"SERVER_",
    b"REQUEST_",
    b"REMOTE_",
    b"SCRIPT_",
    b"PATH_",
    b"CONTENT_",
    b"CONTEXT_",
    b"mod_wsgi.",
];

/// The other names.
const NAMES: [&[u8]; 3] = [b"AUTH_TYPE", b"DOCUMENT_ROOT", b"QUERY_STRING"];

/// What stands in front of the name of a variable where it is read.
const BEFORE: [&[u8]; 6] = [b"env=!", b"env=", b"reqenv('", b"reqenv(\"", b"reqenv:", b"ENV:"];

/// Whether the arguments of a directive read a variable of ours.
pub(crate) fn is_asked_for(arguments: &[u8]) -> bool {
    let is_read = |(at, _): (usize, _)| {
        let (before, name) = arguments.split_at(at);
        let length = name.iter().take_while(|byte| is_of_a_name(**byte)).count();
        let after = name.get(length..).unwrap_or_default();
        before.ends_with(b"{") && after.starts_with(b"}e")
            || BEFORE.iter().any(|words| before.ends_with(words))
    };
    let starts = |at: &usize| at.checked_sub(1).is_none_or(|at| !is_of_a_name(arguments[at]));
    (0..arguments.len())
        .filter(starts)
        .filter_map(|at| Some((at, arguments.get(at..).filter(|rest| is_ours(rest))?)))
        .any(is_read)
}

/// Whether a text begins with a name of ours.
fn is_ours(text: &[u8]) -> bool {
    let is_name = |name: &&[u8]| {
        let rest = text.strip_prefix(*name);
        rest.is_some_and(|rest| rest.first().is_none_or(|byte| !is_of_a_name(*byte)))
    };
    PREFIXES.iter().any(|prefix| text.starts_with(prefix)) || NAMES.iter().any(is_name)
}

fn is_of_a_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'.'
}

/// Puts the variables of an application into the table of its request.
pub(crate) fn show(request: &Request<'_>, pairs: &[Pair<'_>], target: &Target) {
    show_pairs(request, pairs);
    let group = match target.process_group {
        ProcessGroup::Embedded => &b""[..],
        ProcessGroup::Daemon(known) => &known.group.process.name,
    };
    let more = [
        (&b"mod_wsgi.process_group"[..], group),
        (b"mod_wsgi.application_group", &target.application_group),
        (b"mod_wsgi.callable_object", &target.callable),
    ];
    show_pairs(request, &more.map(|(name, value)| Pair::new(name, value)));
}

/// Puts variables into the table of a request.
pub(crate) fn show_pairs(request: &Request<'_>, pairs: &[Pair<'_>]) {
    let table = request.environment();
    for pair in pairs {
        // Nothing of a request or a configuration has a NUL in it.
        let text = |bytes: &Bytes<'_>| CString::new(bytes.or_empty());
        if let (Ok(name), Ok(value)) = (text(&pair.name), text(&pair.value)) {
            table.set(&name, &value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_reads_a_variable_of_ours() {
        for arguments in [
            r#""%h %{HTTP_X_Y}e" name"#,
            r#""%!200,304{SCRIPT_NAME}e""#,
            r#""%>{mod_wsgi.application_group}e""#,
            r#"set X "%{QUERY_STRING}e""#,
            "logs/access common env=HTTP_X",
            "logs/access common env=!REMOTE_USER",
            r#"logs/access common "expr=reqenv('HTTP_X') == 'a'""#,
            r#""%{ENV:PATH_INFO} = /x""#,
            r#""%{reqenv:AUTH_TYPE}""#,
        ] {
            assert!(is_asked_for(arguments.as_bytes()), "{arguments}");
        }
    }

    #[test]
    fn what_reads_none() {
        for arguments in [
            "",
            r#""%h %l %u %t \"%r\" %>s %b \"%{Referer}i\" \"%{User-Agent}i\"" combined"#,
            "logs/access common env=!dontlog",
            r#""%{UNIQUE_ID}e %{MY_HTTP_X}e %{X_REMOTE_USER}e""#,
            "HTTP_X value",
            "HTTP_X",
            r#""%{HTTP_HOST} = x""#,
            r#""%{QUERY_STRINGS}e""#,
            r#""%{HTTP_X}i""#,
        ] {
            assert!(!is_asked_for(arguments.as_bytes()), "{arguments}");
        }
    }
}
