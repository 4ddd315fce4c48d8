//! Apache Kafka, if it is installed: `KAFKA_LIBS` names the folder of its archives. A broker in Java takes ten seconds to start.

use std::fs;

use common::events::topics::TopicNames;
use engines::kafka::dead_letters::DeadLetters;
use engines::kafka::topics;
use futures_util::future::join_all;
use platform::config::{KafkaConfig, KafkaLogin, KafkaSecurity, Protocol, TlsFiles};

use super::authority::Authority;
use super::engine::{Engine, Ground, free_port, program};
use crate::support::{kafka_at, producer, publish, skip, until};

const PROPERTIES: &str = r#"process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
controller.listener.names=CONTROLLER
listeners=CLIENTS://127.0.0.1:{clients},INTERNAL://127.0.0.1:{internal},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=CLIENTS://127.0.0.1:{clients},INTERNAL://127.0.0.1:{internal}
listener.security.protocol.map=CLIENTS:SASL_SSL,INTERNAL:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=INTERNAL
listener.name.clients.sasl.enabled.mechanisms=SCRAM-SHA-512,PLAIN
listener.name.clients.scram-sha-512.sasl.jaas.config=org.apache.kafka.common.security.scram.ScramLoginModule required;
listener.name.clients.plain.sasl.jaas.config=org.apache.kafka.common.security.plain.PlainLoginModule required user_chat="password";
listener.name.clients.ssl.keystore.type=PEM
listener.name.clients.ssl.keystore.location={both}
listener.name.clients.ssl.truststore.type=PEM
listener.name.clients.ssl.truststore.location={ca}
listener.name.clients.ssl.client.auth=required
log.dirs={data}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
"#;

fn start(ground: &Ground, libs: &str, port: u16) -> Engine {
    let settings = ground.path("server.properties");
    let values = [
        ("{clients}", port.to_string()),
        ("{internal}", free_port().to_string()),
        ("{controller}", free_port().to_string()),
        ("{both}", ground.known.both.clone()),
        ("{ca}", ground.known.ca.clone()),
        ("{data}", ground.path("data")),
    ];
    let text = values.iter().fold(PROPERTIES.to_owned(), |text, (name, value)| text.replace(name, value));
    fs::write(&settings, text).unwrap();
    let (java, archives) = (program(&["java"]), format!("{libs}/*"));
    let jvm = ["-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", &archives];
    let format = ["kafka.tools.StorageTool", "format", "-t", "YmlndGVjaC1jaGF0LTAwMQ", "-c", &settings];
    let user = ["--add-scram", "SCRAM-SHA-512=[name=chat,password=password]"];
    ground.run(&java, &[&jvm[..], &format, &user].concat());
    ground.start(java, &[&jvm[..], &["kafka.Kafka", &settings]].concat())
}

fn config(port: u16, mechanism: &str, password: &str, ca: &Authority, own: Option<&Authority>) -> KafkaConfig {
    let login =
        KafkaLogin { mechanism: mechanism.into(), username: "chat".into(), password: password.to_owned().into() };
    let identity = own.map(|own| (own.certificate.clone(), own.key.clone()));
    let files = TlsFiles { ca: Some(ca.ca.clone()), identity };
    let security = KafkaSecurity { protocol: Protocol::SaslSsl, login: Some(login), files };
    KafkaConfig { security, ..kafka_at(&format!("127.0.0.1:{port}"), TopicNames::default()) }
}

#[tokio::test(flavor = "multi_thread")]
async fn kafka_is_reached_by_tls_with_a_certificate_and_a_login() {
    let Ok(libs) = std::env::var("KAFKA_LIBS") else { return skip("no Apache Kafka here") };
    let (ground, port) = (Ground::new(), free_port());
    let Ground { known, other, .. } = &ground;
    let _engine = start(&ground, &libs, port);
    for mechanism in ["SCRAM-SHA-512", "PLAIN"] {
        let config = config(port, mechanism, "password", known, Some(known));
        until("the broker creates topics", async || topics::create(&config, 1).await.is_ok()).await;
        publish(&producer(&config), "user.events.dlq", "1", mechanism).await;
        let letters = DeadLetters::of(&config, "user.events").list().await.unwrap();
        assert_eq!(letters.last().unwrap().payload, mechanism);
    }
    let refused = [
        ("SCRAM-SHA-512", "wrong", known, Some(known), "a wrong password"),
        ("PLAIN", "wrong", known, Some(known), "a wrong password"),
        ("PLAIN", "password", other, Some(known), "another authority of the broker"),
        ("PLAIN", "password", known, Some(other), "a certificate of another authority"),
        ("PLAIN", "password", known, None, "no certificate"),
    ];
    let refused =
        refused.map(|(mechanism, password, ca, own, what)| (config(port, mechanism, password, ca, own), what));
    let plain = (kafka_at(&format!("127.0.0.1:{port}"), TopicNames::default()), "plain");
    // At once, because the client tries until its timeout of ten seconds.
    join_all(refused.into_iter().chain([plain]).map(async |(config, what)| {
        assert!(DeadLetters::of(&config, "user.events").list().await.is_err(), "{what}");
    }))
    .await;
    let config = config(port, "PLAIN", "password", known, Some(known));
    assert!(DeadLetters::of(&config, "user.events").list().await.is_ok(), "the broker runs");
}
