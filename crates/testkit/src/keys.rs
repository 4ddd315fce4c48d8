//! Private keys for access tokens.

/// PKCS #8 of an Ed25519 key up to its 32 bytes (RFC 8410).
const ED25519: [u8; 16] = [0x30, 0x2e, 2, 1, 0, 0x30, 5, 6, 3, 0x2b, 0x65, 0x70, 4, 0x22, 4, 0x20];

/// A private key of Ed25519 in PEM, another one for each `seed`.
pub fn private_key(seed: u8) -> String {
    pem::encode(&pem::Pem::new("PRIVATE KEY", [&ED25519[..], &[seed; 32]].concat()))
}
