//! Replicas of our services are killed at random times.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::history::NO_ANSWER;
use crate::load::Load;
use crate::readers::Reader;
use crate::stack::Stack;
use crate::verification;

/// The time from a start to the next kill, in milliseconds.
const LIFETIME_MILLIS: std::ops::Range<u64> = 200..4_000;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a fault: cargo stack test --faults"]
async fn every_change_has_its_event_when_services_are_killed_at_random() {
    let stack = Stack::all_up().await;
    let seed: u64 = rand::rng().random();
    println!("  seed {seed}");
    let mut load = Load::start().await;
    let readers = Reader::start_all(&load.rooms);

    let services = ["user-service", "friend-service", "chat-service"];
    join_all(services.iter().zip(seed..).map(|(service, seed)| kill_repeatedly(&stack, service, seed))).await;
    load.stop().await;

    let report = verification::verify(&load, readers, Instant::now()).await;
    // The gateway answers 502 if a service breaks off its answer. A service answers 503 if another one is unavailable.
    let wrong = report.history.failures_except(&[NO_ANSWER, 502, 503]);
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Kills the replicas of a service in turn, so that another replica takes over and the killed one returns.
async fn kill_repeatedly(stack: &Stack, service: &str, seed: u64) {
    let replicas = stack.replicas(service).await;
    let mut random = StdRng::seed_from_u64(seed);
    for replica in replicas.iter().cycle().take(stack.sized(3, 20)) {
        tokio::time::sleep(Duration::from_millis(random.random_range(LIFETIME_MILLIS))).await;
        stack.kill(replica).await;
        stack.start(replica).await;
    }
}
