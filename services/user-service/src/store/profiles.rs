//! Profiles in MySQL, behind the profile cache.

use std::collections::HashMap;

use chrono::Utc;
use sqlx::{MySqlConnection, MySqlPool, QueryBuilder};

use common::id::UserId;
use engines::error::Result;
use engines::mysql;
use engines::outbox::Outbox;

use super::{Profile, ProfileCache, ProfileView, directory, look_alikes, user_not_found};
use crate::domain::ProfileEdit;

/// The columns of `users` that profiles show.
#[derive(Clone)]
pub struct Profiles {
    pool: MySqlPool,
    outbox: Outbox,
    cache: ProfileCache,
}

const SELECT: &str = "SELECT id, username, display_name, status_message, profile_image_url, last_seen_at, is_active,
                             refuse_stranger_groups
                      FROM users WHERE id IN ";

impl Profiles {
    pub fn new(pool: MySqlPool, outbox: Outbox, cache: ProfileCache) -> Self {
        Self { pool, outbox, cache }
    }

    /// The profile of a user.
    ///
    /// # Errors
    /// Returns a not-found error if the user does not exist.
    pub async fn one(&self, user: UserId) -> Result<ProfileView> {
        Ok(self.many(&[user]).await?.pop().ok_or_else(user_not_found)?)
    }

    /// The profiles of these users in this order. Unknown users are left out.
    ///
    /// Takes one round trip to the cache, and one query for the profiles that are not cached.
    pub async fn many(&self, users: &[UserId]) -> Result<Vec<ProfileView>> {
        let lookups = self.cache.look_up(users).await;
        let missing: Vec<UserId> =
            users.iter().zip(&lookups).filter(|(_, lookup)| lookup.profile.is_none()).map(|(user, _)| *user).collect();
        let read = self.read(&missing).await?;
        self.cache.insert(read.clone());
        let mut read: HashMap<UserId, Profile> = read.into_iter().map(|profile| (profile.id, profile)).collect();
        let views = users.iter().zip(lookups).filter_map(|(user, lookup)| {
            let profile = lookup.profile.or_else(|| read.remove(user))?;
            Some(ProfileView { profile, is_online: lookup.is_online })
        });
        Ok(views.collect())
    }

    /// Removes profiles from the cache after their accounts were changed outside of this type.
    pub async fn invalidate(&self, users: &[UserId]) {
        self.cache.invalidate(users).await;
    }

    async fn read(&self, users: &[UserId]) -> Result<Vec<Profile>> {
        if users.is_empty() {
            return Ok(Vec::new());
        }
        let mut query = mysql::with_ids(QueryBuilder::new(SELECT), users);
        Ok(query.build_query_as().persistent(users.len() == 1).fetch_all(&self.pool).await?)
    }

    /// Applies an edit and appends its event in one transaction. An edit that changes nothing appends no event.
    ///
    /// # Errors
    /// Returns a not-found error if the user does not exist, and a conflict if the new display name looks like the
    /// username of another account.
    pub async fn edit(&self, user: UserId, edit: ProfileEdit) -> Result<()> {
        let mut tx = mysql::begin(&self.pool).await?;
        let mut lock = mysql::with_ids(QueryBuilder::new(SELECT), &[user]);
        lock.push(" FOR UPDATE");
        let before: Option<Profile> = lock.build_query_as().fetch_optional(&mut *tx).await?;
        let before = before.ok_or_else(user_not_found)?;
        let after = before.clone().edited(edit);
        if after == before {
            return Ok(());
        }
        if let Some(display_name) = after.display_name.as_deref().filter(|_| after.display_name != before.display_name)
        {
            look_alikes::refuse_imitation(&mut tx, user, &after.username, display_name).await?;
        }
        update(&mut tx, &after).await?;
        if after.is_active && after.display_name != before.display_name {
            directory::index(&mut tx, user, after.names()).await?;
        }
        self.outbox.append(&mut tx, &after.event()).await?;
        tx.commit().await?;
        // Before the event, after which other services load the profile again.
        self.cache.invalidate(&[user]).await;
        self.outbox.wake();
        Ok(())
    }
}

async fn update(tx: &mut MySqlConnection, profile: &Profile) -> Result<()> {
    sqlx::query(
        "UPDATE users SET display_name = ?, status_message = ?, profile_image_url = ?, refuse_stranger_groups = ?,
                updated_at = ? WHERE id = ?",
    )
    .bind(&profile.display_name)
    .bind(&profile.status_message)
    .bind(&profile.profile_image_url)
    .bind(profile.refuse_stranger_groups)
    .bind(Utc::now())
    .bind(profile.id)
    .execute(tx)
    .await?;
    Ok(())
}
