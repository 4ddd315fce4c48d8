//! Sets the canonical form of e-mail addresses that an original inserted, at the start and while an original runs.

use std::collections::HashSet;
use std::time::Duration;

use common::id::UserId;
use engines::error::Result;
use platform::task::every;
use tokio_util::sync::CancellationToken;

use crate::store::{Collision, EmailForms};

/// A login finds an account without the form, too. Until it is set, it only does not protect the address from a
/// registration in another spelling.
const PAUSE: Duration = Duration::from_secs(5);

pub struct EmailFormBackfill {
    forms: EmailForms,
    /// The accounts that the log has named. The accounts that an original has registered bound it.
    named: HashSet<UserId>,
}

impl EmailFormBackfill {
    pub fn new(forms: EmailForms) -> Self {
        Self { forms, named: HashSet::new() }
    }

    /// Passes over all accounts without a form, again and again until the shutdown.
    pub async fn run(mut self, stop: CancellationToken) {
        every(PAUSE, "e-mail forms", &stop, &mut self, Self::pass).await;
    }

    async fn pass(&mut self) -> Result<()> {
        let mut after = UserId(0);
        while let Some(step) = self.forms.backfill(after).await? {
            for Collision { user, owner } in step.collisions {
                if self.named.insert(user) {
                    tracing::warn!(
                        user_id = user.0,
                        other_user_id = owner.0,
                        "two accounts have one e-mail address; user_id logs in only with the exact spelling",
                    );
                }
            }
            after = step.last;
        }
        Ok(())
    }
}
