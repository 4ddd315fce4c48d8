//! Bodies of all kinds, over raw sockets.

use std::net::SocketAddr;

use axum::routing::post;
use common::error::Detail;
use common::input::{Input, Invalid, Text};
use deserr::Deserr;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use utoipa_axum::router::OpenApiRouter;

use super::connection_tests::{exchange, parsed};
use super::tests::{platform, routes, start};
use super::{FormOrJson, Valid};

/// The answer to a request with this header and body: its status and its JSON body.
async fn post_to(to: SocketAddr, path: &str, header: &str, body: &str) -> (String, Value) {
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}content-length: {length}\r\n\r\n{body}"
    );
    let answer = exchange(to, &request).await;
    let (status, body) = parsed(&answer);
    (status.to_owned(), body)
}

#[derive(Deserr)]
#[deserr(error = Invalid)]
struct Login {
    email: Text<1, 50>,
    password: Text<1, 50>,
}

impl Input for Login {
    const ALIASES: &'static [(&'static str, &'static str)] = &[("username", "email")];
}

/// Starts a service that answers with what it read from a form or JSON, and from an optional body.
async fn start_echo() -> SocketAddr {
    let echo = |FormOrJson(Login { email, password })| async move { axum::Json(json!([email.0, password.0])) };
    let optional = |given: Option<Valid<Login>>| async move { axum::Json(given.is_some()) };
    let routes = OpenApiRouter::new().route("/login", post(echo)).route("/optional", post(optional));
    start(platform(Detail::Object, &[]), routes).await
}

fn part(name: &str, more: &str, value: &str) -> String {
    format!("--x\r\nContent-Disposition: form-data; name=\"{name}\"{more}\r\n\r\n{value}\r\n")
}

#[tokio::test]
async fn a_multipart_form_is_read_as_a_form() {
    let to = start_echo().await;
    let multipart = "content-type: multipart/form-data; boundary=x\r\n";
    let username = part("username", "", "민준@example.com");
    let whole =
        format!("{}{username}{}--x--\r\n", part("grant_type", "", "password"), part("password", "", "a=b&c%20+"));

    let (status, body) = post_to(to, "/login", multipart, &whole).await;

    assert_eq!((status.as_str(), body), ("200", json!(["민준@example.com", "a=b&c%20+"])));
    let file = part("password", "; filename=\"a.txt\"", "x");
    for (body, kind, field) in [
        (format!("{username}--x--\r\n"), "missing", json!(["body", "password"])),
        (format!("{username}{file}--x--\r\n"), "string_type", json!(["body", "password"])),
        (username.clone(), "value_error", json!(["body"])),
        ("nothing".to_owned(), "value_error", json!(["body"])),
        (String::new(), "value_error", json!(["body"])),
    ] {
        let (status, answer) = post_to(to, "/login", multipart, &body).await;
        let detail = &answer["detail"][0];
        assert_eq!((status.as_str(), &detail["type"], &detail["loc"]), ("422", &json!(kind), &field), "{body}");
    }
    let (status, _) = post_to(to, "/login", "content-type: multipart/form-data\r\n", &whole).await;
    assert_eq!(status, "422");
    let (status, _) = post_to(to, "/optional", multipart, &whole).await;
    assert_eq!(status, "422", "only a form where the operation takes forms");
}

#[tokio::test]
async fn a_byte_order_mark_before_json_is_passed_over() {
    let to = start_echo().await;
    let json = "content-type: application/json\r\n";
    let given = "{\"email\": \"a\", \"password\": \"b\"}";

    for header in [json, "", "content-type: application/vnd.x+json; charset=utf-8\r\n"] {
        let (status, body) = post_to(to, "/login", header, &format!("\u{feff}{given}")).await;
        assert_eq!((status.as_str(), body), ("200", json!(["a", "b"])), "{header}");
    }
    for (body, present) in [(format!("\u{feff}{given}"), true), ("\u{feff} null\n".to_owned(), false)] {
        assert_eq!(post_to(to, "/optional", json, &body).await, ("200".to_owned(), json!(present)), "{body}");
    }
    // The offset of an error counts from the text, as in the original.
    let (status, body) = post_to(to, "/login", json, "\u{feff}{x").await;
    assert_eq!((status.as_str(), &body["detail"][0]["loc"]), ("422", &json!(["body", 1])));
    for body in ["\u{feff}", "\u{feff}\u{feff}{}", " \u{feff}{}"] {
        assert_eq!(post_to(to, "/login", json, body).await.0, "422", "{body:?}");
    }
}

#[tokio::test]
async fn a_body_with_a_content_encoding_is_answered_with_415() {
    let to = start_echo().await;
    let given = "{\"email\": \"a\", \"password\": \"b\"}";

    for header in ["gzip", "br", "identity, gzip", "identity\r\ncontent-encoding: deflate", "x", "\u{e9}"] {
        for path in ["/login", "/optional"] {
            let header = format!("x-request-id: r-1\r\ncontent-encoding: {header}\r\n");
            let (status, body) = post_to(to, path, &header, given).await;
            assert_eq!((status.as_str(), &body["error"]), ("415", &json!("unsupported_media_type")), "{header}");
            assert_eq!((&body["status_code"], &body["request_id"]), (&json!(415), &json!("r-1")));
        }
    }
    for header in ["identity", "Identity", ""] {
        let header = format!("content-encoding: {header}\r\n");
        assert_eq!(post_to(to, "/login", &header, given).await.0, "200", "{header:?}");
    }
}

/// The bytes that the server sends after a header without a body, until it closes the connection.
async fn answer_to_header(to: SocketAddr, header: &str) -> String {
    let mut stream = TcpStream::connect(to).await.unwrap();
    stream.write_all(format!("POST /body HTTP/1.1\r\nhost: x\r\n{header}\r\n").as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_body_that_is_announced_too_large_is_refused_before_it_is_sent() {
    let to = start(platform(Detail::Object, &[]), routes()).await;

    for header in ["expect: 100-continue\r\ncontent-length: 65537\r\n", "content-length: 1048577\r\n"] {
        let answer = answer_to_header(to, header).await;
        assert!(answer.starts_with("HTTP/1.1 413 "), "{answer}");
        assert_eq!(parsed(&answer).1["error"], "payload_too_large");
    }
    // A body that is small enough is asked for.
    let mut stream = TcpStream::connect(to).await.unwrap();
    let head = "POST /body HTTP/1.1\r\nhost: x\r\nexpect: 100-continue\r\ncontent-length: 65536\r\n\r\n";
    stream.write_all(head.as_bytes()).await.unwrap();
    let mut first = [0; 12];
    stream.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 100");
}

#[tokio::test]
async fn a_client_that_sends_its_body_before_it_reads_gets_the_answer() {
    let to = start(platform(Detail::Object, &[]), routes()).await;
    let body = "x".repeat(1_000_000);
    let chunk = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());

    for _ in 0..20 {
        for (header, body) in [("content-length: 1000000", &body), ("transfer-encoding: chunked", &chunk)] {
            let mut stream = TcpStream::connect(to).await.unwrap();
            let request = format!("POST /body HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{header}\r\n\r\n{body}");
            stream.write_all(request.as_bytes()).await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            assert_eq!(parsed(&answer).0, "413", "{header}");
        }
    }
}
