//! Streams that a scenario holds open, and the messages that go out to them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::Run;
use crate::http::{Failure, exchange};
use crate::listener::{Audience, Listener, STREAMS_OF_AUDIENCE, StreamKind};
use crate::load::{self, Recorder, Schedule};
use crate::received::Arrivals;
use crate::report::{Load, Measured};
use crate::stream::{Deliveries, content};
use crate::world::{World, many};

/// Streams that open at the same time.
const OPENING: usize = 64;

/// Messages a second without `--rate`.
const DEFAULT_RATE: f64 = 20.0;

/// The time in which the memory of the services settles.
const SETTLE: Duration = Duration::from_secs(3);

/// The longest wait for the last deliveries. Without Kafka they may take 3 s at another replica.
const PATIENCE: Duration = Duration::from_secs(15);

/// Between two looks for the last deliveries.
const POLL: Duration = Duration::from_millis(20);

/// The row of the deliveries.
pub const DELIVERY: &str = "delivery";

pub struct Fleet {
    world: Arc<World>,
    kind: StreamKind,
    audiences: Vec<Arc<Audience>>,
    /// The streams that were opened, in their order, and the tasks that read them.
    pub listeners: Vec<Arc<Listener>>,
    readers: Vec<AbortHandle>,
    /// Ends the tasks when the fleet is dropped.
    tasks: JoinSet<()>,
    deliveries: Arc<Deliveries>,
    /// The next message of the fleet.
    next: Arc<AtomicU64>,
    /// Deliveries of the messages that were sent.
    expected: Arc<AtomicU64>,
}

impl Fleet {
    /// Creates the people and rooms of so many streams.
    ///
    /// # Errors
    /// Fails if the system refuses a request.
    pub async fn prepare(run: &Run, streams: usize, kind: StreamKind) -> Result<Self, Failure> {
        let audiences = streams.div_ceil(STREAMS_OF_AUDIENCE);
        let audiences = many(audiences, |_| Audience::create(&run.world.api, kind.rooms)).await?;
        Ok(Self {
            world: run.world.clone(),
            kind,
            audiences: audiences.into_iter().map(Arc::new).collect(),
            listeners: Vec::new(),
            readers: Vec::new(),
            tasks: JoinSet::new(),
            deliveries: Arc::default(),
            next: Arc::default(),
            expected: Arc::default(),
        })
    }

    /// Opens streams until there are so many, each of which a task reads from then on.
    pub async fn open(&mut self, run: &Run, scenario: &str, streams: usize) -> Measured {
        let recorder = Recorder::default();
        let (world, audiences, kind) = (self.world.clone(), self.audiences.clone(), self.kind);
        let work = async {
            let listeners = (self.listeners.len()..streams)
                .map(|n| Arc::new(Listener::new(n, audiences[n / STREAMS_OF_AUDIENCE].clone(), kind)));
            let opening = stream::iter(listeners).take_until(run.stop.cancelled()).map(|listener| async {
                let started = Instant::now();
                let opened = listener.connect(&world.api).await;
                recorder.record("open stream", started, &opened);
                opened.ok().map(|stream| (listener, stream))
            });
            let opening = opening.buffer_unordered(OPENING);
            tokio::pin!(opening);
            while let Some(opened) = opening.next().await {
                let Some((listener, stream)) = opened else { continue };
                let (reading, deliveries) = (listener.clone(), self.deliveries.clone());
                self.readers.push(self.tasks.spawn(async move { reading.read(stream, &deliveries).await }));
                self.listeners.push(listener);
            }
            sleep(SETTLE).await;
            0
        };
        run.observe(scenario, Load::Closed { clients: OPENING as u32 }, &recorder, work).await
    }

    /// Sends messages at a fixed rate and waits for their deliveries.
    pub async fn deliver(&self, run: &Run, scenario: &str) -> Measured {
        let recorder = Arc::new(Recorder::default());
        let schedule = Schedule::new(Instant::now(), rate(run), run.duration);
        self.deliveries.begin(schedule, self.next.load(Ordering::Relaxed), DELIVERY, recorder.clone());
        let work = async {
            let unfinished = self.sender(&recorder).run(run, schedule, &run.stop).await;
            self.wait_for_deliveries().await;
            self.deliveries.end();
            unfinished
        };
        let load = Load::Open { per_second: rate(run), clients: run.clients };
        run.observe(scenario, load, &recorder, work).await
    }

    /// A sender of messages to all streams that are open now.
    pub fn sender(&self, recorder: &Arc<Recorder>) -> Arc<Sender> {
        Arc::new(Sender {
            world: self.world.clone(),
            audiences: self.audiences.iter().filter(|audience| audience.listeners() > 0).cloned().collect(),
            first: self.next.load(Ordering::Relaxed),
            next: self.next.clone(),
            expected: self.expected.clone(),
            recorder: recorder.clone(),
        })
    }

    /// Waits until the messages that were sent have arrived, but not for long.
    pub async fn wait_for_deliveries(&self) {
        let patience = Instant::now() + PATIENCE;
        while self.deliveries.count() < self.expected.load(Ordering::Relaxed) && Instant::now() < patience {
            sleep(POLL).await;
        }
    }

    /// Cuts the connection of a stream, and lets a task go on with it.
    pub fn replace<F>(&mut self, index: usize, go_on: impl FnOnce(Arc<Listener>, Arc<World>, Arc<Deliveries>) -> F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.readers[index].abort();
        let going_on = go_on(self.listeners[index].clone(), self.world.clone(), self.deliveries.clone());
        self.readers[index] = self.tasks.spawn(going_on);
    }

    /// Whether each message arrived exactly once on each stream.
    pub fn arrivals(&self) -> Arrivals {
        self.listeners.iter().map(|listener| listener.arrivals()).sum()
    }
}

/// Messages a second.
pub fn rate(run: &Run) -> f64 {
    run.rate.unwrap_or(DEFAULT_RATE)
}

/// Messages into the rooms of audiences in turn.
pub struct Sender {
    world: Arc<World>,
    audiences: Vec<Arc<Audience>>,
    /// The number of the first message.
    first: u64,
    next: Arc<AtomicU64>,
    expected: Arc<AtomicU64>,
    recorder: Arc<Recorder>,
}

impl Sender {
    /// Returns the number of messages that could not be sent in time.
    pub async fn run(self: Arc<Self>, run: &Run, schedule: Schedule, stop: &CancellationToken) -> u64 {
        if self.audiences.is_empty() {
            return 0;
        }
        let send = move |index, intended| {
            let sender = self.clone();
            async move { sender.send(index, intended).await }
        };
        load::open(schedule, run.clients, stop, send).await
    }

    async fn send(&self, index: u64, intended: Instant) -> bool {
        let (turn, number) = (index as usize, self.first + index);
        self.next.fetch_max(number + 1, Ordering::Relaxed);
        let audience = &self.audiences[turn % self.audiences.len()];
        let room = audience.rooms[turn / self.audiences.len() % audience.rooms.len()];
        audience.begin_send(number);
        let sent = exchange(self.world.api.send_request(&audience.pair.ann, room, &content(number))).await;
        self.recorder.record_step("send", intended, &sent);
        if sent.is_ok() {
            audience.end_send(number);
            self.expected.fetch_add(audience.listeners(), Ordering::Relaxed);
        }
        sent.is_ok()
    }
}
