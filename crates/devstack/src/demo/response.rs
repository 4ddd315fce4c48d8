//! Reads responses and their fields.

use anyhow::{Context, Result, ensure};
use reqwest::{RequestBuilder, StatusCode};
use serde_json::Value;

/// Sends a request and returns the body of the response, which must have the status.
pub async fn expect(status: StatusCode, request: RequestBuilder) -> Result<Value> {
    let response = request.send().await.context("the gateway does not respond")?;
    let (actual, path, body) = (response.status(), response.url().path().to_owned(), response.text().await?);
    ensure!(actual == status, "{path} responded {actual}, not {status}: {body}");
    serde_json::from_str(&body).with_context(|| format!("{path} did not respond with JSON: {body}"))
}

pub fn id(value: &Value, field: &str) -> Result<i64> {
    value[field].as_i64().with_context(|| format!("no number `{field}` in {value}"))
}

pub fn text<'a>(value: &'a Value, field: &str) -> Result<&'a str> {
    value[field].as_str().with_context(|| format!("no text `{field}` in {value}"))
}
