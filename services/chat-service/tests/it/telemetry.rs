//! Traces and logs of a process.

use std::fs::File;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::body::Bytes;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::routing::{get, post};
use axum::{Json, Router};
use futures_util::future::join_all;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::{Value, json};
use testkit::{Events, Space, eventually};
use tokio::time::timeout;

use crate::app::TestApp;
use crate::fakes::serve;
use crate::process::{Process, free_port};

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// An OTLP collector with the spans that it received.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

impl Collector {
    async fn start() -> (Self, String) {
        let collector = Self::default();
        let url = serve(Router::new().route("/v1/traces", post(collect)).with_state(collector.clone())).await;
        (collector, url)
    }

    /// Waits for a span of the trace with this name.
    async fn span(&self, name: &str) -> Span {
        eventually(&format!("the span {name} is exported"), || async {
            let spans = self.0.lock().unwrap();
            spans.iter().find(|span| span.name == name && hex(&span.trace_id) == TRACE_ID).cloned()
        })
        .await
    }

    /// Waits for the span with this name and id.
    async fn parent(&self, name: &str, id: &[u8]) {
        eventually(&format!("a span {name} is the parent"), || async {
            let spans = self.0.lock().unwrap();
            spans.iter().any(|span| span.name == name && span.span_id == id).then_some(())
        })
        .await;
    }
}

async fn collect(State(collector): State<Collector>, body: Bytes) {
    let exported = ExportTraceServiceRequest::decode(body).unwrap();
    let scopes = exported.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    collector.0.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_trace_follows_a_message_from_its_request_to_the_stream_of_another_replica() {
    let (collector, url) = Collector::start().await;
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, bob, room) = app.direct_room().await;
    let settings = [("OTEL_EXPORTER_OTLP_ENDPOINT", url), ("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned())];
    let start = || Process::start(&app.space, &app.mysql_url, &settings).ready();
    let (local, remote) = tokio::join!(start(), start());
    let mut stream = remote.client(bob.client.token()).stream(&format!("/messages/stream/{room}"), None).await;
    assert_eq!(stream.next().await.name, "connected");

    let sender = local.client(ann.client.token()).with_header("traceparent", TRACEPARENT);
    // The remote replica finds messages without Kafka, and without a trace, until its consumer reads the new topic.
    let mut attempts = 0..20;
    let fan_out = loop {
        attempts.next().expect("no fan-out has a span");
        sender.post(&format!("/messages/{room}"), json!({"content": "안녕"})).await.expect(201);
        assert_eq!(stream.next().await.name, "new_message");
        if let Ok(span) = timeout(Duration::from_secs(1), collector.span("fan out")).await {
            break span;
        }
    };

    let publish = format!("publish {}", app.space.topics().message_events);
    let names = ["POST /messages/{id}", "commit to the room's log", &publish];
    let [request, commit, publish] =
        <[Span; 3]>::try_from(join_all(names.map(|name| collector.span(name))).await).unwrap();
    assert_eq!(hex(&request.parent_span_id), "b7ad6b7169203331", "the parent is the caller's span");
    for (parent, child) in [(&request, &commit), (&request, &publish), (&publish, &fan_out)] {
        collector.parent(&parent.name, &child.parent_span_id).await;
    }
}

#[tokio::test]
async fn the_callers_trace_continues_over_rest_and_kafka_without_an_exporter() {
    type Received = Arc<Mutex<Vec<HeaderMap>>>;
    let received = Received::default();
    let exists = |State(received): State<Received>, headers: HeaderMap| async move {
        received.lock().unwrap().push(headers);
        Json(json!({"user_id": 2, "exists": true}))
    };
    let router = Router::new().route("/api/users/{id}/exists", get(exists)).with_state(received.clone());
    let app = TestApp::start_with(&[("USER_SERVICE_URL", serve(router).await)]).await;
    app.space.create_topics().await;
    let ann = app.person(1).client.with_header("traceparent", TRACEPARENT).with_header("x-request-id", "r-1");

    let room = ann.get("/chat-rooms/check/2").await.expect(200)["id"].as_i64().unwrap();
    ann.post(&format!("/messages/{room}"), json!({"content": "hi"})).await.expect(201);

    let headers = received.lock().unwrap()[0].clone();
    assert_eq!(headers["traceparent"], TRACEPARENT);
    assert_eq!(headers["x-request-id"], "r-1");
    let topics = app.space.topics();
    for (topic, event) in [(topics.chat_events, "ChatRoomCreated"), (topics.message_events, "MessageSent")] {
        Events::of(&topic).expect(event, 1).await;
        assert_eq!(Events::of(&topic).headers("traceparent").await, [TRACEPARENT], "{topic}");
    }
}

#[tokio::test]
async fn a_process_without_an_exporter_passes_a_callers_trace_on_to_records() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, _, room) = app.direct_room().await;
    let process = Process::start(&app.space, &app.mysql_url, &[]).ready().await;
    let hostile = format!("fe{}ff-{}", &TRACEPARENT[2..53], "x".repeat(4000));

    let ann = process.client(ann.client.token()).with_header("traceparent", &hostile);
    ann.post(&format!("/messages/{room}"), json!({"content": "hi"})).await.expect(201);

    let topics = app.space.topics();
    Events::of(&topics.message_events).expect("MessageSent", 1).await;
    let received = Events::of(&topics.message_events).headers("traceparent").await;
    assert_eq!(received[0], TRACEPARENT);
}

#[tokio::test]
async fn a_log_line_of_a_request_has_its_user_and_its_trace_and_no_secrets() {
    let space = Space::new();
    let mysql_url = space.schema("chat").await;
    let path = std::env::temp_dir().join(format!("chat-service-log-{}", free_port()));
    let settings = [("LOG_LEVEL", "debug".to_owned())];
    let log = File::create(&path).unwrap();
    let process = Process::start_logging(log, free_port(), &space, &mysql_url, &settings).ready().await;
    let token = space.token(123, "ann");
    let ann = process.client(&token).with_header("traceparent", TRACEPARENT);

    ann.with_header("x-request-id", "r-1").get("/chat-rooms/77?note=my-secret").await.expect(404);
    ann.with_header("x-request-id", "r-2").get("/chat-rooms").await.expect(200);

    let ticket = ann.post("/messages/stream/ticket", json!({})).await.expect(200)["ticket"].take();
    let ticket = ticket.as_str().unwrap();
    let anonymous = process.client("").with_header("traceparent", TRACEPARENT).with_header("x-request-id", "r-3");
    anonymous.get(&format!("/messages/stream/77?ticket={ticket}")).await.expect(404);

    let log = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    for (request_id, level, status, route) in [
        ("r-1", "info", 404, "/chat-rooms/{room_id}"),
        ("r-2", "debug", 200, "/chat-rooms"),
        ("r-3", "info", 404, "/messages/stream/{room_id}"),
    ] {
        let line = lines.iter().find(|line| line["request_id"] == request_id && !line["status"].is_null()).unwrap();
        for (field, expected) in [
            ("level", json!(level)),
            ("status", json!(status)),
            ("route", json!(route)),
            ("user_id", json!(123)),
            ("trace_id", json!(TRACE_ID)),
            ("method", json!("GET")),
        ] {
            assert_eq!(line[field], expected, "{field}");
        }
        assert!(line["latency_ms"].is_f64() && line["timestamp"].is_string() && line["logger"].is_string(), "{line}");
        assert!(line.to_string().contains("user_id=123"), "log searches use this form: {line}");
    }
    for secret in ["my-secret", ticket, testkit::SECRET_KEY, &mysql_url, &token] {
        assert!(!log.contains(secret), "{secret}");
    }
}
