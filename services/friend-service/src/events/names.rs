//! The projection of names from `user.events` into MySQL, shared by all replicas.

use common::events::user::UserRegistered;
use engines::error::Result;
use engines::kafka::consumer::Handler;
use engines::kafka::received::Received;

use crate::store::{Name, Names};

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
        // A username never changes, and updates of a profile do not contain it.
        let registered = events.iter().filter(|event| event.is::<UserRegistered>());
        let names: Vec<Name> = registered.map(name_of).collect::<Result<_>>()?;
        self.names.upsert(&names).await
    }
}

fn name_of(event: &Received) -> Result<Name> {
    let UserRegistered { user_id, username, .. } = event.decode()?;
    Ok(Name { user_id, username, version: event.version })
}
