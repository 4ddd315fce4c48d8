//! The encryption of second factors at rest.

use chacha20poly1305::aead::{Aead, Generate, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use common::id::UserId;
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};

use crate::domain::TotpSecret;

/// Random nonces of this length do not repeat.
const NONCE_BYTES: usize = 24;

/// Encrypts secrets with `MFA_SECRET_KEY`, and decrypts with it and its predecessor.
#[derive(Clone)]
pub struct Vault {
    current: XChaCha20Poly1305,
    previous: Option<XChaCha20Poly1305>,
}

impl Vault {
    pub fn new(key: &SecretString, previous: Option<&SecretString>) -> Self {
        Self { current: cipher(key), previous: previous.map(cipher) }
    }

    /// Encrypts the secret of a user. The secret can be decrypted for this user only.
    ///
    /// # Errors
    /// Returns an error if the secret is longer than the cipher allows, 256 GiB.
    pub fn seal(&self, user: UserId, secret: &TotpSecret) -> Result<Vec<u8>, chacha20poly1305::Error> {
        let nonce = XNonce::generate();
        let sealed = self.current.encrypt(&nonce, Payload { msg: secret.as_bytes(), aad: &owner(user) })?;
        Ok([&nonce[..], &sealed].concat())
    }

    /// Decrypts the secret of a user.
    ///
    /// # Errors
    /// Returns an error if neither key decrypts it, or it is the secret of another user.
    pub fn open(&self, user: UserId, sealed: &[u8]) -> Result<TotpSecret, chacha20poly1305::Error> {
        let (nonce, sealed) = sealed.split_at_checked(NONCE_BYTES).ok_or(chacha20poly1305::Error)?;
        let nonce = XNonce::try_from(nonce).map_err(|_| chacha20poly1305::Error)?;
        let owner = owner(user);
        let open = |cipher: &XChaCha20Poly1305| cipher.decrypt(&nonce, Payload { msg: sealed, aad: &owner });
        let opened = open(&self.current).or_else(|e| self.previous.as_ref().map_or(Err(e), open));
        opened.map(TotpSecret::of)
    }
}

/// The key of the cipher has 32 bytes, the setting any number from 32 upwards.
fn cipher(key: &SecretString) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(&Sha256::digest(key.expose_secret()))
}

/// The data that a ciphertext is bound to.
fn owner(user: UserId) -> [u8; 8] {
    user.0.to_be_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vault(key: &str, previous: Option<&str>) -> Vault {
        Vault::new(&key.into(), previous.map(SecretString::from).as_ref())
    }

    #[test]
    fn a_secret_is_opened_with_its_key_for_its_user_only() {
        let (old, secret) = (vault("old", None), TotpSecret::generate());
        let sealed = old.seal(UserId(7), &secret).unwrap();

        assert_eq!(old.open(UserId(7), &sealed).unwrap().as_bytes(), secret.as_bytes());
        assert_eq!(vault("new", Some("old")).open(UserId(7), &sealed).unwrap().as_bytes(), secret.as_bytes());
        assert!(old.open(UserId(8), &sealed).is_err());
        assert!(vault("new", None).open(UserId(7), &sealed).is_err());
    }

    #[test]
    fn damaged_bytes_are_refused() {
        let vault = vault("key", None);
        let sealed = vault.seal(UserId(7), &TotpSecret::generate()).unwrap();
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(vault.open(UserId(7), &damaged).is_err(), "byte {at}");
        }
        for length in 0..sealed.len() {
            assert!(vault.open(UserId(7), &sealed[..length]).is_err(), "{length} bytes");
        }
    }
}
