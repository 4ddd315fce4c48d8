//! Calls to user- and friend-service that serve HTTPS, with certificates of an authority of the test's own.

use std::fs::{self, File};
use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use chat_service::SERVICE;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use serde_json::json;
use testkit::{Space, eventually};
use tokio::net::TcpListener;

use crate::app::TestApp;
use crate::fakes::{Users, friend_routes, two_blocks, user_routes};
use crate::process::{Process, free_port};

/// An authority with a certificate that it signed for 127.0.0.1, in a folder that is removed at the end.
struct Authority(PathBuf);

impl Authority {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("chat-service-{name}-{}", free_port()));
        fs::create_dir_all(&folder).unwrap();
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.distinguished_name.push(DnType::CommonName, name);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let signing_key = KeyPair::generate().unwrap();
        fs::write(folder.join("ca"), authority.self_signed(&signing_key).unwrap().pem()).unwrap();
        let server = CertificateParams::new(["127.0.0.1".to_owned()]).unwrap();
        let key = KeyPair::generate().unwrap();
        let certificate = server.signed_by(&key, &Issuer::new(authority, signing_key)).unwrap();
        fs::write(folder.join("certificate"), certificate.pem()).unwrap();
        fs::write(folder.join("key"), key.serialize_pem()).unwrap();
        Self(folder)
    }

    fn path(&self, file: &str) -> String {
        self.0.join(file).to_str().unwrap().to_owned()
    }

    /// Serves a router by HTTPS, with the server of all services, and returns its URL.
    async fn serve(&self, router: Router) -> String {
        let space = Space::new();
        let mut env = space.env("mysql://none@127.0.0.1/none");
        env.extend([("TLS_CERT_FILE", self.path("certificate")), ("TLS_KEY_FILE", self.path("key"))]);
        let platform = space.platform(SERVICE, env);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("https://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { platform::http::serve(listener, router, &platform).await.unwrap() });
        url
    }
}

impl Drop for Authority {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn user_and_friend_service_are_called_by_https() {
    let (authority, users) = (Authority::new("known"), Arc::<Users>::default());
    users.reserved.lock().unwrap().extend([21, 22]);
    let app = TestApp::start_with(&[
        ("USER_SERVICE_URL", authority.serve(user_routes(users)).await),
        ("FRIEND_SERVICE_URL", authority.serve(friend_routes(two_blocks())).await),
        ("CALLS_CA_FILE", authority.path("ca")),
    ])
    .await;
    let ann = app.person(1).client;

    ann.get("/chat-rooms/check/2").await.expect(200);
    ann.post("/chat-rooms", json!({"participant_ids": [3, 21]})).await.expect(201);
    let stranger = ann.post("/chat-rooms", json!({"participant_ids": [3, 22]})).await;
    assert_eq!(stranger.expect(403)["error"], "FRIENDS_ONLY");
    eventually("the blocks are loaded", || async {
        let metrics = app.anonymous().get("/metrics").await.text;
        metrics.contains("blocks_known{service=\"chat-service\"} 1").then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_service_with_a_certificate_of_another_authority_is_unavailable_and_the_log_has_the_reason() {
    let (known, other) = (Authority::new("known"), Authority::new("other"));
    let (space, users) = (Space::new(), Arc::<Users>::default());
    let settings = [("USER_SERVICE_URL", other.serve(user_routes(users)).await), ("CALLS_CA_FILE", known.path("ca"))];
    let log = known.path("log");
    let (file, schema) = (File::create(&log).unwrap(), space.schema("chat").await);
    let process = Process::start_logging(file, free_port(), &space, &schema, &settings).ready().await;

    let answer = process.client(&space.token(1, "ann")).get("/chat-rooms/check/2").await;
    assert!(answer.header("retry-after").is_some());
    assert_eq!(answer.expect(503)["error"], "service_unavailable");
    let log = fs::read_to_string(&log).unwrap();
    let reason =
        "no connection: error sending request: client error (Connect): invalid peer certificate: UnknownIssuer";
    assert!(log.lines().any(|line| line.contains("dependency unavailable") && line.contains(reason)), "{log}");
}
