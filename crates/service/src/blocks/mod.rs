//! The blocks between users: a copy in memory.
//!
//! The copy is loaded whole from friend-service at the start, again when the service reads every later event, and every
//! five minutes. In between, events and a request every two seconds bring new blocks: a block counts after five seconds at most,
//! without Kafka too. An end of a block whose event is lost counts with the next whole load.
//!
//! Until the first load the standing of two users is unknown. The acts that a block forbids are refused with 503 for the first
//! five seconds of the process, and then decided by what is known. What a block hides stays hidden until the first load. A
//! friend-service of the original has no blocks.

#[cfg(test)]
mod load_tests;
mod source;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::error::{Error, Result};
use common::events::friend::{UserBlocked, UserUnblocked};
use common::id::UserId;
use engines::kafka::received::Received;
use engines::kafka::tail::Tail;
use parking_lot::RwLock;
use platform::telemetry::Metrics;
use prometheus::{IntCounterVec, IntGauge};

pub use source::BlockSource;
use source::{Block, Pair};

/// How long an act waits for the first load, from the start of the process on.
const FIRST_LOAD: Duration = Duration::from_secs(5);

/// Interval of the requests for new blocks.
const NEW_BLOCKS_INTERVAL: Duration = Duration::from_secs(2);

/// How long the version of an event is kept, so that an older event that comes late changes nothing.
const EVENT_LIFETIME: Duration = Duration::from_secs(3_600);

/// All blocks; a pair takes about 50 bytes. Clones share them.
#[derive(Clone)]
pub struct Blocks {
    state: Arc<RwLock<State>>,
    started: Instant,
    known: IntGauge,
    unknown: IntCounterVec,
}

#[derive(Default)]
struct State {
    blocked: HashSet<Pair>,
    /// The newest event of each pair.
    events: HashMap<Pair, LastEvent>,
    /// The blocks were loaded, or friend-service has none.
    is_known: bool,
}

struct LastEvent {
    version: u64,
    is_blocked: bool,
    at: Instant,
}

impl Blocks {
    /// No block is known yet.
    ///
    /// # Errors
    /// Returns an error if the metrics are already registered.
    pub fn register(metrics: &Metrics) -> prometheus::Result<Self> {
        let known = metrics.gauge("blocks_known", "1 if the blocks of friend-service are known")?;
        let help = "Acts between users whose blocks were unknown: refused, or allowed after five seconds";
        let unknown = metrics.counters("blocks_unknown_total", help, &["outcome"])?;
        for outcome in ["refused", "allowed"] {
            unknown.with_label_values(&[outcome]);
        }
        Ok(Self { state: Arc::default(), started: Instant::now(), known, unknown })
    }

    /// Whether `user` has blocked `other`, as far as it is known.
    pub fn has(&self, user: UserId, other: UserId) -> bool {
        self.state.read().blocked.contains(&(user, other))
    }

    /// Whether the presence and the profile of `user` are hidden from `other`: `user` has blocked `other`, or no load has
    /// shown yet that this is not so.
    pub fn hides(&self, user: UserId, other: UserId) -> bool {
        let state = self.state.read();
        !state.is_known || state.blocked.contains(&(user, other))
    }

    /// Whether one of two users has blocked the other, for an act that a block forbids.
    ///
    /// # Errors
    /// Returns 503 in the first five seconds of the process if the standing of the two is unknown.
    pub fn between(&self, a: UserId, b: UserId) -> Result<bool> {
        let state = self.state.read();
        if state.blocked.contains(&(a, b)) || state.blocked.contains(&(b, a)) {
            return Ok(true);
        }
        if state.is_known {
            return Ok(false);
        }
        drop(state);
        if self.started.elapsed() < FIRST_LOAD {
            self.unknown.with_label_values(&["refused"]).inc();
            return Err(Error::unavailable("friend-service", "the blocks are not loaded yet"));
        }
        self.unknown.with_label_values(&["allowed"]).inc();
        Ok(false)
    }

    /// Applies an event, and returns whether it is about a block. Events older than an applied one change nothing.
    ///
    /// # Errors
    /// Returns an error if the event cannot be decoded.
    pub fn receive(&self, event: &Received) -> Result<bool> {
        if event.is::<UserBlocked>() {
            let UserBlocked { user_id, blocked_user_id } = event.decode()?;
            self.apply((user_id, blocked_user_id), true, event.version);
        } else if event.is::<UserUnblocked>() {
            let UserUnblocked { user_id, blocked_user_id } = event.decode()?;
            self.apply((user_id, blocked_user_id), false, event.version);
        } else {
            return Ok(false);
        }
        Ok(true)
    }

    /// Applies the events of a tail until it ends, for a service that reads no others of friend-service.
    pub async fn follow(self, mut tail: Tail) {
        while let Some(event) = tail.next().await {
            if let Err(error) = self.receive(&event) {
                tracing::warn!(%error, event_type = event.event_type, "skipping an unreadable event");
            }
        }
    }

    fn apply(&self, pair: Pair, is_blocked: bool, version: u64) {
        let mut state = self.state.write();
        if state.events.get(&pair).is_none_or(|last| last.version <= version) {
            state.events.insert(pair, LastEvent { version, is_blocked, at: Instant::now() });
            state.set(pair, is_blocked);
        }
    }

    /// Loads the blocks and keeps them current. `followed` resolves when the service reads every later event: the load after it
    /// finds the blocks between the first load and the first event.
    pub async fn load(self, source: BlockSource, followed: impl Future<Output = ()>) {
        let (mut followed, mut is_following) = (std::pin::pin!(followed), false);
        if !source.is_usable() {
            self.set_known();
        }
        let mut newest = None;
        loop {
            let loaded = self.load_all(&source).await;
            // Blocks become visible out of the order of their ids. All before the load before this one are visible.
            let settled = newest.replace(loaded).unwrap_or(loaded);
            let next_load = Instant::now() + source.load_interval;
            while Instant::now() < next_load {
                tokio::select! {
                    () = &mut followed, if !is_following => {
                        is_following = true;
                        break;
                    }
                    () = tokio::time::sleep(NEW_BLOCKS_INTERVAL) => self.load_new(&source, settled).await,
                }
            }
        }
    }

    /// Replaces the blocks by those of friend-service. Returns the id of the newest.
    async fn load_all(&self, source: &BlockSource) -> i64 {
        let (read_at, blocks) = loop {
            let read_at = Instant::now();
            match source.all_blocks().await {
                Some(blocks) => break (read_at, blocks),
                None => {
                    self.set_known();
                    source.wait_for_another().await;
                }
            }
        };
        tracing::debug!(blocks = blocks.len(), "blocks loaded");
        self.state.write().replace(&blocks, read_at);
        self.set_known();
        blocks.last().map_or(0, |block| block.id)
    }

    async fn load_new(&self, source: &BlockSource, since: i64) {
        let read_at = Instant::now();
        match source.blocks_after(since).await {
            Ok(blocks) => self.state.write().add(&blocks, read_at),
            Err(error) => tracing::debug!(%error, "cannot load new blocks, retrying"),
        }
    }

    fn set_known(&self) {
        self.state.write().is_known = true;
        self.known.set(1);
    }
}

impl State {
    fn set(&mut self, pair: Pair, is_blocked: bool) {
        if is_blocked {
            self.blocked.insert(pair);
        } else {
            self.blocked.remove(&pair);
        }
    }

    /// Takes a whole load that began at `read_at`. Later events take precedence: the load may not contain them.
    fn replace(&mut self, blocks: &[Block], read_at: Instant) {
        self.blocked = blocks.iter().map(Block::pair).collect();
        self.events.retain(|_, event| read_at.saturating_duration_since(event.at) < EVENT_LIFETIME);
        let later: Vec<_> = self.events.iter().filter(|(_, event)| event.at >= read_at).collect();
        let later: Vec<(Pair, bool)> = later.into_iter().map(|(pair, event)| (*pair, event.is_blocked)).collect();
        for (pair, is_blocked) in later {
            self.set(pair, is_blocked);
        }
    }

    /// Takes new blocks that were read from `read_at` on, unless a later event is about the pair.
    fn add(&mut self, blocks: &[Block], read_at: Instant) {
        for pair in blocks.iter().map(Block::pair) {
            if self.events.get(&pair).is_none_or(|event| event.at < read_at) {
                self.blocked.insert(pair);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANN: UserId = UserId(1);
    const BOB: UserId = UserId(2);

    fn blocks() -> Blocks {
        Blocks::register(&Metrics::new("service", "0").unwrap()).unwrap()
    }

    fn block(user_id: UserId, blocked_user_id: UserId) -> Block {
        Block { id: 1, user_id, blocked_user_id }
    }

    #[test]
    fn the_newest_event_wins_in_any_order() {
        let blocks = blocks();
        blocks.set_known();
        blocks.apply((ANN, BOB), false, 7);
        blocks.apply((ANN, BOB), true, 5);
        assert!(!blocks.between(ANN, BOB).unwrap());
        blocks.apply((ANN, BOB), true, 9);
        assert!(blocks.has(ANN, BOB) && !blocks.has(BOB, ANN) && blocks.between(BOB, ANN).unwrap());
    }

    #[test]
    fn everybody_is_hidden_until_the_blocks_are_known() {
        let blocks = blocks();
        assert!(blocks.hides(ANN, BOB) && !blocks.has(ANN, BOB));
        blocks.set_known();
        assert!(!blocks.hides(ANN, BOB));
        blocks.apply((ANN, BOB), true, 1);
        assert!(blocks.hides(ANN, BOB) && !blocks.hides(BOB, ANN));
    }

    #[test]
    fn an_event_during_the_load_takes_precedence() {
        let (blocks, read_at) = (blocks(), Instant::now());
        blocks.apply((ANN, BOB), false, 3);
        blocks.state.write().replace(&[block(ANN, BOB), block(BOB, ANN)], read_at);
        assert!(!blocks.has(ANN, BOB) && blocks.has(BOB, ANN));
        blocks.state.write().add(&[block(ANN, BOB)], read_at);
        assert!(!blocks.has(ANN, BOB));
    }

    #[test]
    fn a_load_after_an_event_replaces_what_the_event_left() {
        let blocks = blocks();
        blocks.apply((ANN, BOB), true, 3);
        let later = Instant::now() + Duration::from_millis(1);
        blocks.state.write().replace(&[], later);
        assert!(!blocks.has(ANN, BOB), "the event of the unblock was lost");
        blocks.apply((ANN, BOB), true, 2);
        assert!(!blocks.has(ANN, BOB), "an old event came late");
    }

    #[test]
    fn unknown_standings_are_refused_for_five_seconds_and_counted() {
        let mut blocks = blocks();
        blocks.apply((ANN, BOB), true, 1);
        assert!(blocks.between(BOB, ANN).unwrap(), "an event is enough");
        let eve = UserId(3);
        let started = blocks.started;
        let at_the_age_of = |blocks: &mut Blocks, secs| {
            blocks.started = started.checked_sub(Duration::from_secs(secs)).expect("the machine runs for longer");
            blocks.between(ANN, eve).map_err(|e| e.status().as_u16())
        };
        assert_eq!([0, 3, 5].map(|secs| at_the_age_of(&mut blocks, secs)), [Err(503), Err(503), Ok(false)]);
        let counted = ["refused", "allowed"].map(|outcome| blocks.unknown.with_label_values(&[outcome]).get());
        assert_eq!(counted, [2, 1]);
    }
}
