//! The parts that the modules of the takeover share.

use bson::Bson;

/// Documents of one transaction or one page. A transaction takes well under a second: less than any transaction lifetime. A
/// replica holds one page for each room that it completes, about 150 KB.
pub const PAGE: usize = 1_000;

/// Limit on conflicts with other replicas before the request is answered 503.
pub const MAX_TRIES: usize = 200;

/// The field of a row in `message_read_status`: true if the reader's marker contains the read, false if the message has no
/// position yet. The import after its numbering takes the row again.
pub const MARKED: &str = "marked";

/// The original stores numbers of 32 bits, this service of 64.
pub fn integer(value: &Bson) -> Option<i64> {
    value.as_i64().or_else(|| value.as_i32().map(i64::from))
}
