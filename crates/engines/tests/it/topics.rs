//! The creation of the topics can be repeated and corrects their settings.

use std::time::Duration;

use engines::kafka::topics::{self, TOPICS};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, AlterConfig, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;

use crate::support::{kafka, until};

#[tokio::test]
async fn topics_have_the_settings_of_the_contract_also_after_a_change() {
    let kafka = kafka().await;
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", &kafka.bootstrap).create().unwrap();
    let topic = ResourceSpecifier::Topic(&kafka.topics.user_online_status);
    let changed = AlterConfig::new(topic).set("retention.ms", "1000").set("max.message.bytes", "200000");
    admin.alter_configs(&[changed], &AdminOptions::new()).await.unwrap()[0].as_ref().unwrap();
    let value = async |key: &str| {
        let described = admin.describe_configs(&[topic], &AdminOptions::new()).await.unwrap().remove(0).unwrap();
        described.get(key).unwrap().value.clone().unwrap()
    };
    until("the change", || async { value("retention.ms").await == "1000" }).await;

    topics::create(&kafka, 3).await.unwrap();

    until("the correction", || async { value("retention.ms").await == "3600000" }).await;
    assert_eq!(value("min.insync.replicas").await, "1", "the topic has one copy");
    assert_eq!(value("max.message.bytes").await, "200000", "an operator's own setting remains");
    let metadata = admin.inner().fetch_metadata(None, Duration::from_secs(10)).unwrap();
    for topic in &TOPICS {
        let name = topic.name_in(&kafka.topics);
        let made = metadata.topics().iter().find(|made| made.name() == name).unwrap();
        assert_eq!(made.partitions().len(), topic.partitions as usize, "{name}");
    }
}
