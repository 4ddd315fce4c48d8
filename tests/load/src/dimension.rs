//! The sizes through which the scenario `growth` steps.

use clap::ValueEnum;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Dimension {
    /// Messages of a room.
    Messages,
    /// Rooms of a person.
    Rooms,
    /// Accounts of the system.
    Accounts,
    /// Open streams.
    Streams,
}

impl Dimension {
    pub const ALL: [Self; 4] = [Self::Messages, Self::Rooms, Self::Accounts, Self::Streams];

    pub fn name(self) -> &'static str {
        match self {
            Self::Messages => "messages",
            Self::Rooms => "rooms",
            Self::Accounts => "accounts",
            Self::Streams => "streams",
        }
    }

    /// The sizes in ascending order. With a bound, those below it and the bound.
    pub fn sizes(self, to: Option<u64>) -> Vec<u64> {
        let all: &[u64] = match self {
            Self::Messages => &[100, 1_000, 10_000, 100_000, 1_000_000],
            // A person creates at most 5,000 rooms.
            Self::Rooms => &[1, 10, 100, 1_000, 5_000],
            Self::Accounts => &[1_000, 10_000, 100_000, 1_000_000],
            Self::Streams => &[10, 100, 1_000, 4_000, 10_000, 15_000],
        };
        let largest = all.last().copied().unwrap_or_default();
        let to = to.unwrap_or(largest).min(largest);
        all.iter().copied().filter(|size| *size < to).chain([to]).collect()
    }

    /// Whether the sizes are written into the engines of the running stack.
    pub fn needs_engines(self) -> bool {
        matches!(self, Self::Messages | Self::Accounts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_the_last_size() {
        assert_eq!(Dimension::Rooms.sizes(None), [1, 10, 100, 1_000, 5_000]);
        assert_eq!(Dimension::Rooms.sizes(Some(300)), [1, 10, 100, 300]);
        assert_eq!(Dimension::Rooms.sizes(Some(100)), [1, 10, 100]);
        assert_eq!(Dimension::Messages.sizes(Some(7)), [7]);
        assert_eq!(Dimension::Accounts.sizes(Some(u64::MAX)), Dimension::Accounts.sizes(None));
    }
}
