//! The scenario of whole stories.

use std::sync::Arc;

use super::Run;
use crate::http::Failure;
use crate::load::Recorder;
use crate::report::Measured;
use crate::story::{STORY, tell};
use crate::world::World;

/// Measures stories. It ends early when the run has registered all accounts that it may.
pub async fn stories(run: &Run, scenario: &str) -> Measured {
    let stop = run.stop.child_token();
    let stopping = stop.clone();
    let act = move |_, world: Arc<World>, recorder: Arc<Recorder>| {
        let stop = stopping.clone();
        async move {
            let told = tell(&world.api, &recorder).await;
            if told == Err(Failure::Accounts) {
                stop.cancel();
            }
            told
        }
    };
    run.measure(scenario, STORY, &stop, act).await
}
