//! Bodies of requests: their size, pace, encoding and media type.

use std::convert::Infallible;
use std::future::ready;
use std::time::Duration;

use axum::body::{Bytes, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderMap, StatusCode, header};
use common::error::{Error, Rejected, Result};
use common::input::{Invalid, MAX_BODY_BYTES, MAX_DISCARDED_BYTES};
use deserr::ValuePointerRef;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

/// The time that a client has for the first bytes of a body. Most bodies arrive with the header.
const BODY_START: Duration = Duration::from_secs(5);

/// The lowest rate of a body after that: an honest client on a slow mobile network sends more.
const MIN_BODY_BYTES_PER_SECOND: u32 = 1024;

/// UTF-8's byte-order mark. The original's parser passes over it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// The longest time from the header of a request to the end of its body.
#[derive(Clone, Copy, Debug)]
pub(super) struct BodyTimeout(pub(super) Duration);

/// The media type of a body.
pub(super) enum MediaType {
    /// Also a body without a content type, as in the original.
    Json,
    Form,
    Multipart {
        boundary: String,
    },
    Other,
}

impl MediaType {
    pub(super) fn of(headers: &HeaderMap) -> Self {
        let Some(kind) = headers.get(header::CONTENT_TYPE) else { return Self::Json };
        let kind = kind.to_str().unwrap_or_default();
        if let Ok(boundary) = multer::parse_boundary(kind) {
            return Self::Multipart { boundary };
        }
        match kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase().as_str() {
            "application/json" => Self::Json,
            "application/x-www-form-urlencoded" => Self::Form,
            kind if kind.starts_with("application/") && kind.ends_with("+json") => Self::Json,
            _ => Self::Other,
        }
    }
}

/// Reads a body, unless it is encoded, too large or arrives too slowly.
pub(super) async fn read(request: Request) -> Result<Vec<u8>> {
    if is_encoded(request.headers()) {
        let message = "Request body must not have a content encoding";
        return Err(Error::refused(StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported_media_type", message));
    }
    let started = Instant::now();
    let total = request.extensions().get().map_or(Duration::MAX, |BodyTimeout(total)| *total);
    let expected = usize::try_from(request.body().size_hint().lower()).unwrap_or(usize::MAX);
    // A client that expects `100 Continue` has not sent the body yet. The first poll would ask for it.
    let waits = request.headers().contains_key(header::EXPECT);
    if expected > MAX_DISCARDED_BYTES || (expected > MAX_BODY_BYTES && waits) {
        return Err(too_large());
    }
    let (mut body, mut received, mut chunks) = (Vec::new(), 0, request.into_body().into_data_stream());
    loop {
        let earned = BODY_START + Duration::from_secs(received as u64) / MIN_BODY_BYTES_PER_SECOND;
        let Ok(chunk) = timeout_at(started + earned.min(total), chunks.next()).await else {
            let message = "Request body arrived too slowly";
            return Err(Error::refused(StatusCode::REQUEST_TIMEOUT, "request_timeout", message));
        };
        match chunk {
            None if received > MAX_BODY_BYTES => return Err(too_large()),
            None => return Ok(body),
            Some(Err(_)) => return Err(Error::business("Request body could not be read")),
            Some(Ok(chunk)) => {
                received += chunk.len();
                if received > MAX_DISCARDED_BYTES {
                    return Err(too_large());
                }
                if received <= MAX_BODY_BYTES {
                    body.extend_from_slice(&chunk);
                }
            }
        }
    }
}

fn too_large() -> Error {
    Error::refused(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", "Request body is too large")
}

fn is_encoded(headers: &HeaderMap) -> bool {
    let encodings = headers.get_all(header::CONTENT_ENCODING).iter();
    let mut encodings = encodings.flat_map(|line| line.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii);
    encodings.any(|encoding| !encoding.is_empty() && !encoding.eq_ignore_ascii_case(b"identity"))
}

/// A body of JSON without its byte-order mark.
pub(super) fn json_text(body: &[u8]) -> &[u8] {
    body.strip_prefix(BYTE_ORDER_MARK).unwrap_or(body)
}

/// Parses a body of JSON.
pub(super) fn json(body: &[u8]) -> Result<Value> {
    let text = json_text(body);
    if text.is_empty() {
        return Err(reject(Invalid::new("missing", ValuePointerRef::Origin, "Field required")));
    }
    serde_json::from_slice(text).map_err(|e| {
        let at = ValuePointerRef::Origin;
        reject(Invalid::new("json_invalid", at.push_index(offset(text, &e)), format!("JSON decode error: {e}")))
    })
}

/// The pairs of a form or a query. Of a repeated name, the last counts.
pub(super) fn pairs(encoded: &[u8]) -> Result<Value> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_bytes(encoded).map_err(|_| malformed_form())?;
    Ok(pairs.into_iter().map(|(name, value)| (name, Value::String(value))).collect())
}

/// The fields of a `multipart/form-data` body. Of a repeated name, the last counts. A file is an object, which no field
/// accepts.
pub(super) async fn parts(body: Vec<u8>, boundary: String) -> Result<Value> {
    let whole = stream::once(ready(Ok::<_, Infallible>(Bytes::from(body))));
    let mut parts = multer::Multipart::new(whole, boundary);
    let mut fields = serde_json::Map::new();
    while let Some(part) = parts.next_field().await.map_err(|_| malformed_form())? {
        let name = part.name().ok_or_else(malformed_form)?.to_owned();
        let is_file = part.file_name().is_some();
        let text = part.text().await.map_err(|_| malformed_form())?;
        fields.insert(name, if is_file { json!({}) } else { Value::String(text) });
    }
    Ok(Value::Object(fields))
}

fn malformed_form() -> Error {
    reject(Invalid::new("value_error", ValuePointerRef::Origin, "Malformed form data"))
}

fn reject(invalid: Invalid) -> Error {
    Error::Invalid(Rejected { source: "body", invalid, sent: json!({}) })
}

/// The offset of a syntax error in the body, in bytes.
fn offset(body: &[u8], e: &serde_json::Error) -> usize {
    let lines = body.split_inclusive(|b| *b == b'\n').take(e.line().saturating_sub(1));
    (lines.map(<[u8]>::len).sum::<usize>() + e.column().saturating_sub(1)).min(body.len())
}
