//! The drill: under load, every service is restarted, and engines, their disks and their networks are disturbed, one at a
//! time and in pairs.

use std::time::{Duration, Instant};

use e2e::story;
use nix::sys::signal::Signal;
use rand::rngs::StdRng;
use rand::seq::{IndexedRandom, SliceRandom};
use rand::{RngExt, SeedableRng};
use testkit::SLACK;

use crate::history::{ALL_OPERATIONS, NO_ANSWER, Recorder};
use crate::load::Load;
use crate::readers::Reader;
use crate::stack::{Release, Stack};
use crate::verification;

/// The duration of a fault in milliseconds: some shorter and some longer than a request waits for its store.
const FAULT_MILLIS: std::ops::Range<u64> = 3_000..12_000;

/// The deadline for all operations to succeed again after a fault.
const RECOVERY_DEADLINE: Duration = Duration::from_secs(20);

/// The duration of a full drill, of which the pairs take what the single faults leave.
const FULL_DURATION: Duration = Duration::from_secs(600);

const SERVICES: [&str; 3] = ["user-service", "friend-service", "chat-service"];
const ENGINES: [&str; 4] = ["mysql", "mongodb", "redis", "kafka-1"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Restart,
    Kill,
    /// The process stands still, and its connections stay open.
    Freeze,
    /// No file can be written.
    FullDisk,
    /// Each piece of traffic takes 75 ms.
    SlowNetwork,
    /// Connections stay open, and nothing passes.
    Partition,
}

const ENGINE_FAULTS: [Kind; 6] =
    [Kind::Restart, Kind::Kill, Kind::Freeze, Kind::FullDisk, Kind::SlowNetwork, Kind::Partition];

/// The faults of a small drill: one of each engine, and each kind that is not in the other fault tests.
const SMALL: [Fault; 4] = [
    Fault { target: "mysql", kind: Kind::Freeze },
    Fault { target: "mongodb", kind: Kind::FullDisk },
    Fault { target: "redis", kind: Kind::Partition },
    Fault { target: "kafka-1", kind: Kind::SlowNetwork },
];

#[derive(Clone, Copy, Debug)]
struct Fault {
    target: &'static str,
    kind: Kind,
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "a fault: cargo stack test --drill"]
async fn nothing_is_lost_in_rolling_restarts_and_in_faults_alone_and_in_pairs() {
    let stack = Stack::all_up().await;
    stack.require(&["kafka-3", "link-mongodb", "user-service-2"]).await;
    let seed = std::env::var("DRILL_SEED").map_or_else(|_| rand::rng().random(), |seed| seed.parse().unwrap());
    println!("  seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    let began = Instant::now();
    let mut load = Load::start().await;
    let readers = Reader::start_all(&load.rooms);

    for &release in stack.releases() {
        for service in order_of(release) {
            restart_in_turn(&stack, &load.recorder, service, release).await;
        }
        story::two_users_become_friends_and_chat().await;
    }
    for fault in single_faults(&stack, &mut rng) {
        disturb(&stack, &load.recorder, &[fault], &mut rng).await;
    }
    for pair in 0.. {
        if pair >= stack.sized(1, 5) && began.elapsed() > stack.sized(Duration::ZERO, FULL_DURATION) {
            break;
        }
        disturb(&stack, &load.recorder, &two_faults(&mut rng), &mut rng).await;
    }
    load.stop().await;

    let report = verification::verify(&load, readers, Instant::now()).await;
    let wrong = report.history.failures_except(&[NO_ANSWER, 502, 503]);
    assert!(wrong.is_empty(), "{wrong:?}");
    let unavailable = report.history.failed_attempts.iter().filter(|failed| failed.status == 503);
    assert!(unavailable.into_iter().all(|failed| failed.retry_after), "every 503 has the header Retry-After");
}

/// The order of an upgrade, or of the way back (docs/operations.md).
fn order_of(release: Release) -> [&'static str; 3] {
    let mut services = SERVICES;
    if release == Release::Previous {
        services.reverse();
    }
    services
}

/// Every fault of every engine and a kill of every service in random order, or the small selection.
fn single_faults(stack: &Stack, rng: &mut StdRng) -> Vec<Fault> {
    let mut faults = stack.sized(SMALL.to_vec(), all_faults());
    faults.shuffle(rng);
    faults
}

fn all_faults() -> Vec<Fault> {
    let of_engine = |target| ENGINE_FAULTS.map(|kind| Fault { target, kind });
    let kills = ["user-service-1", "friend-service-1", "chat-service-1"];
    ENGINES.into_iter().flat_map(of_engine).chain(kills.map(|target| Fault { target, kind: Kind::Kill })).collect()
}

/// Two faults of different processes.
fn two_faults(rng: &mut StdRng) -> [Fault; 2] {
    let all = all_faults();
    let first = *all.choose(rng).unwrap();
    let others: Vec<_> = all.into_iter().filter(|fault| fault.target != first.target).collect();
    [first, *others.choose(rng).unwrap()]
}

/// Restarts the replicas of a service one after another, with the programs of a release. No request fails.
async fn restart_in_turn(stack: &Stack, recorder: &Recorder, service: &str, release: Release) {
    let failed_before = recorder.history().failed_attempts.len();
    for replica in stack.replicas(service).await {
        stack.choose_release(&replica, service, release);
        stack.restart(&replica).await;
    }
    until_all_succeed(recorder, service).await;
    let history = recorder.history();
    let failed = &history.failed_attempts[failed_before..];
    assert!(failed.is_empty(), "requests failed while {service} was restarted: {failed:?}");
    println!("  {service}: replicas restarted in turn with {release:?}, 0 failed requests");
}

/// Begins the faults together, ends them together, and waits until everything works again.
async fn disturb(stack: &Stack, recorder: &Recorder, faults: &[Fault], rng: &mut StdRng) {
    let name = format!("{faults:?}");
    let failed_before = recorder.history().failed_attempts.len();
    let duration = Duration::from_millis(rng.random_range(FAULT_MILLIS));
    for fault in faults {
        fault.begin(stack).await;
    }
    tokio::time::sleep(duration).await;
    // A service becomes ready only when its stores are available.
    let (services, engines): (Vec<&Fault>, _) = faults.iter().partition(|fault| fault.is_of_service());
    for fault in engines.into_iter().chain(services) {
        fault.end(stack, faults.len() == 1).await;
    }
    let recovery = until_all_succeed(recorder, &name).await;
    for fault in faults {
        stack.start(fault.target).await;
    }
    let history = recorder.history();
    let failed = &history.failed_attempts[failed_before..];
    let statuses = failed.iter().map(|attempt| attempt.status).collect::<std::collections::BTreeSet<_>>();
    println!(
        "  {name} for {:.1} s: recovered in {:.1} s, {} failed attempts {statuses:?}",
        duration.as_secs_f32(),
        recovery.as_secs_f32(),
        failed.len(),
    );
    let kills_service = faults.iter().any(|fault| fault.is_of_service());
    let allowed: &[u16] = if kills_service { &[NO_ANSWER, 502, 503] } else { &[503] };
    let wrong: Vec<_> = failed.iter().filter(|attempt| !allowed.contains(&attempt.status)).collect();
    assert!(wrong.is_empty(), "{name}: {wrong:?}");
}

/// Waits until every operation has succeeded once more, and returns how long that took.
async fn until_all_succeed(recorder: &Recorder, after: &str) -> Duration {
    let since = Instant::now();
    let succeeded = |operation| recorder.history().completed.iter().any(|(done, at)| *done == operation && *at > since);
    for operation in ALL_OPERATIONS {
        while !succeeded(operation) {
            let elapsed = since.elapsed();
            assert!(elapsed < SLACK * RECOVERY_DEADLINE, "no {operation:?} {elapsed:?} after {after}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    since.elapsed()
}

impl Fault {
    fn is_of_service(self) -> bool {
        self.target.contains("service")
    }

    async fn begin(self, stack: &Stack) {
        let Self { target, kind } = self;
        match kind {
            Kind::Restart => stack.restart(target).await,
            Kind::Kill => stack.kill(target).await,
            Kind::Freeze => stack.signal(target, Signal::SIGSTOP).await,
            Kind::FullDisk => stack.fill_disk(target),
            Kind::SlowNetwork => stack.signal(&link(target), Signal::SIGUSR1).await,
            Kind::Partition => stack.signal(&link(target), Signal::SIGSTOP).await,
        }
    }

    async fn end(self, stack: &Stack, is_alone: bool) {
        let Self { target, kind } = self;
        match kind {
            Kind::Restart => {}
            Kind::Kill => stack.start(target).await,
            Kind::Freeze => stack.signal(target, Signal::SIGCONT).await,
            Kind::FullDisk => {
                let refused = stack.empty_disk(target);
                println!("  {refused} writes of {target} were refused");
                // The other fault of a pair can keep all requests away from the engine.
                assert!(refused > 0 || !is_alone, "{target} did not notice its full disk");
                // An engine that ended at its full disk, or that starts on it, starts anew.
                if !stack.is_ready(target).await {
                    stack.kill_and_stop(target).await;
                    stack.start(target).await;
                }
            }
            Kind::SlowNetwork => stack.signal(&link(target), Signal::SIGUSR2).await,
            Kind::Partition => stack.signal(&link(target), Signal::SIGCONT).await,
        }
    }
}

fn link(engine: &str) -> String {
    format!("link-{engine}")
}
