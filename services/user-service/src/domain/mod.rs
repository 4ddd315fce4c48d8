//! The rules for names, e-mail addresses, passwords and refresh tokens. No I/O.

mod canonical_email;
mod email;
mod look_alike;
mod names;
mod network;
mod password;
mod profile;
mod refresh;
mod rule;
mod second_factor;
mod username;

pub use canonical_email::CanonicalEmail;
pub use email::Email;
pub use look_alike::{Skeleton, Skeletons, imitates};
pub use names::{INDEX_FORM, Names, SearchTerm};
pub use network::Network;
pub use password::{NewPassword, PasswordRule};
pub use profile::{DisplayName, Edit, ImageUrl, ProfileEdit, StatusMessage};
pub use refresh::{Presented, RefreshFamily, RefreshToken, RefreshTokenHash, SuccessorSalt};
pub use rule::Rule;
pub use second_factor::{EnteredCode, RecoveryCode, RecoveryCodeHash, TotpSecret};
pub use username::Username;
