//! The limit of open files: each connection takes one.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the limit of this process as far as it may go, and returns it. None if the system does not tell it.
pub fn raise_limit() -> Option<u64> {
    let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE).ok()?;
    // A refusal leaves the limit as it is.
    let _ = setrlimit(Resource::RLIMIT_NOFILE, hard, hard);
    getrlimit(Resource::RLIMIT_NOFILE).ok().map(|(soft, _)| soft)
}
