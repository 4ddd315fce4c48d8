//! Replicas of our services are killed at random times.

use std::time::Instant;

use futures_util::future::join_all;
use rand::RngExt;

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
    // Another replica takes over, and the killed one returns.
    let killed = services.iter().zip(seed..).map(async |(service, seed)| {
        let replicas = stack.replicas(service).await;
        stack.kill_in_turn(&replicas, stack.sized(3, 20), &LIFETIME_MILLIS, seed).await;
    });
    join_all(killed).await;
    load.stop().await;

    let report = verification::verify(&load, readers, Instant::now()).await;
    // The gateway answers 502 if a service breaks off its answer. A service answers 503 if another one is unavailable.
    let wrong = report.history.failures_except(&[NO_ANSWER, 502, 503]);
    assert!(wrong.is_empty(), "{wrong:?}");
}
