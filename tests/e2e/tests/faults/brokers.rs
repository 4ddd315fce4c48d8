//! One broker or all brokers are unavailable.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use testkit::SLACK;

use crate::load::Load;
use crate::readers::Reader;
use crate::stack::{BROKERS, Stack};
use crate::verification;

/// The duration of the load before the fault and after it.
const BEFORE: Duration = Duration::from_secs(5);
const AFTER: Duration = Duration::from_secs(5);

/// The maximum lag of a stream without any broker.
const MAX_LAG: Duration = Duration::from_secs(3);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a fault: cargo stack test --faults"]
async fn no_request_fails_when_one_broker_of_three_is_killed() {
    let stack = Stack::all_up().await;
    stack.require(&BROKERS).await;
    let mut load = Load::start().await;
    let readers = Reader::start_all(&load.rooms);
    tokio::time::sleep(BEFORE).await;

    for broker in BROKERS.iter().take(stack.sized(1, 3)) {
        stack.kill_and_stop(broker).await;
        tokio::time::sleep(AFTER).await;
        stack.start(broker).await;
        tokio::time::sleep(AFTER).await;
    }
    load.stop().await;

    let report = verification::verify(&load, readers, Instant::now()).await;
    assert!(report.history.failed_attempts.is_empty(), "{:?}", report.history.failed_attempts);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a fault: cargo stack test --faults"]
async fn no_request_fails_without_brokers_and_events_are_published_when_they_return() {
    let stack = Stack::all_up().await;
    let brokers = &BROKERS[..if stack.has("kafka-3").await { 3 } else { 1 }];
    let mut load = Load::start().await;
    let readers = Reader::start_all(&load.rooms);
    tokio::time::sleep(BEFORE).await;

    join_all(brokers.iter().map(|broker| stack.kill_and_stop(broker))).await;
    tokio::time::sleep(stack.sized(Duration::from_secs(20), Duration::from_secs(60))).await;
    join_all(brokers.iter().map(|broker| stack.start(broker))).await;
    let back = Instant::now();
    tokio::time::sleep(AFTER).await;
    load.stop().await;

    let report = verification::verify(&load, readers, back).await;
    println!("  all events were published {:.1} s after the brokers' return", back.elapsed().as_secs_f32());
    assert!(report.history.failed_attempts.is_empty(), "{:?}", report.history.failed_attempts);
    assert!(report.max_lag < SLACK * MAX_LAG, "a stream lagged by {:?}", report.max_lag);
}
