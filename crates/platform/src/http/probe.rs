//! The check that a container makes of the service within it, in images without a shell and curl.

use std::io;
use std::net::Ipv4Addr;
use std::sync::Arc;

use common::error::BoxError;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const REQUEST: &[u8] = b"GET /health HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
const ALIVE: &[u8] = b"HTTP/1.1 200 ";

/// Asks the service at a port of this machine whether it is alive.
///
/// # Errors
/// Returns an error if it does not answer, or answers with another status than 200.
pub async fn probe(port: u16, tls: bool) -> Result<(), BoxError> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
    let answered = if tls { ask(connector()?.connect(localhost(), stream).await?).await? } else { ask(stream).await? };
    if answered != ALIVE {
        return Err(format!("answered {:?}", String::from_utf8_lossy(&answered)).into());
    }
    Ok(())
}

async fn ask(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<[u8; ALIVE.len()]> {
    stream.write_all(REQUEST).await?;
    stream.flush().await?;
    let mut answer = [0; ALIVE.len()];
    stream.read_exact(&mut answer).await?;
    Ok(answer)
}

fn localhost() -> ServerName<'static> {
    ServerName::IpAddress(Ipv4Addr::LOCALHOST.into())
}

fn connector() -> Result<TlsConnector, rustls::Error> {
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_safe_default_protocol_versions()?.dangerous();
    Ok(Arc::new(config.with_custom_certificate_verifier(Arc::new(AnyCertificate)).with_no_client_auth()).into())
}

/// Accepts every certificate: that of the service names its public host and not this machine. The request has no secret.
#[derive(Debug)]
struct AnyCertificate;

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}
