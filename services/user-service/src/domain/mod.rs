//! The rules of accounts: what may be a name, an address, a password. No I/O.

mod email;
mod names;
mod password;
mod profile;
mod refresh;
mod rule;
mod username;

pub use email::Email;
pub use names::{Names, Part};
pub use password::NewPassword;
pub use profile::{DisplayName, Edit, ImageUrl, ProfileEdit, StatusMessage};
pub use refresh::{RefreshHash, RefreshToken};
pub use rule::Rule;
pub use username::Username;
