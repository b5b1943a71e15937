//! The service without a server: requests in, responses out, with bodies of every kind.

#![allow(clippy::unwrap_used)]

mod common;

use std::collections::VecDeque;
use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use common::{ask, service, text};
use http::Request;
use http_body::Frame;
use http_body_util::{BodyExt, Full};
use scenario::patience::PATIENCE;
use tower_service::Service;

/// A body that comes in these parts.
struct Parts(VecDeque<Result<Bytes, io::Error>>);

impl http_body::Body for Parts {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        Poll::Ready(self.0.pop_front().map(|part| part.map(Frame::data)))
    }
}

#[tokio::test]
async fn a_small_response_is_whole() {
    let request = Request::get("/environ?REQUEST_METHOD&HTTP_X_Y&wsgi.multithread&SERVER_PORT")
        .header("x-y", "z")
        .body(Full::<Bytes>::default())
        .unwrap();
    let response = service().call(request).await.unwrap();
    assert_eq!(response.status(), 200);
    let values: Vec<_> = response.headers().get_all("x-a").iter().collect();
    assert_eq!(values, ["1", "2"]);
    assert_eq!(response.headers()["content-length"], "13");
    assert!(http_body::Body::size_hint(response.body()).exact().is_some());
    assert_eq!(text(response).await.unwrap(), "GET\nz\nTrue\n80");
}

#[tokio::test]
async fn a_large_response_is_complete_and_in_order() {
    let body = text(ask("/large").await).await.unwrap();
    let expected: String = (0..5).map(|i| i.to_string().repeat(1 << 20)).collect();
    assert!(body == expected);
}

#[tokio::test]
async fn a_file_is_sent() {
    let body = text(ask("/file").await).await.unwrap();
    assert_eq!(body, std::fs::read_to_string(common::SCRIPT).unwrap());
}

#[tokio::test]
async fn a_short_response_does_not_look_complete() {
    let response = ask("/short").await;
    assert_eq!(response.headers()["content-length"], "10");
    assert!(text(response).await.is_err());
}

#[tokio::test]
async fn an_exception_is_an_error_page() {
    let response = ask("/nothing").await;
    assert_eq!(response.status(), 500);
    assert_eq!(text(response).await.unwrap(), "500 Internal Server Error\n");
}

#[tokio::test]
async fn an_upload_streams_both_ways() {
    let data: Vec<Bytes> = (0..100u8).map(|i| Bytes::from(vec![i; 30_001])).collect();
    let body = Parts(data.iter().cloned().map(Ok).collect());
    let response = service().call(Request::post("/echo").body(body).unwrap()).await.unwrap();
    let got = response.into_body().collect().await.unwrap().to_bytes();
    assert!(got == data.concat());
}

#[tokio::test]
async fn a_body_that_breaks_off_is_an_oserror() {
    let error = io::Error::other("gone");
    let body = Parts([Ok(Bytes::from_static(b"abc")), Err(error)].into());
    let response = service().call(Request::post("/broken").body(body).unwrap()).await.unwrap();
    assert_eq!(text(response).await.unwrap(), "OSError");
}

#[tokio::test]
async fn a_client_that_leaves_ends_an_endless_response() {
    let before: u32 = text(ask("/closed").await).await.unwrap().parse().unwrap();
    let mut body = ask("/endless").await.into_body();
    for _ in 0..20 {
        assert!(!body.frame().await.unwrap().unwrap().into_data().unwrap().is_empty());
    }
    drop(body);
    let end = tokio::time::Instant::now() + PATIENCE;
    while text(ask("/closed").await).await.unwrap() != (before + 1).to_string() {
        assert!(tokio::time::Instant::now() < end, "close() was not called");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test(flavor = "current_thread")]
async fn python_does_not_hold_the_runtime() {
    let waiting = tokio::spawn(ask("/wait"));
    tokio::task::yield_now().await;
    // There is one thread to ask from, which waits for nothing.
    assert_eq!(text(ask("/release").await).await.unwrap(), "released");
    assert_eq!(text(waiting.await.unwrap()).await.unwrap(), "True");
}

#[tokio::test]
async fn a_tunnel_is_refused() {
    let request = Request::connect("a.example:1").body(Full::<Bytes>::default()).unwrap();
    let response: Result<_, Infallible> = service().call(request).await;
    assert_eq!(response.unwrap().status(), 501);
}
