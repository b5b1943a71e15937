//! Writing a text so that the program that reads it gets exactly that text.
//!
//! Paths with spaces and quotes, passwords, IPv6 addresses: whatever a user gives goes through one
//! of these on its way into a generated file.
//!
//! * Apache: <https://httpd.apache.org/docs/2.4/configuring.html#syntax>
//! * shell: <https://pubs.opengroup.org/onlinepubs/9699919799/utilities/V3_chap02.html#tag_18_02>

/// One argument of a directive. Between quotes Apache takes away a backslash that stands before a
/// quote or a backslash. A `${NAME}` is replaced even there; line breaks cannot be written, and
/// are refused where options are read.
pub(crate) fn apache(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A path for `<Directory>`, which would take it as a pattern.
pub(crate) fn directory(path: &str) -> String {
    let mut literal = String::with_capacity(path.len());
    for c in path.chars() {
        if matches!(c, '*' | '?' | '[' | '\\') {
            literal.push('\\');
        }
        literal.push(c);
    }
    apache(&literal)
}

/// A text that a regular expression matches literally. (The expression is not quoted by this.)
pub(crate) fn regex(text: &str) -> String {
    let mut literal = String::with_capacity(text.len());
    for c in text.chars() {
        if r"\.+*?()|[]{}^$".contains(c) {
            literal.push('\\');
        }
        literal.push(c);
    }
    literal
}

/// One word of a shell script; bare if the shell leaves it alone anyway.
pub(crate) fn shell(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "/._-:=,+@%".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', r"'\''"))
}

/// One word of the command that logs are piped to, which Apache splits by the rules of APR.
pub(crate) fn piped(text: &str) -> String {
    let special = |c: char| c.is_whitespace() || "\"'\\".contains(c);
    if !text.is_empty() && !text.contains(special) {
        return text.to_owned();
    }
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Text in HTML.
pub(crate) fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_of_directives() {
        assert_eq!(apache("/a b"), r#""/a b""#);
        assert_eq!(apache(r#"it's "\"#), r#""it's \"\\""#);
        assert_eq!(directory("/a[1]*"), r#""/a\\[1]\\*""#);
    }

    #[test]
    fn expressions() {
        assert_eq!(regex("/a.b+(c)"), r"/a\.b\+\(c\)");
    }

    #[test]
    fn words_of_a_shell() {
        assert_eq!(shell("/usr/bin/python3"), "/usr/bin/python3");
        assert_eq!(shell(""), "''");
        assert_eq!(shell("it's $HOME"), r"'it'\''s $HOME'");
    }

    #[test]
    fn words_of_a_pipe() {
        assert_eq!(piped("/a/b.%Y"), "/a/b.%Y");
        assert_eq!(piped(r#"/a b"c"#), r#""/a b\"c""#);
    }
}
