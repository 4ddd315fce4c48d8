//! Tickets for streams: browsers' EventSource can send no header.

use std::time::Duration;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use common::auth::{Auth, CurrentUser};
use common::error::{Error, Result};
use common::id::UserId;
use common::redis::Redis;
use redis::AsyncCommands;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// A page takes a ticket when it is about to open its stream.
pub const LIFETIME: Duration = Duration::from_secs(30);

/// Issues and takes tickets. They stand in Redis, only as hashes, and are never printed.
#[derive(Clone)]
pub struct Tickets {
    redis: Redis,
    auth: Auth,
}

/// Whom a ticket lets in: what their access token said.
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

    /// A ticket for someone, as long as their session and their token last.
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
        self.redis.connection().set_ex::<_, _, ()>(key, holder, LIFETIME.as_secs()).await?;
        Ok(ticket)
    }

    /// Whom a ticket lets in; it is used up with it.
    pub async fn take(&self, ticket: &str) -> Result<CurrentUser> {
        let held: Option<String> = self.redis.connection().get_del(self.key(ticket)).await?;
        let holder = held.and_then(|held| serde_json::from_str::<Holder>(&held).ok());
        let Holder { id, username, session, expires_at, sid } = holder.ok_or_else(Error::not_authenticated)?;
        self.auth.admit(CurrentUser { id, username, session: session.into(), expires_at, sid }).await
    }

    /// 256 bits that nobody guesses; so a plain hash protects them.
    fn key(&self, ticket: &str) -> String {
        let hash = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(ticket.as_bytes()));
        self.redis.key(format_args!("chat:ticket:{hash}"))
    }
}
