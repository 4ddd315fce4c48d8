//! Hostile request bodies: generated from the schemas of a service's OpenAPI document, and sent to the service.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use reqwest::Method;
use reqwest::header::CONTENT_TYPE;
use serde_json::{Map, Value, json};
use tokio::runtime::Runtime;

use crate::{Answer, Client, SLACK};

/// The largest body of an answer to a refused request.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// The CPU time that a service may spend on a refused request. Code without optimization is eight times as slow, and is
/// compared with a slack; optimized code is not.
const MAX_CPU: Duration =
    if cfg!(debug_assertions) { Duration::from_millis(10 * 8 * SLACK as u64) } else { Duration::from_millis(10) };

/// The bodies for one operation and content type.
const CASES: u32 = 48;

/// An operation with a request body.
struct Operation {
    method: Method,
    path: String,
    content_type: String,
    fields: Vec<String>,
}

/// Sends hostile bodies to every operation of the service's document. Asserts that no answer is a 5xx, and that every
/// refusal has at most 64 KB and takes at most 10 ms of CPU. The service must run in `runtime`, which must have a
/// single thread, because CPU time is that of this thread.
///
/// # Panics
/// Panics with the smallest body that breaks a bound.
pub fn assert_refusals_are_bounded(runtime: &Runtime, client: &Client) {
    let document = runtime.block_on(client.get("/openapi.json")).expect(200);
    let operations = operations(&document);
    assert!(!operations.is_empty(), "no operation has a body");
    for operation in operations {
        let config = Config { cases: CASES, failure_persistence: None, max_shrink_iters: 256, ..Config::default() };
        let checked =
            TestRunner::new(config).run(&bodies(&operation), |body| check(runtime, client, &operation, &body));
        if let Err(e) = checked {
            let text: String = e.to_string().chars().take(2000).collect();
            panic!("{} {} as {}: {text}", operation.method, operation.path, operation.content_type);
        }
    }
}

fn check(runtime: &Runtime, client: &Client, operation: &Operation, body: &str) -> Result<(), TestCaseError> {
    let send = || {
        let request = client.request(operation.method.clone(), &operation.path).body(body.to_owned());
        let before = cpu_time();
        let answer = runtime.block_on(client.send(request.header(CONTENT_TYPE, &operation.content_type)));
        (answer, cpu_time() - before)
    };
    let (answer, mut took) = send();
    let Answer { status, text, .. } = answer;
    prop_assert!(status < 500, "{status}: {text}");
    if status >= 400 {
        prop_assert!(text.len() <= MAX_ANSWER_BYTES, "{status} with {} bytes", text.len());
        // Other tasks of the service may run in the same thread, so the fastest of a few tries counts.
        for _ in 0..3 {
            if took > MAX_CPU {
                took = took.min(send().1);
            }
        }
        prop_assert!(took <= MAX_CPU, "{status} after {took:?} of CPU");
    }
    Ok(())
}

/// The CPU time of this thread.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).unwrap().into()
}

fn operations(document: &Value) -> Vec<Operation> {
    let mut operations = Vec::new();
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let content = operation["requestBody"]["content"].as_object().into_iter().flatten();
            operations.extend(content.map(|(content_type, content)| {
                Operation {
                    method: method.to_uppercase().parse().unwrap(),
                    path: path
                        .split('/')
                        .map(|part| if part.starts_with('{') { "1" } else { part })
                        .collect::<Vec<_>>()
                        .join("/"),
                    content_type: content_type.clone(),
                    fields: fields(document, &content["schema"]),
                }
            }));
        }
    }
    operations
}

/// The names of the fields of a schema.
fn fields(document: &Value, schema: &Value) -> Vec<String> {
    let schema = match schema["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap(),
        None => schema,
    };
    schema["properties"].as_object().into_iter().flatten().map(|(name, _)| name.clone()).collect()
}

/// Objects with hostile values in the operation's fields, other JSON, and broken JSON.
fn bodies(operation: &Operation) -> BoxedStrategy<String> {
    let values = vec(value(), operation.fields.len());
    let names = operation.fields.clone();
    let object = values.prop_map(move |values| names.iter().cloned().zip(values).collect::<Map<_, _>>());
    if operation.content_type.contains("form") {
        let text = |value: Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
        let form = object.prop_map(move |fields| {
            let pairs = fields.into_iter().map(|(name, value)| format!("{name}={}", encoded(&text(value))));
            pairs.collect::<Vec<_>>().join("&")
        });
        return form.boxed();
    }
    let broken = (0..100_000_usize, select(vec!["[", "{\"a\":", "\"", "\\u", "\u{1}", "1e9"]))
        .prop_map(|(n, text)| text.repeat(n / text.len()));
    prop_oneof![
        8 => object.prop_map(|fields| Value::Object(fields).to_string()),
        1 => value().prop_map(|value| value.to_string()),
        1 => broken,
    ]
    .boxed()
}

/// Percent-encoding of everything but letters and digits.
fn encoded(text: &str) -> String {
    let byte = |b: u8| if b.is_ascii_alphanumeric() { char::from(b).to_string() } else { format!("%{b:02X}") };
    text.bytes().map(byte).collect()
}

/// A value that is long, deep, of the wrong type or out of range.
fn value() -> BoxedStrategy<Value> {
    let length = || select(vec![1_usize, 50, 100, 101, 1000, 20_000]);
    let text =
        (select(vec!["a", "\u{0}", "\"", "\\", "😀", "\u{202e}"]), length()).prop_map(|(c, n)| json!(c.repeat(n)));
    let short = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        Just(json!("\u{0}".repeat(100))),
        Just(json!({"password": "x"})),
        "\\PC{0,8}".prop_map(Value::from),
    ];
    let list = (vec(short.clone(), 1..4), length()).prop_map(|(items, n)| {
        // As many items as fit into 60 KB, and often as many as a service reads.
        let size: usize = items.iter().map(|item| item.to_string().len() + 1).sum::<usize>() / items.len() + 1;
        items.iter().cycle().take(n.min(60_000 / size)).cloned().collect()
    });
    let deep = (1..400_usize, any::<bool>()).prop_map(|(depth, list)| {
        (0..depth).fold(json!(1), |inner, _| if list { json!([inner]) } else { json!({"a": inner}) })
    });
    let wide = length().prop_map(|n| (0..n.min(4000)).map(|n| (format!("key-{n}"), json!(n))).collect());
    prop_oneof![2 => short, 2 => text, 3 => list, 1 => deep, 1 => wide].boxed()
}
