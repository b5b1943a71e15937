//! What an application may say in a status line and in header fields.
//!
//! Everything here is free of Python, so that it can be fuzzed and used alone. The order of the
//! checks and the texts are those of mod_wsgi; stricter than it, on purpose: NUL and other control
//! characters in values, names that are no token, statuses that end no response, and everything
//! but digits in `Content-Length`. PEP 3333 forbids applications to use hop-by-hop fields; since
//! proxies written as applications copy them all the time, they are dropped rather than refused:
//! see [`field`].
//!
//! <https://peps.python.org/pep-3333/>, <https://www.rfc-editor.org/rfc/rfc9110#section-5>

use std::fmt;

/// Why a status line or a field is not acceptable. The text is that of the exception.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Invalid {
    /// The status does not begin with exactly three digits.
    StatusDigits(Vec<u8>),
    /// The status code ends no response: below 200 or above 599.
    StatusRange(Vec<u8>),
    /// The character after the digits is not a space.
    StatusSpace(Vec<u8>),
    /// A control character in the reason phrase.
    ReasonControl(Vec<u8>),
    /// A header without a name.
    NameEmpty,
    /// A control character in a header's name.
    NameControl(Vec<u8>),
    /// A space in a header's name.
    NameSpace(Vec<u8>),
    /// Another character that no token has in a header's name.
    NameToken(Vec<u8>),
    /// CR or LF in a header's value.
    ValueNewline(Vec<u8>),
    /// Another control character in a header's value.
    ValueControl(Vec<u8>),
    /// A `Content-Length` that is not a number.
    ContentLength(Vec<u8>),
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, bytes) = match self {
            Invalid::StatusDigits(b) => ("status code must be a 3 digit integer", b),
            Invalid::StatusRange(b) => ("status code must be between 200 and 599", b),
            Invalid::StatusSpace(b) => ("no space following status code", b),
            Invalid::ReasonControl(b) => ("control character in status reason phrase", b),
            Invalid::NameEmpty => return f.write_str("header name is empty"),
            Invalid::NameControl(b) => ("control character in header name", b),
            Invalid::NameSpace(b) => ("space character in header name", b),
            Invalid::NameToken(b) => ("invalid character in header name", b),
            Invalid::ValueNewline(b) => ("carriage return/line feed character in header value", b),
            Invalid::ValueControl(b) => ("control character in header value", b),
            Invalid::ContentLength(b) => {
                f.write_str("invalid Content-Length header value: ")?;
                return repr(f, b, true);
            }
        };
        write!(f, "{what}: b")?;
        repr(f, bytes, false)
    }
}

impl std::error::Error for Invalid {}

/// Splits a status line like `404 Not Found` into code and reason phrase.
///
/// # Errors
/// Not three digits, then nothing or a space and a phrase; a code that ends no response.
pub fn status(line: &[u8]) -> Result<(u16, Option<&[u8]>), Invalid> {
    let digits = line.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (&[a, b, c], rest) = line.split_first_chunk::<3>().unwrap_or((&[0; 3], &[]));
    if digits != 3 {
        return Err(Invalid::StatusDigits(line.to_vec()));
    }
    let digit = |byte: u8| u16::from(byte - b'0');
    let code = digit(a) * 100 + digit(b) * 10 + digit(c);
    let reason = match rest.split_first() {
        None => None,
        Some((b' ', reason)) => Some(reason),
        Some(_) => return Err(Invalid::StatusSpace(line.to_vec())),
    };
    if reason.unwrap_or_default().iter().any(u8::is_ascii_control) {
        return Err(Invalid::ReasonControl(line.to_vec()));
    }
    if !(200..600).contains(&code) {
        return Err(Invalid::StatusRange(line.to_vec()));
    }
    Ok((code, reason))
}

/// What to do with a valid header field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    /// Send it.
    Send,
    /// A hop-by-hop field, which is the server's: leave it out. Of `Connection` the token `close`
    /// is honoured, and so it is not left out if it has that.
    Drop,
    /// `Connection` with a token `close`: send just `Connection: close`.
    Close,
    /// `Content-Length`: send it, instead of any earlier one.
    ContentLength(u64),
    /// `Content-Type`: send it, instead of any earlier one.
    ContentType,
}

/// Judges a header field.
///
/// # Errors
/// It could not be sent, or not without changing the meaning of the rest.
pub fn field(name: &[u8], value: &[u8]) -> Result<Field, Invalid> {
    if name.is_empty() {
        return Err(Invalid::NameEmpty);
    }
    // Lengths first: most fields are settled by them.
    // Then as they are usually written, which is quickly compared.
    let is = |usual: &[u8]| name == usual || name.eq_ignore_ascii_case(usual);
    let known = match name.len() {
        2 if is(b"TE") => Some(Known::HopByHop),
        7 if is(b"Trailer") || is(b"Upgrade") => Some(Known::HopByHop),
        10 if is(b"Keep-Alive") => Some(Known::HopByHop),
        10 if is(b"Connection") => Some(Known::Connection),
        12 if is(b"Content-Type") => Some(Known::ContentType),
        14 if is(b"Content-Length") => Some(Known::ContentLength),
        16 if is(b"Proxy-Connection") => Some(Known::HopByHop),
        17 if is(b"Transfer-Encoding") => Some(Known::HopByHop),
        _ => None,
    };
    if known.is_none() && !name.iter().all(|&byte| TOKEN[usize::from(byte)]) {
        let name = name.to_vec();
        return Err(if name.iter().any(u8::is_ascii_control) {
            Invalid::NameControl(name)
        } else if name.contains(&b' ') {
            Invalid::NameSpace(name)
        } else {
            Invalid::NameToken(name)
        });
    }
    if value.iter().any(|&byte| byte.is_ascii_control() && byte != b'\t') {
        let value = value.to_vec();
        return Err(if value.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
            Invalid::ValueNewline(value)
        } else {
            Invalid::ValueControl(value)
        });
    }
    Ok(match known {
        None => Field::Send,
        Some(Known::HopByHop) => Field::Drop,
        Some(Known::Connection) => {
            let close = |token: &[u8]| token.trim_ascii().eq_ignore_ascii_case(b"close");
            if value.split(|&byte| byte == b',').any(close) { Field::Close } else { Field::Drop }
        }
        Some(Known::ContentType) => Field::ContentType,
        Some(Known::ContentLength) => Field::ContentLength(content_length(value)?),
    })
}

/// Names that need not be looked at byte by byte.
#[derive(Clone, Copy)]
enum Known {
    HopByHop,
    Connection,
    ContentType,
    ContentLength,
}

/// The number in a `Content-Length`: digits, no larger than a signed 64-bit integer.
fn content_length(value: &[u8]) -> Result<u64, Invalid> {
    let mut length: u64 = 0;
    for byte in value {
        let digit = u64::from(byte.wrapping_sub(b'0'));
        if digit > 9 {
            return Err(Invalid::ContentLength(value.to_vec()));
        }
        length = length.saturating_mul(10).saturating_add(digit);
    }
    if value.is_empty() || i64::try_from(length).is_err() {
        return Err(Invalid::ContentLength(value.to_vec()));
    }
    Ok(length)
}

/// The characters of a token, RFC 9110 section 5.6.2.
const TOKEN: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0;
    while byte < 128 {
        table[byte] = (byte as u8).is_ascii_alphanumeric();
        byte += 1;
    }
    let marks = b"!#$%&'*+-.^_`|~";
    let mut i = 0;
    while i < marks.len() {
        table[marks[i] as usize] = true;
        i += 1;
    }
    table
};

/// Python's `repr` of bytes, without the `b`; of a Latin-1 `str` if `text`.
fn repr(f: &mut fmt::Formatter<'_>, bytes: &[u8], text: bool) -> fmt::Result {
    let double = bytes.contains(&b'\'') && !bytes.contains(&b'"');
    let quote = if double { '"' } else { '\'' };
    write!(f, "{quote}")?;
    for &byte in bytes {
        match byte {
            b'\n' => f.write_str("\\n")?,
            b'\r' => f.write_str("\\r")?,
            b'\t' => f.write_str("\\t")?,
            b'\\' => f.write_str("\\\\")?,
            b'\'' if !double => f.write_str("\\'")?,
            b' '..=b'~' => write!(f, "{}", byte as char)?,
            // The characters of Latin-1 that str.isprintable knows.
            0xa1..=0xac | 0xae..=0xff if text => write!(f, "{}", byte as char)?,
            _ => write!(f, "\\x{byte:02x}")?,
        }
    }
    write!(f, "{quote}")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn status_error(line: &[u8]) -> String {
        status(line).unwrap_err().to_string()
    }

    fn field_error(name: &[u8], value: &[u8]) -> String {
        field(name, value).unwrap_err().to_string()
    }

    #[test]
    fn statuses_that_are_fine() {
        assert_eq!(status(b"200 OK"), Ok((200, Some(&b"OK"[..]))));
        assert_eq!(status(b"200"), Ok((200, None)));
        assert_eq!(status(b"200 "), Ok((200, Some(&b""[..]))));
        assert_eq!(status(b"599 \xe4 b"), Ok((599, Some(&b"\xe4 b"[..]))));
    }

    #[test]
    fn statuses_that_are_not() {
        for line in ["", "20 OK", "2000 OK", " 200 OK", "99", "1000", "OK", "+20 OK", "2 0"] {
            assert_eq!(
                status_error(line.as_bytes()),
                format!("status code must be a 3 digit integer: b'{line}'")
            );
        }
        assert_eq!(status_error(b"200-OK"), "no space following status code: b'200-OK'");
        assert_eq!(status_error(b"200\tOK"), "no space following status code: b'200\\tOK'");
        assert_eq!(
            status_error(b"200 O\nK"),
            "control character in status reason phrase: b'200 O\\nK'"
        );
    }

    #[test]
    fn d14_nul_in_a_status_or_a_field_is_refused() {
        assert_eq!(
            status_error(b"200 OK\0\r\nX: 1"),
            "control character in status reason phrase: b'200 OK\\x00\\r\\nX: 1'"
        );
        assert_eq!(field_error(b"A\0B", b""), "control character in header name: b'A\\x00B'");
        assert_eq!(field_error(b"A", b"b\0c"), "control character in header value: b'b\\x00c'");
    }

    #[test]
    fn d17_statuses_that_end_no_response_are_refused() {
        for line in ["000 X", "099 X", "100 Continue", "101 X", "199", "600 X", "999 X"] {
            assert_eq!(
                status_error(line.as_bytes()),
                format!("status code must be between 200 and 599: b'{line}'")
            );
        }
    }

    #[test]
    fn d17_hop_by_hop_fields_are_dropped() {
        for name in
            ["TE", "Trailer", "Upgrade", "Keep-Alive", "Proxy-Connection", "TRANSFER-encoding"]
        {
            assert_eq!(field(name.as_bytes(), b"x"), Ok(Field::Drop), "{name}");
        }
        assert_eq!(field(b"Connection", b"keep-alive"), Ok(Field::Drop));
        assert_eq!(field(b"connection", b"x, Close"), Ok(Field::Close));
        assert_eq!(field(b"Connection", b"close"), Ok(Field::Close));
        assert_eq!(field(b"Proxy-Authenticate", b"Basic"), Ok(Field::Send));
    }

    #[test]
    fn names_that_are_not_fine() {
        assert_eq!(field_error(b"", b"v"), "header name is empty");
        assert_eq!(field_error(b"A\tB", b"v"), "control character in header name: b'A\\tB'");
        assert_eq!(field_error(b"A B", b"v"), "space character in header name: b'A B'");
        for name in ["X-(a)", "X-A:", "a/b", "a\"b"] {
            assert_eq!(
                field_error(name.as_bytes(), b"v"),
                format!("invalid character in header name: b'{name}'")
            );
        }
        assert_eq!(field_error(b"\xe4", b"v"), "invalid character in header name: b'\\xe4'");
    }

    #[test]
    fn values() {
        let text = "carriage return/line feed character in header value: b'b\\rc'";
        assert_eq!(field_error(b"A", b"b\rc"), text);
        assert_eq!(field_error(b"A", b"\x7f"), "control character in header value: b'\\x7f'");
        for value in [&b""[..], b"  b ", b"a\tb", b"\xe4\xff"] {
            assert_eq!(field(b"A", value), Ok(Field::Send));
        }
    }

    #[test]
    fn d29_content_length_is_digits() {
        assert_eq!(field(b"content-LENGTH", b"005"), Ok(Field::ContentLength(5)));
        let largest = i64::MAX.to_string();
        let length = field(b"Content-Length", largest.as_bytes());
        assert_eq!(length, Ok(Field::ContentLength(i64::MAX as u64)));
        for value in ["+5", " 5", "", "5 ", "-1", "abc", "1_0", "9223372036854775808", "0x5"] {
            assert_eq!(
                field_error(b"Content-Length", value.as_bytes()),
                format!("invalid Content-Length header value: '{value}'")
            );
        }
        let text = "invalid Content-Length header value: 'é\\xa0'";
        assert_eq!(field_error(b"Content-Length", b"\xe9\xa0"), text);
    }

    #[test]
    fn repr_quotes_as_python_does() {
        assert_eq!(status_error(b"it's"), "status code must be a 3 digit integer: b\"it's\"");
        assert_eq!(status_error(b"'\"\\"), "status code must be a 3 digit integer: b'\\'\"\\\\'");
    }
}
