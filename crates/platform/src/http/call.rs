//! The clients of calls to other servers by HTTP and HTTPS.

use std::error::Error;
use std::fs;
use std::iter::successors;
use std::sync::Arc;

use common::config::{ConfigError, Env, error};
use reqwest::{Client, ClientBuilder, blocking};
use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use webpki_roots::TLS_SERVER_ROOTS;

use super::certificate::ALPN;

/// The TLS of calls to `https://` URLs. A server has to show a certificate for the host of the URL, signed by one of the
/// authorities. Clones share them.
#[derive(Clone, Debug)]
pub struct CallTls(ClientConfig);

impl CallTls {
    /// Trusts the public authorities, by Mozilla's list.
    ///
    /// # Errors
    /// Returns an error if the versions of TLS are not supported, which is a defect.
    pub fn public() -> Result<Self, rustls::Error> {
        Self::trusting(RootCertStore { roots: TLS_SERVER_ROOTS.to_vec() })
    }

    /// Trusts the authorities in the PEM file that the variable `name` names, and no other; without the variable, the public
    /// ones.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read or contains no valid certificate.
    pub fn read(env: &Env, name: &str) -> Result<Self, ConfigError> {
        let tls = match env.get(name) {
            Some(path) => Self::trusting(authorities(path).map_err(|problem| error(name, problem))?),
            None => Self::public(),
        };
        tls.map_err(|e| error(name, format!("cannot be used: {e}")))
    }

    /// Builds a client. It takes no proxy from the environment.
    pub fn client(&self) -> ClientBuilder {
        Client::builder().no_proxy().tls_backend_preconfigured(self.0.clone())
    }

    /// Builds a client for threads outside the runtime.
    pub(crate) fn blocking_client(&self) -> blocking::ClientBuilder {
        blocking::Client::builder().no_proxy().tls_backend_preconfigured(self.0.clone())
    }

    fn trusting(authorities: RootCertStore) -> Result<Self, rustls::Error> {
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions()?.with_root_certificates(authorities);
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Self(config))
    }
}

/// The certificates of a PEM file, or the problem with it.
fn authorities(path: &str) -> Result<RootCertStore, String> {
    let pem = fs::read(path).map_err(|e| format!("{path:?} cannot be read: {e}"))?;
    let mut authorities = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(&pem) {
        let certificate = certificate.map_err(|e| format!("{path:?} is not valid: {e}"))?;
        authorities.add(certificate).map_err(|e| format!("{path:?} is not valid: {e}"))?;
    }
    match authorities.is_empty() {
        true => Err(format!("{path:?} contains no certificate")),
        false => Ok(authorities),
    }
}

/// The text of a failed call with all its causes. The last is the most exact, such as a refused certificate.
pub fn cause(failed: &reqwest::Error) -> String {
    let causes = successors(Some(failed as &dyn Error), |error| (*error).source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
