//! Kafka is away, in part or altogether.

use std::time::{Duration, Instant};

use futures_util::future::join_all;

use crate::account::{self, IN_TIME};
use crate::load::Load;
use crate::readers::Reader;
use crate::stack::{BROKERS, Stack};

/// A load runs so long before the fault, and after it.
const BEFORE: Duration = Duration::from_secs(5);
const AFTER: Duration = Duration::from_secs(5);

/// How far a stream may be behind without any broker, and what a loaded machine adds.
const BEHIND: Duration = Duration::from_secs(3);
const SLACK: u32 = 3;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a fault: cargo stack test --faults"]
async fn one_broker_of_three_is_killed_and_no_request_fails() {
    let stack = Stack::whole().await;
    stack.need(&BROKERS).await;
    let mut load = Load::start().await;
    let readers = Reader::everywhere(&load.rooms);
    tokio::time::sleep(BEFORE).await;

    for broker in BROKERS.iter().take(stack.sized(1, 3)) {
        stack.strike(broker).await;
        tokio::time::sleep(AFTER).await;
        stack.start(broker).await;
        tokio::time::sleep(AFTER).await;
    }
    load.stop().await;

    let account = account::close(&load, readers, Instant::now() + IN_TIME).await;
    assert!(account.ledger.hitches.is_empty(), "{:?}", account.ledger.hitches);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a fault: cargo stack test --faults"]
async fn without_any_broker_everything_goes_on_and_is_told_later() {
    let stack = Stack::whole().await;
    let brokers = &BROKERS[..if stack.has("kafka-3").await { 3 } else { 1 }];
    let mut load = Load::start().await;
    let readers = Reader::everywhere(&load.rooms);
    tokio::time::sleep(BEFORE).await;

    join_all(brokers.iter().map(|broker| stack.strike(broker))).await;
    tokio::time::sleep(stack.sized(Duration::from_secs(20), Duration::from_secs(60))).await;
    join_all(brokers.iter().map(|broker| stack.start(broker))).await;
    let back = Instant::now();
    tokio::time::sleep(AFTER).await;
    load.stop().await;

    let account = account::close(&load, readers, back + IN_TIME).await;
    println!("  everything was on the topics {:.1} s after the brokers' return", back.elapsed().as_secs_f32());
    assert!(account.ledger.hitches.is_empty(), "{:?}", account.ledger.hitches);
    assert!(account.behind < SLACK * BEHIND, "a stream was {:?} behind", account.behind);
}
