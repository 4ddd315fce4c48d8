//! Two people, whoever comes first.

use common::id::UserId;

/// Two people in one order: the key under which their relation is unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Pair {
    pub low: UserId,
    pub high: UserId,
}

impl Pair {
    /// None for one person twice.
    pub fn of(a: UserId, b: UserId) -> Option<Self> {
        (a != b).then(|| Self { low: a.min(b), high: a.max(b) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pair_is_the_same_from_both_sides() {
        assert_eq!(Pair::of(UserId(7), UserId(3)), Pair::of(UserId(3), UserId(7)));
        assert_eq!(Pair::of(UserId(7), UserId(3)).unwrap().low, UserId(3));
    }

    #[test]
    fn nobody_pairs_with_themselves() {
        assert_eq!(Pair::of(UserId(7), UserId(7)), None);
    }
}
