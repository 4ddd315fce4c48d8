//! E-mail addresses.

use common::input::Invalid;
use serde_json::Value;
use user_service::fuzzing::Email;

/// An accepted address stays the same when it is read again, so that it names one account and one budget.
pub fn email(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(once) = read(text) else { return };
    assert!(once.spelling().chars().count() <= 255);
    assert!(once.spelling().split_once('@').is_some_and(|(local, domain)| !local.is_empty() && domain.contains('.')));
    assert_eq!(read(once.spelling()).expect("an accepted address is accepted again"), once);
}

fn read(text: &str) -> Result<Email, Invalid> {
    deserr::deserialize(Value::String(text.to_owned()))
}
