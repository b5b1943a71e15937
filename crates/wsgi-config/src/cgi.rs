//! Names of CGI variables, and how a URL path is split between `SCRIPT_NAME` and `PATH_INFO`.
//!
//! See RFC 3875 (<https://www.rfc-editor.org/rfc/rfc3875>), sections 4.1.5, 4.1.13 and 4.1.18.

use std::borrow::Cow;

/// Appends `HTTP_` and the name of a request header in CGI form to `variables`.
///
/// False, with nothing appended, for a name that must not become a variable: one with a byte other
/// than a letter, a digit or `-`, which another name could be mistaken for (`X_Name` for `X-Name`).
pub fn push_header_variable(name: &[u8], variables: &mut Vec<u8>) -> bool {
    let start = variables.len();
    variables.extend_from_slice(b"HTTP_");
    for byte in name {
        variables.push(match byte {
            b'-' => b'_',
            byte if byte.is_ascii_alphanumeric() => byte.to_ascii_uppercase(),
            _ => {
                variables.truncate(start);
                return false;
            }
        });
    }
    if name.is_empty() {
        variables.truncate(start);
    }
    !name.is_empty()
}

/// The same for the headers that most requests have, without making anything.
pub fn known_header_variable(name: &[u8]) -> Option<&'static str> {
    let known: &[&'static str] = match name.len() {
        4 => &["HTTP_HOST"],
        6 => &["HTTP_ACCEPT", "HTTP_ORIGIN"],
        7 => &["HTTP_REFERER"],
        10 => &["HTTP_USER_AGENT", "HTTP_CONNECTION"],
        13 => &["HTTP_CACHE_CONTROL", "HTTP_IF_NONE_MATCH"],
        15 => &["HTTP_ACCEPT_ENCODING", "HTTP_ACCEPT_LANGUAGE", "HTTP_X_FORWARDED_FOR"],
        _ => &[],
    };
    let means = |variable: &&&str| {
        let made = variable.as_bytes().get("HTTP_".len()..).unwrap_or_default();
        made.iter().zip(name).all(|(made, byte)| match byte {
            b'-' => *made == b'_',
            b'_' => false,
            byte => byte.to_ascii_uppercase() == *made,
        })
    };
    known.iter().find(means).copied()
}

/// `path` with every run of slashes made one.
pub fn collapse_slashes(path: &[u8]) -> Cow<'_, [u8]> {
    if !path.windows(2).any(|pair| pair == b"//") {
        return Cow::Borrowed(path);
    }
    let mut collapsed = Vec::with_capacity(path.len());
    for byte in path {
        if *byte != b'/' || collapsed.last() != Some(&b'/') {
            collapsed.push(*byte);
        }
    }
    Cow::Owned(collapsed)
}

/// The length of the part of `path` that is the script's: what is left when `path_info` is taken
/// from the end.
///
/// Path info comes from a file name, where runs of slashes are collapsed already, so a run in the
/// URL equals one slash. If `path` does not end in `path_info`, all of it is the script's.
pub fn script_name_length(path: &[u8], path_info: &[u8]) -> usize {
    let mut script = path.len();
    let mut info = path_info.len();
    while script > 0 && info > 0 && path[script - 1] == path_info[info - 1] {
        let slash = path[script - 1] == b'/';
        script -= 1;
        info -= 1;
        // A run of slashes on either side counts as one; the slash itself is consumed above.
        while slash && script > 0 && path[script - 1] == b'/' {
            script -= 1;
        }
        while slash && info > 0 && path_info[info - 1] == b'/' {
            info -= 1;
        }
    }
    if info > 0 {
        // Forward to the next segment: a partly matched one belongs to the script.
        script += path[script..].iter().take_while(|b| **b != b'/').count();
    }
    script
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn header_names() {
        let mut variables = Vec::new();
        assert!(push_header_variable(b"X-Forwarded-For", &mut variables));
        assert!(push_header_variable(b"te", &mut variables));
        assert_eq!(variables, b"HTTP_X_FORWARDED_FORHTTP_TE");
        for name in ["X_Under", "X.Dot", "", "X\u{e9}", "X Y"] {
            assert!(!push_header_variable(name.as_bytes(), &mut variables), "{name}");
            assert!(variables.ends_with(b"HTTP_TE"), "{name}");
        }
    }

    #[test]
    fn known_headers_are_as_if_made() {
        let names = "Host accept ORIGIN Referer User-Agent Connection cache-control If-None-Match \
                     Accept-Encoding Accept-Language X-Forwarded-For";
        for name in names.split(' ') {
            let mut made = Vec::new();
            assert!(push_header_variable(name.as_bytes(), &mut made));
            let known = known_header_variable(name.as_bytes());
            assert_eq!(known.map(str::as_bytes), Some(&*made), "{name}");
        }
        for name in ["User_Agent", "X", "", "Hos-", "Content-Range", "Sec-Fetch-Site1"] {
            assert_eq!(known_header_variable(name.as_bytes()), None, "{name}");
        }
    }

    #[test]
    fn slashes() {
        assert_eq!(&*collapse_slashes(b"//a///b/"), b"/a/b/");
        assert!(matches!(collapse_slashes(b"/a/b"), Cow::Borrowed(_)));
    }

    #[test]
    fn script_names() {
        for (path, path_info, script) in [
            ("/", "/", ""),
            ("//", "/", ""),
            ("/app", "", "/app"),
            ("/app/", "/", "/app"),
            ("//app//x//y", "/x/y", "//app"),
            ("/app//x/", "/x/", "/app"),
            ("/m/abc/def", "/def", "/m/abc"),
            ("/dir/s.wsgi", "", "/dir/s.wsgi"),
            ("/cgi/s.wsgi/p1//p2", "/p1/p2", "/cgi/s.wsgi"),
            ("/x/mid/y", "/other", "/x/mid/y"),
            ("/abc", "/xbc", "/abc"),
        ] {
            let length = script_name_length(path.as_bytes(), path_info.as_bytes());
            assert_eq!(&path[..length], script, "{path} {path_info}");
        }
    }

    proptest! {
        #[test]
        fn path_info_is_found_whatever_the_slashes(script in "(/[a-z]{1,3}){0,3}", info in "(/{1,3}[a-z]{1,3}){0,3}") {
            let path = format!("{script}{info}");
            let info = collapse_slashes(info.as_bytes()).into_owned();
            prop_assert_eq!(script_name_length(path.as_bytes(), &info), script.len());
        }

        #[test]
        fn any_bytes_do(path: Vec<u8>, info: Vec<u8>) {
            prop_assert!(script_name_length(&path, &info) <= path.len());
            prop_assert!(!collapse_slashes(&path).windows(2).any(|pair| pair == b"//"));
        }
    }
}
