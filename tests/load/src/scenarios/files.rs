//! The scenario of files.

use std::sync::Arc;

use super::Run;
use crate::file::{FILE, pass_on};
use crate::load::Recorder;
use crate::report::Measured;

/// Measures files that are sent and downloaded.
pub async fn files(run: &Run, scenario: &str) -> Measured {
    let load = run.load();
    let recorder = Arc::new(Recorder::default());
    let (world, recording) = (run.world.clone(), recorder.clone());
    let perform = move |index, intended| {
        let (world, recorder) = (world.clone(), recording.clone());
        async move {
            let passed = pass_on(&world, index, &recorder).await;
            recorder.record(FILE, intended, &passed)
        }
    };
    let work = run.apply(load, run.duration, &run.stop, perform);
    run.observe(scenario, load, &recorder, work).await
}
