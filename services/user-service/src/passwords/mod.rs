//! Hashing and comparing passwords, on dedicated threads with a bounded queue.
//!
//! A hash is slow by design, so requests never compute one on the threads of the runtime. When the queue is full, a
//! request fails at once with 503, instead of waiting longer than its client does.

mod hash;
mod pool;

pub use hash::Verdict;

use std::sync::Arc;

use common::error::{Error, Result};
use platform::telemetry::Metrics;

use crate::config::PasswordConfig;
use crate::domain::NewPassword;
use hash::Hasher;
use pool::Pool;

/// The configured hash scheme and its threads. Cheap to clone.
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

    /// Whether the configured scheme hashes the whole password: bcrypt reads at most 72 bytes and stops at a NUL.
    pub fn can_hash(&self, password: &NewPassword) -> bool {
        self.hasher.can_hash(password.as_str())
    }

    /// Hashes a password with the configured scheme.
    ///
    /// # Errors
    /// Returns [`Error::Unavailable`] if the queue is full.
    pub async fn hash(&self, password: &str) -> Result<String> {
        let (hasher, password) = (self.hasher.clone(), password.to_owned());
        self.pool.run(move |memory| hasher.hash(&password, memory)).await?.map_err(Error::internal)
    }

    /// Compares a password with a stored hash. Without one, the password is wrong after the same time.
    ///
    /// # Errors
    /// Returns [`Error::Unavailable`] if the queue is full.
    pub async fn verify(&self, password: &str, stored: Option<&str>) -> Result<Verdict> {
        let (hasher, password) = (self.hasher.clone(), password.to_owned());
        let stored = stored.map(str::to_owned);
        self.pool
            .run(move |memory| match stored {
                Some(stored) => hasher.verify(&password, &stored, memory),
                None => {
                    hasher.verify(&password, hasher.dummy_hash(), memory);
                    Verdict::Wrong
                }
            })
            .await
    }
}
