//! The error of a store.

use common::error::Error as CommonError;

/// The result of a function that uses a database or the broker.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of a driver, classified as unavailable or internal, or any other [`common::error::Error`].
///
/// `?` makes it from the error of a driver or of a domain rule, and turns it into the error that a handler returns.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub struct Error(#[from] CommonError);

impl Error {
    /// The classified error, for a function that decides by it.
    pub fn get_ref(&self) -> &CommonError {
        &self.0
    }
}

impl From<Error> for CommonError {
    fn from(error: Error) -> Self {
        error.0
    }
}
