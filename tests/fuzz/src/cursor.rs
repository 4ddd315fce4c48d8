//! Cursors: the `Last-Event-ID` of the all-rooms stream, and the cursor of a search.

use chat_service::fuzzing::{canonical_cursor, canonical_search_cursor};

/// A cursor that is accepted has one canonical form, which is accepted too.
pub fn cursor(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    for canonical in [canonical_cursor, canonical_search_cursor] {
        if let Some(once) = canonical(text) {
            assert_eq!(canonical(&once).as_ref(), Some(&once));
        }
    }
}
