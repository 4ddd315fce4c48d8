//! Sets the forms of e-mail addresses and usernames that an original inserted, at the start and while an original runs.

use std::collections::HashSet;
use std::time::Duration;

use common::id::UserId;
use engines::error::Result;
use platform::task::every;
use tokio_util::sync::CancellationToken;

use crate::store::{Collision, ComparedForms, ComparedValue};

/// A login finds an account without the forms, too. Until they are set, they only do not protect the address from a
/// registration in another spelling, and the username from one that looks like it.
const PAUSE: Duration = Duration::from_secs(5);

pub struct ComparedFormBackfill {
    forms: ComparedForms,
    /// The accounts that the log has named. The accounts that an original has registered bound it.
    named: HashSet<(ComparedValue, UserId)>,
}

impl ComparedFormBackfill {
    pub fn new(forms: ComparedForms) -> Self {
        Self { forms, named: HashSet::new() }
    }

    /// Passes over all accounts without a form, again and again until the shutdown.
    pub async fn run(mut self, stop: CancellationToken) {
        every(PAUSE, "compared forms", &stop, &mut self, Self::pass).await;
    }

    async fn pass(&mut self) -> Result<()> {
        for value in ComparedValue::ALL {
            let mut after = UserId(0);
            while let Some(step) = self.forms.backfill(value, after).await? {
                for collision in step.collisions {
                    if self.named.insert((value, collision.user)) {
                        name(value, collision);
                    }
                }
                after = step.last;
            }
        }
        Ok(())
    }
}

fn name(value: ComparedValue, Collision { user, owner }: Collision) {
    let (user_id, other_user_id) = (user.0, owner.0);
    match value {
        ComparedValue::Email => tracing::warn!(
            user_id,
            other_user_id,
            "two accounts have one e-mail address; user_id logs in only with the exact spelling",
        ),
        ComparedValue::Username => tracing::info!(user_id, other_user_id, "the usernames of two accounts look alike"),
    }
}
