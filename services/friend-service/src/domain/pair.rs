//! The unordered pair of users that a relationship belongs to.

use common::id::UserId;

/// Two user ids in ascending order. Relations are unique per pair.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    pub low: UserId,
    pub high: UserId,
}

impl Pair {
    /// `None` for two equal ids.
    pub fn of(a: UserId, b: UserId) -> Option<Self> {
        (a != b).then(|| Self { low: a.min(b), high: a.max(b) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_does_not_depend_on_argument_order() {
        assert_eq!(Pair::of(UserId(7), UserId(3)), Pair::of(UserId(3), UserId(7)));
        assert_eq!(Pair::of(UserId(7), UserId(3)).unwrap().low, UserId(3));
    }

    #[test]
    fn two_equal_ids_are_not_a_pair() {
        assert_eq!(Pair::of(UserId(7), UserId(7)), None);
    }
}
