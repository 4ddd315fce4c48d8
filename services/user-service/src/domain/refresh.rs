//! Tokens that keep a session alive: random, told once, and stored only as a hash.

use std::fmt;

use sha2::{Digest, Sha256};

/// 256 bits that nobody guesses; so a plain hash protects them as well as a slow one.
const BYTES: usize = 32;

/// What a client shows to get new tokens. Never printed.
pub struct RefreshToken(String);

/// What is stored of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshHash(pub [u8; 32]);

impl RefreshToken {
    pub fn generate() -> Self {
        let bytes: [u8; BYTES] = rand::random();
        Self(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
    }

    pub fn hash(&self) -> RefreshHash {
        RefreshHash::of(&self.0)
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

impl RefreshHash {
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
    fn no_two_tokens_are_alike_and_the_hash_finds_its_own() {
        let (one, two) = (RefreshToken::generate(), RefreshToken::generate());
        assert_ne!(one.hash(), two.hash());
        assert_eq!(one.hash(), RefreshHash::of(&one.into_string()));
    }
}
