//! Refresh tokens: random values of which only a hash is stored.

use std::fmt;

use sha2::{Digest, Sha256};

/// 256 random bits cannot be guessed, so a fast hash protects them as well as a slow one.
const BYTES: usize = 32;

/// A new refresh token as its client receives it. `Debug` does not print it.
pub struct RefreshToken(String);

/// The SHA-256 hash of a refresh token, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshTokenHash(pub [u8; 32]);

impl RefreshToken {
    pub fn generate() -> Self {
        let bytes: [u8; BYTES] = rand::random();
        Self(hex::encode(bytes))
    }

    pub fn hash(&self) -> RefreshTokenHash {
        RefreshTokenHash::of(&self.0)
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

impl RefreshTokenHash {
    pub fn of(token: &str) -> Self {
        Self(Sha256::digest(token.as_bytes()).into())
    }
}

impl fmt::Debug for RefreshToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_differ_and_each_has_its_own_hash() {
        let (one, two) = (RefreshToken::generate(), RefreshToken::generate());
        assert_ne!(one.hash(), two.hash());
        assert_eq!(one.hash(), RefreshTokenHash::of(&one.into_string()));
    }
}
