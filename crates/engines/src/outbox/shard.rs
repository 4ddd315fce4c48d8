//! The queues of the outbox.

/// The number of queues over which the keys are distributed, so that replicas relay in parallel. `schema.sql` creates
/// as many rows.
pub const SHARDS: u32 = 8;

/// The queue of a key: its FNV-1a hash, which is the same in every process and build, unlike the standard library's.
pub(super) fn shard(key: &str) -> u32 {
    let hash = key.bytes().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193));
    hash % SHARDS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_always_has_the_same_shard() {
        assert_eq!([shard("1"), shard("2"), shard("3095")], [shard("1"), shard("2"), shard("3095")]);
        assert_eq!(shard("a"), 0xe40c_292c % SHARDS, "the published value of FNV-1a");
    }

    #[test]
    fn keys_are_distributed_over_all_shards() {
        let mut rows = [0; SHARDS as usize];
        (1..=800).for_each(|key| rows[shard(&i32::to_string(&key)) as usize] += 1);
        assert!(rows.iter().all(|rows| (60..=140).contains(rows)), "{rows:?}");
    }
}
