//! Encryption of connections to stores and brokers, and the login to brokers.

use std::fs::File;

use common::config::{ConfigError, Env, error};
use secrecy::SecretString;

/// The password of stores in the manifests, which an operator has to replace. It is accepted with `DEBUG` only.
pub const PLACEHOLDER: &str = "placeholder";

/// The PEM files with which a client checks a server, and with which it shows who it is.
#[derive(Clone, Debug, Default)]
pub struct TlsFiles {
    /// The authorities that sign the server's certificate; none means the public ones.
    pub ca: Option<String>,
    /// The client's certificate and its private key.
    pub identity: Option<(String, String)>,
}

impl TlsFiles {
    /// Reads `<prefix>_CA_FILE`, `<prefix>_CERT_FILE` and `<prefix>_KEY_FILE`.
    ///
    /// # Errors
    /// Returns an error if a file cannot be read, or if a certificate has no key or the reverse.
    pub fn read(env: &Env, prefix: &str) -> Result<Self, ConfigError> {
        let [certificate, key] = ["CERT", "KEY"].map(|part| format!("{prefix}_{part}_FILE"));
        let ca = readable(env, &format!("{prefix}_CA_FILE"))?;
        let identity = match (readable(env, &certificate)?, readable(env, &key)?) {
            (Some(certificate), Some(key)) => Some((certificate, key)),
            (None, None) => None,
            (Some(_), None) => return Err(error(&certificate, format!("is set, and {key} is not"))),
            (None, Some(_)) => return Err(error(&key, format!("is set, and {certificate} is not"))),
        };
        Ok(Self { ca, identity })
    }

    /// Whether no file is named.
    pub fn is_empty(&self) -> bool {
        self.ca.is_none() && self.identity.is_none()
    }
}

fn readable(env: &Env, name: &str) -> Result<Option<String>, ConfigError> {
    let Some(path) = env.get(name) else { return Ok(None) };
    File::open(path).map_err(|e| error(name, format!("{path:?} cannot be read: {e}")))?;
    Ok(Some(path.to_owned()))
}

/// How clients of Kafka connect. The default is neither encrypted nor logged in.
#[derive(Clone, Debug, Default)]
pub struct KafkaSecurity {
    /// `KAFKA_SECURITY_PROTOCOL`: `PLAINTEXT` by default, `SSL`, `SASL_PLAINTEXT` or `SASL_SSL`.
    pub protocol: Protocol,
    /// `KAFKA_SASL_*`: the login; always there with a protocol of SASL.
    pub login: Option<KafkaLogin>,
    /// `KAFKA_SSL_*`: the files of TLS.
    pub files: TlsFiles,
}

/// A protocol by its name in Kafka.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Protocol {
    /// Neither encrypted nor logged in.
    #[default]
    Plaintext,
    /// TLS, with the client's certificate if it has one.
    Ssl,
    /// A login without encryption: whoever listens reads everything.
    SaslPlaintext,
    /// A login within TLS.
    SaslSsl,
}

impl Protocol {
    /// Every protocol.
    const ALL: [Self; 4] = [Self::Plaintext, Self::Ssl, Self::SaslPlaintext, Self::SaslSsl];

    /// The name, as brokers and clients spell it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Plaintext => "PLAINTEXT",
            Self::Ssl => "SSL",
            Self::SaslPlaintext => "SASL_PLAINTEXT",
            Self::SaslSsl => "SASL_SSL",
        }
    }

    fn has_tls(self) -> bool {
        matches!(self, Self::Ssl | Self::SaslSsl)
    }

    fn has_login(self) -> bool {
        matches!(self, Self::SaslPlaintext | Self::SaslSsl)
    }
}

/// A login to brokers.
#[derive(Clone, Debug)]
pub struct KafkaLogin {
    /// `KAFKA_SASL_MECHANISM`: `PLAIN`, `SCRAM-SHA-256` or `SCRAM-SHA-512`.
    pub mechanism: String,
    /// `KAFKA_SASL_USERNAME`.
    pub username: String,
    /// `KAFKA_SASL_PASSWORD`.
    pub password: SecretString,
}

const PROTOCOL: &str = "KAFKA_SECURITY_PROTOCOL";
const MECHANISM: &str = "KAFKA_SASL_MECHANISM";
const USERNAME: &str = "KAFKA_SASL_USERNAME";
const PASSWORD: &str = "KAFKA_SASL_PASSWORD";
const MECHANISMS: [&str; 3] = ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"];

impl KafkaSecurity {
    pub(super) fn read(env: &Env) -> Result<Self, ConfigError> {
        let name = env.get(PROTOCOL).unwrap_or(Protocol::default().name());
        let found = Protocol::ALL.into_iter().find(|protocol| protocol.name() == name);
        let protocol = found.ok_or_else(|| {
            error(PROTOCOL, format!("{name:?} is none of PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL"))
        })?;
        let files = TlsFiles::read(env, "KAFKA_SSL")?;
        if !files.is_empty() && !protocol.has_tls() {
            return Err(error(PROTOCOL, format!("{name} has no TLS, and a KAFKA_SSL variable is set")));
        }
        Ok(Self { protocol, login: login(env, protocol)?, files })
    }
}

fn login(env: &Env, protocol: Protocol) -> Result<Option<KafkaLogin>, ConfigError> {
    let [mechanism, username, password] = [MECHANISM, USERNAME, PASSWORD].map(|name| env.get(name));
    if !protocol.has_login() {
        return match mechanism.or(username).or(password) {
            None => Ok(None),
            Some(_) => {
                Err(error(PROTOCOL, format!("{} has no login, and a KAFKA_SASL variable is set", protocol.name())))
            }
        };
    }
    let mechanism = mechanism.unwrap_or("SCRAM-SHA-512");
    if !MECHANISMS.contains(&mechanism) {
        return Err(error(MECHANISM, format!("{mechanism:?} is none of {}", MECHANISMS.join(", "))));
    }
    let (username, password) = (env.required(USERNAME)?, env.required(PASSWORD)?);
    if password == PLACEHOLDER && !env.flag("DEBUG", false)? {
        return Err(error(PASSWORD, "is the placeholder; set a password of your own, or DEBUG=true"));
    }
    Ok(Some(KafkaLogin { mechanism: mechanism.into(), username: username.into(), password: password.into() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Result<KafkaSecurity, String> {
        let env = Env::of(pairs.iter().map(|(name, value)| (*name, (*value).to_owned())));
        KafkaSecurity::read(&env).map_err(|e| e.to_string())
    }

    const SASL: (&str, &str) = (PROTOCOL, "SASL_SSL");
    const LOGIN: [(&str, &str); 2] = [(USERNAME, "chat"), (PASSWORD, "hidden")];

    #[test]
    fn a_login_needs_a_protocol_of_sasl_a_user_and_a_password() {
        let login = read(&[SASL, LOGIN[0], LOGIN[1]]).unwrap().login.unwrap();
        assert_eq!((login.mechanism.as_str(), login.username.as_str()), ("SCRAM-SHA-512", "chat"));
        assert!(!format!("{login:?}").contains("hidden"));
        assert_eq!(read(&[SASL]).unwrap_err(), "KAFKA_SASL_USERNAME: is required and not set");
        assert_eq!(read(&[SASL, LOGIN[0]]).unwrap_err(), "KAFKA_SASL_PASSWORD: is required and not set");
        let unused = "KAFKA_SECURITY_PROTOCOL: PLAINTEXT has no login, and a KAFKA_SASL variable is set";
        assert_eq!(read(&[LOGIN[1]]).unwrap_err(), unused, "it would be ignored");
        let other = read(&[SASL, LOGIN[0], LOGIN[1], (MECHANISM, "GSSAPI")]).unwrap_err();
        assert_eq!(other, "KAFKA_SASL_MECHANISM: \"GSSAPI\" is none of PLAIN, SCRAM-SHA-256, SCRAM-SHA-512");
        assert!(read(&[SASL, LOGIN[0], (PASSWORD, PLACEHOLDER)]).unwrap_err().contains("is the placeholder"));
    }

    #[test]
    fn files_of_tls_are_readable_and_used() {
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml");
        let (ca, certificate, key) = ("KAFKA_SSL_CA_FILE", "KAFKA_SSL_CERT_FILE", "KAFKA_SSL_KEY_FILE");
        let ssl = (PROTOCOL, "SSL");
        let files = read(&[ssl, (ca, file), (certificate, file), (key, file)]).unwrap().files;
        assert!(files.ca.is_some() && files.identity.is_some());
        let unused = "KAFKA_SECURITY_PROTOCOL: PLAINTEXT has no TLS, and a KAFKA_SSL variable is set";
        assert_eq!(read(&[(ca, file)]).unwrap_err(), unused, "the connection would not be encrypted");
        let alone = "KAFKA_SSL_CERT_FILE: is set, and KAFKA_SSL_KEY_FILE is not";
        assert_eq!(read(&[ssl, (certificate, file)]).unwrap_err(), alone);
        assert!(read(&[ssl, (ca, "/nowhere")]).unwrap_err().starts_with("KAFKA_SSL_CA_FILE: \"/nowhere\" cannot be"));
        assert!(read(&[(PROTOCOL, "ssl")]).unwrap_err().contains("is none of"));
    }
}
