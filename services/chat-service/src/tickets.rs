//! Tickets for streams and downloads: a browser's EventSource and a link cannot send the header `Authorization`.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use common::error::{Error, Result};
use common::id::UserId;
use engines::redis::Redis;
use redis::AsyncCommands;
use serde::{Deserialize, Serialize};
use service::auth::{Auth, CurrentUser};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A client requests a ticket immediately before it uses it.
pub const LIFETIME: Duration = Duration::from_secs(30);

/// Issues and redeems tickets. Redis stores only their hashes, and no log contains them.
#[derive(Clone)]
pub struct Tickets {
    redis: Redis,
    auth: Auth,
}

/// The claims of the access token with which a ticket was requested.
#[derive(Serialize, Deserialize)]
struct Holder {
    id: UserId,
    username: Option<String>,
    session: String,
    expires_at: i64,
    sid: Option<Uuid>,
}

impl Tickets {
    pub fn new(redis: Redis, auth: Auth) -> Self {
        Self { redis, auth }
    }

    /// Issues a ticket. It is valid no longer than the user's session and access token.
    pub async fn issue(&self, user: &CurrentUser) -> Result<String> {
        let secret: [u8; 32] = rand::random();
        let ticket = BASE64_URL_SAFE_NO_PAD.encode(secret);
        let holder = Holder {
            id: user.id,
            username: user.username.clone(),
            session: user.session.to_string(),
            expires_at: user.expires_at,
            sid: user.sid,
        };
        let holder = serde_json::to_string(&holder).map_err(Error::internal)?;
        let key = self.key(&ticket);
        let stored = self.redis.connection().set_ex::<_, _, ()>(key, holder, LIFETIME.as_secs()).await;
        stored.map_err(engines::error::Error::from)?;
        Ok(ticket)
    }

    /// Redeems a ticket, which becomes invalid.
    ///
    /// # Errors
    /// Returns 401 for an unknown, redeemed or expired ticket.
    pub async fn redeem(&self, ticket: &str) -> Result<CurrentUser> {
        let holder: redis::RedisResult<Option<String>> = self.redis.connection().get_del(self.key(ticket)).await;
        let holder = holder.map_err(engines::error::Error::from)?;
        let holder = holder.and_then(|holder| serde_json::from_str::<Holder>(&holder).ok());
        let Holder { id, username, session, expires_at, sid } = holder.ok_or_else(Error::not_authenticated)?;
        self.auth.admit(CurrentUser { id, username, session: session.into(), expires_at, sid }).await
    }

    /// A ticket has 256 random bits, so a plain hash protects it.
    fn key(&self, ticket: &str) -> String {
        let hash = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(ticket.as_bytes()));
        self.redis.key(format_args!("chat:ticket:{hash}"))
    }
}
