//! Hashing, comparing and judging passwords, on dedicated threads with a bounded queue.
//!
//! A hash is slow by design, so requests never compute one on the threads of the runtime. When the queue is full, a
//! request fails at once with 503, instead of waiting longer than its client does.

mod guesses;
mod hash;
mod pool;

pub use hash::Verdict;

use std::sync::Arc;

use common::error::{Error, Result};
use platform::telemetry::Metrics;

use crate::breached::BreachedPasswords;
use crate::config::PasswordConfig;
use crate::domain::{NewPassword, PasswordRule};
use guesses::guesses;
use hash::Hasher;
use pool::Pool;

/// The configured rule, hash scheme and its threads. Cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    rule: PasswordRule,
    min_guesses: u64,
    breached: Option<BreachedPasswords>,
    hasher: Arc<Hasher>,
    pool: Arc<Pool>,
}

/// Why a new password is refused although it satisfies the rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weakness {
    /// Too few guesses find it.
    Common,
    /// It is in the file of breached passwords.
    Breached,
}

impl Passwords {
    pub fn new(config: &PasswordConfig, metrics: &Metrics) -> Result<Self> {
        let hasher = Hasher::new(config).map_err(Error::internal)?;
        let waiting = metrics.gauge("password_queue_length", "Passwords that wait for a thread to hash them");
        let pool = Pool::start(waiting.map_err(Error::internal)?)?;
        Ok(Self {
            rule: config.rule,
            min_guesses: config.min_guesses,
            breached: config.breached.clone(),
            hasher: Arc::new(hasher),
            pool: Arc::new(pool),
        })
    }

    /// The configured rule for new passwords.
    pub fn rule(&self) -> PasswordRule {
        self.rule
    }

    /// Whether a new password is common or breached. `about` is words about its user, which attackers try first.
    ///
    /// # Errors
    /// Returns [`Error::Unavailable`] if the queue is full or the file of breached passwords cannot be read.
    pub async fn weakness(&self, password: &NewPassword, about: Vec<String>) -> Result<Option<Weakness>> {
        // With 0 the estimate decides nothing and would only occupy a thread.
        if self.min_guesses > 0 {
            let text = password.as_str().to_owned();
            if self.pool.run(move |_| guesses(&text, &about)).await? < self.min_guesses {
                return Ok(Some(Weakness::Common));
            }
        }
        match &self.breached {
            Some(breached) if breached.contains(password.as_str()).await? => Ok(Some(Weakness::Breached)),
            _ => Ok(None),
        }
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
