//! [`Head`] to and from the types of the `http` crate, for servers that speak them.
//!
//! Lost on the way there: the reason phrase, which the crate has no place for, and the spelling of
//! names, which it lower-cases. A server on hyper keeps the phrase with `hyper::ext::ReasonPhrase`.
//!
//! <https://docs.rs/http/1>

use http::header::{CONTENT_LENGTH, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use crate::head::Head;

impl TryFrom<&Head> for Response<()> {
    type Error = http::Error;

    /// Does not fail for a head that the engine made.
    fn try_from(head: &Head) -> Result<Response<()>, http::Error> {
        let mut response = Response::new(());
        *response.status_mut() = StatusCode::from_u16(head.status())?;
        response.headers_mut().reserve(head.headers().len());
        for (name, value) in head.headers() {
            let name = HeaderName::from_bytes(name)?;
            response.headers_mut().append(name, HeaderValue::from_bytes(value)?);
        }
        Ok(response)
    }
}

impl<T> From<&Response<T>> for Head {
    fn from(response: &Response<T>) -> Head {
        let mut head = Head::new(response.status().as_u16(), None);
        for (name, value) in response.headers() {
            let length = value.to_str().ok().and_then(|value| value.parse().ok());
            match length {
                Some(length) if name == CONTENT_LENGTH => head.set_content_length(length),
                _ => head.push(name.as_str().as_bytes(), value.as_bytes()),
            }
        }
        head
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let mut head = Head::new(404, Some(b"Gone Fishing"));
        head.push(b"Set-Cookie", b"a");
        head.push(b"X-B", b"\xe9");
        head.push(b"set-cookie", b"b");
        head.set_content_length(7);
        let response = Response::try_from(&head).unwrap();
        assert_eq!(response.status(), 404);
        let cookies: Vec<_> = response.headers().get_all("set-cookie").iter().collect();
        assert_eq!(cookies, ["a", "b"]);
        let back = Head::from(&response);
        assert_eq!((back.status(), back.reason(), back.content_length()), (404, None, Some(7)));
        assert_eq!(back.get("x-b"), Some(&b"\xe9"[..]));
        assert_eq!(back.headers().len(), 4);
    }

    #[test]
    fn a_head_that_is_no_http_is_refused() {
        let mut head = Head::new(200, None);
        head.push(b"a b", b"");
        assert!(Response::try_from(&head).is_err());
        assert!(Response::try_from(&Head::new(1000, None)).is_err());
    }
}
