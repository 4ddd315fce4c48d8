//! The scenario `cpu`: what each act costs all processes together, at several rates, without their idle cost.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::time::sleep;

use super::Run;
use super::acts::performing;
use crate::act::Act;
use crate::load::Recorder;
use crate::report::{Cost, IdleCost, Load};
use crate::system::Reading;
use crate::terminal::progress;

/// The time after the last act in which its events arrive everywhere. It belongs to the measurement, as its idle cost does.
const TAIL: Duration = Duration::from_secs(2);

/// The CPU time that each process uses in an idle second, from several measurements.
#[derive(Default)]
struct Idle(Vec<BTreeMap<String, f64>>);

/// Measures acts, each at all rates. `report` gets each result as it is known. Before each rate, the idle processes are
/// measured.
pub async fn costs(
    run: &Run,
    acts: &[Act],
    rates: &[f64],
    mut report: impl FnMut(&Cost),
) -> (Vec<Cost>, Vec<IdleCost>) {
    let (mut idle, mut costs) = (Idle::default(), Vec::new());
    for &act in acts {
        // Connections, caches, and the code that a virtual machine compiles.
        run.apply(open(run, 100.0), run.warm_up(), &run.stop, performing(run, act, &Arc::default())).await;
    }
    for &rate in rates {
        progress(&format!("cpu: measuring the idle system for {} s", run.duration.as_secs()), true);
        pause(run, TAIL).await;
        // Two halves, whose difference is the noise.
        for _ in 0..2 {
            idle.0.extend(measure_idle(run, run.duration / 2).await);
        }
        for &act in acts {
            if run.stop.is_cancelled() {
                return (costs, idle.of_processes());
            }
            progress(&format!("cpu: {} at {rate} a second for {} s", act.name(), run.duration.as_secs()), true);
            if let Some(cost) = measure(run, act, rate, &idle).await {
                report(&cost);
                costs.push(cost);
            }
        }
    }
    (costs, idle.of_processes())
}

/// The CPU seconds of each process in an idle second; none if the measurement was interrupted.
pub async fn measure_idle(run: &Run, time: Duration) -> Option<BTreeMap<String, f64>> {
    let (before, started) = (run.processes.read(), Instant::now());
    pause(run, time).await;
    let seconds = started.elapsed().as_secs_f64();
    let used = run.processes.read().cpu_since(&before);
    (!run.stop.is_cancelled()).then(|| used.into_iter().map(|(name, cpu)| (name, cpu / seconds)).collect())
}

/// None if the measurement was interrupted, or no act succeeded.
async fn measure(run: &Run, act: Act, rate: f64, idle: &Idle) -> Option<Cost> {
    let recorder = Arc::new(Recorder::default());
    let (before, started) = (run.processes.read(), Instant::now());
    run.apply(open(run, rate), run.duration, &run.stop, performing(run, act, &recorder)).await;
    pause(run, TAIL).await;
    let seconds = started.elapsed().as_secs_f64();
    let used = run.processes.read().cpu_since(&before);
    let (rows, _) = recorder.finish();
    let (_, row) = rows.into_iter().next()?;
    let (count, errors) = (row.latency.len(), row.errors);
    if count == 0 || run.stop.is_cancelled() {
        return None;
    }
    let each = |seconds: f64| 1000.0 * seconds / count as f64;
    let ms = without_idle(&used, &idle.mean(), seconds).into_iter().map(|(name, cpu)| (name, each(cpu)));
    let (ms, noise_ms) = (ms.collect(), each(idle.range() * seconds));
    Some(Cost { act: act.name().into(), per_second: rate, count, errors, ms, noise_ms })
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

    fn of_processes(&self) -> Vec<IdleCost> {
        percent(self.mean())
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
