//! HTTPS, over real sockets.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use axum::response::sse::{Event, Sse};
use axum::routing::get;
use common::config::Env;
use common::error::Detail;
use futures_util::stream;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use utoipa_axum::router::OpenApiRouter;

use super::tests::{platform, routes, start};
use super::{ServerCertificate, probe};
use crate::platform::Platform;

const PATIENCE: Duration = Duration::from_secs(30);

/// The files of a server, in a folder that is removed at the end.
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("tls-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    pub(crate) fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }

    /// Writes a certificate for 127.0.0.1 that signs itself and ends with a year, and returns it.
    pub(crate) fn write(&self, end: i32) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        params.not_after = date_time_ymd(end, 1, 1);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        std::fs::write(self.path("certificate"), certificate.pem()).unwrap();
        std::fs::write(self.path("key"), key.serialize_pem()).unwrap();
        CertificateDer::from_pem_slice(certificate.pem().as_bytes()).unwrap()
    }

    pub(crate) fn platform(&self, settings: &[(&'static str, &str)]) -> Platform {
        let (certificate, key) = (self.path("certificate"), self.path("key"));
        let own = [("TLS_CERT_FILE", certificate.as_str()), ("TLS_KEY_FILE", key.as_str())];
        platform(Detail::Text, &[&own[..], settings].concat())
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

async fn connect_with(
    to: SocketAddr,
    certificate: &CertificateDer<'static>,
    versions: &[&'static SupportedProtocolVersion],
    protocols: &[&[u8]],
) -> std::io::Result<TlsStream<TcpStream>> {
    let mut roots = RootCertStore::empty();
    roots.add(certificate.clone()).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let config = config.with_protocol_versions(versions).unwrap().with_root_certificates(roots);
    let mut config = config.with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from("127.0.0.1").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, TcpStream::connect(to).await.unwrap()).await
}

async fn connect(to: SocketAddr, certificate: &CertificateDer<'static>) -> std::io::Result<TlsStream<TcpStream>> {
    connect_with(to, certificate, &[&version::TLS13, &version::TLS12], &[]).await
}

/// The answer to a request on an open connection.
async fn answer(stream: &mut TlsStream<TcpStream>) -> String {
    stream.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut buffer = [0; 4096];
    let n = timeout(PATIENCE, stream.read(&mut buffer)).await.unwrap().unwrap();
    String::from_utf8_lossy(&buffer[..n]).into_owned()
}

async fn status(stream: &mut TlsStream<TcpStream>) -> String {
    answer(stream).await.split(' ').nth(1).unwrap_or_default().to_owned()
}

#[tokio::test]
async fn a_new_certificate_is_used_by_new_connections_and_open_ones_go_on() {
    let files = Files::new("renewal");
    let first = files.write(2100);
    let platform = files.platform(&[]);
    let certificate = platform.config.tls.clone().unwrap();
    let to = start(platform.clone(), routes()).await;
    let mut open = connect(to, &first).await.unwrap();
    assert_eq!(status(&mut open).await, "200");

    std::fs::write(files.path("key"), "broken").unwrap();
    let broken = certificate.renew().unwrap_err().to_string();
    assert_eq!(broken, "the key is no private key in PEM");
    assert_eq!(status(&mut connect(to, &first).await.unwrap()).await, "200", "the certificate is kept");
    let second = files.write(2101);
    assert!(certificate.renew().unwrap() && !certificate.renew().unwrap(), "read once");

    assert!(connect(to, &first).await.is_err(), "new connections get the new one");
    assert_eq!(status(&mut connect(to, &second).await.unwrap()).await, "200");
    assert_eq!(status(&mut open).await, "200", "the open connection goes on");
}

#[tokio::test]
async fn the_probe_of_a_container_speaks_as_the_service_does() {
    let files = Files::new("probe");
    files.write(2100);
    let (secure, plain) =
        (start(files.platform(&[]), routes()).await, start(platform(Detail::Text, &[]), routes()).await);
    probe(secure.port(), true).await.unwrap();
    probe(plain.port(), false).await.unwrap();
    assert!(probe(secure.port(), false).await.is_err());
    let nowhere = start(platform(Detail::Text, &[]), OpenApiRouter::new()).await;
    assert!(probe(nowhere.port(), true).await.is_err(), "a service that speaks plain HTTP");
}

#[tokio::test]
async fn the_expiry_of_the_certificate_is_a_metric() {
    let files = Files::new("expiry");
    files.write(2100);
    let platform = files.platform(&[]);
    start(platform.clone(), routes()).await;
    sleep(Duration::from_millis(50)).await;
    let metrics = platform.metrics.render().unwrap();
    let line = metrics.lines().find(|line| line.starts_with("tls_certificate_expiry_timestamp_seconds{")).unwrap();
    assert!(line.ends_with(" 4102444800"), "{line}");
}

#[tokio::test]
async fn tls_has_version_1_2_or_1_3_and_the_protocol_http_1_1() {
    let files = Files::new("versions");
    let certificate = files.write(2100);
    let to = start(files.platform(&[]), routes()).await;
    for version in [&version::TLS12, &version::TLS13] {
        let mut stream = connect_with(to, &certificate, &[version], &[b"h2", b"http/1.1"]).await.unwrap();
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"http/1.1"[..]));
        let answer = answer(&mut stream).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("strict-transport-security: "), "{answer}");
    }
    assert!(connect_with(to, &certificate, &[&version::TLS13], &[b"h2"]).await.is_err());
    // The server answers a request without TLS with an alert, or not at all.
    let mut plain = TcpStream::connect(to).await.unwrap();
    plain.write_all(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _ = timeout(PATIENCE, plain.read_to_end(&mut answer)).await.unwrap();
    assert!(!answer.starts_with(b"HTTP"), "{answer:?}");
}

#[tokio::test]
async fn a_handshake_that_takes_too_long_ends_and_counts_as_a_connection() {
    let files = Files::new("handshake");
    let certificate = files.write(2100);
    let settings = [("HTTP_HEADER_TIMEOUT", "1"), ("HTTP_MAX_CONNECTIONS", "10")];
    let to = start(files.platform(&settings), routes()).await;
    let mut silent = Vec::new();
    for _ in 0..10 {
        silent.push(TcpStream::connect(to).await.unwrap());
    }
    sleep(Duration::from_millis(100)).await;
    assert!(connect(to, &certificate).await.is_err(), "the limit is reached");
    for stream in &mut silent {
        assert_eq!(timeout(PATIENCE, stream.read(&mut [0; 16])).await.unwrap().unwrap(), 0, "closed");
    }
    assert!(connect(to, &certificate).await.is_ok(), "the places are free again");
}

#[tokio::test]
async fn an_event_stream_is_whole_within_tls() {
    let files = Files::new("stream");
    let certificate = files.write(2100);
    let events = || async {
        let sizes = [1, 20_000, 3].map(|n| Ok::<_, Infallible>(Event::default().data("x".repeat(n))));
        Sse::new(stream::iter(sizes))
    };
    let to = start(files.platform(&[]), OpenApiRouter::new().route("/stream", get(events))).await;
    let mut stream = connect(to, &certificate).await.unwrap();
    stream.write_all(b"GET /stream HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut answer = String::new();
    timeout(PATIENCE, stream.read_to_string(&mut answer)).await.unwrap().expect("an end that TLS announces");
    assert!(answer.contains(&format!("data: {}\n", "x".repeat(20_000))) && answer.ends_with("0\r\n\r\n"));
}

#[test]
fn files_that_do_not_fit_refuse_the_start_without_the_key() {
    let files = Files::new("start");
    files.write(2100);
    let certificate = files.path("certificate");
    let read = |pairs: &[(&str, &str)]| {
        let pairs = pairs.iter().map(|(name, value)| (*name, (*value).to_owned()));
        ServerCertificate::read(&Env::of(pairs)).map(|read| read.is_some()).map_err(|e| e.to_string())
    };
    let pair = [("TLS_CERT_FILE", certificate.as_str()), ("TLS_KEY_FILE", &files.path("key"))];
    assert_eq!((read(&[]), read(&pair)), (Ok(false), Ok(true)));
    assert_eq!(read(&pair[..1]).unwrap_err(), "TLS_CERT_FILE: is set, and TLS_KEY_FILE is not");
    assert_eq!(read(&pair[1..]).unwrap_err(), "TLS_KEY_FILE: is set, and TLS_CERT_FILE is not");
    let swapped = read(&[(pair[0].0, pair[1].1), (pair[1].0, pair[0].1)]).unwrap_err();
    assert_eq!(swapped, "TLS_CERT_FILE: cannot be used with TLS_KEY_FILE: the file contains no certificate");
    let other = Files::new("start-other");
    other.write(2100);
    let mixed = read(&[pair[0], ("TLS_KEY_FILE", &other.path("key"))]).unwrap_err();
    assert!(mixed.starts_with("TLS_CERT_FILE: cannot be used with TLS_KEY_FILE: "), "{mixed}");
}
