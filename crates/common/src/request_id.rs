//! Ids of requests. Clients may choose them, and they are logged and passed on.

/// A longer id is replaced, so that no client can fill the logs.
const MAX_BYTES: usize = 128;

/// Whether the id of a client is accepted: it is not empty, not too long, and has no unusual characters. The gateway and
/// the services replace any other.
pub fn is_safe(id: &[u8]) -> bool {
    (1..=MAX_BYTES).contains(&id.len()) && id.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.:/#=+".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_id_of_plain_characters_is_safe() {
        let longest = "x".repeat(128);
        for id in [
            "a",
            "0197a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b",
            "Root=1-67891233-abcdef012345678912345678",
            "a_b.c:d/e#f+g",
            &longest,
        ] {
            assert!(is_safe(id.as_bytes()), "{id}");
        }
        let long = "x".repeat(129);
        for id in ["", "a b", "<script>", "a\"b", "a\nb", "é", "a,b", &long] {
            assert!(!is_safe(id.as_bytes()), "{id}");
        }
    }
}
