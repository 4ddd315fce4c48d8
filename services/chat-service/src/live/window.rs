//! The window of one room: its newest positions, in order and without gaps.
//!
//! A window is plain data behind the lock of its feed; every method takes the lock's guard and returns without waiting. The
//! *edge* is the last position up to which no frame is missing. Frames behind the edge are readable. Frames that arrive before
//! their predecessor are early: they wait, unreadable, until the gap is filled.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use crate::wire::Frame;

/// Limit on readable frames; readers that lag further behind read the store.
const MAX_FRAMES: usize = 256;

/// Limit on early frames. Beyond it, reading the store is cheaper.
const MAX_EARLY: usize = 256;

#[derive(Debug, Default)]
pub struct Window {
    /// `None` until the room's position is known.
    edge: Option<i64>,
    /// The highest position that is known to exist.
    newest: i64,
    /// `None` while there are no frames, as in most rooms of a replica.
    kept: Option<Box<Kept>>,
}

#[derive(Debug, Default)]
struct Kept {
    frames: VecDeque<Arc<Frame>>,
    early: BTreeMap<i64, Arc<Frame>>,
    /// The memory of all frames.
    bytes: usize,
}

/// The frames after a reader's position.
#[derive(Debug)]
pub enum Next {
    Frames(Vec<Arc<Frame>>),
    /// The reader stands at the edge.
    Nothing,
    /// The window no longer holds the next frame.
    InStore,
}

impl Window {
    /// Sets the edge to the room's position. Early frames after it remain.
    pub fn start(&mut self, position: i64) {
        if self.edge.is_none() {
            self.continue_at(position);
        }
    }

    pub fn edge(&self) -> Option<i64> {
        self.edge
    }

    /// The memory of all frames.
    pub fn bytes(&self) -> usize {
        self.kept.as_ref().map_or(0, |kept| kept.bytes)
    }

    /// Drops all frames. Readers before the edge read the store, and the room's log has the early frames.
    pub fn forget(&mut self) {
        self.kept = None;
    }

    /// Takes a frame; frames may arrive in any order and repeatedly.
    pub fn offer(&mut self, frame: Frame) {
        self.newest = self.newest.max(frame.position);
        let is_next = self.edge.is_some_and(|edge| frame.position == edge + 1);
        if self.edge.is_some_and(|edge| frame.position <= edge) {
            return;
        }
        let kept = self.kept.get_or_insert_default();
        if is_next || kept.early.len() < MAX_EARLY {
            kept.bytes += frame.bytes;
            if let Some(repeated) = kept.early.insert(frame.position, Arc::new(frame)) {
                kept.bytes -= repeated.bytes;
            }
            self.advance();
        }
    }

    /// The readable frames after a position, newest first.
    pub fn since(&self, position: i64) -> impl Iterator<Item = &Arc<Frame>> {
        let frames = self.kept.iter().flat_map(|kept| kept.frames.iter().rev());
        frames.take_while(move |frame| frame.position > position)
    }

    /// Learns that a position exists.
    pub fn hint(&mut self, position: i64) {
        self.newest = self.newest.max(position);
    }

    /// The edge, and the highest position that is known to exist, if it is beyond the edge.
    pub fn missing(&self) -> Option<(i64, i64)> {
        self.edge.filter(|edge| *edge < self.newest).map(|edge| (edge, self.newest))
    }

    /// Gives up the missing frames: moves the edge to the room's position. Readers before it read the store. Forgets higher
    /// positions and their early frames: the store does not have them, and assigns them again if it was restored.
    pub fn skip_to(&mut self, position: i64) {
        let Some(edge) = self.edge else { return };
        self.newest = position.max(edge);
        if let Some(kept) = &mut self.kept {
            let beyond = kept.early.split_off(&(self.newest + 2));
            kept.bytes -= beyond.values().map(|frame| frame.bytes).sum::<usize>();
        }
        if position > edge {
            self.continue_at(position);
        }
    }

    /// Moves the edge. Only early frames after it remain.
    fn continue_at(&mut self, position: i64) {
        self.edge = Some(position);
        if let Some(kept) = &mut self.kept {
            kept.frames.clear();
            kept.early = kept.early.split_off(&(position + 1));
            kept.bytes = kept.early.values().map(|frame| frame.bytes).sum();
        }
        self.advance();
    }

    fn advance(&mut self) {
        let (Some(edge), Some(kept)) = (&mut self.edge, &mut self.kept) else { return };
        while let Some(next) = kept.early.remove(&(*edge + 1)) {
            kept.frames.push_back(next);
            *edge += 1;
        }
        self.newest = self.newest.max(*edge);
        let surplus = kept.frames.len().saturating_sub(MAX_FRAMES);
        kept.bytes -= kept.frames.drain(..surplus).map(|frame| frame.bytes).sum::<usize>();
    }

    /// At most `limit` frames after a reader's position.
    pub fn after(&self, position: i64, limit: usize) -> Next {
        let Some(edge) = self.edge else { return Next::InStore };
        if position >= edge {
            return Next::Nothing;
        }
        let Some(kept) = &self.kept else { return Next::InStore };
        let first = kept.frames.front().map_or(edge + 1, |frame| frame.position);
        if position + 1 < first {
            return Next::InStore;
        }
        let skipped = usize::try_from(position + 1 - first).unwrap_or(usize::MAX);
        Next::Frames(kept.frames.iter().skip(skipped).take(limit).cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::response::sse::Event;
    use proptest::prelude::*;

    fn frame(position: i64) -> Frame {
        Frame { position, event: Event::default(), bytes: 10, sent_at: None, roster_change: None }
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
        window.start(4);
        window.offer(frame(6));
        assert!(window.missing() == Some((4, 6)) && read_all(&window, 4).is_empty());
        window.offer(frame(5));
        assert_eq!(read_all(&window, 4), [5, 6]);
        assert!(window.missing().is_none());
    }

    #[test]
    fn a_window_without_a_missing_frame_continues_behind_it() {
        let mut window = Window::default();
        window.start(1);
        [2, 4, 5, 7].into_iter().for_each(|position| window.offer(frame(position)));
        window.skip_to(6);
        assert!(matches!(window.after(2, 1), Next::InStore), "readers before the gap read the store");
        assert_eq!((read_all(&window, 6), window.missing()), (vec![7], None));
        window.hint(1_000_000);
        window.skip_to(7);
        assert_eq!(window.missing(), None, "the store does not have the announced position");
    }

    #[test]
    fn a_position_that_a_restored_store_assigns_again_replaces_the_early_frame() {
        let mut window = Window::default();
        window.start(2);
        window.offer(Frame { bytes: 99, ..frame(6) });
        window.skip_to(2);
        assert_eq!((window.bytes(), window.missing()), (0, None));
        (3..=6).for_each(|position| window.offer(frame(position)));
        assert_eq!((read_all(&window, 2), window.bytes()), (vec![3, 4, 5, 6], 40));
    }

    #[test]
    fn frames_beyond_the_limit_are_in_the_store() {
        let mut window = Window::default();
        window.start(0);
        (1..=MAX_FRAMES as i64 + 10).for_each(|position| window.offer(frame(position)));
        assert!(matches!(window.after(9, 1), Next::InStore));
        assert!(matches!(window.after(10, 1), Next::Frames(_)));
    }

    #[test]
    fn frames_that_arrive_before_the_start_are_not_lost() {
        let mut window = Window::default();
        [8, 7, 5].into_iter().for_each(|position| window.offer(frame(position)));
        window.start(6);
        assert_eq!(read_all(&window, 6), [7, 8]);
    }

    #[test]
    fn a_window_that_was_forgotten_continues_at_its_edge() {
        let mut window = Window::default();
        window.start(0);
        [1, 2, 4].into_iter().for_each(|position| window.offer(frame(position)));
        assert_eq!(window.bytes(), 30);
        window.forget();
        assert!(matches!(window.after(1, 1), Next::InStore) && window.missing() == Some((2, 4)));
        assert_eq!((window.bytes(), window.edge()), (0, Some(2)));
        [3, 4].into_iter().for_each(|position| window.offer(frame(position)));
        assert_eq!(read_all(&window, 2), [3, 4]);
    }

    proptest! {
        #[test]
        fn frames_in_any_order_with_repeats_are_read_once_and_in_order(
            start in 0_i64..5,
            mut arrivals in prop::collection::vec(1_i64..60, 0..120),
        ) {
            let mut window = Window::default();
            window.start(start);
            arrivals.extend(start + 1..60);
            arrivals.into_iter().for_each(|position| window.offer(frame(position)));
            prop_assert_eq!(read_all(&window, start), (start + 1..60).collect::<Vec<_>>());
            prop_assert_eq!(window.bytes(), 10 * (59 - start as usize));
        }
    }
}
