//! The scenarios of one act each.

use std::sync::Arc;
use std::time::Instant;

use futures_util::future::BoxFuture;

use super::Run;
use crate::act::Act;
use crate::load::Recorder;
use crate::report::Measured;

/// Measures one act, after a short time of the same load.
pub async fn act(run: &Run, scenario: &str, act: Act) -> Measured {
    let load = run.load();
    let warm = Arc::new(Recorder::default());
    run.apply(load, run.warm_up(), &run.stop, performing(run, act, &warm)).await;
    let recorder = Arc::new(Recorder::default());
    let work = run.apply(load, run.duration, &run.stop, performing(run, act, &recorder));
    run.observe(scenario, load, &recorder, work).await
}

/// The function with which a load performs and records an act.
pub fn performing(
    run: &Run,
    act: Act,
    recorder: &Arc<Recorder>,
) -> impl Fn(u64, Instant) -> BoxFuture<'static, bool> + Clone + Send + 'static {
    let (world, recorder) = (run.world.clone(), recorder.clone());
    move |index, intended| {
        let (world, recorder) = (world.clone(), recorder.clone());
        Box::pin(async move {
            let result = act.perform(&world, index).await;
            recorder.record(act.name(), intended, &result)
        })
    }
}
