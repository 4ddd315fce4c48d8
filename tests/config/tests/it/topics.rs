//! The topics are the same in the code, the documents and the deployment files.

use std::collections::BTreeSet;
use std::time::Duration;

use config_tests::{Compose, Kubernetes, text};
use engines::kafka::topics::TOPICS;
use regex::Regex;

#[test]
fn the_events_document_lists_the_topics_with_partitions_and_retention() {
    let document = text("docs/events.md");
    let row = Regex::new(r"(?m)^\| `([a-z_.]+)` \| (\d+) \| (\d+) (hour|days) \|").unwrap();
    let listed: BTreeSet<_> = row
        .captures_iter(&document)
        .map(|row| {
            let unit = if &row[4] == "hour" { 3_600 } else { 86_400 };
            let retention = Duration::from_secs(row[3].parse::<u64>().unwrap() * unit);
            (row[1].to_owned(), row[2].parse::<i32>().unwrap(), retention)
        })
        .collect();
    let own = TOPICS.iter().filter(|topic| !topic.name.ends_with(".dlq"));
    let own: BTreeSet<_> = own.map(|topic| (topic.name.to_owned(), topic.partitions, topic.retention)).collect();
    assert_eq!(listed, own);
}

#[test]
fn no_deployment_renames_topics_or_lets_brokers_create_them() {
    let files = ["docker-compose.msa.yml", "docker-compose.test.yml"].map(Compose::read);
    let kubernetes = Kubernetes::read();
    let mut environments: Vec<_> =
        files.iter().flat_map(|file| file.services().into_iter().map(|name| file.environment(name))).collect();
    let containers = kubernetes.pods().into_iter().flat_map(|(_, pod)| pod["containers"].as_sequence().unwrap());
    environments.extend(containers.map(|container| kubernetes.environment(container)));
    for environment in &environments {
        assert!(!environment.keys().any(|name| name.starts_with("KAFKA_TOPIC_")), "{environment:?}");
    }
    let brokers = environments.iter().filter(|environment| environment.contains_key("KAFKA_NODE_ID"));
    let creation: Vec<_> = brokers.map(|broker| broker["KAFKA_AUTO_CREATE_TOPICS_ENABLE"].as_str()).collect();
    assert_eq!(creation, ["false"; 5]);
}
