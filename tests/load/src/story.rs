//! The story of the original's load test: two people register, log in, meet, become friends and chat.

use std::time::Instant;

use crate::api::{Api, Person};
use crate::http::{Failure, exchange};
use crate::load::Recorder;
use crate::target::Service;
use crate::world::{CONTENT, PAGE};

/// The row of whole stories.
pub const STORY: &str = "story";

const MESSAGES: usize = 5;

/// Tells one story. Each request is recorded in a row of its own.
///
/// # Errors
/// Fails with the first request that fails.
pub async fn tell(api: &Api, recorder: &Recorder) -> Result<(), Failure> {
    let (ann, bob) = (sign_up(api, recorder, "ann").await?, sign_up(api, recorder, "bob").await?);
    step(recorder, "story: profile", exchange(api.get(Service::User, "/profile/me", &ann))).await?;
    step(recorder, "story: search", exchange(api.search_request(&ann, &bob.username))).await?;
    step(recorder, "story: request", api.request_friendship(&ann, &bob)).await?;
    step(recorder, "story: accept", api.accept_friendship(&bob, &ann)).await?;
    let room = step(recorder, "story: room", api.room(&ann, &bob)).await?;
    for _ in 0..MESSAGES {
        step(recorder, "story: send", exchange(api.send_request(&ann, room, CONTENT))).await?;
    }
    step(recorder, "story: list", exchange(api.list_request(&bob, room, PAGE))).await.map(drop)
}

async fn sign_up(api: &Api, recorder: &Recorder, name: &str) -> Result<Person, Failure> {
    let person = step(recorder, "story: register", api.register(name)).await?;
    step(recorder, "story: login", api.log_in(&person)).await?;
    Ok(person)
}

/// Performs a request, and records it in a row of its own.
pub async fn step<T>(
    recorder: &Recorder,
    row: &'static str,
    request: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let started = Instant::now();
    let result = request.await;
    recorder.record_step(row, started, &result);
    result
}
