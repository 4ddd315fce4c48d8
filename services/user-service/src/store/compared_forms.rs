//! The columns of `users` with the forms in which values are compared, of rows that an original inserted.

use std::collections::HashMap;

use sqlx::{MySqlPool, QueryBuilder};

use common::id::UserId;
use engines::error::Result;
use engines::mysql;

use crate::domain::{CanonicalEmail, Skeleton};

/// Rows that one step reads and updates.
const STEP: u32 = 500;

/// A value of an account of which a form is compared with those of other accounts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ComparedValue {
    Email,
    Username,
}

/// Sets the forms where they are missing.
#[derive(Clone)]
pub struct ComparedForms {
    pool: MySqlPool,
}

/// One step of the backfill.
pub struct BackfillStep {
    /// The last account of the step.
    pub last: UserId,
    /// Accounts whose form another account has already.
    pub collisions: Vec<Collision>,
}

/// Two accounts of an original whose values have one form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Collision {
    pub user: UserId,
    /// The account that has the form.
    pub owner: UserId,
}

impl ComparedValue {
    pub const ALL: [Self; 2] = [Self::Email, Self::Username];

    fn column(self) -> &'static str {
        match self {
            Self::Email => "email",
            Self::Username => "username",
        }
    }

    fn form_column(self) -> &'static str {
        match self {
            Self::Email => "email_canonical",
            Self::Username => "username_skeleton",
        }
    }

    fn form(self, text: &str) -> Option<String> {
        match self {
            Self::Email => CanonicalEmail::of(text).map(|form| form.as_str().to_owned()),
            Self::Username => Skeleton::of(text).map(|form| form.as_str().to_owned()),
        }
    }
}

impl ComparedForms {
    pub fn new(pool: MySqlPool) -> Self {
        Self { pool }
    }

    /// Sets the form of the next accounts above `after` that have none, in the order of their ids: of two accounts with
    /// one form, the older one gets it. Returns `None` when no account is left.
    pub async fn backfill(&self, value: ComparedValue, after: UserId) -> Result<Option<BackfillStep>> {
        let mut rows = QueryBuilder::new("SELECT id, ");
        rows.push(value.column()).push(" FROM users WHERE ").push(value.form_column()).push(" IS NULL AND id > ");
        rows.push_bind(after).push(" ORDER BY id LIMIT ").push_bind(STEP);
        let rows: Vec<(UserId, String)> = rows.build_query_as().fetch_all(&self.pool).await?;
        let Some(last) = rows.last().map(|(id, _)| *id) else { return Ok(None) };
        let forms: Vec<(UserId, String)> =
            rows.into_iter().filter_map(|(id, text)| Some((id, value.form(&text)?))).collect();
        let collisions = if forms.is_empty() { Vec::new() } else { self.set(value.form_column(), &forms).await? };
        Ok(Some(BackfillStep { last, collisions }))
    }

    /// Sets these forms, and returns the accounts that keep none because their form is taken.
    async fn set(&self, column: &str, forms: &[(UserId, String)]) -> Result<Vec<Collision>> {
        // `IGNORE` leaves out a row that would violate the unique key.
        let mut update = QueryBuilder::new("UPDATE IGNORE users SET ");
        update.push(column).push(" = CASE id");
        for (id, form) in forms {
            update.push(" WHEN ").push_bind(*id).push(" THEN ").push_bind(form);
        }
        update.push(" END WHERE ").push(column).push(" IS NULL AND id IN ");
        let ids: Vec<UserId> = forms.iter().map(|(id, _)| *id).collect();
        mysql::with_ids(update, &ids).push(" ORDER BY id").build().persistent(false).execute(&self.pool).await?;

        let mut owners = QueryBuilder::new("SELECT ");
        owners.push(column).push(", id FROM users WHERE ").push(column).push(" IN (");
        let mut list = owners.separated(", ");
        for (_, form) in forms {
            list.push_bind(form);
        }
        owners.push(")");
        let owners: Vec<(String, UserId)> = owners.build_query_as().persistent(false).fetch_all(&self.pool).await?;
        let owners: HashMap<String, UserId> = owners.into_iter().collect();
        let collision = |(user, form): &(UserId, String)| {
            let owner = owners.get(form).copied().filter(|owner| owner != user)?;
            Some(Collision { user: *user, owner })
        };
        Ok(forms.iter().filter_map(collision).collect())
    }
}
