//! The epoch of the store as the streams of this replica see it.
//!
//! Every replica counts a beat in the store every two seconds. A number that is not higher than the last one shows that the store
//! was replaced by an older state of itself. The replica then begins a new epoch. A change of the epoch ends all streams, whose
//! readers come back with ids of the old epoch and receive `resync`. The changes of members whose positions the older state lacks
//! are announced again.

use std::sync::Arc;
use std::time::Duration;

use common::error::{Error, Result};
use platform::task::run_detached;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use super::hub::Hub;
use super::subscribers::Subscribers;
use crate::store::{Beat, Epoch, EpochStore, Log, MembershipLog, Messages, UnreadCounts};

/// Interval of the beats of a replica.
const BEAT_INTERVAL: Duration = Duration::from_secs(2);

/// A stream that opens while the epoch changes waits so long at most.
const PATIENCE: Duration = Duration::from_secs(3);

/// A handle on the epoch.
#[derive(Clone)]
pub struct Epochs {
    store: EpochStore,
    membership_log: MembershipLog,
    messages: Messages,
    log: Log,
    /// `None` before the first beat.
    current: Arc<watch::Sender<Option<Epoch>>>,
    wake: Arc<Notify>,
}

impl Epochs {
    pub fn new(store: EpochStore, membership_log: MembershipLog, messages: Messages, log: Log) -> Self {
        Self { store, membership_log, messages, log, current: Arc::new(watch::Sender::new(None)), wake: Arc::default() }
    }

    /// The epoch for a stream that is registered already, or for the id of one that is opened later. For a client that resumes,
    /// the epoch is read from the store: the last beat may be older than a restore.
    ///
    /// # Errors
    /// Returns an unavailable error if the store does not answer.
    pub async fn of_stream(&self, resumes: bool) -> Result<Epoch> {
        let mut stored = None;
        if resumes {
            let store = self.store.clone();
            stored = run_detached(async move { store.current().await }).await?;
        }
        let mut current = self.current.subscribe();
        let matches = |known: &Option<Epoch>| known.is_some() && (stored.is_none() || *known == stored);
        if !matches(&current.borrow()) {
            self.wake.notify_one();
        }
        let known = tokio::time::timeout(PATIENCE, current.wait_for(matches)).await;
        let known = known.ok().and_then(|known| known.ok().and_then(|known| *known));
        known.ok_or_else(|| Error::unavailable("mongodb", "the epoch of the store is not known"))
    }

    /// Counts beats and follows the epoch until the shutdown.
    pub async fn follow(self, hub: Hub, unread: UnreadCounts, subscribers: Subscribers, stopping: CancellationToken) {
        let mut last: Option<Beat> = None;
        loop {
            match self.beat(last).await {
                Ok(beat) => {
                    if last.is_some_and(|last| last.epoch != beat.epoch) {
                        tracing::warn!(epoch = %beat.epoch, "the store has a new epoch, streams end and clients fetch anew");
                        // A stream that sees the new epoch must not see a window of the old one.
                        hub.forget_feeds();
                        unread.forget();
                    }
                    self.current.send_if_modified(|current| current.replace(beat.epoch) != Some(beat.epoch));
                    if last.is_some_and(|last| last.epoch != beat.epoch) {
                        // Every stream of the old epoch was registered before the new one was known.
                        subscribers.end_all();
                    }
                    last = Some(beat);
                    if beat.positions_owed
                        && let Err(e) = self.forget_lost_positions(beat.epoch).await
                    {
                        tracing::warn!(error = %e, "cannot forget the positions that the store lacks");
                    }
                }
                Err(e) => tracing::warn!(error = %e, "cannot read the epoch of the store"),
            }
            tokio::select! {
                () = tokio::time::sleep(BEAT_INTERVAL) => {}
                () = self.wake.notified() => {}
                () = stopping.cancelled() => return,
            }
        }
    }

    /// Counts a beat. Begins a new epoch first if the store is older than at the last beat.
    async fn beat(&self, last: Option<Beat>) -> Result<Beat> {
        let beat = self.store.beat().await?;
        match last {
            Some(last) if beat.number <= last.number => {
                tracing::warn!(last = last.number, found = beat.number, "the store is older than at the last beat");
                self.store.replace(beat, last.number).await?;
                Ok(self.store.beat().await?)
            }
            _ => Ok(beat),
        }
    }

    /// Lets the changes of members be announced again whose positions the store lacks since `epoch` began. A replica that is killed
    /// before leaves it to the next beat of any replica.
    async fn forget_lost_positions(&self, epoch: Epoch) -> Result<()> {
        self.membership_log.forget_lost_positions(&self.messages, &self.log).await?;
        Ok(self.store.set_positions_forgotten(epoch).await?)
    }
}
