//! A model of permissions: no sequence of calls to the three services reads or changes what the model says is another's.
//!
//! Random users act on rooms, messages, streams, friendships, blocks, profiles and sessions, with their own tokens, with
//! ended, expired and forged ones, and with the ids of others. The [model](model::Model) says which status answers each
//! call. After each call:
//!
//! - No answer and no event of a stream has a text that the model hides from its reader. Each e-mail address, password,
//!   status message, device, request, group and message has a text of its own.
//! - The state that the call concerns is the model's, as its owner reads it: a refused call has changed nothing.
//!
//! A failure prints the shortest sequence that it finds, a line for each act. A run has 20 cases and the seed 1;
//! `PERMISSIONS_CASES=1000` and `PERMISSIONS_SEED=random`, or a number, choose others.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]
#![allow(clippy::print_stdout, reason = "the counts of a long run are a result too")]

mod act;
mod call;
mod case;
mod change;
mod checks;
mod model;
mod request;
mod services;
mod streams;
mod tokens;
mod witness;

use std::env;

use parking_lot::Mutex;
use proptest::test_runner::{Config, RngSeed, TestError, TestRunner};

use crate::act::{Credential, Kind, Service, sequences};
use crate::case::{Case, Counts};
use crate::services::Services;

/// The cases of a run, which take about two seconds each.
const CASES: u32 = 20;

/// Bounds the search for a shorter sequence.
const MAX_SHRINK_ITERS: u32 = 300;
const MAX_SHRINK_MILLIS: u32 = 180_000;

#[test]
fn no_sequence_of_calls_reads_or_changes_what_is_anothers() {
    let cases = env::var("PERMISSIONS_CASES").map_or(CASES, |text| text.parse().unwrap());
    let seed = match env::var("PERMISSIONS_SEED").as_deref() {
        Ok("random") => u64::from(std::process::id()) ^ chrono::Utc::now().timestamp_micros().unsigned_abs(),
        Ok(number) => number.parse().unwrap(),
        Err(_) => 1,
    };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let services = runtime.block_on(Services::start());
    let config = Config {
        cases,
        rng_seed: RngSeed::Fixed(seed),
        max_shrink_iters: MAX_SHRINK_ITERS,
        max_shrink_time: MAX_SHRINK_MILLIS,
        failure_persistence: None,
        ..Config::default()
    };
    let counts = Mutex::new(Counts::default());

    let result = TestRunner::new(config).run(&sequences(), |steps| {
        let (of_case, result) = runtime.block_on(Case::run(&services, &steps));
        counts.lock().merge(of_case);
        result
    });

    let _guard = runtime.enter();
    drop(services);
    match result {
        Ok(()) => {}
        Err(TestError::Fail(reason, steps)) => panic!("PERMISSIONS_SEED={seed}, {} acts: {reason}", steps.len()),
        Err(TestError::Abort(reason)) => panic!("PERMISSIONS_SEED={seed}: {reason}"),
    }
    let Counts { kinds, credentials } = counts.into_inner();
    println!("[allowed, refused] with the seed {seed}: {kinds:?}, {credentials:?}");
    for kind in Kind::all() {
        let [allowed, _] = kinds.get(&kind).copied().unwrap_or_default();
        assert!(allowed > 0 || kind.is_never_allowed(), "{kind:?} was never allowed, so that the run shows little");
    }
    let sum = |of: &dyn Fn(Service, Credential) -> bool| -> u32 {
        credentials.iter().filter(|((service, credential), _)| of(*service, *credential)).map(|(_, sum)| sum[1]).sum()
    };
    for service in Service::ALL {
        assert!(sum(&|called, used| called == service && used == Credential::Own) > 0, "{service:?} refused nothing");
    }
    for credential in Credential::FOREIGN {
        assert!(sum(&|_, used| used == credential) > 0, "no token of the kind {credential:?} was refused");
    }
}
