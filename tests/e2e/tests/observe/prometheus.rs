//! Queries to Prometheus and Alertmanager.

use std::time::Duration;

use reqwest::Method;
use serde_json::Value;
use testkit::Client;

/// The deadline for a change to be visible: two scrapes and the evaluation of a rule, on a slow machine.
pub const SCRAPE_DEADLINE: Duration = Duration::from_secs(150);

fn setting(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run these tests with `cargo stack test --observe`"))
}

/// Gets `path` from the server whose URL is in the variable `server`.
pub async fn get(server: &str, path: &str, query: &[(&str, &str)]) -> Value {
    let client = Client::new(&setting(server), "");
    client.send(client.request(Method::GET, path).query(query)).await.body
}

/// The series of an expression now, or the reason why it is invalid.
pub async fn query(expression: &str) -> Result<Vec<Value>, String> {
    let answer = get("PROMETHEUS_URL", "/api/v1/query", &[("query", expression)]).await;
    match answer["status"].as_str() {
        Some("success") => Ok(answer["data"]["result"].as_array().unwrap().clone()),
        _ => Err(answer["error"].to_string()),
    }
}

/// Whether an expression has a value. A division by zero has the value NaN, which does not count.
pub async fn has_data(expression: &str) -> bool {
    let found = query(expression).await.unwrap_or_else(|error| panic!("{expression}: {error}"));
    found.iter().any(|series| series["value"][1] != "NaN")
}
