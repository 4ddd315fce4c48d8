//! Slow, idle and oversized clients, over raw sockets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::response::sse::{Event, Sse};
use axum::routing::get;
use common::error::Detail;
use futures_util::{StreamExt, stream};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use utoipa_axum::router::OpenApiRouter;

use super::tests::{platform, routes, start};
use crate::platform::Platform;

/// How long a test waits for the end of a connection.
const PATIENCE: Duration = Duration::from_secs(30);

/// A timeout of the tests, and the least time that passes until it is over.
const SHORT: (&str, Duration) = ("1", Duration::from_millis(900));

const POST: &str = "POST /body HTTP/1.1\r\nhost: x\r\nx-request-id: r-1\r\ncontent-length: 60000\r\n\r\n";

async fn start_with(settings: &[(&'static str, &str)]) -> SocketAddr {
    start(platform(Detail::Text, settings), routes()).await
}

/// Sends a text, and then a byte every 100 ms. Returns the answer and how long the connection was open.
async fn drip(to: SocketAddr, start: &str, byte: &[u8]) -> (String, Duration) {
    let (mut read, mut write) = TcpStream::connect(to).await.unwrap().into_split();
    let started = Instant::now();
    write.write_all(start.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let dripping = async {
        loop {
            sleep(Duration::from_millis(100)).await;
            // Fails after the server has closed the connection.
            let _ = write.write_all(byte).await;
        }
    };
    tokio::select! {
        // A byte that arrives after the end resets the connection.
        _ = read.read_to_end(&mut answer) => {}
        () = dripping => {}
        () = sleep(PATIENCE) => panic!("the connection stayed open"),
    }
    (String::from_utf8(answer).unwrap(), started.elapsed())
}

/// The status and the JSON body of an answer.
pub(super) fn parsed(answer: &str) -> (&str, Value) {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    (head.split(' ').nth(1).unwrap(), serde_json::from_str(body).unwrap_or(Value::Null))
}

pub(super) async fn exchange(to: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    // The server may answer and close before it has read everything.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, stream.read_to_end(&mut answer)).await.unwrap();
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_connection_without_a_whole_header_is_closed() {
    let to = start_with(&[("HTTP_HEADER_TIMEOUT", SHORT.0)]).await;

    for start in ["", "GET / HT", "GET /health HTTP/1.1\r\nhost: x\r\nx-a: "] {
        // An idle connection sends nothing at all.
        let byte: &[u8] = if start.is_empty() { b"" } else { b"a" };
        let (answer, open) = drip(to, start, byte).await;
        assert_eq!(answer, "", "{start:?}");
        assert!(open >= SHORT.1, "{start:?}: {open:?}");
    }
}

#[tokio::test]
async fn a_body_that_takes_too_long_is_answered_with_408() {
    let to = start_with(&[("HTTP_BODY_TIMEOUT", SHORT.0)]).await;

    for start in [POST.to_owned(), format!("{POST}{}", "x".repeat(30_000))] {
        let (answer, open) = drip(to, &start, b"x").await;
        let (status, body) = parsed(&answer);
        assert_eq!((status, &body["error"], &body["status_code"]), ("408", &"request_timeout".into(), &408.into()));
        assert_eq!(body["request_id"], "r-1");
        assert!(open >= SHORT.1, "{open:?}");
    }
}

#[tokio::test]
async fn a_body_of_under_1_kb_a_second_is_answered_with_408() {
    let to = start_with(&[("HTTP_BODY_TIMEOUT", "600")]).await;

    let (answer, _) = drip(to, POST, b"x").await;

    assert_eq!(parsed(&answer).0, "408");
}

#[tokio::test]
async fn a_stream_outlives_the_timeouts_of_requests() {
    let events = || async {
        Sse::new(stream::unfold((), |()| async {
            sleep(Duration::from_millis(2500)).await;
            Some((Ok::<_, Infallible>(Event::default().data("late")), ()))
        }))
    };
    let settings = [("HTTP_HEADER_TIMEOUT", SHORT.0), ("HTTP_BODY_TIMEOUT", SHORT.0)];
    let to = start(platform(Detail::Text, &settings), OpenApiRouter::new().route("/stream", get(events))).await;
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();

    let mut received = String::new();
    while !received.contains("data: late") {
        let mut buffer = [0; 4096];
        let n = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
        assert_ne!(n, 0, "the stream ended: {received}");
        received += std::str::from_utf8(&buffer[..n]).unwrap();
    }
}

/// Opens an endless stream and stops reading it. Returns the connection, and the end of the stream.
async fn stalled_stream(platform: Platform) -> (TcpStream, oneshot::Receiver<()>) {
    let (ended, end) = oneshot::channel::<()>();
    let ended = Arc::new(Mutex::new(Some(ended)));
    let events = move || async move {
        let until_dropped = ended.lock().unwrap().take();
        Sse::new(stream::repeat_with(move || {
            let _ = &until_dropped;
            Ok::<_, Infallible>(Event::default().data("x".repeat(60_000)))
        }))
    };
    let to = start(platform, OpenApiRouter::new().route("/stream", get(events))).await;
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
    (stream, end)
}

#[tokio::test]
async fn a_stream_whose_client_stops_reading_is_ended() {
    let (_stream, end) = stalled_stream(platform(Detail::Text, &[("HTTP_WRITE_TIMEOUT", SHORT.0)])).await;

    timeout(PATIENCE, end).await.expect("the server ends the stream").unwrap_err();
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_stream_whose_client_stops_reading() {
    let platform = platform(Detail::Text, &[]);
    let (_stream, end) = stalled_stream(platform.clone()).await;

    platform.shutdown.stop(Duration::ZERO).await;

    timeout(Duration::from_secs(10), end).await.expect("sooner than the write timeout").unwrap_err();
}

#[tokio::test]
async fn an_event_stream_is_whole_and_ends_its_connection() {
    let events = || async {
        let event = |n: usize| Ok::<_, Infallible>(Event::default().data(n.to_string().repeat(n)));
        // One event alone, then some at once.
        let (first, others) = (stream::iter([event(1)]), stream::iter([event(2), event(20_000), event(3)]));
        Sse::new(first.chain(stream::once(sleep(Duration::from_millis(50))).flat_map(move |()| others.clone())))
    };
    let to = start(platform(Detail::Text, &[]), OpenApiRouter::new().route("/stream", get(events))).await;
    let lines = format!("data: 1\n\ndata: 22\n\ndata: {}\n\ndata: 333\n\n", "20000".repeat(20_000));

    let answer = exchange(to, "GET /stream HTTP/1.1\r\nhost: x\r\n\r\nGET /health HTTP/1.1\r\nhost: x\r\n\r\n").await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains("transfer-encoding: chunked") && head.contains("connection: close"), "{head}");
    assert_eq!(without_chunks(body), lines);

    let answer = exchange(to, "GET /stream HTTP/1.0\r\nhost: x\r\n\r\n").await;
    assert_eq!(answer.split_once("\r\n\r\n").unwrap().1, lines, "HTTP/1.0 has no chunks");
    let answer = exchange(to, "HEAD /stream HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert_eq!(answer.split_once("\r\n\r\n").unwrap().1, "");
}

/// The content of a chunked body, which has to be complete.
fn without_chunks(mut body: &str) -> String {
    let mut content = String::new();
    loop {
        let (length, rest) = body.split_once("\r\n").unwrap();
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            assert_eq!(rest, "\r\n");
            return content;
        }
        content += &rest[..length];
        body = rest[length..].strip_prefix("\r\n").unwrap();
    }
}

#[tokio::test]
async fn an_event_stream_ends_when_its_client_leaves() {
    let (ended, end) = oneshot::channel::<()>();
    let ended = Arc::new(Mutex::new(Some(ended)));
    let events = move || async move {
        let until_dropped = ended.lock().unwrap().take();
        let first = stream::iter([Ok::<_, Infallible>(Event::default().data("first"))]);
        Sse::new(first.chain(stream::pending()).inspect(move |_| {
            let _ = &until_dropped;
        }))
    };
    let to = start(platform(Detail::Text, &[]), OpenApiRouter::new().route("/stream", get(events))).await;
    let mut client = TcpStream::connect(to).await.unwrap();
    client.write_all(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    assert_ne!(client.read(&mut [0; 4096]).await.unwrap(), 0);

    drop(client);

    timeout(PATIENCE, end).await.expect("the server ends the stream").unwrap_err();
}

#[tokio::test]
async fn connections_over_the_limit_are_closed_at_once() {
    let platform = platform(Detail::Text, &[("HTTP_MAX_CONNECTIONS", "10")]);
    let to = start(platform.clone(), routes()).await;
    let mut open = Vec::new();
    for _ in 0..10 {
        let mut stream = TcpStream::connect(to).await.unwrap();
        stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        assert_ne!(stream.read(&mut [0; 4096]).await.unwrap(), 0);
        open.push(stream);
    }

    assert_eq!(exchange(to, "GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await, "");
    let metrics = platform.metrics.render().unwrap();
    assert!(metrics.contains("http_connections_refused_total{service=\"friend-service\"} 1"), "{metrics}");

    open.clear();
    let answered = async {
        while exchange(to, "GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await.is_empty() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, answered).await.unwrap();
}

#[tokio::test]
async fn large_targets_and_headers_are_refused() {
    let to = start_with(&[]).await;
    let get =
        |target: &str, header: &str| format!("GET {target} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}\r\n");
    for (request, status, code) in [
        (get(&format!("/{}", "x".repeat(8200)), ""), "414", "uri_too_long"),
        (get(&format!("/users/1?q={}", "x".repeat(8200)), ""), "414", "uri_too_long"),
        (get("/users/1", &format!("cookie: {}\r\n", "x".repeat(33_000))), "431", "request_header_fields_too_large"),
        (get("/users/1", &"x-a: b\r\n".repeat(90)), "200", ""),
        (get("/users/1", &format!("cookie: {}\r\n", "x".repeat(30_000))), "200", ""),
    ] {
        let answer = exchange(to, &request).await;
        let (answered, body) = parsed(&answer);
        assert_eq!((answered, body["error"].as_str().unwrap_or_default()), (status, code));
    }
    // hyper answers these itself, before there is a request.
    for (request, status) in [
        (get(&format!("/{}", "x".repeat(66_000)), ""), "414"),
        (get("/users/1", &format!("cookie: {}\r\n", "x".repeat(70_000))), "431"),
        (get("/users/1", &"x-a: b\r\n".repeat(101)), "431"),
    ] {
        assert_eq!(parsed(&exchange(to, &request).await).0, status);
    }
}

#[tokio::test]
async fn a_request_with_two_readings_of_its_length_is_refused_or_read_as_chunks() {
    // Ends a connection that waits for another request.
    let to = start_with(&[("HTTP_HEADER_TIMEOUT", SHORT.0)]).await;
    let post = |header: &str, body: &str| format!("POST /body HTTP/1.1\r\nhost: x\r\n{header}\r\n\r\n{body}");
    for header in [
        "content-length: 2\r\ncontent-length: 3",
        "content-length: 2, 3",
        "content-length: +2",
        "content-length: 0x2",
        "content-length : 2",
        "content-length: 2\r\n content-length: 3",
        "transfer-encoding: xchunked",
        "transfer-encoding: chunked, identity",
        "transfer-encoding : chunked",
    ] {
        let answer = exchange(to, &post(header, "{}GET /health HTTP/1.1\r\nhost: x\r\n\r\n")).await;
        assert_eq!(parsed(&answer).0, "400", "{header:?}");
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{header:?}: {answer}");
    }
    // The chunks decide, so that what follows the stated length is no request of its own.
    let hidden = "GET /health HTTP/1.1\r\nhost: x\r\n\r\n";
    let chunk = format!("{:x}\r\n{hidden}\r\n0\r\n\r\n", hidden.len());
    let answer = exchange(to, &post("content-length: 4\r\ntransfer-encoding: chunked", &chunk)).await;
    assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    assert!(!answer.contains("HTTP/1.1 200"), "{answer}");
}

#[tokio::test]
async fn answers_over_https_tell_browsers_to_stay_with_https() {
    let hsts = "strict-transport-security: max-age=31536000";
    let request = "GET /health HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-forwarded-proto: https\r\n\r\n";

    assert!(exchange(start_with(&[("TRUSTED_PROXIES", "127.0.0.1")]).await, request).await.contains(hsts));
    assert!(!exchange(start_with(&[]).await, request).await.contains(hsts), "the client is no trusted proxy");
    let plain = request.replace("https", "http");
    assert!(!exchange(start_with(&[("TRUSTED_PROXIES", "127.0.0.1")]).await, &plain).await.contains(hsts));
}

#[tokio::test]
async fn a_request_names_exactly_one_host() {
    let to = start_with(&[]).await;
    let get = |version: &str, hosts: &str| format!("GET /users/1 {version}\r\nconnection: close\r\n{hosts}\r\n");
    for (version, hosts, status) in [
        ("HTTP/1.1", "host: x\r\n", "200"),
        ("HTTP/1.1", "", "400"),
        ("HTTP/1.1", "host: x\r\nhost: x\r\n", "400"),
        ("HTTP/1.1", "host: x\r\nhost: y\r\n", "400"),
        ("HTTP/1.0", "", "200"),
        ("HTTP/1.0", "host: x\r\nhost: x\r\n", "400"),
    ] {
        let answer = exchange(to, &get(version, hosts)).await;
        let (answered, body) = parsed(&answer);
        let code = if status == "400" { "business_logic_error" } else { "" };
        assert_eq!((answered, body["error"].as_str().unwrap_or_default()), (status, code), "{version} {hosts:?}");
    }
}
