//! Status lines and header fields: whatever is accepted is valid HTTP, and comes back out of a
//! `Head` as it went in.

#![no_main]

use libfuzzer_sys::fuzz_target;
use wsgi_core::Head;
use wsgi_core::validate::{self, Field};

fuzz_target!(|input: (&[u8], Vec<(&[u8], &[u8])>)| {
    let (line, fields) = input;
    let (code, reason) = match validate::status(line) {
        Ok(accepted) => accepted,
        Err(invalid) => {
            assert!(invalid.to_string().is_ascii());
            return;
        }
    };
    assert!((200..600).contains(&code));
    assert_eq!(line[..3], *code.to_string().as_bytes());
    if let Some(reason) = reason {
        assert_eq!(line[3..], [b" ", reason].concat());
        assert!(!reason.iter().any(u8::is_ascii_control));
    } else {
        assert_eq!(line.len(), 3);
    }
    let mut head = Head::new(code, reason);
    let mut sent = Vec::new();
    for (name, value) in fields {
        match validate::field(name, value) {
            Ok(Field::Send | Field::ContentType) => {
                assert!(!name.is_empty());
                assert!(
                    name.iter()
                        .all(|b| b.is_ascii_graphic() && !b"()<>@,;:\\\"/[]?={}".contains(b))
                );
                assert!(value.iter().all(|b| *b == b'\t' || !b.is_ascii_control()));
                head.push(name, value);
                sent.push((name.to_vec(), value.to_vec()));
            }
            Ok(Field::ContentLength(length)) => {
                assert!(value.iter().all(u8::is_ascii_digit));
                let text = std::str::from_utf8(value).map(str::parse);
                assert_eq!(text, Ok(Ok(length)));
                head.set_content_length(length);
                assert_eq!(head.content_length(), Some(length));
                sent.retain(|(name, _)| !name.eq_ignore_ascii_case(b"content-length"));
                sent.push((b"Content-Length".to_vec(), length.to_string().into_bytes()));
            }
            Ok(Field::Close | Field::Drop) => {
                assert!(!name.eq_ignore_ascii_case(b"content-length"));
            }
            Err(invalid) => {
                let text = invalid.to_string();
                assert!(!text.chars().any(char::is_control));
            }
        }
    }
    let found: Vec<_> = head.headers().map(|(n, v)| (n.to_vec(), v.to_vec())).collect();
    assert_eq!(found, sent);
    assert_eq!(head.reason(), reason);
});
