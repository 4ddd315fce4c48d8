//! The settings of user-service, from the environment. The settings that all services share are in `common::config`.

use std::path::Path;
use std::time::Duration;

use common::config::{self, ConfigError, Env};
use common::jwt::{Algorithm, PrivateKey};
use secrecy::SecretString;

use crate::breached::BreachedPasswords;
use crate::domain::PasswordRule;

const DAY_SECONDS: u64 = 24 * 3600;

const PRIVATE_KEY: &str = "JWT_PRIVATE_KEY";
const BREACHED_FILE: &str = "BREACHED_PASSWORDS_FILE";
const MFA_KEY: &str = "MFA_SECRET_KEY";
const MFA_KEY_PREVIOUS: &str = "MFA_SECRET_KEY_PREVIOUS";

#[derive(Clone, Debug)]
pub struct Config {
    pub tokens: TokenConfig,
    pub passwords: PasswordConfig,
    pub limits: LimitConfig,
    /// The lifetime of a refresh token. A session expires so long after its last refresh.
    pub refresh_lifetime: Duration,
    /// The key that encrypts second factors; without it, users cannot enable one.
    pub mfa_secret_key: Option<SecretString>,
    /// Its predecessor, which decrypts older ones.
    pub mfa_secret_key_previous: Option<SecretString>,
    /// The name of this system in authenticator apps.
    pub issuer: String,
    /// A session expires so long after its login, however often it is refreshed.
    pub session_lifetime: Duration,
    /// The live sessions of one user.
    pub sessions_per_user: u32,
    /// The changes of profile, password and second factor of a user in a minute; 0 is no limit.
    pub write_limit: u64,
    pub profile_cache_ttl: Duration,
    pub exists_cache_ttl: Duration,
    /// The service from which blocks are loaded.
    pub friend_service_url: String,
}

/// How access tokens are issued.
#[derive(Clone, Debug)]
pub struct TokenConfig {
    /// Signs access tokens, and only publishes its public key while `ALGORITHM` is HS256.
    pub private_key: Option<PrivateKey>,
    /// Whether access tokens have the claim `email`, which services and clients of the original read.
    pub with_email: bool,
}

/// Which passwords are accepted, and how they are hashed.
#[derive(Clone, Debug)]
pub struct PasswordConfig {
    pub rule: PasswordRule,
    /// A new password that fewer guesses find is refused.
    pub min_guesses: u64,
    /// New passwords in this file are refused.
    pub breached: Option<BreachedPasswords>,
    pub scheme: Scheme,
    /// Memory of one argon2 hash, KiB.
    pub memory_kib: u32,
    pub iterations: u32,
    pub parallelism: u32,
    pub bcrypt_cost: u32,
}

/// The scheme of new hashes. The original reads only bcrypt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scheme {
    Argon2id,
    Bcrypt,
}

/// The attempts that are allowed in one window of time; 0 is no limit.
#[derive(Clone, Debug)]
pub struct LimitConfig {
    pub window: Duration,
    /// Wrong passwords and refused refresh tokens from one network.
    pub address_failures: u64,
    /// Wrong passwords for one account from one network.
    pub account_failures: u64,
    /// Wrong passwords for one account from all networks that are new to it, and as many from all that it knows.
    pub account_total_failures: u64,
    /// For how many days an account knows a network after a login from there.
    pub known_network_days: i64,
    /// Wrong current passwords of one account in changes of its password.
    pub password_failures: u64,
    /// Registrations from one network.
    pub registrations: u64,
    /// Successful logins of one account in an hour.
    pub logins: u64,
    /// Refreshes of one session, repeated exchanges of a predecessor included.
    pub refreshes: u64,
}

impl Config {
    pub fn read(env: &Env) -> Result<Self, ConfigError> {
        let (mfa_secret_key, mfa_secret_key_previous) = mfa_keys(env)?;
        Ok(Self {
            tokens: TokenConfig::read(env)?,
            passwords: PasswordConfig::read(env)?,
            limits: LimitConfig::read(env)?,
            refresh_lifetime: Duration::from_secs(DAY_SECONDS * env.number("REFRESH_TOKEN_EXPIRE_DAYS", 30, 1..=3650)?),
            mfa_secret_key,
            mfa_secret_key_previous,
            issuer: env.text("APP_NAME", "BigTech Chat").replace(':', " "),
            session_lifetime: Duration::from_secs(DAY_SECONDS * env.number("SESSION_MAX_DAYS", 90, 1..=3650)?),
            sessions_per_user: env.number("SESSIONS_PER_USER", 100, 1..=10_000)? as u32,
            write_limit: env.number("WRITE_LIMIT_PROFILE", 60, 0..=1_000_000)?,
            profile_cache_ttl: env.seconds("CACHE_TTL_USER_PROFILE", 300, 1..=DAY_SECONDS)?,
            exists_cache_ttl: env.seconds("CACHE_TTL_USER_EXISTS", 60, 1..=DAY_SECONDS)?,
            friend_service_url: platform::config::service_url(env, "FRIEND_SERVICE_URL", "http://localhost:8003")?,
        })
    }
}

/// The key of second factors and its predecessor. The predecessor may equal another key, so that an operator can leave
/// such a key.
fn mfa_keys(env: &Env) -> Result<(Option<SecretString>, Option<SecretString>), ConfigError> {
    let keys = (platform::config::cipher_key(env, MFA_KEY)?, platform::config::cipher_key(env, MFA_KEY_PREVIOUS)?);
    let Some(key) = env.get(MFA_KEY) else {
        return match keys.1 {
            None => Ok(keys),
            Some(_) => Err(config::error(MFA_KEY_PREVIOUS, format!("is set, and {MFA_KEY} is not"))),
        };
    };
    match ["SECRET_KEY", "SECRET_KEY_PREVIOUS", "SERVICE_SECRET_KEY"].iter().find(|other| env.get(other) == Some(key)) {
        Some(other) => Err(config::error(MFA_KEY, format!("equals {other}; set another"))),
        None => Ok(keys),
    }
}

impl TokenConfig {
    fn read(env: &Env) -> Result<Self, ConfigError> {
        let private_key = private_key(env)?;
        let algorithm = platform::config::algorithm(env)?;
        match &private_key {
            _ if algorithm == Algorithm::Hs256 => {}
            None => return Err(config::error(PRIVATE_KEY, format!("is required with ALGORITHM={algorithm}"))),
            Some(key) if key.algorithm() == algorithm => {}
            Some(key) => {
                let problem = format!("is a key for {}, and ALGORITHM is {algorithm}", key.algorithm());
                return Err(config::error(PRIVATE_KEY, problem));
            }
        }
        Ok(Self { private_key, with_email: env.flag("ACCESS_TOKEN_EMAIL", true)? })
    }
}

/// `\n` stands for the end of a line where a variable has one line only.
fn private_key(env: &Env) -> Result<Option<PrivateKey>, ConfigError> {
    let Some(text) = env.get(PRIVATE_KEY) else { return Ok(None) };
    let key = PrivateKey::from_pem(&text.replace("\\n", "\n"));
    key.map(Some).map_err(|e| config::error(PRIVATE_KEY, e.to_string()))
}

impl PasswordConfig {
    /// The defaults are OWASP's minimum for argon2id.
    fn read(env: &Env) -> Result<Self, ConfigError> {
        let scheme = match env.get("PASSWORD_SCHEME").unwrap_or("argon2id") {
            "argon2" | "argon2id" => Scheme::Argon2id,
            "bcrypt" => Scheme::Bcrypt,
            other => return Err(config::error("PASSWORD_SCHEME", format!("{other:?} is neither argon2id nor bcrypt"))),
        };
        // NIST SP 800-63B-4 asks for 15 characters of a password that is the only factor; ASVS 5.0 recommends them.
        let min_length = env.number("PASSWORD_MIN_LENGTH", 15, 8..=64)? as usize;
        let rule = match env.get("PASSWORD_RULE").unwrap_or("original") {
            "original" => PasswordRule::Original,
            "length" => PasswordRule::Length { min: min_length },
            other => return Err(config::error("PASSWORD_RULE", format!("{other:?} is neither original nor length"))),
        };
        let breached = env.get(BREACHED_FILE).map(|path| {
            let opened = BreachedPasswords::open(Path::new(path));
            opened.map_err(|e| config::error(BREACHED_FILE, format!("{path:?} cannot be used: {e}")))
        });
        let parallelism = env.number("ARGON2_PARALLELISM", 1, 1..=16)?;
        Ok(Self {
            rule,
            min_guesses: env.number("PASSWORD_MIN_GUESSES", 100_000, 0..=1_000_000_000_000)?,
            breached: breached.transpose()?,
            scheme,
            memory_kib: env.number("ARGON2_MEMORY_KIB", 19_456, 8 * parallelism..=1_048_576)? as u32,
            iterations: env.number("ARGON2_ITERATIONS", 2, 1..=100)? as u32,
            parallelism: parallelism as u32,
            bcrypt_cost: env.number("BCRYPT_COST", 12, 4..=16)? as u32,
        })
    }
}

impl LimitConfig {
    fn read(env: &Env) -> Result<Self, ConfigError> {
        Ok(Self {
            window: env.seconds("LOGIN_LIMIT_WINDOW_SECONDS", 900, 1..=DAY_SECONDS)?,
            address_failures: env.number("LOGIN_LIMIT_ADDRESS_FAILURES", 100, 0..=1_000_000)?,
            account_failures: env.number("LOGIN_LIMIT_ACCOUNT_FAILURES", 10, 0..=1_000_000)?,
            account_total_failures: env.number("LOGIN_LIMIT_ACCOUNT_TOTAL_FAILURES", 50, 0..=1_000_000)?,
            known_network_days: env.number("LOGIN_LIMIT_KNOWN_NETWORK_DAYS", 30, 1..=365)? as i64,
            password_failures: env.number("LOGIN_LIMIT_PASSWORD_FAILURES", 10, 0..=1_000_000)?,
            registrations: env.number("LOGIN_LIMIT_REGISTRATIONS", 1_000, 0..=1_000_000)?,
            logins: env.number("LOGIN_LIMIT_SUCCESSES", 300, 0..=1_000_000)?,
            refreshes: env.number("LOGIN_LIMIT_REFRESHES", 100, 0..=1_000_000)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(name: &'static str, value: &str) -> Result<Config, ConfigError> {
        Config::read(&Env::of([(name, value.to_owned())]))
    }

    #[test]
    fn an_invalid_value_is_reported_in_one_line_with_its_variable() {
        let problem = |name, value| read(name, value).unwrap_err().to_string();
        assert_eq!(problem("PASSWORD_SCHEME", "md5"), "PASSWORD_SCHEME: \"md5\" is neither argon2id nor bcrypt");
        assert_eq!(problem("ARGON2_MEMORY_KIB", "7"), "ARGON2_MEMORY_KIB: 7 is not between 8 and 1048576");
        assert!(problem("LOGIN_LIMIT_WINDOW_SECONDS", "soon").starts_with("LOGIN_LIMIT_WINDOW_SECONDS: \"soon\""));
    }

    #[test]
    fn the_key_of_second_factors_is_a_key_of_its_own() {
        const KEY: &str = "a-key-of-second-factors-of-our-own";
        let read = |pairs: &[(&'static str, &str)]| {
            let read = Config::read(&Env::of(pairs.iter().map(|(name, value)| (*name, (*value).to_owned()))));
            read.map(|config| config.mfa_secret_key.is_some()).map_err(|e| e.to_string())
        };
        for other in ["SECRET_KEY", "SECRET_KEY_PREVIOUS", "SERVICE_SECRET_KEY"] {
            let equal = [(other, KEY), (MFA_KEY, KEY)];
            assert_eq!(read(&equal), Err(format!("MFA_SECRET_KEY: equals {other}; set another")));
            let left = [(other, KEY), (MFA_KEY_PREVIOUS, KEY), (MFA_KEY, "another-key-of-second-factors-of-our-own")];
            assert_eq!(read(&left), Ok(true), "a way out");
        }
        let without = "MFA_SECRET_KEY_PREVIOUS: is set, and MFA_SECRET_KEY is not";
        assert_eq!(read(&[(MFA_KEY_PREVIOUS, KEY)]), Err(without.to_owned()));
        assert_eq!((read(&[]), read(&[(MFA_KEY, KEY)])), (Ok(false), Ok(true)));
    }

    #[test]
    fn a_private_key_is_read_from_a_variable_or_a_file_and_fits_the_algorithm() {
        let read = |pairs: &[(&'static str, &str)]| {
            let env = Env::of(pairs.iter().map(|(name, value)| (*name, (*value).to_owned())));
            let tokens = env.with_secret_files().and_then(|env| TokenConfig::read(&env));
            tokens.map(|tokens| tokens.private_key.map(|key| key.algorithm())).map_err(|e| e.to_string())
        };
        let key = testkit::private_key(1);
        let path = std::env::temp_dir().join(format!("private-key-{}.pem", std::process::id()));
        std::fs::write(&path, &key).unwrap();
        let (variable, file, algorithm) = ((PRIVATE_KEY, key.as_str()), path.to_str().unwrap(), ("ALGORITHM", "EdDSA"));

        assert_eq!(read(&[]), Ok(None));
        for pair in [variable, (PRIVATE_KEY, &key.replace('\n', "\\n")), ("JWT_PRIVATE_KEY_FILE", file)] {
            assert_eq!(read(&[pair, algorithm]), Ok(Some(Algorithm::EdDsa)));
        }
        assert_eq!(read(&[variable]), Ok(Some(Algorithm::EdDsa)), "it is published before it signs");
        let problems = [
            (&[algorithm][..], "JWT_PRIVATE_KEY: is required with ALGORITHM=EdDSA"),
            (&[variable, ("ALGORITHM", "ES256")], "JWT_PRIVATE_KEY: is a key for EdDSA, and ALGORITHM is ES256"),
            (&[(PRIVATE_KEY, "a-secret")], "JWT_PRIVATE_KEY: is no private key of Ed25519 or P-256"),
        ];
        for (pairs, problem) in problems {
            let found = read(pairs).unwrap_err();
            assert!(found.starts_with(problem) && !found.contains("a-secret"), "{found}");
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_of_breached_passwords_that_cannot_be_used_refuses_the_start() {
        let problem = read("BREACHED_PASSWORDS_FILE", "/nowhere.txt").unwrap_err().to_string();
        assert!(
            problem.starts_with("BREACHED_PASSWORDS_FILE: \"/nowhere.txt\" cannot be used: No such file"),
            "{problem}"
        );
        assert!(read("BREACHED_PASSWORDS_FILE", "/").is_err(), "a directory");
    }

    #[test]
    fn the_rule_for_passwords_is_that_of_the_original_unless_it_is_length() {
        assert_eq!(read("APP_NAME", "x").unwrap().passwords.rule, PasswordRule::Original);
        assert_eq!(read("PASSWORD_RULE", "length").unwrap().passwords.rule, PasswordRule::Length { min: 15 });
        assert!(read("PASSWORD_RULE", "none").is_err() && read("PASSWORD_MIN_LENGTH", "7").is_err());
    }

    #[test]
    fn the_default_parameters_are_those_that_owasp_recommends() {
        let passwords = read("APP_NAME", "BigTech Chat").unwrap().passwords;
        assert_eq!((passwords.memory_kib, passwords.iterations, passwords.parallelism), (19_456, 2, 1));
        assert_eq!(read("PASSWORD_SCHEME", "bcrypt").unwrap().passwords.scheme, Scheme::Bcrypt);
    }
}
