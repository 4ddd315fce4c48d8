//! Positions in many rooms, in a compact binary form for ids and cursors.

use std::collections::BTreeMap;

use common::id::RoomId;
use integer_encoding::VarInt;

/// A position in the log of each of some rooms.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Positions(pub BTreeMap<RoomId, i64>);

impl Positions {
    /// Limit in bytes on encoded positions within an id or a cursor; more of them are stored as a snapshot. With the rest of
    /// an id, and four characters for three bytes, the id stays below 1 KB.
    pub const MAX_INLINE_BYTES: usize = 700;

    /// The greatest number of bytes that one more room adds: two integers, and a longer distance to the room after it.
    pub const MAX_ROOM_BYTES: usize = 2 * MAX_VARINT_BYTES;

    /// Encodes each room as two variable-length integers: the distance to the room before it, and the position.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(6 * self.0.len());
        let mut before = 0;
        for (room, position) in &self.0 {
            bytes.extend(room.0.wrapping_sub(before).unsigned_abs().encode_var_vec());
            bytes.extend(position.unsigned_abs().encode_var_vec());
            before = room.0;
        }
        bytes
    }

    pub fn pack(&self) -> PackedPositions {
        PackedPositions(self.encode().into())
    }

    /// Reads what [`encode`](Self::encode) writes; `None` for other bytes.
    pub fn decode(mut bytes: &[u8]) -> Option<Self> {
        let (mut positions, mut room) = (BTreeMap::new(), 0_i64);
        while !bytes.is_empty() {
            room = room.checked_add(take(&mut bytes)?)?;
            let new = positions.insert(RoomId(room), take(&mut bytes)?).is_none();
            if room == 0 || !new {
                return None;
            }
        }
        Some(Self(positions))
    }
}

/// Positions in the binary form, which takes a fraction of the memory. Each all-rooms stream holds one.
pub struct PackedPositions(Box<[u8]>);

impl PackedPositions {
    pub fn unpack(&self) -> Positions {
        Positions::decode(&self.0).unwrap_or_default()
    }
}

/// 63 bits take nine bytes.
const MAX_VARINT_BYTES: usize = 9;

fn take(bytes: &mut &[u8]) -> Option<i64> {
    let (number, length) = u64::decode_var(bytes).filter(|(_, length)| *length <= MAX_VARINT_BYTES)?;
    *bytes = bytes.get(length..)?;
    i64::try_from(number).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn positions_survive_their_encoding(rooms in prop::collection::btree_map(1..i64::MAX, 0..i64::MAX, 0..40)) {
            let positions = Positions(rooms.into_iter().map(|(room, at)| (RoomId(room), at)).collect());
            prop_assert_eq!(Positions::decode(&positions.encode()), Some(positions));
        }

        #[test]
        fn no_bytes_of_a_client_cause_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Positions::decode(&bytes);
        }
    }

    #[test]
    fn ids_that_earlier_releases_issued_are_still_read() {
        let positions = Positions(BTreeMap::from([(RoomId(3), 7), (RoomId(1_000), 300), (RoomId(1_001), 0)]));
        let bytes = [0x03, 0x07, 0xe5, 0x07, 0xac, 0x02, 0x01, 0x00];
        assert_eq!((positions.encode().as_slice(), Positions::decode(&bytes)), (&bytes[..], Some(positions)));
    }

    #[test]
    fn a_room_takes_few_bytes() {
        let positions = (1..=100).map(|room| (RoomId(1_000_000 + 50 * room), 5_000)).collect();
        assert!(Positions(positions).encode().len() < 320);
    }
}
