//! The ids of recent events without a position, by which a repeat is recognized.

use std::collections::VecDeque;

use uuid::Uuid;

/// A bounded memory of event ids. A repeat comes soon after its event, so a short memory is enough.
#[derive(Debug)]
pub struct RecentEvents {
    ids: VecDeque<Uuid>,
    capacity: usize,
}

impl RecentEvents {
    /// A memory of at most `capacity` ids, 16 bytes each.
    pub const fn new(capacity: usize) -> Self {
        Self { ids: VecDeque::new(), capacity }
    }

    /// Remembers an event. Returns false for a repeat. Events of the original have no id; each of them is new.
    pub fn insert(&mut self, event_id: Option<Uuid>) -> bool {
        let Some(id) = event_id else { return true };
        if self.ids.contains(&id) {
            return false;
        }
        if self.ids.len() == self.capacity {
            self.ids.pop_front();
        }
        self.ids.push_back(id);
        true
    }

    /// The memory of the ids.
    pub fn bytes(&self) -> usize {
        self.ids.capacity() * size_of::<Uuid>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repeat_is_recognized_within_the_capacity() {
        let mut recent = RecentEvents::new(2);
        let [a, b, c] = [1, 2, 3].map(|n| Some(Uuid::from_u128(n)));

        assert_eq!(
            [a, a, b, a, None, None, c, a].map(|id| recent.insert(id)),
            [true, false, true, false, true, true, true, true]
        );
    }
}
