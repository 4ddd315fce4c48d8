//! The JSON body of every error answer.

use std::borrow::Cow;

use serde::Serialize;
use serde_json::{Value, json};
use utoipa::ToSchema;

use super::codes::ErrorCode;
use super::{Error, METHOD_NOT_ALLOWED, NOT_AUTHENTICATED, PATH_NOT_FOUND, Rejected};
use crate::input::{Broken, Step};

/// Messages of the original's framework itself. Their `detail` is a text in every service.
const FRAMEWORK_MESSAGES: [&str; 3] = [NOT_AUTHENTICATED, PATH_NOT_FOUND, METHOD_NOT_ALLOWED];

/// The greatest length of a quoted value, in characters.
const MAX_QUOTED_CHARACTERS: usize = 100;

/// The greatest size of a quoted value, in bytes of JSON: 100 characters of 4 bytes. With
/// [`MAX_REPORTED`](crate::input::MAX_REPORTED) entries of two quotes each, an answer stays under 64 KB.
const MAX_QUOTED_BYTES: usize = 4 * MAX_QUOTED_CHARACTERS;

/// The form of `detail` in an error answer, as the clients of the original read it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The message alone.
    Text,
    /// An object with `error`, `message`, `details` and `status_code`.
    Object,
}

/// The body of every error answer of a service.
#[derive(Debug, Serialize, ToSchema)]
pub struct ErrorBody {
    /// The machine-readable code.
    #[schema(value_type = ErrorCode, example = "resource_not_found")]
    pub error: &'static str,
    /// The text for people.
    #[schema(example = "Chat room not found")]
    pub message: Cow<'static, str>,
    /// Always null; the original has the field.
    #[schema(required)]
    pub details: Option<Value>,
    /// The HTTP status of the answer.
    #[schema(example = 404)]
    pub status_code: u16,
    /// The error as FastAPI's clients read it: a text, an object, or a list with one entry per broken field.
    pub detail: Value,
    /// The id of the request, as the header `X-Request-ID` has it.
    #[schema(required, example = "01935e3c-7a40-7cc1-9d6f-4f1a2b3c4d5e")]
    pub request_id: Option<String>,
    /// One entry per broken field, where the input is invalid.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub validation_errors: Option<Vec<FieldError>>,
}

/// A field of the input and the rule that it breaks.
#[derive(Debug, Serialize, ToSchema)]
pub struct FieldError {
    /// The path of the field, its steps joined by dots.
    pub field: String,
    /// The broken rule.
    pub message: String,
    /// The value as it was sent, cut at 100 characters; null for a password or a token.
    pub value: Value,
}

impl ErrorBody {
    /// The body for an error, with the form of `detail` that the service's clients read.
    pub fn new(error: &Error, form: Detail, request_id: Option<String>) -> Self {
        let (code, message, status_code) = (error.code(), error.message(), error.status().as_u16());
        let (detail, validation_errors) = match error {
            Error::Invalid(rejected) => (rejected.detail(), Some(rejected.field_errors())),
            _ if form == Detail::Text || FRAMEWORK_MESSAGES.contains(&message.as_ref()) => (json!(message), None),
            _ => (json!({"error": code, "message": message, "details": null, "status_code": status_code}), None),
        };
        Self { error: code, message, details: None, status_code, detail, request_id, validation_errors }
    }
}

impl Rejected {
    /// The broken fields in FastAPI's form.
    fn detail(&self) -> Value {
        let entry = |broken: &Broken| {
            let steps = broken.path.iter().map(|step| match step {
                Step::Key(key) => json!(key),
                Step::Index(index) => json!(index),
            });
            let loc: Value = std::iter::once(json!(self.source)).chain(steps).collect();
            json!({"type": broken.kind, "loc": loc, "msg": broken.message, "input": self.value_of(broken)})
        };
        self.invalid.0.iter().map(entry).collect()
    }

    fn field_errors(&self) -> Vec<FieldError> {
        let entry = |broken: &Broken| {
            let steps = broken.path.iter().map(|step| match step {
                Step::Key(key) => key.clone(),
                Step::Index(index) => index.to_string(),
            });
            let field = steps.collect::<Vec<_>>().join(".");
            let field = if field.is_empty() { self.source.to_owned() } else { field };
            FieldError { field, message: broken.message.clone(), value: self.value_of(broken) }
        };
        self.invalid.0.iter().map(entry).collect()
    }

    /// The value of a broken field as it was sent, cut if it is long.
    fn value_of(&self, broken: &Broken) -> Value {
        // An input that is broken as a whole may contain anything, including a password.
        if broken.path.is_empty() {
            return Value::Null;
        }
        let found = broken.path.iter().try_fold(&self.sent, |value, step| match step {
            Step::Key(key) if secret(key) => None,
            Step::Key(key) => value.get(key),
            Step::Index(index) => value.get(index),
        });
        found.map_or(Value::Null, quoted)
    }
}

fn secret(key: &str) -> bool {
    key.contains("password") || key.contains("token")
}

/// A value for an answer: itself if it is short, otherwise the first characters of the text or of the JSON, in which a
/// space replaces each control character. An object may have passwords among its fields, so it is not quoted.
fn quoted(value: &Value) -> Value {
    let mut json = [0; MAX_QUOTED_BYTES];
    let mut rest = json.as_mut_slice();
    let whole = serde_json::to_writer(&mut rest, value).is_ok();
    let written = MAX_QUOTED_BYTES - rest.len();
    let start = String::from_utf8_lossy(&json[..written]);
    match value {
        Value::String(text) if !whole || text.chars().nth(MAX_QUOTED_CHARACTERS).is_some() => cut(text),
        Value::Array(_) | Value::Object(_) if start.contains('{') => Value::Null,
        Value::Array(_) if !whole || start.chars().nth(MAX_QUOTED_CHARACTERS).is_some() => cut(&start),
        short => short.clone(),
    }
}

fn cut(text: &str) -> Value {
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    text.chars().take(MAX_QUOTED_CHARACTERS).map(printable).collect::<String>().into()
}
