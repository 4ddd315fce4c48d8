//! Read markers: the positions of a room that a member has read, and those that do not count as unread.

use serde::{Deserialize, Serialize};

/// Limit on the ranges of a marker. A document of so many ranges has about 4 KB.
pub const MAX_RANGES: usize = 128;

/// The ranges that remain when a marker has more than [`MAX_RANGES`]. The difference keeps the work rare.
const KEPT_RANGES: usize = 96;

/// Positions from the first to the last, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PositionRange {
    pub from: i64,
    pub to: i64,
}

/// The read marker of a member in a room.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ReadMarker {
    up_to: i64,
    joined: i64,
    /// Ascending, after `up_to`, with a gap before each.
    ranges: Vec<PositionRange>,
}

impl ReadMarker {
    /// The marker of a member who has read all positions up to `up_to` and these others, and who joined at `joined`: messages
    /// up to there do not count as unread.
    pub fn new(up_to: i64, joined: i64, ranges: Vec<PositionRange>, single: &[i64]) -> Self {
        let mut marker = Self { up_to, joined, ranges };
        marker.ranges.extend(single.iter().map(|position| PositionRange { from: *position, to: *position }));
        marker.normalize();
        marker
    }

    /// All positions up to this one are read.
    pub fn up_to(&self) -> i64 {
        self.up_to
    }

    /// The ranges after [`up_to`](Self::up_to) that are read.
    pub fn ranges(&self) -> &[PositionRange] {
        &self.ranges
    }

    /// Whether the member has read a position.
    pub fn covers(&self, position: i64) -> bool {
        let next = self.ranges.partition_point(|range| range.to < position);
        position <= self.up_to || self.ranges.get(next).is_some_and(|range| range.from <= position)
    }

    /// Whether a message at a position counts as unread. Messages before the join do not.
    pub fn leaves_unread(&self, position: i64) -> bool {
        position > self.joined && !self.covers(position)
    }

    /// Whether no message up to a position counts as unread.
    pub fn leaves_none_unread(&self, up_to: i64) -> bool {
        self.gaps()[0].0 >= up_to
    }

    /// Marks single positions as read.
    pub fn read(&mut self, positions: impl IntoIterator<Item = i64>) {
        self.ranges.extend(positions.into_iter().map(|position| PositionRange { from: position, to: position }));
        self.normalize();
    }

    /// Marks all positions up to one as read, but none before the join: the member has not seen them as new.
    pub fn read_up_to(&mut self, position: i64) {
        if self.joined <= self.up_to {
            self.up_to = self.up_to.max(position);
        } else if position > self.joined {
            self.ranges.push(PositionRange { from: self.joined + 1, to: position });
        }
        self.normalize();
    }

    /// The stretches of positions that may hold unread messages, each as the positions directly before and after it. The last
    /// one has no end.
    pub fn gaps(&self) -> Vec<(i64, Option<i64>)> {
        let mut before = self.up_to.max(self.joined);
        let mut gaps = Vec::with_capacity(self.ranges.len() + 1);
        for range in &self.ranges {
            if range.from > before + 1 {
                gaps.push((before, Some(range.from)));
            }
            before = before.max(range.to);
        }
        gaps.push((before, None));
        gaps
    }

    /// Closes the gaps that hold none of these positions, which are all unread ones after `known_after`, in ascending order.
    pub fn close_gaps(&mut self, unread: &[i64], known_after: i64) {
        let is_empty = |after: i64, before: i64| {
            after >= known_after
                && unread.partition_point(|position| *position <= after)
                    == unread.partition_point(|position| *position < before)
        };
        let mut kept: Vec<PositionRange> = Vec::with_capacity(self.ranges.len());
        for range in std::mem::take(&mut self.ranges) {
            match kept.last_mut() {
                Some(last) if is_empty(last.to, range.from) => last.to = range.to,
                None if self.joined <= self.up_to && is_empty(self.up_to, range.from) => self.up_to = range.to,
                _ => kept.push(range),
            }
        }
        self.ranges = kept;
    }

    /// Joins the oldest ranges if there are more than [`MAX_RANGES`]. The messages between them count as read.
    pub fn limit_ranges(&mut self) {
        if self.ranges.len() <= MAX_RANGES {
            return;
        }
        let surplus = self.ranges.len() - KEPT_RANGES;
        self.ranges[0].to = self.ranges[surplus].to;
        self.ranges.drain(1..=surplus);
    }

    /// Sorts the ranges, unites those without a gap between them, and moves `up_to` past those that follow it directly.
    fn normalize(&mut self) {
        self.ranges.sort_unstable_by_key(|range| range.from);
        let mut united: Vec<PositionRange> = Vec::with_capacity(self.ranges.len());
        for range in std::mem::take(&mut self.ranges) {
            match united.last_mut() {
                Some(last) if range.from <= last.to + 1 => last.to = last.to.max(range.to),
                None if range.from <= self.up_to + 1 => self.up_to = self.up_to.max(range.to),
                _ => united.push(range),
            }
        }
        self.ranges = united;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn range(from: i64, to: i64) -> PositionRange {
        PositionRange { from, to }
    }

    proptest! {
        #[test]
        fn a_marker_covers_the_positions_that_were_read(
            up_to in 0..20_i64,
            ranges in prop::collection::vec((1..60_i64, 0..5_i64), 0..8),
            single in prop::collection::vec(1..60_i64, 0..20),
            read in prop::collection::vec(1..60_i64, 0..20),
        ) {
            let ranges: Vec<PositionRange> = ranges.into_iter().map(|(from, length)| range(from, from + length)).collect();
            let mut expected: BTreeSet<i64> = (1..=up_to).chain(single.iter().copied()).chain(read.clone()).collect();
            expected.extend(ranges.iter().flat_map(|range| range.from..=range.to));

            let mut marker = ReadMarker::new(up_to, 0, ranges, &single);
            marker.read(read);

            let covered: BTreeSet<i64> = (1..70).filter(|position| marker.covers(*position)).collect();
            prop_assert_eq!(&covered, &expected);
            let in_gaps = |position: &i64| {
                marker.gaps().iter().any(|(after, before)| position > after && before.is_none_or(|before| *position < before))
            };
            prop_assert_eq!((1..70).filter(in_gaps).collect::<BTreeSet<_>>(), &(1..70).collect::<BTreeSet<_>>() - &covered);
            prop_assert!(marker.ranges.windows(2).all(|pair| pair[0].to + 1 < pair[1].from));
        }
    }

    #[test]
    fn a_marker_leaves_none_unread_up_to_its_first_gap() {
        let read_to_5_and_8 = ReadMarker::new(5, 0, vec![range(8, 8)], &[]);
        assert!(read_to_5_and_8.leaves_none_unread(5) && !read_to_5_and_8.leaves_none_unread(6));
        assert!(ReadMarker::new(0, 9, Vec::new(), &[]).leaves_none_unread(9));
        assert!(ReadMarker::new(0, 9, vec![range(10, 12)], &[]).leaves_none_unread(12));
    }

    #[test]
    fn positions_before_the_join_are_neither_read_nor_unread() {
        let mut marker = ReadMarker::new(0, 50, Vec::new(), &[]);
        assert!(!marker.leaves_unread(50) && marker.leaves_unread(51));
        assert_eq!(marker.gaps(), [(50, None)]);
        marker.read_up_to(60);
        assert!(!marker.covers(50) && marker.covers(51) && marker.covers(60) && marker.leaves_unread(61));
        assert_eq!((marker.up_to(), marker.ranges()), (0, &[range(51, 60)][..]));
        marker.read_up_to(70);
        assert_eq!(marker.ranges(), [range(51, 70)]);
    }

    #[test]
    fn gaps_without_unread_messages_are_closed() {
        let marker = ReadMarker::new(1, 0, Vec::new(), &[3, 5, 9, 11]);
        let closed = |unread: &[i64], known_after| {
            let mut marker = marker.clone();
            marker.close_gaps(unread, known_after);
            (marker.up_to, marker.ranges)
        };
        assert_eq!(closed(&[], 0), (11, vec![]));
        assert_eq!(closed(&[7], 0), (5, vec![range(9, 11)]));
        assert_eq!(closed(&[2], 0), (1, vec![range(3, 11)]));
        assert_eq!(closed(&[], 5), (1, vec![range(3, 3), range(5, 11)]), "older gaps are not known");
    }

    #[test]
    fn a_marker_has_at_most_128_ranges_and_keeps_the_newest() {
        let mut marker = ReadMarker::default();
        for position in 1..10_000 {
            marker.read([2 * position]);
            marker.limit_ranges();
            assert!(marker.ranges.len() <= MAX_RANGES);
        }
        assert!(marker.leaves_unread(1) && marker.leaves_unread(19_997) && !marker.leaves_unread(3));
    }
}
