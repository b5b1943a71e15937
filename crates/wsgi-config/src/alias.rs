//! Which URL paths a `WSGIScriptAlias` takes, and what file they mean.
//!
//! The prefix rule is that of Apache's `Alias`
//! (<https://httpd.apache.org/docs/2.4/mod/mod_alias.html#alias>): byte for byte, except that a run
//! of slashes equals another, and only whole path segments match.

/// Length of the part of `path` that `alias` takes, or `None` if it takes none of it.
pub fn match_prefix(alias: &[u8], path: &[u8]) -> Option<usize> {
    let mut rest_alias = alias;
    let mut rest = path;
    while let Some((&byte, behind)) = rest_alias.split_first() {
        if byte == b'/' {
            let slashes = leading_slashes(rest);
            if slashes == 0 {
                return None;
            }
            rest = &rest[slashes..];
            rest_alias = &rest_alias[leading_slashes(rest_alias)..];
        } else {
            rest = rest.strip_prefix(&[byte])?;
            rest_alias = behind;
        }
    }
    let whole = alias.last() == Some(&b'/') || matches!(rest.first(), None | Some(b'/'));
    (whole && !alias.is_empty()).then(|| path.len() - rest.len())
}

/// What of `path` stands behind the target of an alias that took its first `taken` bytes.
///
/// The root keeps its slash, so that a directory target needs none: everywhere else the rest is
/// put behind the target as it is.
pub fn rest<'a>(alias: &[u8], path: &'a [u8], taken: usize) -> &'a [u8] {
    if alias == b"/" { path } else { path.get(taken..).unwrap_or_default() }
}

/// Whether `rest` is path info without doubt if `target` is a file: whole segments, none of which
/// the server would take out of a path.
pub fn is_path_info(target: &[u8], rest: &[u8]) -> bool {
    let Some(segments) = rest.strip_prefix(b"/") else {
        return rest.is_empty();
    };
    let mut segments = segments.split(|byte| *byte == b'/').peekable();
    let mut plain = !target.ends_with(b"/");
    while let Some(segment) = segments.next() {
        // The last may be empty: a slash at the end.
        let empty = segment.is_empty() && segments.peek().is_some();
        plain &= !empty && segment != b"." && segment != b"..";
    }
    plain
}

fn leading_slashes(path: &[u8]) -> usize {
    path.iter().take_while(|b| **b == b'/').count()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_segments_with_runs_of_slashes() {
        for (alias, path, taken) in [
            ("/", "/", Some(1)),
            ("/", "//x", Some(2)),
            ("/", "*", None),
            ("/app", "/app", Some(4)),
            ("/app", "/app/", Some(4)),
            ("/app", "/application", None),
            ("/app", "//app//x", Some(5)),
            ("/app/", "/app", None),
            ("/app/", "/app/x", Some(5)),
            ("/app/", "/app//x", Some(6)),
            ("//a//b", "/a/b", Some(4)),
            ("/app", "/APP", None),
            ("", "/x", None),
        ] {
            assert_eq!(match_prefix(alias.as_bytes(), path.as_bytes()), taken, "{alias} {path}");
        }
    }

    #[test]
    fn files() {
        assert_eq!(rest(b"/", b"//x", 2), b"//x");
        assert_eq!(rest(b"/app", b"/app/x", 4), b"/x");
        assert_eq!(rest(b"/dir/", b"/dir/a.wsgi", 5), b"a.wsgi");
    }

    #[test]
    fn path_info_is_not_in_doubt() {
        for rest in ["", "/", "/x", "/x/", "/x/y.z/..."] {
            assert!(is_path_info(b"/s/a.wsgi", rest.as_bytes()), "{rest}");
        }
        for rest in ["x", "//", "//x", "/x//y", "/x//", "/./x", "/x/.", "/../x", "/x/.."] {
            assert!(!is_path_info(b"/s/a.wsgi", rest.as_bytes()), "{rest}");
        }
        assert!(!is_path_info(b"/s/", b"/x"));
    }

    proptest! {
        #[test]
        fn a_match_is_a_prefix_of_the_path(alias in "[/ab]{0,6}", path in "[/ab]{0,8}") {
            if let Some(taken) = match_prefix(alias.as_bytes(), path.as_bytes()) {
                let squeeze = |text: &str| {
                    let mut out = String::new();
                    for c in text.chars() {
                        if c != '/' || !out.ends_with('/') {
                            out.push(c);
                        }
                    }
                    out
                };
                prop_assert_eq!(squeeze(&path[..taken]), squeeze(&alias));
            }
        }
    }
}
