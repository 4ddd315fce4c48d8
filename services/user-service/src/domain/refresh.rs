//! Refresh tokens: random values of which only a hash is stored.

use std::fmt;

use chrono::{DateTime, TimeDelta, Utc};
use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

/// 256 random bits cannot be guessed, so a fast hash protects them as well as a slow one.
const BYTES: usize = 32;

/// How long the predecessor of the current refresh token stays exchangeable: longer than a client waits for an answer
/// before it tries again.
const PREDECESSOR_LIFETIME: TimeDelta = TimeDelta::seconds(30);

/// A new refresh token as its client receives it. `Debug` does not print it.
pub struct RefreshToken(String);

/// A random value from which, together with the presented token, the successor of that token is derived. The store
/// keeps the salt and not the successor, so only a client that presents the predecessor gets the successor again.
#[derive(Clone, Copy, Debug)]
pub struct SuccessorSalt(pub [u8; BYTES]);

/// The part of a session that decides about a presented refresh token.
#[derive(Clone, Copy, Debug)]
pub struct RefreshFamily {
    /// The hash of the current refresh token.
    pub current: RefreshTokenHash,
    /// The salt with which the current token was derived; `None` before the first refresh.
    pub salt: Option<SuccessorSalt>,
    /// When the current token was issued.
    pub rotated_at: DateTime<Utc>,
}

/// How a presented token relates to the current one.
#[derive(Debug)]
pub enum Presented {
    /// It is the current token.
    Current,
    /// It is the immediate predecessor of the current token, which is derived from it and has not been used yet.
    Predecessor(RefreshToken),
    /// It is older: a copy of it exists.
    Older,
}

/// The SHA-256 hash of a refresh token, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RefreshTokenHash(pub [u8; 32]);

impl RefreshToken {
    pub fn generate() -> Self {
        let bytes: [u8; BYTES] = rand::random();
        Self(hex::encode(bytes))
    }

    /// The successor of a presented token: an HMAC-SHA256 whose key is the token's digest and the salt.
    pub fn successor(presented: &str, salt: &SuccessorSalt) -> Self {
        // Not the stored hash of the token: a reader of the store must not be able to derive the successor.
        let digest = Sha256::new().chain_update("successor of ").chain_update(presented).finalize();
        let mut key = [0; 2 * BYTES];
        key[..BYTES].copy_from_slice(&digest);
        key[BYTES..].copy_from_slice(&salt.0);
        let mut mac = Hmac::<Sha256>::new(&key.into());
        mac.update(b"refresh token");
        Self(hex::encode(mac.finalize().into_bytes()))
    }

    pub fn hash(&self) -> RefreshTokenHash {
        RefreshTokenHash::of(&self.0)
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

impl SuccessorSalt {
    pub fn generate() -> Self {
        Self(rand::random())
    }
}

impl RefreshFamily {
    /// Classifies a token that belongs to the family.
    pub fn classify(&self, presented: &str, now: DateTime<Utc>) -> Presented {
        if RefreshTokenHash::of(presented) == self.current {
            return Presented::Current;
        }
        let successor = self.salt.map(|salt| RefreshToken::successor(presented, &salt));
        let is_recent = now - self.rotated_at <= PREDECESSOR_LIFETIME;
        match successor.filter(|successor| is_recent && successor.hash() == self.current) {
            Some(successor) => Presented::Predecessor(successor),
            None => Presented::Older,
        }
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

    #[test]
    fn the_predecessor_yields_its_successor_for_thirty_seconds_and_older_tokens_yield_nothing() {
        let (salts, now) = ([SuccessorSalt::generate(), SuccessorSalt::generate()], Utc::now());
        let first = RefreshToken::generate().into_string();
        let second = RefreshToken::successor(&first, &salts[0]).into_string();
        let third = RefreshToken::successor(&second, &salts[1]).into_string();
        let family = RefreshFamily { current: RefreshTokenHash::of(&third), salt: Some(salts[1]), rotated_at: now };

        assert!(matches!(family.classify(&third, now), Presented::Current));
        let later = now + TimeDelta::seconds(30);
        assert!(matches!(family.classify(&second, later), Presented::Predecessor(token) if token.0 == third));
        assert!(matches!(family.classify(&second, later + TimeDelta::seconds(1)), Presented::Older));
        assert!(matches!(family.classify(&first, now), Presented::Older));
    }
}
