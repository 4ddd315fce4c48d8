//! Replays the corpora: inputs that reach every branch, and those that once broke a promise.

#![allow(clippy::unwrap_used, reason = "a test panics where it fails")]

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

fn replay(name: &str, promise: fn(&[u8])) {
    let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus").join(name);
    let mut replayed = 0;
    for input in fs::read_dir(corpus).unwrap() {
        let path = input.unwrap().path();
        let bytes = fs::read(&path).unwrap();
        assert!(catch_unwind(AssertUnwindSafe(|| promise(&bytes))).is_ok(), "{}", path.display());
        replayed += 1;
    }
    assert!(replayed >= 3, "the corpus {name} has only {replayed} inputs");
}

#[test]
fn tokens_that_verify_are_of_their_kind_and_current() {
    replay("jwt", fuzz::jwt);
}

#[test]
fn cursors_that_are_accepted_have_one_form() {
    replay("cursor", fuzz::cursor);
}

#[test]
fn events_that_are_read_can_be_published_again() {
    replay("event", fuzz::event);
}

#[test]
fn inputs_are_within_their_bounds_or_refused() {
    replay("input", fuzz::input);
}

#[test]
fn configurations_of_the_gateway_are_complete_or_refused() {
    replay("kong", fuzz::kong);
}

#[test]
fn addresses_that_are_accepted_stay_the_same() {
    replay("email", fuzz::email);
}
