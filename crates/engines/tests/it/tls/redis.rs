//! Redis.

use engines::redis::Redis;
use futures_util::StreamExt;
use platform::config::TlsFiles;

use super::authority::Authority;
use super::engine::{Ground, free_port, program};
use crate::support::{metrics, until};

fn files(ca: &Authority, identity: Option<&Authority>) -> TlsFiles {
    let identity = identity.map(|own| (own.certificate.clone(), own.key.clone()));
    TlsFiles { ca: Some(ca.ca.clone()), identity }
}

fn client(url: &str, files: &TlsFiles) -> Redis {
    Redis::new(&url.into(), files, "", &metrics()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_is_reached_by_tls_with_its_authority_a_certificate_and_a_login() {
    let (ground, port) = (Ground::new(), free_port());
    let Ground { known, other, .. } = &ground;
    let listen = port.to_string();
    let own = ["--bind", "127.0.0.1", "--port", "0", "--tls-port", &listen, "--save", ""];
    let tls = ["--tls-cert-file", &known.certificate, "--tls-key-file", &known.key, "--tls-ca-cert-file", &known.ca];
    let login =
        ["--tls-auth-clients", "yes", "--requirepass", "x", "--user", "chat", "on", ">password", "~*", "&*", "+@all"];
    let _engine = ground.start(program(&["redis-server", "valkey-server"]), &[&own[..], &tls, &login].concat());
    let url = |login: &str| format!("rediss://{login}127.0.0.1:{port}/0");
    let (right, user) = (files(known, Some(known)), url("chat:password@"));
    let redis = client(&user, &right);
    until("the server answers", async || redis.run_id().await.is_ok()).await;

    let mut messages = std::pin::pin!(redis.subscribe("channel".into()));
    let published = async {
        until("a subscriber", async || {
            let publish = redis::cmd("PUBLISH").arg("channel").arg("hello").query_async(&mut redis.connection()).await;
            publish.unwrap_or(0_i64) == 1
        })
        .await;
    };
    let (message, ()) = tokio::join!(messages.next(), published);
    assert_eq!(message.as_deref(), Some("hello"));

    let wrong = [
        (user.clone(), files(other, Some(known)), "another authority of the server"),
        (user.clone(), files(known, Some(other)), "a certificate of another authority"),
        (user.clone(), files(known, None), "no certificate"),
        (url("chat:wrong@"), right.clone(), "a wrong password"),
        (url(""), right.clone(), "no login"),
        (user.replace("rediss", "redis"), TlsFiles::default(), "plain"),
    ];
    for (url, files, what) in wrong {
        let answer = client(&url, &files).run_id().await;
        assert!(answer.is_err(), "{what}");
    }
    assert!(redis.run_id().await.is_ok(), "the server still answers");
    let unused = Redis::new(&"redis://127.0.0.1/0".into(), &right, "", &metrics()).err().unwrap().to_string();
    assert!(unused.starts_with("REDIS_URL: "), "{unused}");
}
