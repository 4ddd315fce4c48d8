//! Access tokens that are signed with private keys, and attempts to forge them with public ones.

use std::time::Duration;

use chrono::Utc;
use jsonwebtoken::{Algorithm as Alg, DecodingKey, EncodingKey, Header, encode};
use proptest::prelude::*;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{AccessTokens, Algorithm, KeyRing, PrivateKey, PublicKeys};
use crate::id::UserId;

const SECRET: &str = "a-secret-of-our-own-with-32-bytes!";
const LIFETIME: Duration = Duration::from_secs(7200);
const BOTH: [Algorithm; 2] = [Algorithm::EdDsa, Algorithm::Es256];

/// PKCS #8 of a private key of 32 bytes, without its public key (RFC 8410 and RFC 5958).
fn pem(algorithm: Algorithm, seed: u8) -> String {
    let prefix = match algorithm {
        Algorithm::EdDsa => "302e020100300506032b657004220420",
        _ => "3041020100301306072a8648ce3d020106082a8648ce3d030107042730250201010420",
    };
    let bytes = (0..prefix.len()).step_by(2).map(|at| u8::from_str_radix(&prefix[at..at + 2], 16).unwrap());
    pem::encode(&pem::Pem::new("PRIVATE KEY", bytes.chain([seed; 32]).collect::<Vec<u8>>()))
}

fn private(algorithm: Algorithm, seed: u8) -> PrivateKey {
    PrivateKey::from_pem(&pem(algorithm, seed)).unwrap()
}

fn public(keys: &[&PrivateKey]) -> PublicKeys {
    // As another service reads them.
    let published = keys.iter().fold(PublicKeys::default(), |all, key| all.with(key));
    PublicKeys::from_json(&serde_json::to_vec(&published).unwrap()).unwrap()
}

/// The tokens of user-service and of a service that has only the public keys.
fn issuer_and_verifier(key: &PrivateKey) -> (AccessTokens, AccessTokens) {
    let ring = KeyRing::new(key.algorithm());
    ring.replace(public(&[key]));
    let verifier = AccessTokens::accepting_none(LIFETIME).accept_keys(ring);
    (verifier.clone().sign_with(key), verifier)
}

fn issue(tokens: &AccessTokens) -> String {
    tokens.issue(UserId(7), "a@b.c", "ann", Uuid::new_v4()).unwrap()
}

fn claims() -> Value {
    let exp = Utc::now().timestamp() + 60;
    json!({"sub": "7", "exp": exp, "type": "access", "iss": "bigtech-chat", "sid": Uuid::new_v4()})
}

fn header(alg: Alg, kid: &str) -> Header {
    Header { kid: Some(kid.to_owned()), ..Header::new(alg) }
}

#[test]
fn a_service_with_public_keys_verifies_tokens_and_issues_none() {
    for algorithm in BOTH {
        let (issuer, verifier) = issuer_and_verifier(&private(algorithm, 1));
        assert_eq!(verifier.verify(&issue(&issuer)).unwrap().sub, "7");
        assert!(verifier.issue(UserId(7), "a@b.c", "ann", Uuid::new_v4()).is_err());
    }
}

#[test]
fn a_public_key_as_an_hmac_secret_forges_no_token() {
    for algorithm in BOTH {
        let key = private(algorithm, 1);
        let (_, verifier) = issuer_and_verifier(&key);
        let in_transition = verifier.clone().accept_secrets(&SECRET.into(), None);
        let published = serde_json::to_value(public(&[&key])).unwrap();
        let jwk = serde_json::from_value(published["keys"][0].clone()).unwrap();
        let raw = DecodingKey::from_jwk(&jwk).unwrap();
        let as_pem = pem::encode(&pem::Pem::new("PUBLIC KEY", raw.try_get_as_bytes().unwrap()));
        let x = published["keys"][0]["x"].as_str().unwrap();
        let texts = [raw.try_get_as_bytes().unwrap(), as_pem.as_bytes(), x.as_bytes(), key.id().as_bytes(), b""];
        for secret in texts.map(EncodingKey::from_secret) {
            for header in [Header::new(Alg::HS256), header(Alg::HS256, key.id())] {
                let forged = encode(&header, &claims(), &secret).unwrap();
                assert!(verifier.verify(&forged).is_none() && in_transition.verify(&forged).is_none());
            }
        }
    }
}

#[test]
fn tokens_of_other_keys_and_algorithms_are_rejected() {
    for algorithm in BOTH {
        let (key, stranger) = (private(algorithm, 1), private(algorithm, 2));
        let other = private(if algorithm == Algorithm::EdDsa { Algorithm::Es256 } else { Algorithm::EdDsa }, 1);
        let (_, verifier) = issuer_and_verifier(&key);
        let mut embedded = header(algorithm.into(), key.id());
        embedded.jwk = Some(
            serde_json::from_value(serde_json::to_value(public(&[&stranger])).unwrap()["keys"][0].clone()).unwrap(),
        );
        embedded.jku = Some("http://127.0.0.1:1/jwks.json".to_owned());
        let signed = |header: &Header, key: &PrivateKey| encode(header, &claims(), &key.signing).unwrap();
        assert!(verifier.verify(&signed(&header(algorithm.into(), key.id()), &key)).is_some());
        let rejected = [
            signed(&header(algorithm.into(), key.id()), &stranger),
            signed(&header(algorithm.into(), stranger.id()), &stranger),
            signed(&embedded, &stranger),
            signed(&header(other.algorithm().into(), other.id()), &other),
            signed(&header(other.algorithm().into(), key.id()), &other),
            signed(&Header::new(algorithm.into()), &key),
            signed(&header(algorithm.into(), ""), &key),
        ];
        for token in rejected {
            assert!(verifier.verify(&token).is_none(), "{token}");
        }
    }
}

#[test]
fn the_claims_of_this_system_are_required() {
    let key = private(Algorithm::EdDsa, 1);
    let (_, verifier) = issuer_and_verifier(&key);
    let accepted = |claims: &Value| {
        let token = encode(&header(Alg::EdDSA, key.id()), claims, &key.signing).unwrap();
        verifier.verify(&token).is_some()
    };
    assert!(accepted(&claims()));
    for claim in ["sub", "exp", "type", "iss", "sid"] {
        let mut claims = claims();
        claims.as_object_mut().unwrap().remove(claim);
        assert!(!accepted(&claims), "without {claim}");
    }
    let wrong =
        [("iss", json!("x")), ("aud", json!("x")), ("type", json!("service")), ("exp", json!(1)), ("sid", json!(1))];
    for (claim, value) in wrong {
        let mut claims = claims();
        claims[claim] = value;
        assert!(!accepted(&claims), "{claim}");
    }
}

#[test]
fn tokens_of_the_secret_are_accepted_in_a_transition_only() {
    let key = private(Algorithm::EdDsa, 1);
    let (issuer, verifier) = issuer_and_verifier(&key);
    let original = json!({"sub": "3095", "email": "a@b.c", "exp": Utc::now().timestamp() + 60, "type": "access"});
    let original = encode(&Header::new(Alg::HS256), &original, &EncodingKey::from_secret(SECRET.as_bytes())).unwrap();
    assert!(verifier.verify(&original).is_none());

    let in_transition = verifier.accept_secrets(&SECRET.into(), None);
    assert!(in_transition.verify(&original).is_some() && in_transition.verify(&issue(&issuer)).is_some());

    let hs256 = AccessTokens::new(&SECRET.into(), None, LIFETIME);
    assert!(hs256.verify(&issue(&issuer)).is_none(), "without keys");
    assert!(in_transition.verify(&issue(&hs256)).is_some());
}

#[test]
fn a_key_is_rotated_without_rejecting_a_token() {
    let (old, new) = (private(Algorithm::EdDsa, 1), private(Algorithm::EdDsa, 2));
    let (before, _) = issuer_and_verifier(&old);
    let ring = KeyRing::new(Algorithm::EdDsa);
    let verifier = AccessTokens::accepting_none(LIFETIME).accept_keys(ring.clone());
    let after = verifier.clone().sign_with(&new);
    let (of_old, of_new) = (issue(&before), issue(&after));
    let verified = || [&of_old, &of_new].map(|token| verifier.verify(token).is_some());

    assert_eq!(verified(), [false, false], "before the first load");
    for (keys, expected) in
        [(public(&[&old]), [true, false]), (public(&[&old, &new]), [true, true]), (public(&[&new]), [false, true])]
    {
        ring.replace(keys);
        assert_eq!(verified(), expected);
    }
    assert_eq!(verifier.unknown_key(&of_old).as_deref(), Some(old.id()));
    assert_eq!(verifier.unknown_key(&of_new), None);
    assert_eq!(verifier.unknown_key("x.y.z"), None);
}

#[test]
fn keys_are_read_from_pem_and_have_the_same_ids_as_in_a_key_set() {
    // `openssl genpkey -algorithm ed25519` and `openssl pkey -pubout`; the second pair with `-algorithm EC
    // -pkeyopt ec_paramgen_curve:P-256`.
    let ed = "-----BEGIN PRIVATE KEY-----\nMC4CAQAwBQYDK2VwBCIEIDCcVYcT5X9hmze/tccIVyTIH4lOXCQfRLUn3GQpHfBl\n-----END PRIVATE KEY-----\n";
    let ec = "-----BEGIN PRIVATE KEY-----\nMIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQg2QA6gJzXnrpwisoC\nPg7CJewabOT0CazPQ+0uXltTLR+hRANCAATUU4+FhVSqG8Y8eMbjiMqJz3DH5OJs\nak8l+6f2WIgf0Yc+AUnLfFfiwc+kyOa6dtXzKp9IXDRRrmHEN2vKsiVY\n-----END PRIVATE KEY-----\n";
    let public_pem = "-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEAQmFeOi1TCjXWdsXqtIKD77HFh/thvUrIrjQ0sEuznmU=\n-----END PUBLIC KEY-----\n\
                      -----BEGIN PUBLIC KEY-----\nMFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAE1FOPhYVUqhvGPHjG44jKic9wx+Ti\nbGpPJfun9liIH9GHPgFJy3xX4sHPpMjmunbV8yqfSFw0Ua5hxDdryrIlWA==\n-----END PUBLIC KEY-----\n";
    let (ed, ec) = (PrivateKey::from_pem(ed).unwrap(), PrivateKey::from_pem(ec).unwrap());
    let read = serde_json::to_value(PublicKeys::from_text(public_pem).unwrap()).unwrap();
    assert_eq!(read, serde_json::to_value(public(&[&ec, &ed])).unwrap());
    let ids: Vec<&str> = read["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap()).collect();
    assert_eq!(ids, [ed.id(), ec.id()]);
    assert_eq!((ed.algorithm(), ec.algorithm()), (Algorithm::EdDsa, Algorithm::Es256));
    assert!(PublicKeys::from_text(&read.to_string()).unwrap().support(Algorithm::Es256));
}

#[test]
fn texts_without_a_usable_key_are_refused_without_showing_them() {
    let ed = pem(Algorithm::EdDsa, 1);
    let p384 = "-----BEGIN PRIVATE KEY-----\nMIG2AgEAMBAGByqGSM49AgEGBSuBBAAiBIGeMIGbAgEBBDAinE4VZhRoiQMZThE6\n5xxKPaHofKQWtSmDufuUnjkw1717ktU07AL7HNvhjFcGRJ+hZANiAAQNs5eCATJy\nQs6r9hTciww8IBKxMqmwBA5qaN6QzsYCJ0jFTor/R8Pz4atgvDJ29non6bCTMPY9\niuGKn2xuwX2HxU4W2kvnnCrshVnbLH0KmDw7YdllvG7btnkf4Y20V1E=\n-----END PRIVATE KEY-----\n";
    for text in ["", "a-secret", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----", p384] {
        let refused = PrivateKey::from_pem(text).err().unwrap().to_string();
        assert!(refused.starts_with("is no private key") && !refused.contains("a-secret"));
    }
    for text in ["", "a-secret", "{", "[]", r#"{"keys": {}}"#, &ed] {
        assert!(PublicKeys::from_text(text).is_err(), "{text}");
    }
}

#[test]
fn keys_that_must_not_verify_are_left_out_of_a_key_set() {
    let usable = serde_json::to_value(public(&[&private(Algorithm::EdDsa, 1)])).unwrap()["keys"][0].clone();
    let with = |changes: Value| {
        let mut key = usable.clone();
        key.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        key
    };
    let hostile = [
        json!({"kty": "oct", "kid": "a", "alg": "HS256", "k": "AAAA"}),
        json!({"kty": "RSA", "kid": "a", "n": "AAAA", "e": "AQAB"}),
        json!({"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": "AAAA"}),
        json!({"kty": "OKP", "crv": "Ed25519", "x": usable["x"]}),
        json!({"kty": "EC", "crv": "P-384", "kid": "a", "x": "AAAA", "y": "AAAA"}),
        json!({"kty": "unknown", "kid": "a"}),
        with(json!({"use": "enc"})),
        with(json!({"alg": "ES256"})),
        with(json!({"x": "not base64"})),
    ];
    for key in hostile {
        let read = PublicKeys::from_json(json!({"keys": [key]}).to_string().as_bytes()).unwrap();
        assert_eq!(serde_json::to_value(read).unwrap(), json!({"keys": []}), "{key}");
    }
    let many = json!({"keys": vec![usable; 1_000]}).to_string();
    let read = serde_json::to_value(PublicKeys::from_json(many.as_bytes()).unwrap()).unwrap();
    assert_eq!(read["keys"].as_array().unwrap().len(), 16);
}

fn any_algorithm() -> impl Strategy<Value = Algorithm> {
    prop::sample::select(BOTH.to_vec())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_changed_token_is_rejected(algorithm in any_algorithm(), at in any::<prop::sample::Index>(), to in "[A-Za-z0-9_.=-]") {
        let (issuer, verifier) = issuer_and_verifier(&private(algorithm, 3));
        let mut token = issue(&issuer);
        let at = at.index(token.len());
        prop_assume!(token[at..=at] != to);
        token.replace_range(at..=at, &to);
        prop_assert!(verifier.verify(&token).is_none());
    }

    #[test]
    fn no_text_is_a_token(text in "\\PC{0,40}(\\.\\PC{0,40}){0,3}", header in "[ -~]{0,60}") {
        use base64::Engine;
        let (_, verifier) = issuer_and_verifier(&private(Algorithm::EdDsa, 3));
        let header = base64::prelude::BASE64_URL_SAFE_NO_PAD.encode(header);
        for token in [text.clone(), format!("{header}.{text}"), format!("{header}.{header}.{header}")] {
            prop_assert!(verifier.verify(&token).is_none());
            verifier.unknown_key(&token);
        }
    }

    #[test]
    fn no_key_set_panics(x in "\\PC{0,50}", y in "[A-Za-z0-9_-]{0,50}", kty in "OKP|EC|oct|RSA|x", crv in "Ed25519|P-256|P-384|x") {
        let set = json!({"keys": [{"kty": kty, "crv": crv, "kid": "a", "x": x, "y": y}]}).to_string();
        let keys = PublicKeys::from_text(&set).unwrap();
        for algorithm in BOTH {
            let ring = KeyRing::new(algorithm);
            ring.replace(keys.clone());
            let key = private(algorithm, 1);
            let token = encode(&header(algorithm.into(), "a"), &claims(), &key.signing).unwrap();
            prop_assert!(AccessTokens::accepting_none(LIFETIME).accept_keys(ring).verify(&token).is_none());
        }
    }
}
