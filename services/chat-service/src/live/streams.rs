//! The streams that are open on this replica, and why one ends before its reader goes.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::Utc;
use common::auth::{Auth, CLOCK_SKEW, CurrentUser};
use common::id::UserId;
use common::presence::Presence;
use prometheus::IntGauge;
use tokio_util::sync::CancellationToken;

/// The contract gives the end of a session 10 s to reach its streams.
const LOOK_EVERY: Duration = Duration::from_secs(3);

/// All open streams.
#[derive(Clone)]
pub struct Streams {
    shared: Arc<Shared>,
}

struct Shared {
    auth: Auth,
    presence: Presence,
    open: Mutex<HashMap<u64, Listener>>,
    next: AtomicU64,
    gauge: IntGauge,
    shutdown: CancellationToken,
}

struct Listener {
    user: UserId,
    session: Arc<str>,
    ended: CancellationToken,
}

/// A stream is counted, and checked, as long as this lives.
pub struct OpenStream {
    streams: Streams,
    id: u64,
    ended: CancellationToken,
    /// Until the token counts no more.
    lifetime: Duration,
    opened: tokio::time::Instant,
}

impl Streams {
    pub fn new(auth: Auth, presence: Presence, gauge: IntGauge, shutdown: CancellationToken) -> Self {
        let (open, next) = (Mutex::default(), AtomicU64::default());
        Self { shared: Arc::new(Shared { auth, presence, open, next, gauge, shutdown }) }
    }

    /// Counts a stream in.
    pub fn open(&self, user: &CurrentUser) -> OpenStream {
        let id = self.shared.next.fetch_add(1, Ordering::Relaxed);
        let ended = CancellationToken::new();
        let listener = Listener { user: user.id, session: user.session.clone(), ended: ended.clone() };
        self.shared.open().insert(id, listener);
        self.shared.gauge.inc();
        let left = user.expires_at.saturating_sub(Utc::now().timestamp());
        let lifetime = Duration::from_secs(left.max(0).unsigned_abs()) + CLOCK_SKEW;
        OpenStream { streams: self.clone(), id, ended, lifetime, opened: tokio::time::Instant::now() }
    }

    /// Ends the streams of ended sessions, and keeps their readers online: one round trip for all, until the shutdown.
    pub async fn watch(self) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = ticks.tick() => self.look().await,
                () = self.shared.shutdown.cancelled() => return,
            }
        }
    }

    async fn look(&self) {
        let open: Vec<(UserId, Arc<str>, CancellationToken)> =
            self.shared.open().values().map(|l| (l.user, l.session.clone(), l.ended.clone())).collect();
        for (user, ..) in &open {
            self.shared.presence.touch(*user).await;
        }
        let sessions: Vec<(&str, UserId)> = open.iter().map(|(user, session, _)| (&**session, *user)).collect();
        match self.shared.auth.revocations().ask(&sessions).await {
            Ok(revoked) => {
                let ended = open.iter().zip(revoked).filter(|(_, revoked)| *revoked);
                ended.for_each(|((.., ended), _)| ended.cancel());
            }
            Err(e) => tracing::warn!(error = %e, "ended sessions cannot be looked up, streams go on"),
        }
    }
}

impl Shared {
    fn open(&self) -> MutexGuard<'_, HashMap<u64, Listener>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenStream {
    /// Resolves when the stream has to end: its session is over or its token, or this replica goes.
    pub async fn ended(&self) {
        tokio::select! {
            () = self.ended.cancelled() => {}
            () = tokio::time::sleep_until(self.opened + self.lifetime) => {}
            () = self.streams.shared.shutdown.cancelled() => {}
        }
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.streams.shared.open().remove(&self.id);
        self.streams.shared.gauge.dec();
    }
}
