//! The scenarios `mixed` and `soak`: different acts of many people at a fixed rate.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use rand::SeedableRng;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use tokio::time::sleep;

use super::Run;
use crate::act::Act;
use crate::load::Recorder;
use crate::report::{Load, Measured};

/// The acts in every hundred. An assumption about people who read more than they write, not a measurement.
const MIX: [(Act, usize); 8] = [
    (Act::Send, 30),
    (Act::List50, 20),
    (Act::Rooms, 15),
    (Act::Profile, 12),
    (Act::Friends, 10),
    (Act::Search, 8),
    (Act::ChangeProfile, 4),
    (Act::Login, 1),
];

/// Acts a second without `--rate`.
const DEFAULT_RATE: f64 = 100.0;

/// The tokens of the original are valid for 30 minutes, those of this system for two hours.
const RENEW_TOKENS_EVERY: Duration = Duration::from_secs(20 * 60);

/// The same order in every run.
const SEED: u64 = 1;

/// Measures the mix. Each act has a row.
pub async fn mixed(run: &Run, scenario: &str) -> Measured {
    let load = Load::Open { per_second: run.rate.unwrap_or(DEFAULT_RATE), clients: run.clients };
    run.apply(load, run.warm_up(), &run.stop, performing(run, &Arc::default())).await;
    let recorder = Arc::new(Recorder::default());
    let work = async {
        let acts = run.apply(load, run.duration, &run.stop, performing(run, &recorder));
        tokio::select! {
            unfinished = acts => unfinished,
            () = renew_tokens(run, &recorder) => 0,
        }
    };
    run.observe(scenario, load, &recorder, work).await
}

fn performing(
    run: &Run,
    recorder: &Arc<Recorder>,
) -> impl Fn(u64, Instant) -> BoxFuture<'static, bool> + Clone + Send + 'static {
    let deck: Arc<[Act]> = deck().into();
    let (world, recorder) = (run.world.clone(), recorder.clone());
    move |index, intended| {
        let act = deck[index as usize % deck.len()];
        let (world, recorder) = (world.clone(), recorder.clone());
        Box::pin(async move {
            let result = act.perform(&world, index).await;
            recorder.record(act.name(), intended, &result)
        })
    }
}

/// A hundred acts in a mixed order, which repeats.
fn deck() -> Vec<Act> {
    let mut deck: Vec<Act> = MIX.into_iter().flat_map(|(act, count)| std::iter::repeat_n(act, count)).collect();
    deck.shuffle(&mut StdRng::seed_from_u64(SEED));
    deck
}

/// Never ends. A failure is shown in a row of its own.
async fn renew_tokens(run: &Run, recorder: &Recorder) {
    loop {
        sleep(RENEW_TOKENS_EVERY).await;
        let started = Instant::now();
        let renewed = run.world.renew_tokens().await;
        recorder.record_step("renewal of tokens", started, &renewed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundred_acts_have_the_mix_and_the_same_order_in_every_run() {
        let mixed = deck();
        assert_eq!(mixed.len(), 100);
        for (act, count) in MIX {
            assert_eq!(mixed.iter().filter(|mixed| **mixed == act).count(), count, "{act:?}");
        }
        assert_eq!(mixed, deck());
        assert!(mixed[..30].iter().any(|act| *act != Act::Send), "the acts are mixed");
    }
}
