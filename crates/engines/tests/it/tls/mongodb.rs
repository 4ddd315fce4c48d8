//! MongoDB.

use std::fs;

use engines::mongo;
use mongodb::bson::{Bson, doc};

use super::engine::{Ground, free_port};
use crate::support::{metrics, setting, until};

/// The program of the server that `cargo stack test` has started.
pub async fn server() -> String {
    let database = mongo::database(&setting("MONGO_URL").into(), "admin", "mongodb", &metrics()).await.unwrap();
    let options = database.run_command(doc! {"getCmdLineOpts": 1}).await.unwrap();
    let Some(Bson::String(program)) = options.get_array("argv").unwrap().first().cloned() else { panic!("{options}") };
    program
}

async fn connect(url: &str) -> Result<(), String> {
    let database = mongo::database(&url.into(), "it", "mongodb", &metrics()).await.map_err(|e| e.to_string())?;
    mongo::ping(&database).await.map_err(|e| format!("{e:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn mongodb_is_reached_by_tls_with_its_authority_and_a_certificate() {
    let (ground, port) = (Ground::new(), free_port());
    fs::create_dir(ground.path("data")).unwrap();
    let (data, listen) = (ground.path("data"), port.to_string());
    let small = ["--wiredTigerCacheSizeGB", "0.25", "--setParameter", "diagnosticDataCollectionEnabled=false"];
    let own = ["--bind_ip", "127.0.0.1", "--port", &listen, "--nounixsocket", "--dbpath", &data];
    let tls = ["--tlsMode", "requireTLS", "--tlsCAFile", &ground.known.ca];
    let certificate = ["--tlsCertificateKeyFile", &ground.known.both];
    let _engine = ground.start(server().await, &[&own[..], &small, &tls, &certificate].concat());
    let url = |query: String| format!("mongodb://127.0.0.1:{port}/?directConnection=true{query}");
    let with =
        |ca: &str, certificate: &str| url(format!("&tls=true&tlsCAFile={ca}&tlsCertificateKeyFile={certificate}"));
    let right = with(&ground.known.ca, &ground.known.both);
    until("the server answers", async || connect(&right).await.is_ok()).await;

    let refused = connect(&with(&ground.other.ca, &ground.known.both)).await.unwrap_err();
    assert!(refused.contains("UnknownIssuer") || refused.contains("invalid peer certificate"), "{refused}");
    assert!(connect(&with(&ground.known.ca, &ground.other.both)).await.is_err(), "a certificate of another authority");
    assert!(connect(&url(format!("&tls=true&tlsCAFile={}", ground.known.ca))).await.is_err(), "no certificate");
    assert!(connect(&url(String::new())).await.is_err(), "plain");
}
