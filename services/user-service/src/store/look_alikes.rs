//! Names that look like the username of another account.

use sqlx::MySqlConnection;

use common::error::Error;
use common::id::UserId;
use engines::error::Result;

use crate::domain::{Skeletons, Username, imitates};

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
    let own = Skeletons::of(own_username);
    let of_others = |forms: &Skeletons| !own.as_ref().is_some_and(|own| own.alike(forms));
    let Some(forms) = Skeletons::of(display_name).filter(of_others) else { return Ok(()) };
    if look_alikes(tx, user, &forms).await?.iter().any(|username| imitates(display_name, username)) {
        return Err(Error::conflict("Display name looks like the username of another user").into());
    }
    Ok(())
}

/// Refuses a new username that looks like that of another account in another case. The unique key decides about names that
/// look alike as they are written.
///
/// # Errors
/// Returns a conflict if it does.
pub(super) async fn refuse_username(tx: &mut MySqlConnection, user: UserId, username: &Username) -> Result<()> {
    let Some(forms) = Skeletons::of(username.as_str()) else { return Ok(()) };
    if look_alikes(tx, user, &forms).await?.is_empty() {
        return Ok(());
    }
    Err(Error::conflict("Username looks like the username of another user").into())
}

/// The usernames of other accounts that look like a name with these forms.
async fn look_alikes(tx: &mut MySqlConnection, user: UserId, forms: &Skeletons) -> Result<Vec<String>> {
    // The column of usernames is ASCII, and its list takes no text of another character set. MySQL refuses a parameter that it
    // cannot convert; such a spelling is no username.
    let [spelling, other_spelling] = forms.spellings().map(|spelling| spelling.is_ascii().then_some(spelling));
    let mut usernames: Vec<String> = sqlx::query_scalar(
        "SELECT username FROM users WHERE username_skeleton IN (?, ?) AND id <> ?
         UNION SELECT username FROM users WHERE username IN (CONVERT(? USING ascii), CONVERT(? USING ascii)) AND id <> ?",
    )
    .bind(forms.written.as_str())
    .bind(forms.lower.as_str())
    .bind(user)
    .bind(spelling)
    .bind(other_spelling)
    .bind(user)
    .fetch_all(tx)
    .await?;
    // The collation of usernames also ignores accents.
    usernames.retain(|username| Skeletons::of(username).is_some_and(|it| it.alike(forms)));
    Ok(usernames)
}
