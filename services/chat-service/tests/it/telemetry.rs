//! What the process tells of a request while it runs: spans, and lines of its log.

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
use testkit::{Events, Space};
use tokio::net::TcpListener;

use crate::app::TestApp;
use crate::process::{Process, free_port};

const TRACE_ID: &str = "0af7651916cd43dd8448eb211c80319c";
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

/// Takes spans over OTLP.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<Span>>>);

impl Collector {
    async fn start() -> (Self, String) {
        let collector = Self::default();
        (collector.clone(), serve(Router::new().route("/v1/traces", post(take)).with_state(collector)).await)
    }

    /// A span of the trace, by its name.
    fn span(&self, name: &str) -> Option<Span> {
        let spans = self.0.lock().unwrap();
        spans.iter().find(|span| span.name == name && hex(&span.trace_id) == TRACE_ID).cloned()
    }
}

async fn take(State(collector): State<Collector>, body: Bytes) {
    let exported = ExportTraceServiceRequest::decode(body).unwrap();
    let scopes = exported.resource_spans.into_iter().flat_map(|resource| resource.scope_spans);
    collector.0.lock().unwrap().extend(scopes.flat_map(|scope| scope.spans));
}

async fn serve(router: Router) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
    url
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_message_is_one_trace_from_its_post_to_the_stream_of_another_replica() {
    let (collector, url) = Collector::start().await;
    let space = Space::new();
    space.create_topics().await;
    let mysql_url = space.schema("chat").await;
    let topic = space.topics().message_events;
    let app = TestApp::start_in(space, &mysql_url, &[]).await;
    let (ann, bob, room) = app.two_in_a_room().await;
    let more = [("OTEL_EXPORTER_OTLP_ENDPOINT", url), ("OTEL_BSP_SCHEDULE_DELAY", "50".to_owned())];
    let start = || Process::start(&app.space, &mysql_url, &more).ready();
    let (here, there) = tokio::join!(start(), start());
    let token = |id: i64| app.space.token(id, &format!("person_{id}"));
    let mut stream = there.client(&token(bob.id)).stream(&format!("/messages/stream/{room}"), None).await;
    assert_eq!(stream.next().await.name, "connected");

    let sender = here.client(&token(ann.id)).with_header("traceparent", TRACEPARENT);
    // The other replica hears by Kafka as soon as it stands at the topic's end, and until then reads the log.
    let mut tries = 0..20;
    let fan_out = loop {
        tries.next().expect("the fan-out is told of");
        sender.post(&format!("/messages/{room}"), json!({"content": "안녕"})).await.expect(201);
        assert_eq!(stream.next().await.name, "new_message");
        if let Some(span) = exported(|| collector.span("fan out")).await {
            break span;
        }
    };

    let spans = ["POST /messages/{id}", "commit to the room's log", &format!("publish {topic}")];
    let all = join_all(spans.map(|name| exported(|| collector.span(name)))).await;
    let [request, commit, publish] = <[_; 3]>::try_from(all).unwrap().map(|span| span.expect("it is exported"));
    assert_eq!(hex(&request.parent_span_id), "b7ad6b7169203331", "the caller's span");
    let siblings = |name: &str| {
        let spans = collector.0.lock().unwrap();
        spans.iter().filter(|span| span.name == name).map(|span| span.span_id.clone()).collect::<Vec<_>>()
    };
    let requests = siblings(&request.name);
    assert!(requests.contains(&commit.parent_span_id) && requests.contains(&publish.parent_span_id));
    assert!(siblings(&publish.name).contains(&fan_out.parent_span_id), "it came by Kafka");
}

/// A span, if it is exported within a second.
async fn exported(span: impl Fn() -> Option<Span>) -> Option<Span> {
    let wait = async {
        loop {
            match span() {
                Some(span) => break span,
                None => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(1), wait).await.ok()
}

#[tokio::test]
async fn without_an_exporter_the_callers_context_goes_on_over_rest_and_kafka() {
    let heard: Arc<Mutex<Vec<HeaderMap>>> = Arc::default();
    let exists = |State(heard): State<Arc<Mutex<Vec<HeaderMap>>>>, headers: HeaderMap| async move {
        heard.lock().unwrap().push(headers);
        Json(json!({"user_id": 2, "exists": true}))
    };
    let people = serve(Router::new().route("/api/users/{id}/exists", get(exists)).with_state(heard.clone())).await;
    let space = Space::new();
    space.create_topics().await;
    let mysql_url = space.schema("chat").await;
    let app = TestApp::start_in(space, &mysql_url, &[("USER_SERVICE_URL", people)]).await;
    let ann = app.person(1).client.with_header("traceparent", TRACEPARENT).with_header("x-request-id", "r-1");

    let room = ann.get("/chat-rooms/check/2").await.expect(200)["id"].as_i64().unwrap();
    ann.post(&format!("/messages/{room}"), json!({"content": "hi"})).await.expect(201);

    let asked = heard.lock().unwrap()[0].clone();
    assert_eq!(
        (&asked["traceparent"], &asked["x-request-id"]),
        (&TRACEPARENT.parse().unwrap(), &"r-1".parse().unwrap())
    );
    let topics = app.space.topics();
    for (topic, event) in [(topics.chat_events, "ChatRoomCreated"), (topics.message_events, "MessageSent")] {
        Events::of(&topic).expect(event, 1).await;
        assert_eq!(Events::of(&topic).headers("traceparent").await, [TRACEPARENT], "{topic}");
    }
}

#[tokio::test]
async fn a_line_about_a_request_says_whose_it_was_and_in_which_trace() {
    let space = Space::new();
    let mysql_url = space.schema("chat").await;
    let path = std::env::temp_dir().join(format!("chat-service-log-{}", free_port()));
    let level = [("LOG_LEVEL", "debug".to_owned())];
    let log = File::create(&path).unwrap();
    let process = Process::start_logging(log, free_port(), &space, &mysql_url, &level).ready().await;
    let ann = process.client(&space.token(123, "ann")).with_header("traceparent", TRACEPARENT);

    ann.with_header("x-request-id", "r-1").get("/chat-rooms/77?note=my-secret").await.expect(404);
    ann.with_header("x-request-id", "r-2").get("/chat-rooms").await.expect(200);

    let ticket = ann.post("/messages/stream/ticket", json!({})).await.expect(200)["ticket"].take();
    let ticket = ticket.as_str().unwrap();
    let nobody = process.client("").with_header("traceparent", TRACEPARENT).with_header("x-request-id", "r-3");
    nobody.get(&format!("/messages/stream/77?ticket={ticket}")).await.expect(404);

    let log = std::fs::read_to_string(&path).unwrap();
    std::fs::remove_file(&path).unwrap();
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).expect(line)).collect();
    let of = |id: &str| lines.iter().find(|line| line["request_id"] == id && !line["status"].is_null()).unwrap();
    for (line, level, status, route) in [
        (of("r-1"), "info", 404, "/chat-rooms/{room_id}"),
        (of("r-2"), "debug", 200, "/chat-rooms"),
        (of("r-3"), "info", 404, "/messages/stream/{room_id}"),
    ] {
        assert_eq!((&line["level"], &line["status"], &line["route"]), (&json!(level), &json!(status), &json!(route)));
        assert_eq!(
            (&line["user_id"], &line["trace_id"], &line["method"]),
            (&json!(123), &json!(TRACE_ID), &json!("GET"))
        );
        assert!(line["latency_ms"].is_f64() && line["timestamp"].is_string() && line["logger"].is_string(), "{line}");
        assert!(line.to_string().contains("user_id=123"), "as the log is searched: {line}");
    }
    for secret in ["my-secret", ticket, testkit::SECRET_KEY, &mysql_url, &space.token(123, "ann")] {
        assert!(!log.contains(secret), "{secret}");
    }
}
