//! A run: what all scenarios share, and the observation of one measurement.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::http::Failure;
use crate::load::{Recorded, Recorder, Schedule, closed, open};
use crate::report::{ActResult, Load, Measured, Point, ProcessUse, Total};
use crate::system::{Processes, Reading};
use crate::terminal::progress;
use crate::world::{Pair, World};

/// The shortest interval of a timeline.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// The most points of a timeline: the intervals of a long measurement are longer.
const MAX_POINTS: u32 = 300;

/// The part of a measurement for which the same load runs before it, at most 2 s. It opens connections and fills caches.
const WARM_UP_PART: u32 = 10;
const MAX_WARM_UP: Duration = Duration::from_secs(2);

/// Without a terminal, progress is printed so often.
const PRINTED_PROGRESS: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub struct Run {
    pub world: Arc<World>,
    pub processes: Processes,
    pub clients: u32,
    pub duration: Duration,
    /// Acts a second of an open loop; a closed loop without it.
    pub rate: Option<f64>,
    pub stop: CancellationToken,
}

impl Run {
    /// The same run in the world of one pair.
    pub fn among(&self, pair: Pair) -> Self {
        Self { world: Arc::new(World::of_pair(self.world.api.clone(), pair)), ..self.clone() }
    }

    pub fn load(&self) -> Load {
        match self.rate {
            Some(per_second) => Load::Open { per_second, clients: self.clients },
            None => Load::Closed { clients: self.clients },
        }
    }

    pub fn warm_up(&self) -> Duration {
        (self.duration / WARM_UP_PART).min(MAX_WARM_UP)
    }

    /// Runs acts with a load for a time, or until `stop`. Returns the number of acts that did not start or end in time.
    pub async fn apply<F, Fut>(&self, load: Load, duration: Duration, stop: &CancellationToken, perform: F) -> u64
    where
        F: Fn(u64, Instant) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = bool> + Send,
    {
        match load {
            Load::Closed { clients } => closed(clients, duration, stop, perform).await,
            Load::Open { per_second, clients } => {
                open(Schedule::new(Instant::now(), per_second, duration), clients, stop, perform).await
            }
        }
    }

    /// Measures acts of several requests, which record each request themselves, until the time is over or `stop`. There is no warm-up.
    pub async fn measure<F, Fut>(&self, scenario: &str, row: &'static str, stop: &CancellationToken, act: F) -> Measured
    where
        F: Fn(u64, Arc<World>, Arc<Recorder>) -> Fut + Clone + Send + 'static,
        Fut: Future<Output = Result<(), Failure>> + Send,
    {
        let recorder = Arc::new(Recorder::default());
        let (world, recording) = (self.world.clone(), recorder.clone());
        let perform = move |index, intended| {
            let (world, recorder, act) = (world.clone(), recording.clone(), act.clone());
            async move {
                let result = act(index, world, recorder.clone()).await;
                recorder.record(row, intended, &result)
            }
        };
        let work = self.apply(self.load(), self.duration, stop, perform);
        self.observe(scenario, self.load(), &recorder, work).await
    }

    /// Observes work that records its acts: reads processes before and after, and shows progress meanwhile.
    pub async fn observe(
        &self,
        scenario: &str,
        load: Load,
        recorder: &Recorder,
        work: impl Future<Output = u64>,
    ) -> Measured {
        let (before, started) = (self.processes.read(), Instant::now());
        let mut observer =
            Observer { run: self, scenario, started, since: started, printed: started, timeline: Vec::new() };
        let length = MIN_INTERVAL.max(self.duration / MAX_POINTS);
        let mut ticks = interval_at((started + length).into(), length);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        tokio::pin!(work);
        let unfinished = loop {
            tokio::select! {
                unfinished = &mut work => break unfinished,
                _ = ticks.tick() => observer.tick(recorder),
            }
        };
        let (after, observed_seconds) = (self.processes.read(), started.elapsed().as_secs_f64());
        observer.end(recorder);
        let timeline = observer.timeline;
        let Recorded { rows, whole, last_success } = recorder.finish();
        let seconds = last_success.map_or(0.0, |last| last.saturating_duration_since(started).as_secs_f64());
        Measured {
            scenario: scenario.into(),
            load,
            seconds,
            observed_seconds,
            total: Total::new(&whole, seconds),
            spread: None,
            acts: rows.into_iter().map(|(act, row)| ActResult::new(act, row, seconds)).collect(),
            unfinished,
            processes: ProcessUse::between(&before, &after),
            timeline,
        }
    }
}

struct Observer<'a> {
    run: &'a Run,
    scenario: &'a str,
    started: Instant,
    /// The start of the current interval.
    since: Instant,
    printed: Instant,
    timeline: Vec<Point>,
}

impl Observer<'_> {
    fn tick(&mut self, recorder: &Recorder) {
        let point = self.point(recorder, &self.run.processes.read());
        let lasting = self.printed.elapsed() >= PRINTED_PROGRESS;
        if lasting {
            self.printed = Instant::now();
        }
        let Point { at, per_second, p99_ms, errors, .. } = &point;
        let of = self.run.duration.as_secs();
        let line = format!(
            "{}: {at:.0} of {of} s, {per_second:.0} a second, p99 {p99_ms:.1} ms, {errors} errors",
            self.scenario
        );
        progress(&line, lasting);
        self.timeline.push(point);
    }

    /// The rest of an interval, unless it is too short for a rate.
    fn end(&mut self, recorder: &Recorder) {
        if self.since.elapsed() > MIN_INTERVAL / 2 {
            let point = self.point(recorder, &self.run.processes.read());
            self.timeline.push(point);
        }
    }

    fn point(&mut self, recorder: &Recorder, reading: &Reading) -> Point {
        let interval = recorder.take_interval();
        let point = Point::new(self.started, self.since.elapsed(), &interval, reading);
        self.since = Instant::now();
        point
    }
}
