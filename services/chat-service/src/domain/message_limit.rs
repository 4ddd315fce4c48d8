//! The length of messages.

use common::error::{Error, Rejected, Result};
use common::input::Invalid;
use deserr::ValuePointerRef;
use serde_json::json;

/// The greatest number of code points in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MessageLimit(pub usize);

impl MessageLimit {
    /// The greatest limit that an operator can set. A code point takes at most 4 bytes, so a message has at most 40,000 bytes.
    pub const GREATEST: usize = 10_000;

    /// # Errors
    /// Refuses longer content, as a body that breaks a rule.
    pub fn admit(self, content: &str) -> Result<()> {
        if content.chars().count() <= self.0 {
            return Ok(());
        }
        let origin = ValuePointerRef::Origin;
        let message = format!("String should have at most {} characters", self.0);
        let invalid = Invalid::new("string_too_long", origin.push_key("content"), message);
        Err(Error::Invalid(Rejected { source: "body", invalid, sent: json!({"content": content}) }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_limited_in_code_points() {
        let limit = MessageLimit(3);
        assert!(limit.admit("가나다").is_ok() && limit.admit("👩‍💻").is_ok());
        assert!(limit.admit("abcd").is_err());
    }
}
