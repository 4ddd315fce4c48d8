//! The last activity of rooms, written to MySQL for the original, which orders its lists of rooms by it.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::id::RoomId;
use tokio::sync::mpsc;

use crate::store::Rooms;

/// Pause between two writes, each of which covers all rooms with activity.
const WRITE_INTERVAL: Duration = Duration::from_secs(1);

/// Limit on the reports of one write.
const MAX_REPORTS: usize = 10_000;

/// A handle on the task that writes.
#[derive(Clone)]
pub struct RoomActivity {
    reports: mpsc::UnboundedSender<(RoomId, DateTime<Utc>)>,
}

impl RoomActivity {
    /// Returns the handle, and the task that runs as long as a handle exists.
    pub fn new(rooms: Rooms) -> (Self, impl Future<Output = ()> + Send + 'static) {
        let (reports, received) = mpsc::unbounded_channel();
        (Self { reports }, write(rooms, received))
    }

    /// Reports a message in a room. Does not wait for MySQL.
    pub fn report(&self, room: RoomId, at: DateTime<Utc>) {
        // The task outlives all handles.
        let _ = self.reports.send((room, at));
    }
}

async fn write(rooms: Rooms, mut reports: mpsc::UnboundedReceiver<(RoomId, DateTime<Utc>)>) {
    let mut batch = Vec::new();
    while reports.recv_many(&mut batch, MAX_REPORTS).await > 0 {
        let latest: HashMap<_, _> = batch.drain(..).collect();
        if let Err(e) = rooms.touch(&latest).await {
            tracing::debug!(error = %e, "cannot write the last activity of rooms, the next message repeats it");
        }
        tokio::time::sleep(WRITE_INTERVAL).await;
    }
}
