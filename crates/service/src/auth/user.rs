//! The authenticated user.

use std::sync::Arc;

use common::id::UserId;
use common::jwt::AccessClaims;
use uuid::Uuid;

/// The user of a valid access token. As an argument of a handler, it rejects every other request with 401.
#[derive(Clone, Debug)]
pub struct CurrentUser {
    /// The user.
    pub id: UserId,
    /// The user's name; absent in tokens of the original.
    pub username: Option<String>,
    /// The key of the session, which a logout revokes: its id, or the token's signature for tokens of the original,
    /// which have no session id.
    pub session: Arc<str>,
    /// When the token expires, in seconds since 1970.
    pub expires_at: i64,
    /// The id of the session; absent in tokens of the original.
    pub sid: Option<Uuid>,
}

impl CurrentUser {
    pub(super) fn of(claims: AccessClaims, token: &str) -> Option<Self> {
        let id = claims.sub.parse().ok().filter(|id: &UserId| id.0 > 0)?;
        let session = match claims.sid {
            Some(sid) => sid.to_string(),
            None => token.rsplit('.').next()?.to_owned(),
        };
        Some(Self { id, username: claims.username, session: session.into(), expires_at: claims.exp, sid: claims.sid })
    }
}
