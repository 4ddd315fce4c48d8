//! The stores are stopped and killed.

use std::time::{Duration, Instant};

use testkit::SLACK;

use crate::history::{Operation, Recorder};
use crate::load::Load;
use crate::readers::Reader;
use crate::stack::Stack;
use crate::verification;

const BEFORE: Duration = Duration::from_secs(5);

/// The durations of an outage. Each is longer than a request waits for the store: 3 s for MySQL, 10 s for a message.
const MYSQL_OUTAGE: Duration = Duration::from_secs(4);
const MONGODB_OUTAGE: Duration = Duration::from_secs(12);

/// The deadline for an operation to succeed again after the store has started.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a fault: cargo stack test --faults"]
async fn nothing_acknowledged_is_lost_in_outages_of_mysql() {
    use Operation::{ChangeFriendship, ChangeProfile, Register};
    assert_survives_outages("mysql", MYSQL_OUTAGE, &[ChangeFriendship, ChangeProfile, Register]).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a fault: cargo stack test --faults"]
async fn nothing_acknowledged_is_lost_in_outages_of_mongodb() {
    use Operation::{ReadMessages, WriteMessage};
    assert_survives_outages("mongodb", MONGODB_OUTAGE, &[WriteMessage, ReadMessages]).await;
}

/// `dependent` are the operations that need the store.
async fn assert_survives_outages(store: &str, outage: Duration, dependent: &[Operation]) {
    let stack = Stack::all_up().await;
    let services = stack.service_pids().await;
    let mut load = Load::start().await;
    let readers = Reader::start_all(&load.rooms);

    for _ in 0..stack.sized(1, 5) {
        tokio::time::sleep(BEFORE).await;
        stack.stop(store).await;
        tokio::time::sleep(outage).await;
        start_and_recover(&stack, store, &load.recorder, dependent).await;
        tokio::time::sleep(BEFORE).await;
        stack.kill_and_stop(store).await;
        tokio::time::sleep(outage).await;
        start_and_recover(&stack, store, &load.recorder, dependent).await;
    }
    load.stop().await;

    let report = verification::verify(&load, readers, Instant::now()).await;
    let wrong = report.history.failures_except(&[503]);
    assert!(wrong.is_empty(), "{wrong:?}");
    let failed = &report.history.failed_attempts;
    assert!(failed.iter().all(|failed| failed.retry_after), "every 503 has the header Retry-After");
    for operation in dependent {
        assert!(failed.iter().any(|failed| failed.operation == *operation), "{operation:?} succeeded without {store}");
    }
    assert_eq!(stack.service_pids().await, services, "no service was restarted");
}

/// Starts the store and waits until every dependent operation succeeds again.
async fn start_and_recover(stack: &Stack, store: &str, recorder: &Recorder, dependent: &[Operation]) {
    stack.start(store).await;
    let back = Instant::now();
    for operation in dependent {
        while !recorder.history().completed.iter().any(|(completed, at)| completed == operation && *at > back) {
            let elapsed = back.elapsed();
            assert!(elapsed < SLACK * RECOVERY_DEADLINE, "no {operation:?} {elapsed:?} after the start of {store}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        println!("  {operation:?} succeeds {:.1} s after the start of {store}", back.elapsed().as_secs_f32());
    }
}
