//! The limits on open streams and on the rooms that they read: of one user, of one client network, and of the replica.
//!
//! A stream occupies a connection for as long as its client likes, and each of its rooms takes memory. Without the limit of the
//! replica, streams would take all connections, those of health checks too; without that of a network, one address with many
//! accounts could use up the limit of the replica.

use std::collections::HashMap;
use std::hash::Hash;
use std::net::IpAddr;
use std::time::Duration;

use common::error::{Error, Result};
use common::id::UserId;

/// A client beyond a limit can open a stream after this time, at the earliest.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// A number of streams and the number of rooms that they read, a room once for each stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    pub streams: u64,
    pub rooms: u64,
}

/// The greatest usage.
#[derive(Clone, Copy, Debug)]
pub struct StreamLimits {
    pub user: Usage,
    /// `None` for no limit.
    pub network: Option<Usage>,
    pub replica: Usage,
}

/// The user and the network that a stream counts for.
#[derive(Clone, Copy, Debug)]
pub struct Holder {
    pub user: UserId,
    /// `None` for a client without an address, as in a test of this crate.
    pub network: Option<IpAddr>,
}

/// The usage by all open streams of this replica.
#[derive(Debug, Default)]
pub struct StreamUsage {
    users: HashMap<UserId, Usage>,
    networks: HashMap<IpAddr, Usage>,
    replica: Usage,
}

impl StreamUsage {
    /// Adds to the usage of the holder.
    ///
    /// # Errors
    /// Beyond a limit, returns [`Error::TooMany`], or an unavailable error if it is the limit of the replica: another replica may
    /// have room. Adds nothing then.
    pub fn add(&mut self, holder: Holder, more: Usage, limits: &StreamLimits) -> Result<()> {
        let user = usage_of(&self.users, &holder.user).plus(more);
        let network = holder.network.map(|network| (network, usage_of(&self.networks, &network).plus(more)));
        let replica = self.replica.plus(more);
        let network_limit = limits.network.unwrap_or(Usage { streams: u64::MAX, rooms: u64::MAX });
        if user.exceeds(limits.user) || network.is_some_and(|(_, network)| network.exceeds(network_limit)) {
            return Err(Error::TooMany { retry_after: RETRY_AFTER });
        }
        if replica.exceeds(limits.replica) {
            return Err(Error::unavailable("streams", "the replica has as many streams or rooms of streams as it may"));
        }
        self.users.insert(holder.user, user);
        self.networks.extend(network);
        self.replica = replica;
        Ok(())
    }

    /// Takes usage of the holder away, after it was added.
    pub fn remove(&mut self, holder: Holder, used: Usage) {
        take_away(&mut self.users, &holder.user, used);
        if let Some(network) = holder.network {
            take_away(&mut self.networks, &network, used);
        }
        self.replica = self.replica.minus(used);
    }
}

impl Usage {
    fn plus(self, more: Self) -> Self {
        Self { streams: self.streams.saturating_add(more.streams), rooms: self.rooms.saturating_add(more.rooms) }
    }

    fn minus(self, less: Self) -> Self {
        Self { streams: self.streams.saturating_sub(less.streams), rooms: self.rooms.saturating_sub(less.rooms) }
    }

    fn exceeds(self, limit: Self) -> bool {
        self.streams > limit.streams || self.rooms > limit.rooms
    }
}

fn usage_of<K: Eq + Hash>(all: &HashMap<K, Usage>, key: &K) -> Usage {
    all.get(key).copied().unwrap_or_default()
}

fn take_away<K: Eq + Hash>(all: &mut HashMap<K, Usage>, key: &K, used: Usage) {
    if let Some(usage) = all.get_mut(key) {
        *usage = usage.minus(used);
        if *usage == Usage::default() {
            all.remove(key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: StreamLimits = StreamLimits {
        user: Usage { streams: 2, rooms: 10 },
        network: Some(Usage { streams: 3, rooms: 20 }),
        replica: Usage { streams: 5, rooms: 100 },
    };

    fn holder(user: i64, network: u8) -> Holder {
        Holder { user: UserId(user), network: Some([10, 0, 0, network].into()) }
    }

    fn stream(rooms: u64) -> Usage {
        Usage { streams: 1, rooms }
    }

    /// The status of each attempt to add one stream.
    fn statuses(usage: &mut StreamUsage, attempts: &[(Holder, u64)]) -> Vec<u16> {
        let add = |(holder, rooms): &(Holder, u64)| usage.add(*holder, stream(*rooms), &LIMITS);
        attempts.iter().map(add).map(|added| added.map_or_else(|e| e.status().as_u16(), |()| 200)).collect()
    }

    #[test]
    fn a_user_a_network_and_the_replica_have_a_limit_on_streams() {
        let mut usage = StreamUsage::default();
        let attempts =
            [holder(1, 1), holder(1, 1), holder(1, 2), holder(2, 1), holder(3, 1), holder(3, 2), holder(4, 2)];
        let attempts: Vec<_> = attempts.into_iter().chain([holder(5, 3)]).map(|holder| (holder, 1)).collect();
        assert_eq!(statuses(&mut usage, &attempts), [200, 200, 429, 200, 429, 200, 200, 503]);
    }

    #[test]
    fn rooms_count_once_for_each_stream() {
        let mut usage = StreamUsage::default();
        let attempts = [(holder(1, 1), 6), (holder(1, 1), 5), (holder(2, 1), 9), (holder(3, 1), 6)];
        assert_eq!(statuses(&mut usage, &attempts), [200, 429, 200, 429]);
    }

    #[test]
    fn what_was_taken_away_can_be_added_again_and_nothing_is_left_behind() {
        let mut usage = StreamUsage::default();
        for _ in 0..3 {
            usage.add(holder(1, 1), stream(4), &LIMITS).unwrap();
            usage.add(holder(1, 1), stream(6), &LIMITS).unwrap();
            assert!(usage.add(holder(1, 1), stream(0), &LIMITS).is_err());
            usage.remove(holder(1, 1), stream(6));
            usage.remove(holder(1, 1), stream(4));
        }
        assert!(usage.users.is_empty() && usage.networks.is_empty() && usage.replica == Usage::default());
    }
}
