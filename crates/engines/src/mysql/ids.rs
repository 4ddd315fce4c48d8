//! Lists of ids in queries.

use common::id::UserId;
use sqlx::{MySql, QueryBuilder};

/// Appends the list `(?, ?, …)` of these ids to a query. Each length is a statement of its own, so a query with a list of any
/// length should not be `persistent`: the server keeps a limited number of prepared statements.
pub fn with_ids(mut query: QueryBuilder<MySql>, users: &[UserId]) -> QueryBuilder<MySql> {
    query.push("(");
    let mut list = query.separated(", ");
    for user in users {
        list.push_bind(*user);
    }
    query.push(")");
    query
}
