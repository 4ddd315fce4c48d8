//! The messages that a stream has received, each of which has to arrive exactly once.

use std::collections::HashSet;

/// The numbers of the messages that one stream has received over all its connections.
#[derive(Default)]
pub struct Received {
    numbers: HashSet<u64>,
    /// Events with a message that had arrived before.
    double: u64,
}

/// How many messages arrived on the streams of their rooms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Arrivals {
    pub expected: u64,
    /// Those of the expected ones that arrived, each counted once.
    pub received: u64,
    pub double: u64,
    /// Messages of rooms that the stream is not of.
    pub foreign: u64,
}

/// The numbers of the messages into some rooms.
#[derive(Default)]
pub struct Attempts {
    /// Those whose sends succeeded.
    pub sent: HashSet<u64>,
    /// Those whose sends failed, or have not ended.
    pub failed: HashSet<u64>,
}

impl Received {
    /// Returns whether the message is new.
    pub fn add(&mut self, number: u64) -> bool {
        let is_new = self.numbers.insert(number);
        self.double += u64::from(!is_new);
        is_new
    }

    /// Compares with the messages of the stream's rooms. Those whose sends failed may have been stored, so they may arrive and need
    /// not.
    pub fn arrivals(&self, attempts: &Attempts) -> Arrivals {
        let Attempts { sent, failed } = attempts;
        let received = sent.intersection(&self.numbers).count() as u64;
        let foreign = self.numbers.iter().filter(|number| !sent.contains(number) && !failed.contains(number)).count();
        Arrivals { expected: sent.len() as u64, received, double: self.double, foreign: foreign as u64 }
    }
}

impl Arrivals {
    pub fn lost(self) -> u64 {
        self.expected - self.received
    }
}

impl std::iter::Sum for Arrivals {
    fn sum<I: Iterator<Item = Self>>(each: I) -> Self {
        each.fold(Self::default(), |sum, one| Self {
            expected: sum.expected + one.expected,
            received: sum.received + one.received,
            double: sum.double + one.double,
            foreign: sum.foreign + one.foreign,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(received: &[u64], sent: &[u64], failed: &[u64]) -> [u64; 4] {
        let mut all = Received::default();
        received.iter().for_each(|number| {
            all.add(*number);
        });
        let attempts = Attempts { sent: sent.iter().copied().collect(), failed: failed.iter().copied().collect() };
        let Arrivals { expected, received, double, foreign } = all.arrivals(&attempts);
        [expected, received, double, foreign]
    }

    #[test]
    fn a_message_that_never_arrives_is_lost() {
        assert_eq!(arrivals(&[1, 3], &[1, 2, 3], &[]), [3, 2, 0, 0]);
        assert_eq!(arrivals(&[], &[1], &[]), [1, 0, 0, 0]);
    }

    #[test]
    fn a_message_that_arrives_again_is_double_and_replaces_no_other_one() {
        assert_eq!(arrivals(&[1, 1, 3, 1], &[1, 2, 3], &[]), [3, 2, 2, 0]);
        let mut received = Received::default();
        assert_eq!([received.add(7), received.add(7)], [true, false]);
    }

    #[test]
    fn a_message_whose_send_failed_may_arrive_and_is_not_expected() {
        assert_eq!(arrivals(&[1, 2], &[1], &[2]), [1, 1, 0, 0]);
        assert_eq!(arrivals(&[1], &[1], &[2]), [1, 1, 0, 0]);
    }

    #[test]
    fn a_message_of_other_rooms_is_foreign_and_replaces_no_expected_one() {
        assert_eq!(arrivals(&[1, 9], &[1, 2], &[3]), [2, 1, 0, 1]);
    }

    #[test]
    fn the_order_does_not_matter() {
        assert_eq!(arrivals(&[3, 1, 2], &[1, 2, 3], &[]), [3, 3, 0, 0]);
    }
}
