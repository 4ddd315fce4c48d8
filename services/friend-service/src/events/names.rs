//! Names from `user.events` into MySQL, once for all replicas.

use common::error::Result;
use common::events::Received;
use common::events::user::UserRegistered;
use common::kafka::consumer::Handler;

use crate::store::{Names, Told};

pub(super) struct Projection {
    names: Names,
}

impl Projection {
    pub(super) fn new(names: Names) -> Self {
        Self { names }
    }
}

impl Handler for Projection {
    async fn handle(&self, events: &[Received]) -> Result<()> {
        // A username is given once; a profile's update does not carry it.
        let registered = events.iter().filter(|event| event.is::<UserRegistered>());
        let told: Vec<Told> = registered.map(told).collect::<Result<_>>()?;
        self.names.keep(&told).await
    }
}

fn told(event: &Received) -> Result<Told> {
    let UserRegistered { user_id, username, .. } = event.decode()?;
    Ok(Told { user_id, username, version: event.version })
}
