//! The errors of MySQL.

use common::error::{self, Error as CommonError};
use sqlx::Error::{Io, PoolClosed, PoolTimedOut, Protocol, Tls};
use sqlx::mysql::MySqlDatabaseError;

use crate::error::{Error, Result};

/// The table does not exist, because no migration has created it yet.
pub(super) const NO_SUCH_TABLE: u16 = 1146;

/// InnoDB rolled back the statement (lock wait timeout) or the transaction (deadlock). A repetition may succeed.
pub(super) const LOST_LOCK: [u16; 2] = [1205, 1213];

/// The server cannot serve the statement now, and an operator or time mends it.
const PASSING: [&[u16]; 6] = [
    // Too many connections, of all or of this account, or too many prepared statements.
    &[1040, 1203, 1226, 1461],
    // Starting, offline, shutting down, interrupted, killed, or out of time; of Galera, not in the cluster.
    &[1047, 1053, 1079, 1317, 1927, 1969, 3024, 3032, 3168, 3169, 4031],
    // No room: on the disk, for a temporary file, in a table because of the disk, in memory, for a thread. Files cannot be read or
    // written.
    &[1, 2, 3, 5, 20, 1021, 1024, 1026, 1030, 1037, 1041, 1114, 1135],
    // Read-only, as a primary after a failover.
    &[1290, 1836],
    // A cluster refuses or rolls back the commit.
    &[1180, 3100, 3101],
    // The account is refused or locked, as while a password is changed, or its password has expired.
    &[1045, 1698, 1820, 1862, 3118, 4151],
];

impl From<sqlx::Error> for Error {
    fn from(e: sqlx::Error) -> Self {
        let error = match number(&e) {
            _ if passes(&e) => CommonError::unavailable("mysql", e),
            Some(number) => CommonError::internal(format!("MySQL error {number}: {}", of_statement(&e.to_string()))),
            None => CommonError::internal(error::without_values(&e.to_string())),
        };
        error.into()
    }
}

/// The text of an error without the values of the statement, which it quotes and which may be personal data: the text up to
/// the first quotation mark, and from the key or column on, which it names last.
fn of_statement(text: &str) -> String {
    let Some(first) = text.find('\'') else { return text.to_owned() };
    let named = [" for key ", " for column "].into_iter().filter_map(|name| text.rfind(name)).max();
    let rest = named.filter(|named| *named > first).map_or("", |named| &text[named..]);
    format!("{}…{rest}", &text[..first])
}

fn passes(e: &sqlx::Error) -> bool {
    // A certificate that is refused may be renewed.
    matches!(e, Io(_) | PoolTimedOut | PoolClosed | Protocol(_) | Tls(_)) || number(e).is_some_and(is_passing)
}

fn is_passing(number: u16) -> bool {
    number == NO_SUCH_TABLE || LOST_LOCK.contains(&number) || PASSING.iter().any(|group| group.contains(&number))
}

/// The number of an error that the server returned.
pub(super) fn number(e: &sqlx::Error) -> Option<u16> {
    Some(e.as_database_error()?.try_downcast_ref::<MySqlDatabaseError>()?.number())
}

/// Whether InnoDB rolled the transaction back because of a lock.
pub(super) fn lost_lock(error: &Error) -> bool {
    let CommonError::Unavailable { source, .. } = error.get_ref() else { return false };
    source.downcast_ref::<sqlx::Error>().and_then(number).is_some_and(|number| LOST_LOCK.contains(&number))
}

/// Turns a violation of a unique key into the error that it means.
pub trait OnDuplicate<T> {
    /// Replaces the error if the statement violated the unique key `key`.
    ///
    /// # Errors
    /// Returns `refusal` for a violation of that key, and every other error as it is.
    fn on_duplicate(self, key: &str, refusal: impl FnOnce() -> CommonError) -> Result<T>;

    /// `None` if the statement violated the unique key `key`.
    ///
    /// # Errors
    /// Returns every other error as it is.
    fn unless_duplicate(self, key: &str) -> Result<Option<T>>;
}

impl<T> OnDuplicate<T> for Result<T, sqlx::Error> {
    fn on_duplicate(self, key: &str, refusal: impl FnOnce() -> CommonError) -> Result<T> {
        self.unless_duplicate(key)?.ok_or_else(|| refusal().into())
    }

    fn unless_duplicate(self, key: &str) -> Result<Option<T>> {
        match self {
            Ok(value) => Ok(Some(value)),
            Err(e) if violates(&e, key) => Ok(None),
            Err(e) => Err(e.into()),
        }
    }
}

fn violates(e: &sqlx::Error, key: &str) -> bool {
    e.as_database_error().is_some_and(|d| d.is_unique_violation() && d.message().contains(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_read_only_server_pass_and_a_refused_value_does_not() {
        assert!([1021, 1114, 1030, 1290, 1836, 3032, 1205, 1146].into_iter().all(is_passing));
        assert!(![1048, 1054, 1062, 1064, 1366, 1406].into_iter().any(is_passing));
    }

    #[test]
    fn the_text_of_an_error_has_no_value_of_the_statement() {
        for (text, shown) in [
            ("Duplicate entry 'ann@example.com' for key 'email'", "Duplicate entry … for key 'email'"),
            ("Duplicate entry 'a' for key 'b' for key 'email'", "Duplicate entry … for key 'email'"),
            (
                "Incorrect string value: '\\xF0' for column `db`.`t`.`c` at row 1",
                "Incorrect string value: … for column `db`.`t`.`c` at row 1",
            ),
            ("Truncated incorrect DOUBLE value: 'ann'", "Truncated incorrect DOUBLE value: …"),
            ("Data too long for column 'name' at row 1", "Data too long for column …"),
            ("Out of range", "Out of range"),
        ] {
            assert_eq!(of_statement(text), shown);
        }
    }
}
