//! Second factors: time-based one-time passwords (RFC 6238), and recovery codes for a lost authenticator.

use std::fmt;

use sha2::{Digest, Sha256};
use totp_rs::{Secret, Totp};

/// The length that RFC 4226 recommends, bytes.
const SECRET_BYTES: usize = 20;

/// A code is accepted one step of 30 s before and after its own, for clocks that differ.
const SKEW_STEPS: u16 = 1;

/// The number of recovery codes of an account.
const RECOVERY_CODES: usize = 10;

/// 128 random bits, so that a fast hash protects a code as well as a slow one.
const RECOVERY_BYTES: usize = 16;

/// The characters of a recovery code without its hyphens.
const RECOVERY_DIGITS: usize = 2 * RECOVERY_BYTES;

/// The characters of the codes that earlier versions generated.
const EARLIER_RECOVERY_DIGITS: usize = 20;

/// The characters between two hyphens.
const RECOVERY_GROUP: usize = 4;

/// The secret that the service shares with an authenticator app. `Debug` does not print it.
pub struct TotpSecret(Vec<u8>);

/// A recovery code as its owner receives it: `0123-4567-…`. `Debug` does not print it.
pub struct RecoveryCode(String);

/// The SHA-256 hash of a recovery code, as stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecoveryCodeHash(pub [u8; 32]);

/// A code that a user entered.
pub enum EnteredCode {
    /// Digits of an authenticator app.
    Totp(String),
    Recovery(RecoveryCodeHash),
}

impl TotpSecret {
    pub fn generate() -> Self {
        Self(rand::random::<[u8; SECRET_BYTES]>().into())
    }

    pub fn of(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The form that users type into an authenticator app.
    pub fn to_base32(&self) -> String {
        Secret::from(self.0.clone()).to_base32()
    }

    /// The link that opens an authenticator app: `otpauth://totp/…`.
    ///
    /// # Errors
    /// Returns an error if the issuer or the account has a colon, which separates the two in the link.
    pub fn url(&self, issuer: &str, account: &str) -> Result<String, totp_rs::TotpError> {
        let named = totp_rs::Builder::new().with_account_name(account).with_issuer(Some(issuer));
        named.with_secret(self.0.clone()).build()?.to_url()
    }

    /// The time step for which a code is right, near a time in seconds since 1970.
    pub fn step_of(&self, code: &str, now: u64) -> Option<u64> {
        self.totp().check(code, now)
    }

    fn totp(&self) -> Totp {
        // The length of the secret is that of `generate`, so no rule of the RFC is left to check.
        totp_rs::Builder::new().with_skew(SKEW_STEPS).with_secret(self.0.clone()).build_noncompliant()
    }
}

impl RecoveryCode {
    /// The recovery codes of an account.
    pub fn generate_all() -> Vec<Self> {
        (0..RECOVERY_CODES).map(|_| Self::generate()).collect()
    }

    fn generate() -> Self {
        let digits = hex::encode(rand::random::<[u8; RECOVERY_BYTES]>());
        let groups: Vec<&str> =
            (0..RECOVERY_DIGITS).step_by(RECOVERY_GROUP).map(|at| &digits[at..at + RECOVERY_GROUP]).collect();
        Self(groups.join("-"))
    }

    pub fn hash(&self) -> RecoveryCodeHash {
        RecoveryCodeHash::of(&self.0.replace('-', ""))
    }

    pub fn into_string(self) -> String {
        self.0
    }
}

impl RecoveryCodeHash {
    fn of(digits: &str) -> Self {
        Self(Sha256::digest(digits.as_bytes()).into())
    }
}

impl EnteredCode {
    /// Reads a code. White space, hyphens and case do not count.
    pub fn read(text: &str) -> Self {
        let digits: String = text.chars().filter(|c| !c.is_whitespace() && *c != '-').collect();
        if matches!(digits.len(), RECOVERY_DIGITS | EARLIER_RECOVERY_DIGITS) {
            Self::Recovery(RecoveryCodeHash::of(&digits.to_lowercase()))
        } else {
            Self::Totp(digits)
        }
    }

    pub fn is_recovery_code(&self) -> bool {
        matches!(self, Self::Recovery(_))
    }
}

impl fmt::Debug for TotpSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Debug for RecoveryCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// A secret and times of RFC 6238, appendix B, whose codes of 8 digits end with ours of 6.
    fn rfc() -> TotpSecret {
        TotpSecret::of(b"12345678901234567890".to_vec())
    }

    #[test]
    fn codes_are_those_of_the_rfc() {
        for (time, code) in
            [(59, "287082"), (1_111_111_109, "081804"), (1_234_567_890, "005924"), (2_000_000_000, "279037")]
        {
            assert_eq!(rfc().step_of(code, time), Some(time / 30), "{time}");
        }
    }

    #[test]
    fn a_code_is_accepted_one_step_early_and_late() {
        let accepted = |time| rfc().step_of("287082", time).is_some();
        assert!(accepted(0) && accepted(59) && accepted(89));
        assert!(!accepted(90) && !accepted(120));
    }

    #[test]
    fn the_link_names_the_account_and_holds_the_secret() {
        let url = rfc().url("BigTech Chat", "ann").unwrap();
        assert!(url.starts_with("otpauth://totp/BigTech%20Chat:ann?"), "{url}");
        assert!(url.contains(&rfc().to_base32()), "{url}");
    }

    #[test]
    fn a_recovery_code_is_read_however_it_is_typed() {
        let code = RecoveryCode::generate();
        let hash = code.hash();
        let text = code.into_string();
        for typed in [text.clone(), text.replace('-', " "), text.to_uppercase(), format!(" {} ", text.replace('-', ""))]
        {
            assert!(matches!(EnteredCode::read(&typed), EnteredCode::Recovery(read) if read == hash), "{typed}");
        }
    }

    #[test]
    fn a_recovery_code_has_128_bits_and_those_of_earlier_versions_are_read() {
        let code = RecoveryCode::generate().into_string();
        assert_eq!(4 * code.chars().filter(char::is_ascii_hexdigit).count(), 128, "{code}");
        assert!(matches!(EnteredCode::read("0123f-4567e-89abc-def01"), EnteredCode::Recovery(_)));
    }

    #[test]
    fn recovery_codes_differ() {
        let mut codes: Vec<String> = RecoveryCode::generate_all().into_iter().map(RecoveryCode::into_string).collect();
        codes.sort_unstable();
        codes.dedup();
        assert_eq!(codes.len(), RECOVERY_CODES);
    }

    proptest! {
        #[test]
        fn no_text_makes_the_comparison_panic(text in "\\PC{0,40}", time in 0..u64::from(u32::MAX)) {
            if let EnteredCode::Totp(code) = EnteredCode::read(&text) {
                prop_assert!(rfc().step_of(&code, time).is_none() || code.len() == 6);
            }
        }
    }
}
