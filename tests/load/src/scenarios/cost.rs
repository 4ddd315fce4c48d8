//! The scenario `cpu`: what each act costs all processes together, at several rates, without their idle cost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Run;
use super::acts::performing;
use crate::act::Act;
use crate::load::Recorder;
use crate::report::{Cost, IdleCost, Latency, Load};
use crate::system::Reading;
use crate::terminal::progress;

/// The time after the last act in which its events arrive everywhere. It belongs to the measurement, as its idle cost does.
const TAIL: Duration = Duration::from_secs(2);

/// Acts a second before the measurements.
const WARM_UP_RATE: f64 = 100.0;

/// The time after the warm-up in which the engines write what is left and a virtual machine compiles.
const SETTLE: Duration = Duration::from_secs(10);

/// The CPU seconds of each process in an idle second, from several measurements.
#[derive(Default)]
pub struct Idle(Vec<BTreeMap<String, f64>>);

/// The CPU time of the processes while an act ran, their idle cost included.
struct Used {
    act: Act,
    count: u64,
    errors: BTreeMap<String, u64>,
    latency: Latency,
    /// CPU seconds.
    cpu: BTreeMap<String, f64>,
    seconds: f64,
}

/// Measures acts, each at all rates. The idle processes are measured before and after the acts of each rate, because they are
/// busier for a while after load. An interrupted rate has no results.
pub async fn costs(run: &Run, acts: &[Act], rates: &[f64]) -> (Vec<Cost>, Vec<IdleCost>) {
    for &act in acts {
        warm_up(run, act, WARM_UP_RATE).await;
    }
    settle(run).await;
    let (mut costs, mut all_idle) = (Vec::new(), Idle::default());
    for &rate in rates {
        let Some((of_rate, idle)) = measure_rate(run, acts, rate).await else { break };
        costs.extend(of_rate);
        all_idle.0.extend(idle.0);
    }
    (costs, all_idle.percent())
}

/// Opens connections, fills caches, and runs the code that a virtual machine compiles. Returns the number of acts that succeeded.
pub async fn warm_up(run: &Run, act: Act, rate: f64) -> u64 {
    let recorder = Arc::new(Recorder::default());
    run.apply(open(run, rate), run.warm_up(), &run.stop, performing(run, act, &recorder)).await;
    recorder.finish().whole.len()
}

/// Waits until the engines have written what a load has left.
pub async fn settle(run: &Run) {
    pause(run, SETTLE.min(run.duration)).await;
}

/// Measures acts at one rate. None if the measurement was interrupted.
pub async fn measure_rate(run: &Run, acts: &[Act], rate: f64) -> Option<(Vec<Cost>, Idle)> {
    let idle = || async {
        progress(&format!("cpu: measuring the idle system for {} s", (run.duration / 2).as_secs_f32()), true);
        pause(run, tail(run)).await;
        measure_idle(run, run.duration / 2).await
    };
    let before = idle().await?;
    let mut all_used = Vec::new();
    for &act in acts {
        progress(&format!("cpu: {} at {rate} a second for {} s", act.name(), run.duration.as_secs()), true);
        all_used.extend(measure(run, act, rate).await);
    }
    let idle = Idle(vec![before, idle().await?]);
    Some((all_used.into_iter().map(|used| used.cost(rate, &idle)).collect(), idle))
}

/// The CPU seconds of each process in an idle second; none if the measurement was interrupted.
pub async fn measure_idle(run: &Run, time: Duration) -> Option<BTreeMap<String, f64>> {
    let (before, started) = (run.processes.read(), Instant::now());
    pause(run, time).await;
    let seconds = started.elapsed().as_secs_f64();
    let used = run.processes.read().cpu_since(&before);
    (!run.stop.is_cancelled()).then(|| used.into_iter().map(|(name, cpu)| (name, cpu / seconds)).collect())
}

/// None if no act succeeded.
async fn measure(run: &Run, act: Act, rate: f64) -> Option<Used> {
    let recorder = Arc::new(Recorder::default());
    let (before, started) = (run.processes.read(), Instant::now());
    run.apply(open(run, rate), run.duration, &run.stop, performing(run, act, &recorder)).await;
    pause(run, tail(run)).await;
    let (cpu, seconds) = (run.processes.read().cpu_since(&before), started.elapsed().as_secs_f64());
    let (_, row) = recorder.finish().rows.into_iter().next()?;
    let count = row.latency.len();
    let latency = Latency::of(&row.latency);
    (count > 0).then_some(Used { act, count, errors: row.errors, latency, cpu, seconds })
}

impl Used {
    fn cost(self, rate: f64, idle: &Idle) -> Cost {
        let Self { act, count, errors, latency, cpu, seconds } = self;
        let each = |seconds: f64| 1000.0 * seconds / count as f64;
        let ms = without_idle(&cpu, &idle.mean(), seconds).into_iter().map(|(name, cpu)| (name, each(cpu)));
        let ms: BTreeMap<_, _> = ms.collect();
        let all_ms = ms.iter().filter(|(name, _)| Reading::is_of_system(name)).map(|(_, ms)| ms).sum();
        let noise_ms = each(idle.range() * seconds);
        Cost { act: act.name().into(), per_second: rate, count, errors, latency, ms, all_ms, noise_ms, spread: None }
    }
}

fn tail(run: &Run) -> Duration {
    TAIL.min(run.duration)
}

fn open(run: &Run, per_second: f64) -> Load {
    Load::Open { per_second, clients: run.clients }
}

async fn pause(run: &Run, time: Duration) {
    tokio::select! {
        () = sleep(time) => {}
        () = run.stop.cancelled() => {}
    }
}

/// CPU seconds without those that the processes use in idle seconds. Negative if a process was less busy than when it was idle.
fn without_idle(used: &BTreeMap<String, f64>, idle: &BTreeMap<String, f64>, seconds: f64) -> BTreeMap<String, f64> {
    let of = |(name, cpu): (&String, &f64)| (name.clone(), cpu - idle.get(name).copied().unwrap_or_default() * seconds);
    used.iter().map(of).collect()
}

impl Idle {
    pub fn percent(&self) -> Vec<IdleCost> {
        percent(self.mean())
    }

    /// CPU seconds of each process in a second.
    fn mean(&self) -> BTreeMap<String, f64> {
        let mut mean = BTreeMap::<String, f64>::new();
        for (name, cpu) in self.0.iter().flatten() {
            *mean.entry(name.clone()).or_default() += cpu / self.0.len() as f64;
        }
        mean
    }

    /// By how much the idle system differs between the measurements: CPU seconds of all processes in a second. A cost below this
    /// is noise.
    fn range(&self) -> f64 {
        let of_system = |(name, cpu): (&String, &f64)| if Reading::is_of_system(name) { *cpu } else { 0.0 };
        let totals = self.0.iter().map(|idle| idle.iter().map(of_system).sum::<f64>());
        let (min, max) = totals.fold((f64::MAX, 0.0_f64), |(min, max), total| (min.min(total), max.max(total)));
        (max - min).max(0.0)
    }
}

/// The CPU seconds in a second as hundredths of a core.
pub fn percent(idle: BTreeMap<String, f64>) -> Vec<IdleCost> {
    idle.into_iter().map(|(name, cpu)| IdleCost { name, percent_of_core: 100.0 * cpu }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cpu<const N: usize>(used: [(&str, f64); N]) -> BTreeMap<String, f64> {
        used.map(|(name, seconds)| (name.to_owned(), seconds)).into()
    }

    #[test]
    fn the_idle_cost_of_each_process_is_taken_off() {
        let used = cpu([("chat-service", 1.0), ("mysql", 0.3), ("kafka", 0.1)]);
        let idle = cpu([("chat-service", 0.01), ("mysql", 0.02), ("redis", 0.5)]);
        let without = without_idle(&used, &idle, 10.0);
        let rounded: Vec<_> = without.iter().map(|(name, cpu)| (name.as_str(), (cpu * 1e6).round() / 1e6)).collect();
        assert_eq!(rounded, [("chat-service", 0.9), ("kafka", 0.1), ("mysql", 0.1)]);
    }

    #[test]
    fn the_idle_cost_is_the_mean_of_its_measurements_and_their_range_is_the_noise() {
        let idle = Idle(vec![
            cpu([("mysql", 0.01), ("kafka", 0.03), ("bench", 0.5)]),
            cpu([("mysql", 0.03), ("kafka", 0.05), ("bench", 0.0)]),
        ]);
        assert!((idle.mean()["mysql"] - 0.02).abs() < 1e-9);
        assert!((idle.range() - 0.04).abs() < 1e-9, "the benchmark's own time is not part of the system");
    }

    #[test]
    fn one_measurement_has_no_range() {
        assert_eq!(Idle(vec![cpu([("mysql", 0.1)])]).range(), 0.0);
        assert_eq!(Idle::default().range(), 0.0);
    }
}
