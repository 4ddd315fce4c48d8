//! What Prometheus and Alertmanager say.

use std::time::Duration;

use serde_json::Value;

/// Two scrapes and a rule's evaluation after something began, with room for a slow machine.
pub const SCRAPED_WITHIN: Duration = Duration::from_secs(150);

fn setting(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} is not set: run these tests with `cargo stack test --observe`"))
}

/// Asks `path` of the server that a variable names.
pub async fn ask(server: &str, path: &str, query: &[(&str, &str)]) -> Value {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let answer = http.get(format!("{}{path}", setting(server))).query(query).send().await.unwrap();
    answer.json().await.unwrap()
}

/// The series that an expression finds now; the reason where it is none.
pub async fn query(expression: &str) -> Result<Vec<Value>, String> {
    let answer = ask("PROMETHEUS_URL", "/api/v1/query", &[("query", expression)]).await;
    match answer["status"].as_str() {
        Some("success") => Ok(answer["data"]["result"].as_array().unwrap().clone()),
        _ => Err(answer["error"].to_string()),
    }
}

/// Whether an expression finds numbers; a division by nothing finds something that is none.
pub async fn has_data(expression: &str) -> bool {
    let found = query(expression).await.unwrap_or_else(|error| panic!("{expression}: {error}"));
    found.iter().any(|series| series["value"][1] != "NaN")
}
