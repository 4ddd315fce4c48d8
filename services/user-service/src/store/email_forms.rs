//! The column `email_canonical` of rows that an original inserted.

use std::collections::HashMap;

use sqlx::{MySqlPool, QueryBuilder};

use common::id::UserId;
use engines::error::Result;

use super::with_ids;
use crate::domain::CanonicalEmail;

/// Rows that one step reads and updates.
const STEP: u32 = 500;

/// Sets the canonical form where it is missing.
#[derive(Clone)]
pub struct EmailForms {
    pool: MySqlPool,
}

/// One step of the backfill.
pub struct BackfillStep {
    /// The last account of the step.
    pub last: UserId,
    /// Accounts whose form another account has already.
    pub collisions: Vec<Collision>,
}

/// Two accounts of an original whose e-mail addresses are one address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collision {
    pub user: UserId,
    /// The account that logs in with every other spelling of the address.
    pub owner: UserId,
}

impl EmailForms {
    pub fn new(pool: MySqlPool) -> Self {
        Self { pool }
    }

    /// Sets the form of the next accounts above `after` that have none, in the order of their ids: of two accounts with
    /// one form, the older one gets it. Returns `None` when no account is left.
    pub async fn backfill(&self, after: UserId) -> Result<Option<BackfillStep>> {
        let rows: Vec<(UserId, String)> =
            sqlx::query_as("SELECT id, email FROM users WHERE email_canonical IS NULL AND id > ? ORDER BY id LIMIT ?")
                .bind(after)
                .bind(STEP)
                .fetch_all(&self.pool)
                .await?;
        let Some(last) = rows.last().map(|(id, _)| *id) else { return Ok(None) };
        let forms: Vec<(UserId, CanonicalEmail)> =
            rows.into_iter().filter_map(|(id, email)| Some((id, CanonicalEmail::of(&email)?))).collect();
        let collisions = if forms.is_empty() { Vec::new() } else { self.set(&forms).await? };
        Ok(Some(BackfillStep { last, collisions }))
    }

    /// Sets these forms, and returns the accounts that keep none because their form is taken.
    async fn set(&self, forms: &[(UserId, CanonicalEmail)]) -> Result<Vec<Collision>> {
        // `IGNORE` leaves out a row that would violate the unique key.
        let mut update = QueryBuilder::new("UPDATE IGNORE users SET email_canonical = CASE id");
        for (id, form) in forms {
            update.push(" WHEN ").push_bind(*id).push(" THEN ").push_bind(form.as_str());
        }
        update.push(" END WHERE email_canonical IS NULL AND id IN ");
        let ids: Vec<UserId> = forms.iter().map(|(id, _)| *id).collect();
        with_ids(update, &ids).push(" ORDER BY id").build().persistent(false).execute(&self.pool).await?;

        let mut owners = QueryBuilder::new("SELECT email_canonical, id FROM users WHERE email_canonical IN (");
        let mut list = owners.separated(", ");
        for (_, form) in forms {
            list.push_bind(form.as_str());
        }
        owners.push(")");
        let owners: Vec<(String, UserId)> = owners.build_query_as().persistent(false).fetch_all(&self.pool).await?;
        let owners: HashMap<String, UserId> = owners.into_iter().collect();
        let collision = |(user, form): &(UserId, CanonicalEmail)| {
            let owner = owners.get(form.as_str()).copied().filter(|owner| owner != user)?;
            Some(Collision { user: *user, owner })
        };
        Ok(forms.iter().filter_map(collision).collect())
    }
}
