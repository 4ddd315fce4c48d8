//! Validated texts: a value of such a type satisfies its rule.

use common::input::{Breach, Invalid, text};
use deserr::{IntoValue, Value, ValuePointerRef};

/// A text with a length between `MIN` and `MAX` code points and further conditions.
pub trait Rule: Sized {
    const MIN: usize;
    const MAX: usize;
    /// Whether surrounding white space is removed before validation.
    const TRIMMED: bool = true;

    /// Checks the conditions besides the length, which the caller has checked.
    ///
    /// # Errors
    /// Returns the message for the client.
    fn parse(text: String) -> Result<Self, Breach>;
}

/// Deserializes and validates a text.
pub fn read<R: Rule, V: IntoValue>(value: Value<V>, at: ValuePointerRef) -> Result<R, Invalid> {
    let value = match value {
        Value::String(text) if R::TRIMMED => Value::<V>::String(text.trim().to_owned()),
        other => other,
    };
    let text = text(value, at, R::MIN, R::MAX)?;
    R::parse(text).map_err(|Breach(broken)| Invalid::new("value_error", at, format!("Value error, {broken}")))
}

/// Implements deserialization in request bodies and the OpenAPI schema, with an example, for a [`Rule`].
macro_rules! input {
    ($rule:ident, $example:literal) => {
        impl deserr::Deserr<common::input::Invalid> for $rule {
            fn deserialize_from_value<V: deserr::IntoValue>(
                value: deserr::Value<V>,
                at: deserr::ValuePointerRef,
            ) -> Result<Self, common::input::Invalid> {
                crate::domain::rule::read(value, at)
            }
        }

        impl utoipa::PartialSchema for $rule {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                use crate::domain::Rule;
                utoipa::openapi::schema::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .min_length(Some(Self::MIN))
                    .max_length(Some(Self::MAX))
                    .pattern(Some(common::input::WITHOUT_NUL))
                    .examples([$example])
                    .build()
                    .into()
            }
        }

        impl utoipa::ToSchema for $rule {}
    };
}
pub(super) use input;

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Whether a request with this text is accepted.
    pub fn accepts<R: Rule>(text: &str) -> bool {
        let value = Value::<serde_json::Value>::String(text.to_owned());
        read::<R, _>(value, ValuePointerRef::Origin).is_ok()
    }
}
