//! Authentication: access tokens, service tokens, revoked sessions, and the extractors that handlers name as arguments.

mod authenticator;
mod extract;
mod public_keys;
mod revocations;
mod role;
mod user;

pub use authenticator::Auth;
pub use extract::{ServiceCaller, UserOrService};
pub use revocations::{RevocationSource, Revocations};
pub use role::TokenRole;
pub use user::CurrentUser;
