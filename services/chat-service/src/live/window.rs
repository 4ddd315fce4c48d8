//! The newest positions of one room, in order and without holes.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::frame::Frame;

/// Frames that are kept for readers; who lags further behind reads the store. With 300 code points in each they take
/// at most half a megabyte.
const KEPT: usize = 256;

/// Frames that wait for a predecessor; beyond it the store is the shorter way.
const EARLY: usize = 256;

#[derive(Debug, Default)]
pub struct Window {
    /// The last position up to which nothing is missing; none before it is known where the room stands.
    edge: Option<i64>,
    frames: VecDeque<Arc<Frame>>,
    early: BTreeMap<i64, Arc<Frame>>,
    /// The highest position known to exist.
    known: i64,
}

/// What a reader at some position finds.
#[derive(Debug)]
pub enum Next {
    Frames(Vec<Arc<Frame>>),
    /// It has everything.
    Nothing,
    /// What it needs is not kept any more.
    InStore,
}

impl Window {
    /// Begins at a position; what came before it was known is taken over.
    pub fn begin(&mut self, position: i64) {
        if self.edge.is_none() {
            self.edge = Some(position);
            self.early = self.early.split_off(&(position + 1));
            self.advance();
        }
    }

    pub fn edge(&self) -> Option<i64> {
        self.edge
    }

    /// Takes a frame, in whatever order they come.
    pub fn offer(&mut self, frame: Frame) {
        self.known = self.known.max(frame.position);
        let new = self.edge.is_none_or(|edge| frame.position > edge);
        if new && (self.early.len() < EARLY || self.edge.is_some_and(|edge| frame.position == edge + 1)) {
            self.early.insert(frame.position, Arc::new(frame));
            self.advance();
        }
    }

    /// Learns that a position exists.
    pub fn hint(&mut self, position: i64) {
        self.known = self.known.max(position);
    }

    /// Whether something is known to be missing.
    pub fn behind(&self) -> bool {
        self.edge.is_some_and(|edge| edge < self.known)
    }

    fn advance(&mut self) {
        let Some(mut edge) = self.edge else { return };
        while let Some(next) = self.early.remove(&(edge + 1)) {
            self.frames.push_back(next);
            edge += 1;
        }
        self.edge = Some(edge);
        self.known = self.known.max(edge);
        let surplus = self.frames.len().saturating_sub(KEPT);
        self.frames.drain(..surplus);
    }

    /// At most `limit` frames after a reader's position.
    pub fn after(&self, position: i64, limit: usize) -> Next {
        let Some(edge) = self.edge else { return Next::InStore };
        if position >= edge {
            return Next::Nothing;
        }
        let first = self.frames.front().map_or(edge + 1, |frame| frame.position);
        if position + 1 < first {
            return Next::InStore;
        }
        let skipped = usize::try_from(position + 1 - first).unwrap_or(usize::MAX);
        Next::Frames(self.frames.iter().skip(skipped).take(limit).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::sse::Event;
    use proptest::prelude::*;

    fn frame(position: i64) -> Frame {
        Frame { position, event: Event::default(), moved: None }
    }

    fn read_all(window: &Window, mut position: i64) -> Vec<i64> {
        let mut seen = Vec::new();
        while let Next::Frames(frames) = window.after(position, 7) {
            seen.extend(frames.iter().map(|frame| frame.position));
            position = *seen.last().unwrap();
        }
        seen
    }

    #[test]
    fn a_reader_waits_for_the_missing_predecessor() {
        let mut window = Window::default();
        window.begin(4);
        window.offer(frame(6));
        assert!(window.behind() && read_all(&window, 4).is_empty());
        window.offer(frame(5));
        assert_eq!(read_all(&window, 4), [5, 6]);
        assert!(!window.behind());
    }

    #[test]
    fn what_is_not_kept_is_in_the_store() {
        let mut window = Window::default();
        window.begin(0);
        (1..=KEPT as i64 + 10).for_each(|position| window.offer(frame(position)));
        assert!(matches!(window.after(9, 1), Next::InStore));
        assert!(matches!(window.after(10, 1), Next::Frames(_)));
    }

    #[test]
    fn what_came_before_the_beginning_was_known_is_not_lost() {
        let mut window = Window::default();
        [8, 7, 5].into_iter().for_each(|position| window.offer(frame(position)));
        window.begin(6);
        assert_eq!(read_all(&window, 6), [7, 8]);
    }

    proptest! {
        #[test]
        fn in_whatever_order_and_however_often_frames_come_they_are_read_once_and_in_order(
            start in 0_i64..5,
            mut arrivals in prop::collection::vec(1_i64..60, 0..120),
        ) {
            let mut window = Window::default();
            window.begin(start);
            arrivals.extend(start + 1..60);
            arrivals.into_iter().for_each(|position| window.offer(frame(position)));
            prop_assert_eq!(read_all(&window, start), (start + 1..60).collect::<Vec<_>>());
        }
    }
}
