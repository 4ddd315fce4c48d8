//! The scenario of whole stories.

use std::sync::Arc;

use super::Run;
use crate::http::Failure;
use crate::load::Recorder;
use crate::report::Measured;
use crate::story::{STORY, tell};

/// Measures stories. It ends early when the run has registered all accounts that it may.
pub async fn stories(run: &Run, scenario: &str) -> Measured {
    let load = run.load();
    let recorder = Arc::new(Recorder::default());
    let stop = run.stop.child_token();
    let (world, recording, stopping) = (run.world.clone(), recorder.clone(), stop.clone());
    let perform = move |_, intended| {
        let (world, recorder, stop) = (world.clone(), recording.clone(), stopping.clone());
        async move {
            let told = tell(&world.api, &recorder).await;
            if told == Err(Failure::Accounts) {
                stop.cancel();
            }
            recorder.record(STORY, intended, &told)
        }
    };
    let work = run.apply(load, run.duration, &stop, perform);
    run.observe(scenario, load, &recorder, work).await
}
