//! The public keys of access tokens, for other services.

use axum::Json;
use axum::extract::State;
use axum::http::HeaderName;
use axum::http::header::CACHE_CONTROL;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use common::jwt::PublicKeys;

use crate::state::AppState;

/// The other services load the keys again after this time, and at once when a token names an unknown key.
const CACHED: &str = "public, max-age=300";

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(key_set))
}

/// A JSON Web Key Set (RFC 7517).
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described in the API document; the answer is `PublicKeys`")]
struct KeySet {
    keys: Vec<Key>,
}

/// The public key of Ed25519 or P-256 (RFC 8037, RFC 7518).
#[derive(ToSchema)]
#[expect(dead_code, reason = "only described in the API document")]
#[schema(as = PublicKey)]
struct Key {
    /// The thumbprint of the key (RFC 7638), which the header of its tokens names.
    kid: String,
    /// `OKP` or `EC`.
    #[schema(example = "OKP")]
    kty: String,
    /// `EdDSA` or `ES256`.
    #[schema(example = "EdDSA")]
    alg: String,
    /// `Ed25519` or `P-256`.
    #[schema(example = "Ed25519")]
    crv: String,
    #[schema(rename = "use", example = "sig")]
    usage: String,
    x: String,
    /// Only of P-256.
    #[schema(nullable = false)]
    y: Option<String>,
}

/// Get the public keys that verify access tokens; none while they are signed with HS256 and no private key is set.
#[utoipa::path(
    get,
    operation_id = "getPublicKeys",
    path = "/.well-known/jwks.json",
    tag = "services",
    responses((status = 200, description = "The keys, that of the current private key first", body = KeySet)),
)]
async fn key_set(State(app): State<AppState>) -> ([(HeaderName, &'static str); 1], Json<PublicKeys>) {
    ([(CACHE_CONTROL, CACHED)], Json(PublicKeys::clone(&app.auth.public_keys())))
}
