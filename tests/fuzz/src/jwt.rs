//! Tokens.

use std::time::Duration;

use chrono::Utc;
use common::jwt::{AccessTokens, CLOCK_SKEW, ServiceTokens};
use secrecy::SecretString;

const SECRET: &str = "fuzz-secret-that-signs-the-tokens-of-the-corpus";

/// A token that verifies is of its kind and has not expired. The corpus has valid tokens of both kinds.
pub fn jwt(bytes: &[u8]) {
    let Ok(token) = str::from_utf8(bytes) else { return };
    let secret = SecretString::from(SECRET);
    let access = AccessTokens::new(&secret, None, Duration::from_secs(60)).verify(token);
    let service = ServiceTokens::new(&secret, "fuzz").verify(token);
    assert!(access.is_none() || service.is_none(), "a token is of one kind");
    if let Some(claims) = access {
        assert_eq!(claims.kind, "access");
        assert!(claims.exp.saturating_add(CLOCK_SKEW.as_secs() as i64) >= Utc::now().timestamp());
    }
}
