//! The scenario `streams`: open streams of rooms, their idle cost, and messages that go out to all of them.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{Run, cost};
use crate::http::{Failure, exchange};
use crate::load::{self, Recorder, Schedule, as_client};
use crate::report::{Load, Measured, StreamCost};
use crate::stream::{Deliveries, EventStream, content};
use crate::terminal::note;
use crate::world::{Pair, World, many, pair};

/// Streams that a user may hold at a replica (`STREAMS_PER_USER`).
const STREAMS_OF_USER: usize = 20;

/// Both members of a direct room open streams of it.
const STREAMS_OF_ROOM: usize = 2 * STREAMS_OF_USER;

/// Streams that open at the same time.
const OPENING: usize = 64;

/// Messages a second without `--rate`.
const DEFAULT_RATE: f64 = 20.0;

/// The time in which the memory of the services settles, and after the last message for its deliveries.
const SETTLE: Duration = Duration::from_secs(3);

/// Between two looks for the last deliveries.
const POLL: Duration = Duration::from_millis(20);

/// Opens streams, watches them idle and sends messages. The results have the opening and the deliveries; nothing is measured if
/// the accounts cannot be prepared.
pub async fn streams(run: &Run, scenario: &str, number: usize) -> Result<(Vec<Measured>, StreamCost), Failure> {
    let rooms = many(number.div_ceil(STREAMS_OF_ROOM), |_| pair(&run.world.api)).await?;
    let rooms: Arc<[Pair]> = rooms.into();
    let deliveries = Arc::new(Deliveries::default());
    let mut readers = JoinSet::new();
    let (opening, open) = connect(run, scenario, number, &rooms, &deliveries, &mut readers).await;
    note(&format!("streams: measuring {} idle streams for {} s", open.values().sum::<u64>(), run.duration.as_secs()));
    let idle = cost::measure_idle(run, run.duration).await.map(cost::percent).unwrap_or_default();
    let streams = open.values().sum();
    let (fan_out, expected) = fan_out(run, scenario, rooms, open, &deliveries).await;
    readers.shutdown().await;
    let received = fan_out.acts.iter().find(|act| act.act == DELIVERY).map_or(0, |act| act.count);
    let cost = StreamCost { streams, kb_each: kb_each(&opening), idle, expected, received };
    Ok((vec![opening, fan_out], cost))
}

/// The row of the deliveries.
const DELIVERY: &str = "delivery";

/// The number of open streams of each room, by its index.
type Open = BTreeMap<usize, u64>;

/// Opens all streams, each of which a task reads from then on.
async fn connect(
    run: &Run,
    scenario: &str,
    number: usize,
    rooms: &[Pair],
    deliveries: &Arc<Deliveries>,
    readers: &mut JoinSet<()>,
) -> (Measured, Open) {
    let recorder = Recorder::default();
    let mut open = Open::new();
    let work = async {
        let opening = stream::iter((0..number).map(|n| (n % rooms.len(), n / rooms.len())));
        let opening = opening.take_until(run.stop.cancelled());
        let opening = opening.map(|(room, of_room)| open_one(run, room, of_room, rooms, &recorder));
        let opening = opening.buffer_unordered(OPENING);
        tokio::pin!(opening);
        while let Some((room, opened)) = opening.next().await {
            if let Some(stream) = opened {
                *open.entry(room).or_default() += 1;
                let deliveries = deliveries.clone();
                readers.spawn(async move { stream.read(&deliveries).await });
            }
        }
        sleep(SETTLE).await;
        0
    };
    let measured =
        run.observe(&format!("{scenario}: open"), Load::Closed { clients: OPENING as u32 }, &recorder, work).await;
    (measured, open)
}

/// Opens a stream of a room for the member whose turn it is.
async fn open_one(
    run: &Run,
    room: usize,
    of_room: usize,
    rooms: &[Pair],
    recorder: &Recorder,
) -> (usize, Option<EventStream>) {
    let Pair { ann, bob, room: id } = &rooms[room];
    let started = Instant::now();
    let open = EventStream::open(&run.world.api, if of_room.is_multiple_of(2) { ann } else { bob }, *id);
    let opened = as_client(room + of_room, open).await;
    recorder.record("open stream", started, &opened);
    (room, opened.ok())
}

/// Messages into all rooms in turn.
struct FanOut {
    world: Arc<World>,
    rooms: Arc<[Pair]>,
    open: Open,
    recorder: Arc<Recorder>,
    /// Deliveries of the messages that were sent.
    expected: AtomicU64,
}

impl FanOut {
    async fn send(&self, index: u64, intended: Instant) -> bool {
        let room = index as usize % self.rooms.len();
        let Pair { ann, room: id, .. } = &self.rooms[room];
        let sent = exchange(self.world.api.send_request(ann, *id, &content(index))).await;
        self.recorder.record_step("send", intended, &sent);
        if sent.is_ok() {
            self.expected.fetch_add(self.open.get(&room).copied().unwrap_or_default(), Ordering::Relaxed);
        }
        sent.is_ok()
    }

    fn expected(&self) -> u64 {
        self.expected.load(Ordering::Relaxed)
    }
}

/// Sends messages at a fixed rate and waits for their deliveries. Returns the number of deliveries that the messages cause.
async fn fan_out(
    run: &Run,
    scenario: &str,
    rooms: Arc<[Pair]>,
    open: Open,
    deliveries: &Deliveries,
) -> (Measured, u64) {
    let rate = run.rate.unwrap_or(DEFAULT_RATE);
    let recorder = Arc::new(Recorder::default());
    let (world, expected) = (run.world.clone(), AtomicU64::new(0));
    let fan_out = Arc::new(FanOut { world, rooms, open, recorder: recorder.clone(), expected });
    let schedule = Schedule::new(Instant::now(), rate, run.duration);
    deliveries.begin(schedule, DELIVERY, recorder.clone());
    let sending = fan_out.clone();
    let send = move |index, intended| {
        let sending = sending.clone();
        async move { sending.send(index, intended).await }
    };
    let work = async {
        let unfinished = load::open(schedule, run.clients, &run.stop, send).await;
        let patience = Instant::now() + SETTLE;
        while deliveries.count() < fan_out.expected() && Instant::now() < patience {
            sleep(POLL).await;
        }
        deliveries.end();
        unfinished
    };
    let load = Load::Open { per_second: rate, clients: run.clients };
    let measured = run.observe(&format!("{scenario}: deliver"), load, &recorder, work).await;
    (measured, fan_out.expected())
}

/// The memory that the processes of the system took while the streams opened, KB for each stream.
fn kb_each(opening: &Measured) -> BTreeMap<String, f64> {
    let opened: u64 = opening.acts.iter().map(|act| act.count).sum();
    let grown = opening.processes.iter().map(|process| {
        let megabytes = process.memory_mb_after - process.memory_mb_before;
        (process.name.clone(), megabytes * 1024.0 / opened.max(1) as f64)
    });
    grown.collect()
}
