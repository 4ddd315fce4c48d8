//! The settings of user-service, from the environment. The settings that all services share are in `common::config`.

use std::time::Duration;

use common::config::{self, ConfigError, Env};
use secrecy::SecretString;

const DAY_SECONDS: u64 = 24 * 3600;

#[derive(Clone, Debug)]
pub struct Config {
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
    pub profile_cache_ttl: Duration,
    pub exists_cache_ttl: Duration,
    /// Where blocks are loaded from.
    pub friend_service_url: String,
}

/// How passwords are hashed.
#[derive(Clone, Debug)]
pub struct PasswordConfig {
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
    /// Refreshes of one session.
    pub refreshes: u64,
}

impl Config {
    pub fn read(env: &Env) -> Result<Self, ConfigError> {
        Ok(Self {
            passwords: PasswordConfig::read(env)?,
            limits: LimitConfig::read(env)?,
            refresh_lifetime: Duration::from_secs(DAY_SECONDS * env.number("REFRESH_TOKEN_EXPIRE_DAYS", 30, 1..=3650)?),
            mfa_secret_key: platform::config::cipher_key(env, "MFA_SECRET_KEY")?,
            mfa_secret_key_previous: platform::config::cipher_key(env, "MFA_SECRET_KEY_PREVIOUS")?,
            issuer: env.text("APP_NAME", "BigTech Chat").replace(':', " "),
            session_lifetime: Duration::from_secs(DAY_SECONDS * env.number("SESSION_MAX_DAYS", 90, 1..=3650)?),
            sessions_per_user: env.number("SESSIONS_PER_USER", 100, 1..=10_000)? as u32,
            profile_cache_ttl: env.seconds("CACHE_TTL_USER_PROFILE", 300, 1..=DAY_SECONDS)?,
            exists_cache_ttl: env.seconds("CACHE_TTL_USER_EXISTS", 60, 1..=DAY_SECONDS)?,
            friend_service_url: platform::config::service_url(env, "FRIEND_SERVICE_URL", "http://localhost:8003")?,
        })
    }
}

impl PasswordConfig {
    /// The defaults are OWASP's minimum for argon2id.
    fn read(env: &Env) -> Result<Self, ConfigError> {
        let scheme = match env.get("PASSWORD_SCHEME").unwrap_or("argon2id") {
            "argon2" | "argon2id" => Scheme::Argon2id,
            "bcrypt" => Scheme::Bcrypt,
            other => return Err(config::error("PASSWORD_SCHEME", format!("{other:?} is neither argon2id nor bcrypt"))),
        };
        let parallelism = env.number("ARGON2_PARALLELISM", 1, 1..=16)?;
        Ok(Self {
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
    fn the_default_parameters_are_those_that_owasp_recommends() {
        let passwords = read("APP_NAME", "BigTech Chat").unwrap().passwords;
        assert_eq!((passwords.memory_kib, passwords.iterations, passwords.parallelism), (19_456, 2, 1));
        assert_eq!(read("PASSWORD_SCHEME", "bcrypt").unwrap().passwords.scheme, Scheme::Bcrypt);
    }
}
