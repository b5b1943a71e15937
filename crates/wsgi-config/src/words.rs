//! Cutting the arguments of a directive into words and options.
//!
//! Words follow `ap_getword_conf`: a word in single or double quotes may hold white space, with a
//! backslash before the quote or another backslash. Options are `name=value` with nothing between
//! the name and the equals sign; white space behind it is skipped, so `threads= 3` means 3.

/// The arguments of a directive, read from left to right.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    rest: &'a [u8],
}

/// Name and value of a `name=value` argument.
pub type OptionArgument<'a> = (&'a [u8], Vec<u8>);

/// An argument that is not `name=value`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NotAnOption;

impl<'a> Words<'a> {
    /// Starts at the beginning of `arguments`.
    pub fn new(arguments: &'a [u8]) -> Words<'a> {
        Words { rest: arguments }
    }

    /// The next word; `None` at the end. An empty pair of quotes is an empty word.
    pub fn word(&mut self) -> Option<Vec<u8>> {
        self.rest = self.rest.trim_ascii_start();
        let (&first, behind) = self.rest.split_first()?;
        if first != b'"' && first != b'\'' {
            let end = self.rest.iter().position(u8::is_ascii_whitespace);
            let (word, rest) = self.rest.split_at(end.unwrap_or(self.rest.len()));
            self.rest = rest;
            return Some(word.to_vec());
        }
        let mut word = Vec::new();
        let mut bytes = behind.iter().copied().enumerate();
        while let Some((at, byte)) = bytes.next() {
            match byte {
                b'\\' if matches!(behind.get(at + 1), Some(&b) if b == first || b == b'\\') => {
                    word.extend(bytes.next().map(|(_, escaped)| escaped));
                }
                byte if byte == first => {
                    self.rest = &behind[at + 1..];
                    return Some(word);
                }
                byte => word.push(byte),
            }
        }
        // Without a closing quote the word goes to the end of the line.
        self.rest = &[];
        Some(word)
    }

    /// The next option; `None` at the end.
    ///
    /// # Errors
    /// [`NotAnOption`] if the next argument has no `=`, or white space or nothing before it.
    pub fn option(&mut self) -> Option<Result<OptionArgument<'a>, NotAnOption>> {
        self.rest = self.rest.trim_ascii_start();
        if self.rest.is_empty() {
            return None;
        }
        let name = self.rest.iter().position(|b| *b == b'=' || b.is_ascii_whitespace());
        let Some(end) = name.filter(|end| *end > 0 && self.rest[*end] == b'=') else {
            return Some(Err(NotAnOption));
        };
        let name = &self.rest[..end];
        self.rest = &self.rest[end + 1..];
        Some(Ok((name, self.word().unwrap_or_default())))
    }
}

/// A flag: `On` or `Off` in any case.
pub fn flag(value: &[u8]) -> Option<bool> {
    if value.eq_ignore_ascii_case(b"on") {
        Some(true)
    } else if value.eq_ignore_ascii_case(b"off") {
        Some(false)
    } else {
        None
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn words(text: &str) -> Vec<String> {
        let mut words = Words::new(text.as_bytes());
        std::iter::from_fn(|| words.word())
            .map(|word| String::from_utf8_lossy(&word).into_owned())
            .collect()
    }

    fn options(text: &str) -> Result<Vec<(String, String)>, NotAnOption> {
        let mut words = Words::new(text.as_bytes());
        let mut options = Vec::new();
        while let Some(option) = words.option() {
            let (name, value) = option?;
            let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
            options.push((text(name), text(&value)));
        }
        Ok(options)
    }

    fn pair(name: &str, value: &str) -> (String, String) {
        (name.to_owned(), value.to_owned())
    }

    #[test]
    fn words_and_quotes() {
        assert_eq!(words("  /app  /srv/app.wsgi "), ["/app", "/srv/app.wsgi"]);
        assert_eq!(words(r#"/app "/srv/a b.wsgi" x"#), ["/app", "/srv/a b.wsgi", "x"]);
        assert_eq!(words(r#"'it\'s' "a\\b" "c\d""#), ["it's", r"a\b", r"c\d"]);
        assert_eq!(words(r#""" x"#), ["", "x"]);
        assert_eq!(words(r#""open x"#), ["open x"]);
        assert!(words("   ").is_empty());
    }

    #[test]
    fn option_grammar() {
        assert_eq!(
            options(r#"process-group=a application-group="%{GLOBAL}""#),
            Ok(vec![pair("process-group", "a"), pair("application-group", "%{GLOBAL}")])
        );
        assert_eq!(options("threads= 3"), Ok(vec![pair("threads", "3")]));
        assert_eq!(
            options("process-group= application-group=b"),
            Ok(vec![pair("process-group", "application-group=b")])
        );
        assert_eq!(options(r#"home="""#), Ok(vec![pair("home", "")]));
        assert_eq!(options("home="), Ok(vec![pair("home", "")]));
        for bad in ["threads", "threads =3", "=3", "a=1 b"] {
            assert_eq!(options(bad), Err(NotAnOption), "{bad}");
        }
    }

    #[test]
    fn flags() {
        assert_eq!(flag(b"oN"), Some(true));
        assert_eq!(flag(b"OFF"), Some(false));
        assert_eq!(flag(b"1"), None);
    }

    proptest! {
        #[test]
        fn reading_ends(text: Vec<u8>) {
            let mut words = Words::new(&text);
            for _ in 0..=text.len() {
                if words.word().is_none() {
                    return Ok(());
                }
            }
            prop_assert!(words.word().is_none());
        }
    }
}
