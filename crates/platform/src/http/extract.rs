//! Extractors that reject an input with one entry per broken field.

use axum::extract::{FromRequest, FromRequestParts, OptionalFromRequest, RawPathParams, RawQuery, Request};
use axum::http::request::Parts;
use common::error::{Error, PATH_NOT_FOUND, Rejected, Result};
use common::input::{Input, Invalid};
use deserr::{Deserr, IntoValue, ValuePointerRef};
use serde_json::{Map, Value};

use crate::http::body::{self, MediaType};

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
        let kind = MediaType::of(request.headers());
        let body = body::read(request).await?;
        read_json(&kind, &body).map(Self)
    }
}

/// None for an empty body, and for `null`.
impl<S: Send + Sync, T: Input> OptionalFromRequest<S> for Valid<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Option<Self>> {
        let kind = MediaType::of(request.headers());
        let body = body::read(request).await?;
        if body.is_empty() || (matches!(kind, MediaType::Json) && body::json_text(&body).trim_ascii() == b"null") {
            return Ok(None);
        }
        read_json(&kind, &body).map(|input| Some(Self(input)))
    }
}

impl<S: Send + Sync, T: Input> FromRequest<S> for FormOrJson<T> {
    type Rejection = Error;

    async fn from_request(request: Request, _: &S) -> Result<Self> {
        let kind = MediaType::of(request.headers());
        let body = body::read(request).await?;
        match kind {
            MediaType::Form => read("body", || body::pairs(&body)),
            MediaType::Multipart { boundary } => {
                let sent = body::parts(body, boundary).await?;
                read("body", || Ok(sent.clone()))
            }
            kind => read_json(&kind, &body),
        }
        .map(Self)
    }
}

impl<S: Send + Sync, T: Input> FromRequestParts<S> for Query<T> {
    type Rejection = Error;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self> {
        let Ok(RawQuery(query)) = RawQuery::from_request_parts(parts, state).await;
        read("query", || body::pairs(query.as_deref().unwrap_or_default().as_bytes())).map(Self)
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

/// Reads a body of JSON, or rejects one of another type.
fn read_json<T: Input>(kind: &MediaType, body: &[u8]) -> Result<T> {
    let json = matches!(kind, MediaType::Json);
    read("body", || if json { body::json(body) } else { Ok(Value::String(String::new())) })
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
