//! Values of the environment: read once, checked, and rejected with one line that names the variable.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use parking_lot::Mutex;

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
    /// The environment of this process. With `DEBUG` on, a `.env` file in the working directory adds unset variables.
    pub fn of_process() -> Self {
        if std::env::var("DEBUG").is_ok_and(|v| truth(&v) == Some(true)) {
            dotenvy::dotenv().ok();
        }
        Self::of(std::env::vars())
    }

    /// An environment of these pairs.
    pub fn of<N: Into<String>>(pairs: impl IntoIterator<Item = (N, String)>) -> Self {
        let values = pairs.into_iter().map(|(name, value)| (name.into(), value)).collect();
        Self { values, read: Arc::default() }
    }

    /// The value of a variable; an empty one counts as unset.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.read.lock().insert(name.to_owned());
        self.values.get(name).map(|v| v.trim()).filter(|v| !v.is_empty())
    }

    /// The variables that were read so far, set or not. Tests compare the deployment files with them.
    pub fn variables_read(&self) -> BTreeSet<String> {
        self.read.lock().clone()
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

    #[test]
    fn variables_that_were_read_are_recorded() {
        let env = Env::of([("PORT", "1".to_owned()), ("UNKNOWN", String::new())]);
        env.get("PORT");
        assert_eq!(env.text("HOST", "::"), "::");
        assert_eq!(env.variables_read().into_iter().collect::<Vec<_>>(), ["HOST", "PORT"]);
    }
}
