//! Hashing and checking passwords: slow by intent, and so on threads of its own with a queue that ends.
//!
//! Requests never hash on the runtime's threads. When more is asked for than the cores can do, the next one is
//! answered 503 at once instead of waiting longer than its client does.

mod hash;
mod pool;

pub use hash::Verdict;

use std::sync::Arc;

use common::error::{Error, Result};
use common::telemetry::Metrics;

use crate::config::PasswordConfig;
use crate::domain::NewPassword;
use hash::Hasher;
use pool::Pool;

/// Cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    hasher: Arc<Hasher>,
    pool: Arc<Pool>,
}

impl Passwords {
    pub fn new(config: &PasswordConfig, metrics: &Metrics) -> Result<Self> {
        let hasher = Hasher::new(config).map_err(Error::internal)?;
        let waiting = metrics.gauge("password_queue_length", "Passwords that wait for a thread to hash them");
        let pool = Pool::start(waiting.map_err(Error::internal)?)?;
        Ok(Self { hasher: Arc::new(hasher), pool: Arc::new(pool) })
    }

    /// Whether the scheme can hash the whole of this password: bcrypt reads 72 bytes and stops at a NUL.
    pub fn can_hash(&self, password: &NewPassword) -> bool {
        self.hasher.can_hash(password.as_str())
    }

    /// The hash to store.
    pub async fn hash(&self, password: &str) -> Result<String> {
        let (hasher, password) = (self.hasher.clone(), password.to_owned());
        self.pool.run(move |memory| hasher.hash(&password, memory)).await?.map_err(Error::internal)
    }

    /// Compares with a stored hash. Where there is no account the work is the same, and the password wrong.
    pub async fn verify(&self, password: &str, stored: Option<&str>) -> Result<Verdict> {
        let (hasher, password) = (self.hasher.clone(), password.to_owned());
        let stored = stored.map(str::to_owned);
        self.pool
            .run(move |memory| match stored {
                Some(stored) => hasher.verify(&password, &stored, memory),
                None => {
                    hasher.verify(&password, hasher.nobodys(), memory);
                    Verdict::Wrong
                }
            })
            .await
    }
}
