//! Our own processes are killed in the middle of whatever they do.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};

use crate::account::{self, IN_TIME};
use crate::ledger::BROKEN;
use crate::load::Load;
use crate::readers::Reader;
use crate::stack::Stack;

/// Between a start and the next kill.
const LIVES_MILLIS: std::ops::Range<u64> = 200..4_000;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a fault: cargo stack test --faults"]
async fn services_are_killed_at_random_and_every_change_has_its_event() {
    let stack = Stack::whole().await;
    let seed: u64 = rand::rng().random();
    println!("  seed {seed}");
    let mut load = Load::start().await;
    let readers = Reader::everywhere(&load.rooms);

    let services = ["user-service", "friend-service", "chat-service"];
    join_all(services.iter().zip(seed..).map(|(service, seed)| kill_often(&stack, service, seed))).await;
    load.stop().await;

    let account = account::close(&load, readers, Instant::now() + IN_TIME).await;
    // The gateway says so of an answer that broke off; a service whose neighbour is away says 503.
    let wrong = account.ledger.hitches_but(&[BROKEN, 502, 503]);
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// Its replicas in turn, so that there is an heir, and one that comes back.
async fn kill_often(stack: &Stack, service: &str, seed: u64) {
    let replicas = stack.replicas(service).await;
    let mut random = StdRng::seed_from_u64(seed);
    for replica in replicas.iter().cycle().take(stack.sized(3, 20)) {
        tokio::time::sleep(Duration::from_millis(random.random_range(LIVES_MILLIS))).await;
        stack.kill(replica).await;
        stack.start(replica).await;
    }
}
