//! Reading of requests. All broken fields are reported together, in the vocabulary of the original's framework.

use std::borrow::Cow;
use std::ops::ControlFlow;

use deserr::{
    DeserializeError, Deserr, ErrorKind, IntoValue, MergeWithError, Sequence, Value, ValueKind, ValuePointerRef,
};
use utoipa::PartialSchema;
use utoipa::openapi::schema::{ArrayBuilder, KnownFormat, ObjectBuilder, SchemaFormat, Type};
use utoipa::openapi::{RefOr, Schema};

use crate::text::is_blank;

/// The greatest number of broken rules in an answer. Reading stops there. The widest body has under 20 fields; only a
/// list of wrong items has more.
pub const MAX_REPORTED: usize = 50;

/// A larger body is rejected with 413, by the gateway and by the services. The largest legitimate body, 1,000 ids of
/// messages, has 28 KB.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// The size up to which the rest of a body that is too large is read and discarded, so that a client that sends all of it
/// before it reads finds the answer. The connection of a longer one is closed.
pub const MAX_DISCARDED_BYTES: usize = 1024 * 1024;

/// A body or a query that a handler accepts.
pub trait Input: Deserr<Invalid> {
    /// Names that older clients send, as (old, current). The current name wins where both are sent.
    const ALIASES: &'static [(&'static str, &'static str)] = &[];
}

/// The rules that an input breaks, one entry per field, at most [`MAX_REPORTED`].
#[derive(Debug, Default)]
pub struct Invalid(pub Vec<Broken>);

/// A field and the rule that it breaks.
#[derive(Clone, Debug)]
pub struct Broken {
    /// The rule in the original's vocabulary, such as `missing` or `string_too_short`.
    pub kind: &'static str,
    /// The steps from the whole input to the field; empty for the input itself.
    pub path: Vec<Step>,
    /// The rule as a sentence for people.
    pub message: String,
}

/// One step on the path from the whole input to a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// A field of an object.
    Key(String),
    /// An element of a list, counted from 0.
    Index(usize),
}

/// The message of a domain rule about a value that breaks it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Breach(pub &'static str);

impl Invalid {
    /// A single broken field.
    pub fn new(kind: &'static str, at: ValuePointerRef, message: impl Into<String>) -> Self {
        Self(vec![Broken { kind, path: steps(at), message: message.into() }])
    }
}

fn steps(at: ValuePointerRef) -> Vec<Step> {
    match at {
        ValuePointerRef::Origin => Vec::new(),
        ValuePointerRef::Key { key, prev } => [steps(*prev), vec![Step::Key(key.to_owned())]].concat(),
        ValuePointerRef::Index { index, prev } => [steps(*prev), vec![Step::Index(index)]].concat(),
    }
}

impl DeserializeError for Invalid {
    fn error<V: IntoValue>(so_far: Option<Self>, error: ErrorKind<V>, at: ValuePointerRef) -> ControlFlow<Self, Self> {
        let broken = match error {
            ErrorKind::MissingField { field } => Self::new("missing", at.push_key(field), "Field required"),
            ErrorKind::IncorrectValueKind { accepted, .. } => wrong_kind(accepted, at),
            ErrorKind::UnknownValue { accepted, .. } => {
                Self::new("enum", at, format!("Input should be {}", listed(accepted)))
            }
            ErrorKind::UnknownKey { .. } => Self::new("extra_forbidden", at, "Extra inputs are not permitted"),
            ErrorKind::BadSequenceLen { .. } => Self::new("too_long", at, "List has the wrong length"),
            ErrorKind::Unexpected { msg } => Self::new("value_error", at, msg),
        };
        Self::merge(so_far, broken, at)
    }
}

impl MergeWithError<Self> for Invalid {
    fn merge(so_far: Option<Self>, other: Self, _at: ValuePointerRef) -> ControlFlow<Self, Self> {
        let mut all = so_far.unwrap_or_default();
        all.0.extend(other.0);
        all.0.truncate(MAX_REPORTED);
        if all.0.len() < MAX_REPORTED { ControlFlow::Continue(all) } else { ControlFlow::Break(all) }
    }
}

impl MergeWithError<Breach> for Invalid {
    fn merge(so_far: Option<Self>, other: Breach, at: ValuePointerRef) -> ControlFlow<Self, Self> {
        Self::merge(so_far, Self::new("value_error", at, format!("Value error, {other}")), at)
    }
}

fn wrong_kind(accepted: &[ValueKind], at: ValuePointerRef) -> Invalid {
    match accepted.first() {
        Some(ValueKind::String) => Invalid::new("string_type", at, "Input should be a valid string"),
        Some(ValueKind::Boolean) => Invalid::new("bool_type", at, "Input should be a valid boolean"),
        Some(ValueKind::Sequence) => Invalid::new("list_type", at, "Input should be a valid list"),
        Some(ValueKind::Map) => Invalid::new(
            "model_attributes_type",
            at,
            "Input should be a valid dictionary or object to extract fields from",
        ),
        _ => Invalid::new("int_type", at, "Input should be a valid integer"),
    }
}

fn listed(values: &[&str]) -> String {
    values.iter().map(|v| format!("'{v}'")).collect::<Vec<_>>().join(" or ")
}

/// Reads an integer as the original does: a number, a decimal string, or a float without a fraction.
///
/// # Errors
/// Returns the broken rule if the value is no integer or is not between `min` and `max`.
pub fn integer<V: IntoValue>(value: Value<V>, at: ValuePointerRef, min: i64, max: i64) -> Result<i64, Invalid> {
    let parsed = match value {
        Value::Integer(n) => i64::try_from(n).ok(),
        Value::NegativeInteger(n) => Some(n),
        Value::Float(f) if f.fract() == 0.0 && f.abs() < 9e15 => Some(f as i64),
        Value::Float(_) => {
            let message = "Input should be a valid integer, got a number with a fractional part";
            return Err(Invalid::new("int_from_float", at, message));
        }
        Value::String(text) => match text.trim().parse() {
            Ok(n) => Some(n),
            Err(_) => {
                let message = "Input should be a valid integer, unable to parse string as an integer";
                return Err(Invalid::new("int_parsing", at, message));
            }
        },
        _ => return Err(Invalid::new("int_type", at, "Input should be a valid integer")),
    };
    match parsed {
        Some(n) if n < min => {
            let message = format!("Input should be greater than or equal to {min}");
            Err(Invalid::new("greater_than_equal", at, message))
        }
        Some(n) if n <= max => Ok(n),
        _ => Err(Invalid::new("less_than_equal", at, format!("Input should be less than or equal to {max}"))),
    }
}

/// Reads a string of `min` to `max` code points without U+0000, which many programs take for the end of a text.
///
/// # Errors
/// Returns the broken rule if the value is no string, its length is out of bounds, or it contains U+0000.
pub fn text<V: IntoValue>(value: Value<V>, at: ValuePointerRef, min: usize, max: usize) -> Result<String, Invalid> {
    let Value::String(text) = value else {
        return Err(Invalid::new("string_type", at, "Input should be a valid string"));
    };
    let length = text.chars().count();
    if length < min {
        let message = format!("String should have at least {min} character{}", plural(min));
        return Err(Invalid::new("string_too_short", at, message));
    }
    if length > max {
        let message = format!("String should have at most {max} character{}", plural(max));
        return Err(Invalid::new("string_too_long", at, message));
    }
    if text.contains('\0') {
        return Err(Invalid::new("value_error", at, "Value error, the text must not contain the character U+0000"));
    }
    Ok(text)
}

fn plural(n: usize) -> &'static str {
    if n == 1 { "" } else { "s" }
}

/// An integer whose bounds are part of its type, and therefore of the OpenAPI document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Int<const MIN: i64, const MAX: i64>(pub i64);

impl<const MIN: i64, const MAX: i64> Deserr<Invalid> for Int<MIN, MAX> {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, at: ValuePointerRef) -> Result<Self, Invalid> {
        integer(value, at, MIN, MAX).map(Self)
    }
}

impl<const MIN: i64, const MAX: i64> PartialSchema for Int<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        let int64 = SchemaFormat::KnownFormat(KnownFormat::Int64);
        let mut schema = ObjectBuilder::new().schema_type(Type::Integer).format(Some(int64)).minimum(Some(MIN));
        if MAX != i64::MAX {
            schema = schema.maximum(Some(MAX));
        }
        schema.build().into()
    }
}

/// Each pair of bounds is a schema of its own in the document.
impl<const MIN: i64, const MAX: i64> utoipa::ToSchema for Int<MIN, MAX> {
    fn name() -> Cow<'static, str> {
        format!("Int{MIN}To{MAX}").into()
    }
}

/// The pattern of [`text`] in the OpenAPI document.
pub const WITHOUT_NUL: &str = r"^[^\u0000]*$";

/// A string whose length in code points is bounded by its type, and therefore in the OpenAPI document.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text<const MIN: usize, const MAX: usize>(pub String);

impl<const MIN: usize, const MAX: usize> Deserr<Invalid> for Text<MIN, MAX> {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, at: ValuePointerRef) -> Result<Self, Invalid> {
        text(value, at, MIN, MAX).map(Self)
    }
}

impl<const MIN: usize, const MAX: usize> PartialSchema for Text<MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        let schema = ObjectBuilder::new().schema_type(Type::String).min_length(Some(MIN)).max_length(Some(MAX));
        schema.pattern(Some(WITHOUT_NUL)).build().into()
    }
}

impl<const MIN: usize, const MAX: usize> utoipa::ToSchema for Text<MIN, MAX> {
    fn name() -> Cow<'static, str> {
        format!("Text{MIN}To{MAX}").into()
    }
}

/// A text to search for: without white space at its ends, 1 to `MAX` code points. A text without a visible character is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchText<const MAX: usize>(pub String);

impl<const MAX: usize> Deserr<Invalid> for SearchText<MAX> {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, at: ValuePointerRef) -> Result<Self, Invalid> {
        let value = match value {
            Value::String(text) if is_blank(&text) && !text.contains('\0') => Value::String(String::new()),
            Value::String(text) => Value::String(text.trim().to_owned()),
            other => other,
        };
        text::<V>(value, at, 1, MAX).map(Self)
    }
}

impl<const MAX: usize> PartialSchema for SearchText<MAX> {
    fn schema() -> RefOr<Schema> {
        Text::<1, MAX>::schema()
    }
}

impl<const MAX: usize> utoipa::ToSchema for SearchText<MAX> {
    fn name() -> Cow<'static, str> {
        format!("SearchText1To{MAX}").into()
    }
}

/// A list whose number of items is bounded by its type, and therefore in the OpenAPI document. A list of another length
/// is rejected before any of its items is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct List<T, const MIN: usize, const MAX: usize>(pub Vec<T>);

impl<T: Deserr<Invalid>, const MIN: usize, const MAX: usize> Deserr<Invalid> for List<T, MIN, MAX> {
    fn deserialize_from_value<V: IntoValue>(value: Value<V>, at: ValuePointerRef) -> Result<Self, Invalid> {
        let Value::Sequence(items) = value else {
            return Err(Invalid::new("list_type", at, "Input should be a valid list"));
        };
        let (length, limit, kind, bound) = match items.len() {
            length if length < MIN => (length, MIN, "too_short", "least"),
            length if length > MAX => (length, MAX, "too_long", "most"),
            _ => return Vec::deserialize_from_value(Value::<V>::Sequence(items), at).map(Self),
        };
        let message =
            format!("List should have at {bound} {limit} item{} after validation, not {length}", plural(limit));
        Err(Invalid::new(kind, at, message))
    }
}

impl<T: PartialSchema, const MIN: usize, const MAX: usize> PartialSchema for List<T, MIN, MAX> {
    fn schema() -> RefOr<Schema> {
        ArrayBuilder::new().items(T::schema()).min_items(Some(MIN)).max_items(Some(MAX)).build().into()
    }
}

impl<T: utoipa::ToSchema, const MIN: usize, const MAX: usize> utoipa::ToSchema for List<T, MIN, MAX> {
    fn name() -> Cow<'static, str> {
        format!("{}List{MIN}To{MAX}", T::name()).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[derive(Debug, Deserr)]
    #[deserr(error = Invalid)]
    struct Sample {
        name: Text<1, 5>,
        age: Int<0, 150>,
        #[deserr(default)]
        nick: Option<Text<0, 3>>,
    }

    fn read(value: serde_json::Value) -> Result<Sample, Invalid> {
        deserr::deserialize(value)
    }

    #[test]
    fn all_broken_fields_are_reported_together() {
        let Invalid(broken) = read(json!({"age": "x", "nick": "long"})).unwrap_err();
        let mut kinds: Vec<_> = broken.iter().map(|b| b.kind).collect();
        kinds.sort_unstable();
        assert_eq!(kinds, ["int_parsing", "missing", "string_too_long"]);
    }

    #[test]
    fn at_most_50_broken_rules_are_reported() {
        let items = json!(vec!["x"; 90]);
        let Invalid(broken) = deserr::deserialize::<List<Int<0, 9>, 1, 100>, _, Invalid>(items).unwrap_err();
        assert_eq!(broken.len(), MAX_REPORTED);
    }

    #[test]
    fn reading_stops_at_50_broken_rules() {
        let origin = ValuePointerRef::Origin;
        let broken = |count| Invalid((0..count).flat_map(|_| Invalid::new("missing", origin, "").0).collect());
        let merged = |so_far, others| Invalid::merge(Some(broken(so_far)), broken(others), origin);
        assert!(matches!(merged(48, 1), ControlFlow::Continue(Invalid(all)) if all.len() == 49));
        for (so_far, others) in [(49, 1), (30, 30), (1, MAX_REPORTED)] {
            assert!(matches!(merged(so_far, others), ControlFlow::Break(Invalid(all)) if all.len() == MAX_REPORTED));
        }
    }

    #[test]
    fn a_list_of_a_wrong_length_is_one_broken_rule() {
        for (length, kind) in [(0, "too_short"), (101, "too_long"), (100_000, "too_long")] {
            let items = json!(vec!["x"; length]);
            let Invalid(broken) = deserr::deserialize::<List<Int<0, 9>, 1, 100>, _, Invalid>(items).unwrap_err();
            assert_eq!(broken.iter().map(|b| b.kind).collect::<Vec<_>>(), [kind]);
        }
        assert_eq!(deserr::deserialize::<List<Int<0, 9>, 1, 2>, _, Invalid>(json!([1, "2"])).unwrap().0.len(), 2);
    }

    #[test]
    fn numbers_strings_and_integral_floats_are_read_as_integers() {
        for age in [json!(5), json!("5"), json!(5.0)] {
            assert_eq!(read(json!({"name": "김", "age": age})).unwrap().age, Int(5));
        }
        for age in [json!(5.5), json!(true), json!(null), json!("5.5"), json!(-1), json!(151), json!(u64::MAX)] {
            assert!(read(json!({"name": "a", "age": age})).is_err());
        }
    }

    #[test]
    fn null_counts_as_absent_in_an_optional_field() {
        let sample = read(json!({"name": "a", "age": 1, "nick": null, "unknown": []})).unwrap();
        assert_eq!((sample.name.0.as_str(), sample.nick), ("a", None));
    }

    #[test]
    fn a_text_contains_no_null_character() {
        let Invalid(broken) = read(json!({"name": "a\u{0}", "age": 1, "nick": "\u{0}"})).unwrap_err();
        let kinds: Vec<_> = broken.iter().map(|broken| broken.kind).collect();
        assert_eq!(kinds, ["value_error", "value_error"]);
    }

    #[test]
    fn a_text_to_search_for_is_trimmed_and_shows_something() {
        let read = |text: &str| deserr::deserialize::<SearchText<3>, _, Invalid>(json!(text));
        assert_eq!(read(" a b\u{3000}").unwrap().0, "a b");
        for invalid in ["", "  ", "\u{200b}", "\u{0}", "abcd"] {
            assert!(read(invalid).is_err(), "{invalid:?}");
        }
    }

    proptest! {
        #[test]
        fn length_is_counted_in_code_points(name in "\\PC{0,8}") {
            let length = name.chars().count();
            prop_assert_eq!(read(json!({"name": name, "age": 1})).is_ok(), (1..=5).contains(&length));
        }
    }
}
