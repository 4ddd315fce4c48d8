//! Lists of ids in queries.

use common::id::UserId;
use sqlx::{MySql, QueryBuilder};

/// Appends the list `(?, ?, …)` of these ids to a query.
pub fn with_ids(mut query: QueryBuilder<MySql>, users: &[UserId]) -> QueryBuilder<MySql> {
    query.push("(");
    let mut list = query.separated(", ");
    for user in users {
        list.push_bind(*user);
    }
    query.push(")");
    query
}
