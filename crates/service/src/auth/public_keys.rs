//! The public keys of access tokens, loaded from user-service.

use std::sync::Arc;
use std::time::Duration;

use common::error::{BoxError, Error, Result};
use common::jwt::{KeyRing, PublicKeys};
use platform::Platform;
use platform::config::CallConfig;
use platform::http::cause;
use platform::task::every;
use reqwest::redirect::Policy;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::answer;

const DEPENDENCY: &str = "user-service";

/// The path at which user-service publishes its keys.
const PATH: &str = "/.well-known/jwks.json";

/// The pause between two loads. A key that user-service no longer publishes verifies no token after this time.
const PAUSE: Duration = Duration::from_secs(300);

/// The least time between two loads for tokens with unknown keys, so that forged tokens cause no more of them.
const UNKNOWN_KEY_PAUSE: Duration = Duration::from_secs(10);

/// The longest time for a load, for which requests with unknown keys wait. `HTTP_TIMEOUT` can only shorten it.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A longer answer is rejected. A key takes 200 bytes.
const MAX_ANSWER_BYTES: usize = 64 * 1024;

/// Loads the keys at the start, every five minutes, and when a token names an unknown key. Loaded keys stay while
/// user-service is unavailable.
#[derive(Clone)]
pub(super) struct PublicKeyLoader {
    http: reqwest::Client,
    url: String,
    ring: KeyRing,
    /// When a token with an unknown key last caused a load. Held during the load, which concurrent requests share.
    last: Arc<Mutex<Option<Instant>>>,
}

impl PublicKeyLoader {
    /// Loads keys into `ring` until the shutdown. The service is not ready before the first load.
    pub(super) fn start(base_url: &str, ring: KeyRing, platform: &Platform) -> Result<Self, BoxError> {
        let loader = Self::new(base_url, ring, &platform.config.calls)?;
        let (first, mut later, stopping) = (loader.clone(), loader.clone(), platform.shutdown.stopping_token());
        let load = move || {
            let loader = first.clone();
            async move { loader.load().await }
        };
        platform.health.prepare("public_keys", load, || async { Ok::<_, Error>(()) });
        platform.shutdown.spawn(async move {
            every(PAUSE, "public keys of access tokens", &stopping, &mut later, async |loader| loader.load().await)
                .await;
        });
        Ok(loader)
    }

    fn new(base_url: &str, ring: KeyRing, calls: &CallConfig) -> Result<Self, reqwest::Error> {
        // Keys are accepted from the configured address only.
        let http = calls.tls.client().redirect(Policy::none()).timeout(TIMEOUT.min(calls.timeout)).build()?;
        Ok(Self { http, url: format!("{base_url}{PATH}"), ring, last: Arc::default() })
    }

    /// Loads the keys if `key` is unknown and no such load was begun in the last 10 s.
    ///
    /// # Errors
    /// Returns an unavailable error if no keys were loaded yet. Afterwards, a key that stays unknown is no error here.
    pub(super) async fn look_for(&self, key: &str) -> Result<()> {
        let mut last = self.last.lock().await;
        // A request that held the lock may have loaded it.
        if self.ring.contains(key) {
            return Ok(());
        }
        if last.is_none_or(|begun| begun.elapsed() >= UNKNOWN_KEY_PAUSE) {
            *last = Some(Instant::now());
            if let Err(e) = self.load().await {
                tracing::warn!(error = %e, "the public keys of access tokens cannot be loaded");
            }
        }
        match self.ring.current() {
            Some(_) => Ok(()),
            None => Err(Error::unavailable(DEPENDENCY, "the public keys of access tokens are not loaded yet")),
        }
    }

    /// Replaces the keys by those that user-service publishes.
    async fn load(&self) -> Result<()> {
        let loaded = self.fetch().await.map_err(|e| Error::unavailable(DEPENDENCY, e))?;
        self.ring.replace(loaded);
        Ok(())
    }

    async fn fetch(&self) -> Result<PublicKeys, BoxError> {
        let body = self.ask().await.map_err(|e| cause(&e))?.ok_or("its key set is too long")?;
        Ok(PublicKeys::from_json(&body).map_err(|e| format!("the answer {e}"))?)
    }

    async fn ask(&self) -> reqwest::Result<Option<Vec<u8>>> {
        let response = self.http.get(&self.url).send().await?.error_for_status()?;
        answer::body(response, MAX_ANSWER_BYTES).await
    }
}

#[cfg(test)]
mod tests;
