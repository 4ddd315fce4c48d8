//! The stores are restarted and killed.

use std::time::{Duration, Instant};

use crate::account::{self, IN_TIME};
use crate::ledger::{Book, Kind};
use crate::load::Load;
use crate::readers::Reader;
use crate::stack::Stack;

const BEFORE: Duration = Duration::from_secs(5);

/// How long a store stays away: longer than a request is held for it, which is 3 s, and 10 s where a message waits.
const MYSQL_AWAY: Duration = Duration::from_secs(4);
const MONGODB_AWAY: Duration = Duration::from_secs(12);

/// How soon everything works again, and what a loaded machine adds.
const BACK: Duration = Duration::from_secs(10);
const SLACK: u32 = 3;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a fault: cargo stack test --faults"]
async fn mysql_goes_and_comes_back_and_nothing_acknowledged_is_lost() {
    goes_and_comes_back("mysql", MYSQL_AWAY, &[Kind::Friendship, Kind::Profile, Kind::Newcomer]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a fault: cargo stack test --faults"]
async fn mongodb_goes_and_comes_back_and_nothing_acknowledged_is_lost() {
    goes_and_comes_back("mongodb", MONGODB_AWAY, &[Kind::Message, Kind::Reading]).await;
}

/// `needed_for` cannot be done without it.
async fn goes_and_comes_back(store: &str, away: Duration, needed_for: &[Kind]) {
    let stack = Stack::whole().await;
    let services = stack.pids().await;
    let mut load = Load::start().await;
    let readers = Reader::everywhere(&load.rooms);

    for _ in 0..stack.sized(1, 5) {
        tokio::time::sleep(BEFORE).await;
        stack.stop(store).await;
        tokio::time::sleep(away).await;
        returns(&stack, store, &load.book, needed_for).await;
        tokio::time::sleep(BEFORE).await;
        stack.strike(store).await;
        tokio::time::sleep(away).await;
        returns(&stack, store, &load.book, needed_for).await;
    }
    load.stop().await;

    let account = account::close(&load, readers, Instant::now() + IN_TIME).await;
    let wrong = account.ledger.hitches_but(&[503]);
    assert!(wrong.is_empty(), "{wrong:?}");
    assert!(account.ledger.hitches.iter().all(|hitch| hitch.retry_after), "503 says when to come back");
    for kind in needed_for {
        assert!(account.ledger.hitches.iter().any(|hitch| hitch.kind == *kind), "{kind:?} did without {store}");
    }
    assert_eq!(stack.pids().await, services, "no service was started again");
}

/// Starts the store and waits until everything that needs it is done again.
async fn returns(stack: &Stack, store: &str, book: &Book, needed_for: &[Kind]) {
    stack.start(store).await;
    let back = Instant::now();
    for kind in needed_for {
        while !book.open().done.iter().any(|(done, at)| done == kind && *at > back) {
            assert!(back.elapsed() < SLACK * BACK, "{kind:?} is not done {:?} after {store} came back", back.elapsed());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!("  {kind:?} again {:.1} s after {store} came back", back.elapsed().as_secs_f32());
    }
}
