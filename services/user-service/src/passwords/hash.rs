//! The two hash schemes: argon2id, and bcrypt, which the original can read.

use argon2::password_hash::phc::{Output, ParamsString, PasswordHash, Salt};
use argon2::{ARGON2ID_IDENT, Algorithm, Argon2, Block, Params, Version};

use unicode_normalization::UnicodeNormalization;

use crate::config::{PasswordConfig, Scheme};

/// bcrypt ignores the rest of a longer password.
const BCRYPT_MAX_BYTES: usize = 72;

/// Length of an argon2 hash, bytes.
const OUTPUT_BYTES: usize = 32;

pub(super) type Error = Box<dyn std::error::Error + Send + Sync>;

/// The result of comparing a password with a stored hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Wrong,
    Right,
    /// Right, but the hash should be replaced: it is weaker than new hashes, or has other parameters.
    Outdated,
}

/// The working memory of argon2, 19 MiB by default. Reusing it saves an allocation for each hash.
#[derive(Default)]
pub(super) struct Memory(Vec<Block>);

pub(super) struct Hasher {
    scheme: Scheme,
    params: Params,
    bcrypt_cost: u32,
    /// A hash that no password matches. A login without an account is compared with it and takes the same time.
    dummy_hash: String,
}

impl Memory {
    /// Memory of the size that these parameters need.
    fn of(&mut self, params: &Params) -> &mut [Block] {
        self.0.resize(params.block_count(), Block::default());
        &mut self.0
    }
}

impl Hasher {
    pub(super) fn new(config: &PasswordConfig) -> Result<Self, Error> {
        let params = Params::new(config.memory_kib, config.iterations, config.parallelism, Some(OUTPUT_BYTES))?;
        let dummy_hash = match config.scheme {
            Scheme::Argon2id => phc(&params, Salt::generate(), &rand::random::<[u8; OUTPUT_BYTES]>())?,
            // 22 characters of salt and 31 of hash, in bcrypt's own alphabet.
            Scheme::Bcrypt => format!("$2b${:02}${}", config.bcrypt_cost, "O".repeat(22 + 31)),
        };
        Ok(Self { scheme: config.scheme, params, bcrypt_cost: config.bcrypt_cost, dummy_hash })
    }

    pub(super) fn dummy_hash(&self) -> &str {
        &self.dummy_hash
    }

    pub(super) fn can_hash(&self, password: &str) -> bool {
        self.scheme == Scheme::Argon2id || (password.len() <= BCRYPT_MAX_BYTES && !password.contains('\0'))
    }

    /// Hashes the NFC form of a password, so that it does not depend on the keyboard.
    pub(super) fn hash(&self, password: &str, memory: &mut Memory) -> Result<String, Error> {
        let password: String = password.nfc().collect();
        match self.scheme {
            Scheme::Bcrypt => Ok(bcrypt::hash(&password, self.bcrypt_cost)?),
            Scheme::Argon2id => {
                let salt = Salt::generate();
                let mut output = [0; OUTPUT_BYTES];
                argon2(&self.params, &password, &salt, &mut output, memory)?;
                phc(&self.params, salt, &output)
            }
        }
    }

    /// Compares the NFC form of a password, and the text as sent if it differs: the original hashed that.
    pub(super) fn verify(&self, password: &str, stored: &str, memory: &mut Memory) -> Verdict {
        let normal: String = password.nfc().collect();
        match self.compare(&normal, stored, memory) {
            Verdict::Wrong if normal != password => match self.compare(password, stored, memory) {
                Verdict::Right if self.scheme == Scheme::Argon2id => Verdict::Outdated,
                verdict => verdict,
            },
            verdict => verdict,
        }
    }

    fn compare(&self, password: &str, stored: &str, memory: &mut Memory) -> Verdict {
        let is_bcrypt = ["$2a$", "$2b$", "$2y$"].iter().any(|version| stored.starts_with(version));
        if is_bcrypt {
            return match bcrypt::verify(password, stored) {
                Ok(true) if self.scheme == Scheme::Argon2id => Verdict::Outdated,
                Ok(true) => Verdict::Right,
                _ => Verdict::Wrong,
            };
        }
        match verify_argon2(password, stored, memory) {
            Ok(Some(params)) if self.scheme == Scheme::Argon2id && self.differs(&params) => Verdict::Outdated,
            Ok(Some(_)) => Verdict::Right,
            Ok(None) => Verdict::Wrong,
            Err(e) => {
                tracing::error!(error = %e, "a stored password hash is malformed");
                Verdict::Wrong
            }
        }
    }

    fn differs(&self, params: &Params) -> bool {
        let cost = |p: &Params| (p.m_cost(), p.t_cost(), p.p_cost());
        cost(params) != cost(&self.params)
    }
}

/// The parameters of the stored hash if it matches the password.
fn verify_argon2(password: &str, stored: &str, memory: &mut Memory) -> Result<Option<Params>, Error> {
    let stored = PasswordHash::new(stored)?;
    let (Some(salt), Some(expected)) = (stored.salt, stored.hash) else {
        return Err("the salt or the hash is missing".into());
    };
    if stored.algorithm != ARGON2ID_IDENT {
        return Err(format!("algorithm {} is not argon2id", stored.algorithm).into());
    }
    let params = Params::try_from(&stored)?;
    let mut output = vec![0; expected.len()];
    argon2(&params, password, &salt, &mut output, memory)?;
    // `Output` compares in constant time.
    Ok((Output::new(&output)? == expected).then_some(params))
}

fn argon2(params: &Params, password: &str, salt: &[u8], output: &mut [u8], memory: &mut Memory) -> Result<(), Error> {
    let argon2 = Argon2::new(Algorithm::Argon2id, Version::V0x13, params.clone());
    Ok(argon2.hash_password_into_with_memory(password.as_bytes(), salt, output, memory.of(params))?)
}

/// Formats a hash as `$argon2id$v=19$m=…,t=…,p=…$salt$hash`.
fn phc(params: &Params, salt: Salt, output: &[u8]) -> Result<String, Error> {
    let hash = PasswordHash {
        algorithm: ARGON2ID_IDENT,
        version: Some(Version::V0x13.into()),
        params: ParamsString::try_from(params)?,
        salt: Some(salt),
        hash: Some(Output::new(output)?),
    };
    Ok(hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::PasswordRule;

    fn hasher(scheme: Scheme, iterations: u32) -> Hasher {
        let (rule, min_guesses, breached) = (PasswordRule::Original, 0, None);
        let config = PasswordConfig {
            rule,
            min_guesses,
            breached,
            scheme,
            memory_kib: 64,
            iterations,
            parallelism: 1,
            bcrypt_cost: 4,
        };
        Hasher::new(&config).unwrap()
    }

    fn verify(hasher: &Hasher, password: &str, stored: &str) -> Verdict {
        hasher.verify(password, stored, &mut Memory::default())
    }

    #[test]
    fn a_hash_matches_its_password_and_no_other() {
        for scheme in [Scheme::Argon2id, Scheme::Bcrypt] {
            let hasher = hasher(scheme, 1);
            let stored = hasher.hash("Passw0rd!", &mut Memory::default()).unwrap();
            assert_eq!(verify(&hasher, "Passw0rd!", &stored), Verdict::Right);
            assert_eq!(verify(&hasher, "passw0rd!", &stored), Verdict::Wrong);
            assert_eq!(verify(&hasher, "Passw0rd!", hasher.dummy_hash()), Verdict::Wrong);
        }
    }

    #[test]
    fn a_hash_of_the_reference_implementation_matches() {
        let hasher = hasher(Scheme::Argon2id, 1);
        // From the reference implementation: argon2 somesalt -id -t 2 -m 8 -p 1 (password "password").
        let reference = "$argon2id$v=19$m=256,t=2,p=1$c29tZXNhbHQ$nf65EOgLrQMR/uIPnA4rEsF5h7TKyQwu9U1bMCHGi/4";
        assert_eq!(verify(&hasher, "password", reference), Verdict::Outdated);
        assert_eq!(verify(&hasher, "Password", reference), Verdict::Wrong);
    }

    #[test]
    fn bcrypt_hashes_of_every_version_match_and_are_outdated_for_argon2() {
        let argon2 = hasher(Scheme::Argon2id, 1);
        let stored = bcrypt::hash("Test1234!@", 4).unwrap();
        for version in ["$2a$", "$2b$", "$2y$"] {
            let stored = stored.replacen("$2b$", version, 1);
            assert_eq!(verify(&argon2, "Test1234!@", &stored), Verdict::Outdated, "{version}");
        }
        assert_eq!(verify(&hasher(Scheme::Bcrypt, 1), "Test1234!@", &stored), Verdict::Right);
    }

    #[test]
    fn a_password_matches_in_every_form_of_unicode() {
        let (composed, decomposed) = ("비밀번호é1!", "비밀번호é1!".nfd().collect::<String>());
        let hasher = hasher(Scheme::Argon2id, 1);
        for sent in [composed, &decomposed] {
            let stored = hasher.hash(sent, &mut Memory::default()).unwrap();
            assert_eq!(verify(&hasher, composed, &stored), Verdict::Right);
            assert_eq!(verify(&hasher, &decomposed, &stored), Verdict::Right);
        }
        let original = bcrypt::hash(&decomposed, 4).unwrap();
        assert_eq!(verify(&hasher, &decomposed, &original), Verdict::Outdated);
    }

    #[test]
    fn changed_parameters_make_a_hash_outdated() {
        let stored = hasher(Scheme::Argon2id, 1).hash("Passw0rd!", &mut Memory::default()).unwrap();
        assert_eq!(verify(&hasher(Scheme::Argon2id, 2), "Passw0rd!", &stored), Verdict::Outdated);
    }

    #[test]
    fn bcrypt_rejects_passwords_that_it_would_truncate() {
        let (bcrypt, argon2) = (hasher(Scheme::Bcrypt, 1), hasher(Scheme::Argon2id, 1));
        assert!(bcrypt.can_hash(&"x".repeat(72)) && !bcrypt.can_hash(&"x".repeat(73)));
        assert!(argon2.can_hash(&"x".repeat(128)));
    }

    #[test]
    fn a_malformed_hash_matches_no_password() {
        for broken in ["", "x", "$2b$12$short", "$argon2i$v=19$m=64,t=1,p=1$c29tc2FsdA$AAAAAAAAAAAAAAAA", "plaintext"] {
            assert_eq!(verify(&hasher(Scheme::Argon2id, 1), "plaintext", broken), Verdict::Wrong, "{broken}");
        }
    }
}
