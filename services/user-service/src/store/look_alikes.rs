//! Names that look like the username of another account.

use sqlx::MySqlConnection;

use common::error::Error;
use common::id::UserId;
use engines::error::Result;

use crate::domain::{Skeleton, imitates};

/// Refuses a display name that imitates the username of another account. A registration at the same moment can still
/// take a username that the display name imitates.
///
/// # Errors
/// Returns a conflict if it does.
pub(super) async fn refuse_imitation(
    tx: &mut MySqlConnection,
    user: UserId,
    own_username: &str,
    display_name: &str,
) -> Result<()> {
    // Accounts of an original whose usernames look alike have one form, which one of them owns in the table.
    let Some(form) = Skeleton::of(display_name).filter(|form| Skeleton::of(own_username).as_ref() != Some(form)) else {
        return Ok(());
    };
    let other: Option<String> =
        sqlx::query_scalar("SELECT username FROM users WHERE username_skeleton = ? AND id <> ?")
            .bind(form.as_str())
            .bind(user)
            .fetch_optional(tx)
            .await?;
    match other {
        Some(username) if imitates(display_name, &username) => {
            Err(Error::conflict("Display name looks like the username of another user").into())
        }
        _ => Ok(()),
    }
}
