//! The scenario of files.

use std::sync::Arc;

use super::Run;
use crate::file::{FILE, pass_on};
use crate::load::Recorder;
use crate::report::Measured;
use crate::world::World;

/// Measures files that are sent and downloaded.
pub async fn files(run: &Run, scenario: &str) -> Measured {
    let act =
        |index, world: Arc<World>, recorder: Arc<Recorder>| async move { pass_on(&world, index, &recorder).await };
    run.measure(scenario, FILE, &run.stop, act).await
}
