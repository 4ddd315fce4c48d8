//! The scenario `reconnect`: many streams are cut at once and come back while messages are sent.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc::{self, UnboundedSender};
use tokio::time::{sleep, timeout};

use super::Run;
use super::fleet::{self, Fleet};
use crate::http::Failure;
use crate::listener::{Listener, StreamKind};
use crate::load::{Recorder, Schedule};
use crate::report::{Load, Measured, Reconnect};
use crate::stream::Deliveries;
use crate::world::World;

/// The time for which messages are sent before the cut, and after all streams are back.
const MARGIN: Duration = Duration::from_secs(1);

/// Streams that are not back after this time are given up.
const LONGEST: Duration = Duration::from_secs(120);

/// Opens streams, cuts some of them at once, and waits until they are back. The results have the opening, and the sends and openings
/// after the cut; nothing is measured if the accounts cannot be prepared.
pub async fn reconnect(
    run: &Run,
    scenario: &str,
    streams: usize,
    cut: usize,
    kind: StreamKind,
) -> Result<(Vec<Measured>, Reconnect), Failure> {
    let mut fleet = Fleet::prepare(run, streams, kind).await?;
    let opening = fleet.open(run, &format!("{scenario}: open"), streams).await;
    let cut = cut.min(fleet.listeners.len());
    let (measured, back) = come_back(run, &format!("{scenario}: come back"), &mut fleet, cut).await;
    let result = Reconnect {
        streams: fleet.listeners.len() as u64,
        cut: cut as u64,
        back: back.len() as u64,
        all_back_seconds: back.last().filter(|_| back.len() == cut).map(Duration::as_secs_f64),
        resyncs: fleet.listeners.iter().map(|listener| listener.resyncs()).sum(),
        deliveries: fleet.arrivals().into(),
    };
    Ok((vec![opening, measured], result))
}

/// Cuts streams while messages are sent. Returns the times after the cut at which they were open again, in ascending order.
async fn come_back(run: &Run, scenario: &str, fleet: &mut Fleet, cut: usize) -> (Measured, Vec<Duration>) {
    let recorder = Arc::new(Recorder::default());
    let schedule = Schedule::new(Instant::now(), fleet::rate(run), LONGEST + 2 * MARGIN);
    let (sender, enough, mut times) = (fleet.sender(&recorder), run.stop.child_token(), Vec::new());
    let work = async {
        let returning = async {
            sleep(MARGIN).await;
            times = cut_at_once(run, fleet, cut, &recorder).await;
            sleep(MARGIN).await;
            enough.cancel();
        };
        let (unfinished, ()) = tokio::join!(sender.run(run, schedule, &enough), returning);
        fleet.wait_for_deliveries().await;
        unfinished
    };
    let load = Load::Open { per_second: fleet::rate(run), clients: run.clients };
    let measured = run.observe(scenario, load, &recorder, work).await;
    (measured, times)
}

/// Cuts the first streams and waits until they are open again, or for the longest time.
async fn cut_at_once(run: &Run, fleet: &mut Fleet, cut: usize, recorder: &Arc<Recorder>) -> Vec<Duration> {
    let (back, mut arriving) = mpsc::unbounded_channel();
    let cut_at = Instant::now();
    for index in 0..cut {
        let (recorder, back) = (recorder.clone(), back.clone());
        fleet.replace(index, |listener, world, deliveries| go_on(listener, world, deliveries, recorder, back));
    }
    let mut times = Vec::new();
    let all = async {
        while times.len() < cut && arriving.recv().await.is_some() {
            times.push(cut_at.elapsed());
        }
    };
    tokio::select! {
        _ = timeout(LONGEST, all) => {}
        () = run.stop.cancelled() => {}
    }
    times
}

/// Opens a stream again when it says so, until it is open, and reads it to its end.
async fn go_on(
    listener: Arc<Listener>,
    world: Arc<World>,
    deliveries: Arc<Deliveries>,
    recorder: Arc<Recorder>,
    back: UnboundedSender<()>,
) {
    sleep(listener.retry()).await;
    let due = Instant::now();
    let stream = loop {
        let opened = listener.connect(&world.api).await;
        recorder.record("open again", due, &opened);
        match opened {
            Ok(stream) => break stream,
            Err(_) => sleep(listener.retry()).await,
        }
    };
    // The receiver is gone if the scenario has given up.
    let _ = back.send(());
    listener.read(stream, &deliveries).await;
}
