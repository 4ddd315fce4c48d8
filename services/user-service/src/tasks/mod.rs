//! Background work: presence, ended sessions, the search index.

mod indexing;
mod presence;
mod revocations;

use std::time::Duration;

use common::error::Result;
use tokio_util::sync::CancellationToken;

pub use indexing::index;
pub use presence::Sweeper;
pub use revocations::Keeper;

/// Repeats one step until the shutdown. Says when steps begin to fail and when they work again, not each time.
async fn every<T>(
    pause: Duration,
    name: &'static str,
    stop: &CancellationToken,
    task: &mut T,
    step: impl AsyncFn(&mut T) -> Result<()>,
) {
    let mut failing = false;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(pause) => {}
        }
        match step(task).await {
            Ok(()) if failing => {
                failing = false;
                tracing::info!(task = name, "works again");
            }
            Ok(()) => {}
            Err(e) if failing => tracing::debug!(task = name, error = %e, "still fails"),
            Err(e) => {
                failing = true;
                tracing::warn!(task = name, error = %e, "has to wait");
            }
        }
    }
}
