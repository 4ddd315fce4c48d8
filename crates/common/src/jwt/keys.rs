//! The keys of access tokens that are signed with EdDSA or ES256: the private key of user-service, and public keys.

use std::str::FromStr;
use std::sync::Arc;

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, JwkSet, KeyAlgorithm, PublicKeyUse, ThumbprintHash};
use jsonwebtoken::{DecodingKey, EncodingKey};
use parking_lot::RwLock;
use serde::{Serialize, Serializer};

/// The most keys of a set. A rotation needs two, and a longer list only slows down the search for a key.
const MAX_KEYS: usize = 16;

/// The bytes of an Ed25519 public key. `jsonwebtoken` panics on a shorter one.
const ED25519_BYTES: usize = 32;

/// An algorithm that signs access tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Algorithm {
    /// HMAC with a secret that all services share, so that each of them can issue tokens.
    Hs256,
    /// ECDSA on the curve P-256.
    Es256,
    /// Ed25519.
    EdDsa,
}

/// A value that names no supported algorithm.
#[derive(Debug, thiserror::Error)]
#[error("it is not HS256, ES256 or EdDSA")]
pub struct UnknownAlgorithm;

impl FromStr for Algorithm {
    type Err = UnknownAlgorithm;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "HS256" => Ok(Self::Hs256),
            "ES256" => Ok(Self::Es256),
            "EdDSA" => Ok(Self::EdDsa),
            _ => Err(UnknownAlgorithm),
        }
    }
}

impl std::fmt::Display for Algorithm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", jsonwebtoken::Algorithm::from(*self))
    }
}

impl From<Algorithm> for jsonwebtoken::Algorithm {
    fn from(algorithm: Algorithm) -> Self {
        match algorithm {
            Algorithm::Hs256 => Self::HS256,
            Algorithm::Es256 => Self::ES256,
            Algorithm::EdDsa => Self::EdDSA,
        }
    }
}

/// A text that contains no usable key. The message is the rest of a sentence that begins with the name of the text and
/// shows nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The text is no private key.
    #[error("is no private key of Ed25519 or P-256 in PKCS #8 PEM (BEGIN PRIVATE KEY)")]
    Private,
    /// The text contains a block that is no public key.
    #[error("contains a block that is no public key of Ed25519 or P-256 in PEM (BEGIN PUBLIC KEY)")]
    PublicPem,
    /// The text is no JSON Web Key Set.
    #[error("is no JSON Web Key Set")]
    PublicJson,
}

/// The private key with which user-service signs. Its algorithm follows from its type.
#[derive(Clone, Debug)]
pub struct PrivateKey {
    pub(super) signing: EncodingKey,
    public: PublicKey,
}

impl PrivateKey {
    /// Reads a key in PKCS #8 PEM, as `openssl genpkey` writes it.
    ///
    /// # Errors
    /// Returns an error if the text is no such key of Ed25519 or P-256.
    pub fn from_pem(text: &str) -> Result<Self, KeyError> {
        let ed = EncodingKey::from_ed_pem(text.as_bytes()).map(|key| (key, Algorithm::EdDsa));
        let read = ed.or_else(|_| EncodingKey::from_ec_pem(text.as_bytes()).map(|key| (key, Algorithm::Es256)));
        let (signing, algorithm) = read.map_err(|_| KeyError::Private)?;
        // Fails for another curve.
        let public = Jwk::from_encoding_key(&signing, algorithm.into()).map_err(|_| KeyError::Private)?;
        Ok(Self { signing, public: identified(public).and_then(PublicKey::of).ok_or(KeyError::Private)? })
    }

    /// The algorithm of the key.
    pub fn algorithm(&self) -> Algorithm {
        self.public.algorithm
    }

    /// The id of the key, which the header `kid` of its tokens has: the thumbprint of its public key (RFC 7638).
    pub fn id(&self) -> &str {
        &self.public.id
    }
}

/// A set of public keys with their ids.
#[derive(Clone, Debug, Default)]
pub struct PublicKeys(Vec<PublicKey>);

#[derive(Clone, Debug)]
struct PublicKey {
    id: String,
    algorithm: Algorithm,
    jwk: Jwk,
    verifying: DecodingKey,
}

impl PublicKeys {
    /// Reads public keys in PEM, one after another, or a JSON Web Key Set.
    ///
    /// # Errors
    /// Returns an error if a block of PEM is no public key, or if the text is neither.
    pub fn from_text(text: &str) -> Result<Self, KeyError> {
        if text.trim_start().starts_with('{') { Self::from_json(text.as_bytes()) } else { Self::from_pem(text) }
    }

    /// Reads a JSON Web Key Set. Keys of other types, for other uses or without an id are left out, symmetric keys
    /// above all: their value would be public.
    ///
    /// # Errors
    /// Returns an error if the text is no such set.
    pub fn from_json(text: &[u8]) -> Result<Self, KeyError> {
        let set: JwkSet = serde_json::from_slice(text).map_err(|_| KeyError::PublicJson)?;
        Ok(Self(set.keys.into_iter().filter_map(PublicKey::of).take(MAX_KEYS).collect()))
    }

    fn from_pem(text: &str) -> Result<Self, KeyError> {
        let blocks = pem::parse_many(text).map_err(|_| KeyError::PublicPem)?;
        let keys: Option<Vec<PublicKey>> = blocks.iter().map(PublicKey::of_pem).collect();
        keys.filter(|keys| !keys.is_empty() && keys.len() <= MAX_KEYS).map(Self).ok_or(KeyError::PublicPem)
    }

    /// The set with the public key of `private`.
    pub fn with(mut self, private: &PrivateKey) -> Self {
        if self.get(private.id(), private.algorithm()).is_none() {
            self.0.insert(0, private.public.clone());
        }
        self
    }

    /// Whether a key has this algorithm.
    pub fn support(&self, algorithm: Algorithm) -> bool {
        self.0.iter().any(|key| key.algorithm == algorithm)
    }

    fn get(&self, id: &str, algorithm: Algorithm) -> Option<&DecodingKey> {
        self.0.iter().find(|key| key.id == id && key.algorithm == algorithm).map(|key| &key.verifying)
    }
}

/// A JSON Web Key Set (RFC 7517).
impl Serialize for PublicKeys {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        JwkSet { keys: self.0.iter().map(|key| key.jwk.clone()).collect() }.serialize(serializer)
    }
}

impl PublicKey {
    fn of(jwk: Jwk) -> Option<Self> {
        let algorithm = match &jwk.algorithm {
            AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => Algorithm::EdDsa,
            AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => Algorithm::Es256,
            _ => return None,
        };
        let expected = KeyAlgorithm::from(jsonwebtoken::Algorithm::from(algorithm));
        let common = &jwk.common;
        if common.key_algorithm.is_some_and(|named| named != expected)
            || common.public_key_use.as_ref().is_some_and(|named| *named != PublicKeyUse::Signature)
        {
            return None;
        }
        let verifying = DecodingKey::from_jwk(&jwk).ok()?;
        if algorithm == Algorithm::EdDsa && verifying.try_get_as_bytes().ok()?.len() != ED25519_BYTES {
            return None;
        }
        Some(Self { id: jwk.common.key_id.clone()?, algorithm, jwk, verifying })
    }

    fn of_pem(block: &pem::Pem) -> Option<Self> {
        if block.tag() != "PUBLIC KEY" {
            return None;
        }
        let text = pem::encode(block);
        let ed = DecodingKey::from_ed_pem(text.as_bytes()).map(|key| (key, Algorithm::EdDsa));
        let read = ed.or_else(|_| DecodingKey::from_ec_pem(text.as_bytes()).map(|key| (key, Algorithm::Es256)));
        let (key, algorithm) = read.ok()?;
        identified(Jwk::from_decoding_key(&key, Some(algorithm.into())).ok()?).and_then(Self::of)
    }
}

/// The key with its thumbprint as its id.
fn identified(mut jwk: Jwk) -> Option<Jwk> {
    jwk.common.key_id = Some(jwk.thumbprint(ThumbprintHash::SHA256).ok()?);
    jwk.common.public_key_use = Some(PublicKeyUse::Signature);
    Some(jwk)
}

/// The public keys that verify access tokens of one algorithm. They can be replaced at any time, and clones share them.
#[derive(Clone)]
pub struct KeyRing {
    pub(super) algorithm: Algorithm,
    /// None until the first keys are loaded.
    keys: Arc<RwLock<Option<Arc<PublicKeys>>>>,
}

impl KeyRing {
    /// A ring without keys, into which they are loaded later.
    pub fn new(algorithm: Algorithm) -> Self {
        Self { algorithm, keys: Arc::default() }
    }

    /// Replaces all keys.
    pub fn replace(&self, keys: PublicKeys) {
        *self.keys.write() = Some(Arc::new(keys));
    }

    /// The current keys; none before the first [`KeyRing::replace`].
    pub fn current(&self) -> Option<Arc<PublicKeys>> {
        self.keys.read().clone()
    }

    /// Whether a key of the ring's algorithm has this id.
    pub fn contains(&self, id: &str) -> bool {
        self.key(id).is_some()
    }

    pub(super) fn key(&self, id: &str) -> Option<DecodingKey> {
        self.current()?.get(id, self.algorithm).cloned()
    }
}
