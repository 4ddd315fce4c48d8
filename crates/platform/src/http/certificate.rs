//! The certificate with which the server answers TLS handshakes, read anew after a change of its files.

use std::fmt;
use std::fs;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use common::config::{ConfigError, Env, error};
use common::error::BoxError;
use parking_lot::RwLock;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ServerConfig, version};
use tokio_rustls::TlsAcceptor;
use x509_cert::Certificate as X509;
use x509_cert::der::Decode;

use crate::shutdown::Shutdown;
use crate::task;
use crate::telemetry::Metrics;

const CERTIFICATE: &str = "TLS_CERT_FILE";
const KEY: &str = "TLS_KEY_FILE";

/// The pause between two looks at the files. It is shorter than the time in which Kubernetes renews a mounted Secret.
const PAUSE: Duration = Duration::from_secs(10);

/// The only protocol within TLS: the bounds of connections are those of HTTP/1.1.
pub(super) const ALPN: &[u8] = b"http/1.1";

/// The certificate of this server and its private key. Clones share it.
#[derive(Clone)]
pub struct ServerCertificate(Arc<Files>);

struct Files {
    certificate: String,
    key: String,
    current: RwLock<Current>,
}

struct Current {
    /// The files as they were read last, also if they could not be used.
    read: Pems,
    key: Arc<CertifiedKey>,
    /// The end of the certificate, in seconds since 1970.
    expires: i64,
}

/// The content of both files.
#[derive(Clone, PartialEq, Eq)]
struct Pems {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl ServerCertificate {
    /// Reads `TLS_CERT_FILE`, a certificate with those that sign it, and `TLS_KEY_FILE`. None if neither is set.
    ///
    /// # Errors
    /// Returns an error if one of them is not set, cannot be read, or does not fit the other.
    pub fn read(env: &Env) -> Result<Option<Self>, ConfigError> {
        let (certificate, key) = match (env.get(CERTIFICATE), env.get(KEY)) {
            (Some(certificate), Some(key)) => (certificate.to_owned(), key.to_owned()),
            (None, None) => return Ok(None),
            (Some(_), None) => return Err(error(CERTIFICATE, format!("is set, and {KEY} is not"))),
            (None, Some(_)) => return Err(error(KEY, format!("is set, and {CERTIFICATE} is not"))),
        };
        let read = |name, path: &str| fs::read(path).map_err(|e| error(name, format!("{path:?} cannot be read: {e}")));
        let read = Pems { certificate: read(CERTIFICATE, &certificate)?, key: read(KEY, &key)? };
        let (pair, expires) =
            read.parse().map_err(|e| error(CERTIFICATE, format!("cannot be used with {KEY}: {e}")))?;
        let current = RwLock::new(Current { read, key: Arc::new(pair), expires });
        Ok(Some(Self(Arc::new(Files { certificate, key, current }))))
    }

    /// Answers handshakes with the certificate of the moment, by TLS 1.2 or 1.3.
    ///
    /// # Errors
    /// Returns an error if the versions are not supported, which is a defect.
    pub(super) fn acceptor(&self) -> Result<TlsAcceptor, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let builder = builder.with_protocol_versions(&[&version::TLS13, &version::TLS12])?;
        let mut config = builder.with_no_client_auth().with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Arc::new(config).into())
    }

    /// Reads the files until the shutdown. Open connections keep the certificate with which they began.
    pub(super) fn watch(&self, metrics: &Metrics, shutdown: &Shutdown) {
        metrics.certificate_expires(self.expires());
        let mut watched = (self.clone(), metrics.clone());
        let stopping = shutdown.stopping_token();
        shutdown.spawn(async move {
            task::every(
                PAUSE,
                "the certificate of the server",
                &stopping,
                &mut watched,
                async |(certificate, metrics)| {
                    if certificate.renew()? {
                        metrics.certificate_expires(certificate.expires());
                        tracing::info!("the certificate of the server was read anew");
                    }
                    Ok::<_, BoxError>(())
                },
            )
            .await;
        });
    }

    /// Uses the files if they have changed, and returns whether it does.
    pub(super) fn renew(&self) -> Result<bool, BoxError> {
        let read = Pems::of(&self.0)?;
        if read == self.0.current.read().read {
            return Ok(false);
        }
        let (pair, expires) = read.parse()?;
        *self.0.current.write() = Current { read, key: Arc::new(pair), expires };
        Ok(true)
    }

    fn expires(&self) -> i64 {
        self.0.current.read().expires
    }
}

impl Pems {
    fn of(files: &Files) -> io::Result<Self> {
        Ok(Self { certificate: fs::read(&files.certificate)?, key: fs::read(&files.key)? })
    }

    /// The pair, and the end of the certificate. Errors do not quote the key.
    fn parse(&self) -> Result<(CertifiedKey, i64), BoxError> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.certificate).collect::<Result<_, _>>()?;
        let first = chain.first().ok_or("the file contains no certificate")?;
        let end = X509::from_der(first)?.tbs_certificate.validity.not_after.to_unix_duration();
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| "the key is no private key in PEM")?;
        let pair = CertifiedKey::from_der(chain, key, &ring::default_provider())?;
        Ok((pair, i64::try_from(end.as_secs())?))
    }
}

impl ResolvesServerCert for ServerCertificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(self.0.current.read().key.clone())
    }
}

impl fmt::Debug for ServerCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ServerCertificate").field(&self.0.certificate).finish()
    }
}
