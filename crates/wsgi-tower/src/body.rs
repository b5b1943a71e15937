//! The body of a response: all at once, or piece by piece from a thread that runs Python.
//!
//! A stream that ends without saying so was cut short, whatever the reason; it becomes an error,
//! and the server closes the connection so that the client can tell.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tokio::sync::mpsc;

use crate::leftover::Leftover;

/// What the application sends.
#[derive(Debug)]
pub struct Body(Kind);

#[derive(Debug)]
enum Kind {
    /// All of it; empty once it was given out.
    Whole(Bytes),
    /// All there will be, less than promised.
    Short(Bytes),
    Stream(mpsc::Receiver<Part>),
    /// All was sent; the rest of the request is in the way of the next.
    Draining(Leftover),
    /// It was cut short, which shows once what there was has gone out.
    Cut,
    /// Nothing more comes.
    Ended,
}

/// A part of a stream.
#[derive(Debug)]
pub(crate) enum Part {
    Data(Bytes),
    End(Option<Leftover>),
}

/// The application did not send all it promised, or could not go on.
#[derive(Debug)]
pub struct Truncated;

impl fmt::Display for Truncated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the application's response was cut short")
    }
}

impl std::error::Error for Truncated {}

impl Body {
    pub(crate) fn whole(data: Bytes) -> Body {
        Body(Kind::Whole(data))
    }

    pub(crate) fn short(data: Bytes) -> Body {
        Body(Kind::Short(data))
    }

    pub(crate) fn stream(parts: mpsc::Receiver<Part>) -> Body {
        Body(Kind::Stream(parts))
    }

    /// An error makes a server drop what it has not written, so it gets a turn to do that first.
    fn cut<T>(&mut self, cx: &mut Context<'_>) -> Poll<T> {
        self.0 = Kind::Cut;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = Truncated;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Truncated>>> {
        loop {
            let (next, kind) = match &mut self.0 {
                Kind::Whole(data) if data.is_empty() => (None, Kind::Ended),
                Kind::Whole(data) => (Some(Ok(std::mem::take(data))), Kind::Ended),
                Kind::Short(data) if data.is_empty() => return self.cut(cx),
                Kind::Short(data) => (Some(Ok(std::mem::take(data))), Kind::Short(Bytes::new())),
                Kind::Stream(parts) => match ready!(parts.poll_recv(cx)) {
                    Some(Part::Data(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                    Some(Part::End(None)) => (None, Kind::Ended),
                    Some(Part::End(Some(leftover))) => {
                        self.0 = Kind::Draining(leftover);
                        continue;
                    }
                    None => return self.cut(cx),
                },
                Kind::Draining(leftover) => {
                    ready!(leftover.poll_drain(cx));
                    (None, Kind::Ended)
                }
                Kind::Cut => (Some(Err(Truncated)), Kind::Ended),
                Kind::Ended => (None, Kind::Ended),
            };
            self.0 = kind;
            return Poll::Ready(next.map(|data| data.map(Frame::data)));
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            Kind::Whole(data) => data.is_empty(),
            Kind::Ended => true,
            Kind::Short(_) | Kind::Stream(_) | Kind::Draining(_) | Kind::Cut => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Kind::Whole(data) => SizeHint::with_exact(data.len() as u64),
            Kind::Ended => SizeHint::with_exact(0),
            Kind::Short(_) | Kind::Stream(_) | Kind::Draining(_) | Kind::Cut => SizeHint::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::task::Waker;

    use http_body::Body as _;

    use super::*;

    /// What comes without waiting: data, then how it went on.
    fn drain(body: &mut Body) -> (Vec<u8>, Poll<Option<Result<(), Truncated>>>) {
        let mut context = Context::from_waker(Waker::noop());
        let mut data = Vec::new();
        loop {
            match Pin::new(&mut *body).poll_frame(&mut context) {
                Poll::Ready(Some(Ok(frame))) => {
                    data.extend_from_slice(&frame.into_data().unwrap());
                }
                Poll::Ready(Some(Err(error))) => return (data, Poll::Ready(Some(Err(error)))),
                Poll::Ready(None) => return (data, Poll::Ready(None)),
                Poll::Pending => return (data, Poll::Pending),
            }
        }
    }

    #[test]
    fn a_whole_body_is_one_piece() {
        let mut body = Body::whole(Bytes::from_static(b"abc"));
        assert_eq!(body.size_hint().exact(), Some(3));
        assert!(matches!(drain(&mut body), (data, Poll::Ready(None)) if data == b"abc"));
        assert!(body.is_end_stream());
        assert!(Body::whole(Bytes::new()).is_end_stream());
    }

    #[test]
    fn a_short_body_ends_in_an_error() {
        let mut body = Body::short(Bytes::from_static(b"ab"));
        assert_eq!(body.size_hint().exact(), None);
        assert!(matches!(drain(&mut body), (data, Poll::Pending) if data == b"ab"));
        assert!(matches!(drain(&mut body), (_, Poll::Ready(Some(Err(_))))));
    }

    #[test]
    fn a_stream_whose_sender_is_gone_is_cut_short() {
        let (sender, receiver) = mpsc::channel(2);
        let mut body = Body::stream(receiver);
        sender.try_send(Part::Data(Bytes::from_static(b"a"))).unwrap();
        assert!(matches!(drain(&mut body), (data, Poll::Pending) if data == b"a"));
        drop(sender);
        assert!(matches!(drain(&mut body), (_, Poll::Pending)));
        assert!(matches!(drain(&mut body), (_, Poll::Ready(Some(Err(_))))));

        let (sender, receiver) = mpsc::channel(2);
        sender.try_send(Part::End(None)).unwrap();
        drop(sender);
        assert!(matches!(drain(&mut Body::stream(receiver)), (_, Poll::Ready(None))));
    }
}
