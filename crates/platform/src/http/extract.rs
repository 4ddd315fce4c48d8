//! Extractors that reject an input with one entry per broken field.

use std::time::Duration;

use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, RawPathParams, RawQuery, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode, header};
use common::error::{Error, PATH_NOT_FOUND, Rejected, Result};
use common::input::{Input, Invalid};
use deserr::{Deserr, IntoValue, ValuePointerRef};
use futures_util::StreamExt;
use serde_json::{Map, Value, json};
use tokio::time::{Instant, timeout_at};

/// A larger body is rejected with 413. The largest legitimate body, 1,000 ids of messages, has 28 KB.
const MAX_BODY_BYTES: usize = 64 * 1024;

/// The time that a client has for the first bytes of a body. Most bodies arrive with the header.
const BODY_START: Duration = Duration::from_secs(5);

/// The lowest rate of a body after that: an honest client on a slow mobile network sends more.
const MIN_BODY_BYTES_PER_SECOND: u32 = 1024;

/// The longest time from the header of a request to the end of its body.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyTimeout(pub(super) Duration);

/// A JSON body that obeys the rules of its type.
#[derive(Clone, Copy, Debug)]
pub struct Valid<T>(pub T);

/// The query string, read as a body whose fields are strings.
#[derive(Clone, Copy, Debug)]
pub struct Query<T>(pub T);

/// The only parameter of a path, or a struct of all parameters.
#[derive(Clone, Copy, Debug)]
pub struct Path<T>(pub T);

/// A body that is a form or JSON, by its content type.
#[derive(Clone, Copy, Debug)]
pub struct FormOrJson<T>(pub T);

impl<S: Send + Sync, T: Input> FromRequest<S> for Valid<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let json = is_json(request.headers());
        let body = body(request).await?;
        read_json(json, &body).map(Self)
    }
}

/// None for an empty body, and for `null`.
impl<S: Send + Sync, T: Input> OptionalFromRequest<S> for Valid<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Option<Self>> {
        let json = is_json(request.headers());
        let body = body(request).await?;
        if body.is_empty() || (json && body.trim_ascii() == b"null") {
            return Ok(None);
        }
        read_json(json, &body).map(|input| Some(Self(input)))
    }
}

impl<S: Send + Sync, T: Input> FromRequest<S> for FormOrJson<T> {
    type Rejection = Error;

    async fn from_request(request: Request, state: &S) -> Result<Self> {
        if !is_form(request.headers()) {
            return <Valid<T> as FromRequest<S>>::from_request(request, state).await.map(|Valid(input)| Self(input));
        }
        let body = body(request).await?;
        read("body", || pairs(&body)).map(Self)
    }
}

impl<S: Send + Sync, T: Input> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Ok(RawQuery(query)) = RawQuery::from_request_parts(parts, state).await;
        read("query", || pairs(query.as_deref().unwrap_or_default().as_bytes())).map(Self)
    }
}

impl<S: Send + Sync, T: Deserr<Invalid>> FromRequestParts<S> for Path<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let params =
            RawPathParams::from_request_parts(parts, state).await.map_err(|_| Error::not_found(PATH_NOT_FOUND))?;
        let params: Vec<_> = params.iter().map(|(name, value)| (name.to_owned(), Value::from(value))).collect();
        let read = match params.as_slice() {
            [(name, value)] => {
                let at = ValuePointerRef::Origin;
                T::deserialize_from_value(value.clone().into_value(), at.push_key(name))
            }
            several => deserr::deserialize(Value::Object(several.iter().cloned().collect())),
        };
        let reject = |invalid| Error::Invalid(Rejected { source: "path", invalid, sent: params.into_iter().collect() });
        read.map(Self).map_err(reject)
    }
}

/// Reads a body, unless it is too large or arrives too slowly.
async fn body(request: Request) -> Result<Vec<u8>> {
    let started = Instant::now();
    let total = request.extensions().get().map_or(Duration::MAX, |BodyTimeout(total)| *total);
    let (mut body, mut chunks) = (Vec::new(), request.into_body().into_data_stream());
    loop {
        let earned = BODY_START + Duration::from_secs(body.len() as u64) / MIN_BODY_BYTES_PER_SECOND;
        let Ok(chunk) = timeout_at(started + earned.min(total), chunks.next()).await else {
            let message = "Request body arrived too slowly";
            return Err(Error::refused(StatusCode::REQUEST_TIMEOUT, "request_timeout", message));
        };
        match chunk {
            None => return Ok(body),
            Some(Ok(chunk)) if body.len() + chunk.len() > MAX_BODY_BYTES => {
                let message = "Request body is too large";
                return Err(Error::refused(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message));
            }
            Some(Ok(chunk)) => body.extend_from_slice(&chunk),
            Some(Err(_)) => return Err(Error::business("Request body could not be read")),
        }
    }
}

/// Reads a body of JSON, or rejects one of another type.
fn read_json<T: Input>(json: bool, body: &[u8]) -> Result<T> {
    read("body", || if json { parse(body) } else { Ok(Value::String(String::new())) })
}

/// Reads an input. Only for a rejected input is the source parsed again, so that the answer can quote it.
fn read<T: Input>(source: &'static str, parse: impl Fn() -> Result<Value>) -> Result<T> {
    let sent = || -> Result<Value> {
        let mut sent = parse()?;
        if let Value::Object(fields) = &mut sent {
            rename(fields, T::ALIASES);
        }
        Ok(sent)
    };
    deserr::deserialize(sent()?).or_else(|invalid| Err(Error::Invalid(Rejected { source, invalid, sent: sent()? })))
}

fn rename(fields: &mut Map<String, Value>, aliases: &[(&str, &str)]) {
    for (old, current) in aliases {
        if !fields.contains_key(*current)
            && let Some(value) = fields.remove(*old)
        {
            fields.insert((*current).to_owned(), value);
        }
    }
}

/// A body without a content type is JSON, as in the original.
fn is_json(headers: &HeaderMap) -> bool {
    let Some(kind) = headers.get(header::CONTENT_TYPE) else { return true };
    let kind = media_type(kind.to_str().unwrap_or_default());
    kind == "application/json" || (kind.starts_with("application/") && kind.ends_with("+json"))
}

fn is_form(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    media_type(kind) == "application/x-www-form-urlencoded"
}

fn media_type(value: &str) -> String {
    value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

fn parse(body: &[u8]) -> Result<Value> {
    if body.is_empty() {
        return Err(reject(Invalid::new("missing", ValuePointerRef::Origin, "Field required")));
    }
    serde_json::from_slice(body).map_err(|e| {
        let at = ValuePointerRef::Origin;
        reject(Invalid::new("json_invalid", at.push_index(offset(body, &e)), format!("JSON decode error: {e}")))
    })
}

fn reject(invalid: Invalid) -> Error {
    Error::Invalid(Rejected { source: "body", invalid, sent: json!({}) })
}

/// The offset of a syntax error in the body, in bytes.
fn offset(body: &[u8], e: &serde_json::Error) -> usize {
    let lines = body.split_inclusive(|b| *b == b'\n').take(e.line().saturating_sub(1));
    (lines.map(<[u8]>::len).sum::<usize>() + e.column().saturating_sub(1)).min(body.len())
}

/// The pairs of a form or a query. Of a repeated name, the last counts.
fn pairs(encoded: &[u8]) -> Result<Value> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(encoded)
        .map_err(|_| reject(Invalid::new("value_error", ValuePointerRef::Origin, "Malformed form data")))?;
    Ok(pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect())
}
