//! Profiles: what people see of each other.

use std::collections::HashMap;

use chrono::Utc;
use sqlx::{MySqlConnection, MySqlPool, QueryBuilder};

use common::error::{Error, Result};
use common::id::UserId;
use common::mysql;
use common::outbox::Outbox;

use super::{Profile, ProfileCache, among, directory, lock_user};
use crate::domain::ProfileEdit;

/// The table `users`, as far as it is shown, behind the cache.
#[derive(Clone)]
pub struct Profiles {
    pool: MySqlPool,
    outbox: Outbox,
    cache: ProfileCache,
}

const SELECT: &str =
    "SELECT id, email, username, display_name, status_message, profile_image_url, last_seen_at, is_active
                      FROM users WHERE id IN ";

impl Profiles {
    pub fn new(pool: MySqlPool, outbox: Outbox, cache: ProfileCache) -> Self {
        Self { pool, outbox, cache }
    }

    /// A person and whether they are online.
    pub async fn one(&self, user: UserId) -> Result<(Profile, bool)> {
        self.many(&[user]).await?.pop().ok_or_else(not_found)
    }

    /// These people in this order, unknown ones left out: one look into the cache, one query for the rest.
    pub async fn many(&self, users: &[UserId]) -> Result<Vec<(Profile, bool)>> {
        let known = self.cache.look_up(users).await;
        let missing: Vec<UserId> =
            users.iter().zip(&known).filter(|(_, known)| known.profile.is_none()).map(|(user, _)| *user).collect();
        let read = self.read(&missing).await?;
        self.cache.keep(read.clone());
        let mut read: HashMap<UserId, Profile> = read.into_iter().map(|profile| (profile.id, profile)).collect();
        let profiles = users.iter().zip(known).filter_map(|(user, known)| {
            let profile = known.profile.or_else(|| read.remove(user))?;
            Some((profile, known.is_online))
        });
        Ok(profiles.collect())
    }

    /// Drops the copy of a profile that was changed elsewhere.
    pub async fn forget(&self, user: UserId) {
        self.cache.forget(&[user]).await;
    }

    async fn read(&self, users: &[UserId]) -> Result<Vec<Profile>> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = among(QueryBuilder::new(SELECT), users);
        Ok(query.build_query_as().fetch_all(&self.pool).await?)
    }

    /// Changes a profile, and tells it if anything others are told of has changed.
    pub async fn edit(&self, user: UserId, edit: ProfileEdit) -> Result<()> {
        let mut tx = mysql::begin(&self.pool).await?;
        if !lock_user(&mut tx, user).await? {
            return Err(not_found());
        }
        let before: Profile = among(QueryBuilder::new(SELECT), &[user]).build_query_as().fetch_one(&mut *tx).await?;
        let after = before.clone().edited(edit);
        if after == before {
            return Ok(());
        }
        update(&mut tx, &after).await?;
        if after.is_active && after.display_name != before.display_name {
            directory::index(&mut tx, user, after.names()).await?;
        }
        self.outbox.append(&mut tx, &after.event()).await?;
        tx.commit().await?;
        self.outbox.wake();
        self.cache.forget(&[user]).await;
        Ok(())
    }
}

async fn update(tx: &mut MySqlConnection, profile: &Profile) -> Result<()> {
    sqlx::query(
        "UPDATE users SET display_name = ?, status_message = ?, profile_image_url = ?, updated_at = ? WHERE id = ?",
    )
    .bind(&profile.display_name)
    .bind(&profile.status_message)
    .bind(&profile.profile_image_url)
    .bind(Utc::now())
    .bind(profile.id)
    .execute(tx)
    .await?;
    Ok(())
}

fn not_found() -> Error {
    Error::not_found("User not found")
}
