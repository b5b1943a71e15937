//! Status line and header fields of a response.
//!
//! The `http` crate's types lower-case names and have no reason phrase, and one vector per field
//! costs an allocation each, so a head is one buffer with offsets into it. Conversions for servers
//! that speak `http` are in `http.rs`, behind the feature of that name.

use std::fmt;

/// Status, reason phrase and header fields, in the application's order and spelling.
///
/// A head that the engine made is valid: see [`crate::validate`] for what that means. It has no
/// hop-by-hop field other than `Connection: close`, and at most one `Content-Length`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Head {
    status: u16,
    has_reason: bool,
    /// Length of the reason phrase.
    reason: usize,
    /// The reason phrase, then name and value of each field.
    text: Vec<u8>,
    fields: Vec<Field>,
    content_length: Option<u64>,
}

/// Where a field is in the text: its value follows its name.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Field {
    start: usize,
    name: usize,
    value: usize,
}

impl Head {
    /// A head without fields. Without a reason phrase the server uses the standard one.
    pub fn new(status: u16, reason: Option<&[u8]>) -> Head {
        Head::with_capacity(status, reason, 0, 0)
    }

    /// The same with room for `fields` fields with names and values of `text` bytes together.
    pub fn with_capacity(status: u16, reason: Option<&[u8]>, fields: usize, text: usize) -> Head {
        let phrase = reason.unwrap_or_default();
        let mut buffer = Vec::with_capacity(phrase.len() + text);
        buffer.extend_from_slice(phrase);
        Head {
            status,
            has_reason: reason.is_some(),
            reason: phrase.len(),
            text: buffer,
            fields: Vec::with_capacity(fields),
            content_length: None,
        }
    }

    /// The status code.
    pub fn status(&self) -> u16 {
        self.status
    }

    /// The reason phrase, if the application gave one, be it empty.
    pub fn reason(&self) -> Option<&[u8]> {
        self.has_reason.then(|| self.text.get(..self.reason).unwrap_or_default())
    }

    /// The header fields: name and value.
    pub fn headers(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> {
        self.fields.iter().map(|field| {
            let text = self.text.get(field.start..).unwrap_or_default();
            let (name, rest) = text.split_at_checked(field.name).unwrap_or_default();
            (name, rest.get(..field.value).unwrap_or_default())
        })
    }

    /// The value of the first field of this name, whose case does not count.
    pub fn get(&self, name: &str) -> Option<&[u8]> {
        self.headers()
            .find(|(other, _)| other.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| value)
    }

    /// Adds a field. It is the caller's to know that it is valid.
    pub fn push(&mut self, name: &[u8], value: &[u8]) {
        let start = self.text.len();
        self.text.extend_from_slice(name);
        self.text.extend_from_slice(value);
        self.fields.push(Field { start, name: name.len(), value: value.len() });
    }

    /// Removes all fields of this name, whose case does not count.
    pub fn remove(&mut self, name: &str) {
        let text = &self.text;
        self.fields.retain(|field| {
            let found = text.get(field.start..field.start + field.name);
            !found.is_some_and(|found| found.eq_ignore_ascii_case(name.as_bytes()))
        });
        if name.eq_ignore_ascii_case("content-length") {
            self.content_length = None;
        }
    }

    /// The length that `Content-Length` promises.
    pub fn content_length(&self) -> Option<u64> {
        self.content_length
    }

    /// Makes `length` what `Content-Length` promises, in place of any other promise.
    pub fn set_content_length(&mut self, length: u64) {
        if self.content_length.is_some() {
            self.remove("content-length");
        }
        // 20 digits hold any u64.
        let mut digits = [0; 20];
        let mut at = digits.len();
        let mut rest = length;
        loop {
            at -= 1;
            digits[at] = b'0' + (rest % 10) as u8;
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        self.push(b"Content-Length", &digits[at..]);
        self.content_length = Some(length);
    }
}

impl fmt::Debug for Head {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        f.debug_struct("Head")
            .field("status", &self.status)
            .field("reason", &self.reason().map(text))
            .field(
                "headers",
                &self.headers().map(|(name, value)| (text(name), text(value))).collect::<Vec<_>>(),
            )
            .finish()
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn fields_keep_order_and_spelling() {
        let mut head = Head::new(200, Some(b"Fine"));
        head.push(b"X-A", b"1");
        head.push(b"x-a", b"");
        head.push(b"X-B", b"2");
        let fields: Vec<_> = head.headers().collect();
        assert_eq!(fields, [(&b"X-A"[..], &b"1"[..]), (b"x-a", b""), (b"X-B", b"2")]);
        assert_eq!(head.reason(), Some(&b"Fine"[..]));
        assert_eq!(head.get("x-b"), Some(&b"2"[..]));
        head.remove("X-A");
        assert_eq!(head.headers().collect::<Vec<_>>(), [(&b"X-B"[..], &b"2"[..])]);
    }

    #[test]
    fn a_missing_reason_is_not_an_empty_one() {
        assert_eq!(Head::new(200, None).reason(), None);
        assert_eq!(Head::new(200, Some(b"")).reason(), Some(&b""[..]));
    }

    #[test]
    fn there_is_one_content_length() {
        let mut head = Head::new(200, None);
        for length in [7, 0, 10, u64::MAX] {
            head.set_content_length(length);
            assert_eq!(head.content_length(), Some(length));
            let text = length.to_string();
            assert_eq!(
                head.headers().collect::<Vec<_>>(),
                [(&b"Content-Length"[..], text.as_bytes())]
            );
        }
        head.remove("CONTENT-LENGTH");
        assert_eq!((head.content_length(), head.headers().len()), (None, 0));
    }
}
