//! Values of the environment: read once, checked, and rejected with one line that names the variable.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use parking_lot::Mutex;

/// The variables whose values are secrets. For each, `<name>_FILE` may name a file that contains the value.
const SECRETS: [&str; 15] = [
    "FILE_STORE_SECRET_KEY",
    "JWT_PRIVATE_KEY",
    "KAFKA_SASL_PASSWORD",
    "MFA_SECRET_KEY",
    "MFA_SECRET_KEY_PREVIOUS",
    "MONGODB_PASSWORD",
    "MONGODB_URL",
    "MONGO_URL",
    "MYSQL_PASSWORD",
    "MYSQL_URL",
    "REDIS_PASSWORD",
    "REDIS_URL",
    "SECRET_KEY",
    "SECRET_KEY_PREVIOUS",
    "SERVICE_SECRET_KEY",
];

/// The greatest size of a file with a secret, in bytes.
const MAX_SECRET_BYTES: u64 = 64 * 1024;

/// The environment of a process, or one that a test makes. Clones share the record of the variables that were read.
#[derive(Clone, Debug, Default)]
pub struct Env {
    values: HashMap<String, String>,
    read: Arc<Mutex<BTreeSet<String>>>,
}

/// A variable that is missing or has no valid value. A service with such a variable does not start.
#[derive(Debug, thiserror::Error)]
#[error("{variable}: {problem}")]
pub struct ConfigError {
    /// The name of the variable.
    pub variable: String,
    /// The problem, as the rest of a sentence that begins with the name.
    pub problem: String,
}

type Result<T> = std::result::Result<T, ConfigError>;

impl Env {
    /// The environment of this process, with the secrets that are in files. With `DEBUG` on, a `.env` file in the working
    /// directory adds unset variables.
    ///
    /// # Errors
    /// Returns an error if a file of a secret cannot be used.
    pub fn of_process() -> Result<Self> {
        if std::env::var("DEBUG").is_ok_and(|v| truth(&v) == Some(true)) {
            dotenvy::dotenv().ok();
        }
        Self::of(std::env::vars()).with_secret_files()
    }

    /// An environment of these pairs.
    pub fn of<N: Into<String>>(pairs: impl IntoIterator<Item = (N, String)>) -> Self {
        let values = pairs.into_iter().map(|(name, value)| (name.into(), value)).collect();
        Self { values, read: Arc::default() }
    }

    /// The same environment, in which each secret that a file contains is the value of its variable, without the end of
    /// the last line. No error quotes a file.
    ///
    /// # Errors
    /// Returns an error if a variable and its file are both set, and if a file cannot be read, is empty, has over 64 KiB or
    /// is not UTF-8.
    pub fn with_secret_files(mut self) -> Result<Self> {
        for name in SECRETS {
            let variable = file_of(name);
            let Some(path) = self.get(&variable) else { continue };
            if self.get(name).is_some() {
                return Err(error(name, format!("is set, and so is {variable}; set one of them")));
            }
            let text = read_secret(path).map_err(|e| error(&variable, format!("{path:?} cannot be read: {e}")))?;
            let secret = text.trim_end_matches(['\r', '\n']);
            if secret.trim().is_empty() {
                return Err(error(&variable, format!("{path:?} is empty")));
            }
            self.values.insert(name.to_owned(), secret.to_owned());
        }
        Ok(self)
    }

    /// The value of a variable; an empty one counts as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.read.lock().insert(name.to_owned());
        self.values.get(name).map(|v| v.trim()).filter(|v| !v.is_empty())
    }

    /// The variables that were read so far, set or not, and those that name files with their secrets. Tests compare the
    /// deployment files with them.
    pub fn variables_read(&self) -> BTreeSet<String> {
        let mut read = self.read.lock().clone();
        let secrets: Vec<_> = SECRETS.into_iter().filter(|name| read.contains(*name)).collect();
        read.extend(secrets.into_iter().map(file_of));
        read
    }

    /// The value of a variable, or a default.
    pub fn text(&self, name: &str, default: &str) -> String {
        self.get(name).unwrap_or(default).to_owned()
    }

    /// The value of a variable that has no default.
    ///
    /// # Errors
    /// Returns an error if it is unset.
    pub fn required(&self, name: &str) -> Result<&str> {
        self.get(name).ok_or_else(|| error(name, "is required and not set"))
    }

    /// The parsed value of a variable, or a default.
    ///
    /// # Errors
    /// Returns an error if the value cannot be parsed.
    pub fn parse<T: FromStr>(&self, name: &str, default: T) -> Result<T>
    where
        T::Err: fmt::Display,
    {
        self.get(name).map_or(Ok(default), |v| v.parse().map_err(|e| error(name, format!("{v:?} is not valid: {e}"))))
    }

    /// A number within bounds, or a default.
    ///
    /// # Errors
    /// Returns an error if the value is no number or is out of bounds.
    pub fn number(&self, name: &str, default: u64, bounds: std::ops::RangeInclusive<u64>) -> Result<u64> {
        let n = self.parse(name, default)?;
        if bounds.contains(&n) {
            return Ok(n);
        }
        Err(error(name, format!("{n} is not between {} and {}", bounds.start(), bounds.end())))
    }

    /// A duration in whole seconds within bounds, or a default.
    ///
    /// # Errors
    /// Returns an error if the value is no number or is out of bounds.
    pub fn seconds(&self, name: &str, default: u64, bounds: std::ops::RangeInclusive<u64>) -> Result<Duration> {
        self.number(name, default, bounds).map(Duration::from_secs)
    }

    /// A flag: `true`, `1`, `yes`, `on` or `false`, `0`, `no`, `off`, in any case.
    ///
    /// # Errors
    /// Returns an error for any other value.
    pub fn flag(&self, name: &str, default: bool) -> Result<bool> {
        let Some(value) = self.get(name) else { return Ok(default) };
        truth(value).ok_or_else(|| error(name, format!("{value:?} is neither true nor false")))
    }

    /// A JSON list of strings or a comma-separated list, each item parsed.
    ///
    /// # Errors
    /// Returns an error if the value is no list or an item cannot be parsed.
    pub fn list<T: FromStr>(&self, name: &str, default: &str) -> Result<Vec<T>>
    where
        T::Err: fmt::Display,
    {
        let value = self.get(name).unwrap_or(default);
        let items: Vec<String> = if value.starts_with('[') {
            serde_json::from_str(value).map_err(|e| error(name, format!("is not a JSON list of strings: {e}")))?
        } else {
            value.split(',').map(|item| item.trim().to_owned()).filter(|item| !item.is_empty()).collect()
        };
        let parse = |item: String| item.parse().map_err(|e| error(name, format!("{item:?} is not valid: {e}")));
        items.into_iter().map(parse).collect()
    }
}

/// The error of a variable.
pub fn error(variable: &str, problem: impl Into<String>) -> ConfigError {
    ConfigError { variable: variable.to_owned(), problem: problem.into() }
}

fn file_of(secret: &str) -> String {
    format!("{secret}_FILE")
}

fn read_secret(path: &str) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MAX_SECRET_BYTES + 1).read_to_string(&mut text)?;
    if text.len() as u64 > MAX_SECRET_BYTES {
        return Err(io::Error::other("it has over 64 KiB"));
    }
    Ok(text)
}

fn truth(value: &str) -> Option<bool> {
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Some(true),
        "false" | "0" | "no" | "off" => Some(false),
        _ => None,
    }
}

/// An address such as `127.0.0.1`, or a network such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// Whether the address is this one or belongs to this network.
    pub fn contains(&self, address: &IpAddr) -> bool {
        self.0.contains(address)
    }
}

/// The reason why a text is no [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// The text is neither an address nor a network. Names of hosts are not resolved.
    #[error("it is neither an address such as 10.0.0.7 nor a network such as 10.0.0.0/8")]
    Malformed,
    /// The prefix is longer than the address.
    #[error("its prefix is longer than its address: at most /32 for IPv4 and /128 for IPv6")]
    LongPrefix,
    /// The network contains every address, so it distinguishes nobody.
    #[error("it contains every address; name the addresses that are meant")]
    Everything,
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> std::result::Result<Self, Self::Err> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(address, prefix)| (address, Some(prefix)));
        let address: IpAddr = address.parse().map_err(|_| NetworkError::Malformed)?;
        let Some(prefix) = prefix else { return Ok(Self(address.into())) };
        match prefix.parse().map_err(|_| NetworkError::Malformed)? {
            0 => Err(NetworkError::Everything),
            bits => IpNet::new(address, bits).map(Self).map_err(|_| NetworkError::LongPrefix),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(name: &str, value: &str) -> Env {
        Env::of([(name, value.to_owned())])
    }

    #[test]
    fn a_list_is_json_or_comma_separated() {
        for value in [r#"["a","b"]"#, "a, b,"] {
            assert_eq!(env("LIST", value).list::<String>("LIST", "").unwrap(), ["a", "b"]);
        }
        let problem = env("LIST", "[1]").list::<String>("LIST", "").unwrap_err().to_string();
        assert!(problem.starts_with("LIST: is not a JSON list"));
    }

    #[test]
    fn a_network_contains_its_addresses() {
        let contains = |value, address: &str| {
            let networks = env("PROXIES", value).list::<Network>("PROXIES", "").unwrap();
            networks.iter().any(|network| network.contains(&address.parse().unwrap()))
        };
        assert!(contains("127.0.0.1", "127.0.0.1") && !contains("127.0.0.1", "127.0.0.2"));
        assert!(contains("::1, 172.16.0.0/12", "172.31.255.1") && !contains("172.16.0.0/12", "172.32.0.1"));
        assert!(!contains("", "127.0.0.1"));
    }

    #[test]
    fn a_text_that_is_no_network_is_refused_with_the_reason() {
        let problem = |value| env("PROXIES", value).list::<Network>("PROXIES", "").unwrap_err().to_string();
        for (value, reason) in [
            ("10.0.0.0/40", NetworkError::LongPrefix),
            ("::1/129", NetworkError::LongPrefix),
            ("kong", NetworkError::Malformed),
            ("10.0.0.0/255.0.0.0", NetworkError::Malformed),
            ("0.0.0.0/0", NetworkError::Everything),
            ("::/0", NetworkError::Everything),
        ] {
            assert_eq!(problem(value), format!("PROXIES: {value:?} is not valid: {reason}"));
        }
    }

    /// A file that is removed at the end of a test.
    struct SecretFile(std::path::PathBuf);

    impl SecretFile {
        fn new(name: &str, content: impl AsRef<[u8]>) -> Self {
            let path = std::env::temp_dir().join(format!("secret-{name}-{}", std::process::id()));
            std::fs::write(&path, content).unwrap();
            Self(path)
        }

        fn read(&self, more: &[(&str, &str)]) -> Result<Env> {
            let file = ("SECRET_KEY_FILE", self.0.to_str().unwrap());
            let pairs = more.iter().chain([&file]).map(|(name, value)| (*name, (*value).to_owned()));
            Env::of(pairs).with_secret_files()
        }
    }

    impl Drop for SecretFile {
        fn drop(&mut self) {
            std::fs::remove_file(&self.0).unwrap();
        }
    }

    #[test]
    fn every_secret_can_be_in_a_file() {
        let file = SecretFile::new("every", "a secret\r\n");
        for name in SECRETS {
            let env = env(&format!("{name}_FILE"), file.0.to_str().unwrap()).with_secret_files().unwrap();
            assert_eq!(env.get(name), Some("a secret"), "{name}");
        }
    }

    #[test]
    fn a_file_of_a_secret_that_cannot_be_used_is_refused_without_its_content() {
        let refused = |file: &SecretFile, more: &[_]| file.read(more).unwrap_err().to_string();
        let (good, empty) = (SecretFile::new("good", "hidden\n"), SecretFile::new("empty", "\n"));
        let both = refused(&good, &[("SECRET_KEY", "another")]);
        assert_eq!(both, "SECRET_KEY: is set, and so is SECRET_KEY_FILE; set one of them");
        assert!(refused(&empty, &[]).ends_with("is empty"));

        let (large, binary) = (vec![b'x'; 64 * 1024 + 1], b"hidden\xff".to_vec());
        for (name, content, reason) in [("large", large, "has over 64 KiB"), ("binary", binary, "valid UTF-8")] {
            let problem = refused(&SecretFile::new(name, content), &[]);
            assert!(problem.starts_with("SECRET_KEY_FILE: ") && problem.ends_with(reason), "{problem}");
            assert!(!problem.contains("hidden"), "{problem}");
        }
        let missing = env("SECRET_KEY_FILE", "/nowhere").with_secret_files().unwrap_err().to_string();
        assert!(missing.starts_with("SECRET_KEY_FILE: \"/nowhere\" cannot be read: No such file"), "{missing}");
    }

    #[test]
    fn variables_that_were_read_are_recorded() {
        let env = Env::of([("PORT", "1".to_owned()), ("UNKNOWN", String::new())]);
        env.get("PORT");
        assert_eq!(env.text("HOST", "::"), "::");
        env.get("MYSQL_URL");
        assert_eq!(
            env.variables_read().into_iter().collect::<Vec<_>>(),
            ["HOST", "MYSQL_URL", "MYSQL_URL_FILE", "PORT"]
        );
    }
}
