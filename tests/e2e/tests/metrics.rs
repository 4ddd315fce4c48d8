//! The comparison of docs/metrics.md with the metrics of the running services.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]

use std::collections::{BTreeMap, BTreeSet};

use e2e::Person;
use serde_json::json;
use testkit::{Client, eventually};

const DOCUMENT: &str = include_str!("../../../docs/metrics.md");

/// The labels that every series or every histogram has.
const COMMON_LABELS: [&str; 2] = ["service", "le"];

/// The description of a metric.
#[derive(Debug, Default, PartialEq, Eq)]
struct Metric {
    kind: String,
    labels: BTreeSet<String>,
    help: String,
}

type Metrics = BTreeMap<String, Metric>;

/// The metrics of a service in the document's table.
fn documented(service: &str) -> Metrics {
    let rows = DOCUMENT.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() == 6);
    let rows =
        rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().replace('`', "")).collect::<Vec<_>>());
    let of_service = rows.filter(|cells| cells[3] == "all" || cells[3].split(", ").any(|name| name == service));
    of_service
        .map(|cells| {
            let labels = cells[2].split(", ").map(str::to_owned).filter(|label| !label.is_empty());
            let metric = Metric { kind: cells[1].clone(), labels: labels.collect(), help: cells[4].clone() };
            (cells[0].clone(), metric)
        })
        .collect()
}

/// The metrics of a scrape, and every label with each of its values.
fn scraped(text: &str) -> (Metrics, Vec<(String, String)>) {
    let (mut metrics, mut values) = (Metrics::new(), Vec::new());
    for line in text.lines() {
        let mut words = line.splitn(4, ' ');
        match (words.next(), words.next(), words.next(), words.next()) {
            (Some("#"), Some("HELP"), Some(name), help) => {
                metrics.entry(name.into()).or_default().help = help.unwrap_or_default().into();
            }
            (Some("#"), Some("TYPE"), Some(name), Some(kind)) => {
                metrics.entry(name.into()).or_default().kind = kind.into();
            }
            _ => {
                let (series, labels) = line.split_once('{').expect("every series has the label service");
                let (labels, _) = labels.rsplit_once('}').unwrap();
                let pairs: Vec<(&str, &str)> =
                    labels.split("\",").filter_map(|pair| pair.trim_end_matches('"').split_once("=\"")).collect();
                assert!(pairs.iter().any(|(label, _)| *label == "service"), "{line}");
                let histogram = ["_bucket", "_sum", "_count"].iter().find_map(|end| series.strip_suffix(end));
                let name = histogram.filter(|name| metrics.contains_key(*name)).unwrap_or(series);
                let own = pairs.iter().filter(|(label, _)| !COMMON_LABELS.contains(label));
                metrics.get_mut(name).unwrap().labels.extend(own.map(|(label, _)| (*label).to_owned()));
                values.extend(pairs.iter().map(|(label, value)| ((*label).to_owned(), (*value).to_owned())));
            }
        }
    }
    (metrics, values)
}

/// Uses every feature that creates a series.
async fn use_all_features() {
    let (ann, bob) = (Person::sign_up("ann").await, Person::sign_up("bob").await);
    ann.befriend(&bob).await;
    bob.client.get("/api/friends/list").await.expect(200);
    let room = ann.room_with(&bob).await;
    ann.send_message(room, "안녕").await;
    ann.client.get(&format!("/api/users/search?query={}", bob.username)).await.expect(200);
    ann.client.post("/api/messages/read", json!({"room_id": room})).await.expect(200);
    ann.client.get(&format!("/api/no/such/path/{room}")).await;
}

#[tokio::test]
async fn the_services_have_the_documented_metrics_and_no_label_contains_an_id() {
    use_all_features().await;
    for (service, variable) in [("user", "USER_URL"), ("friend", "FRIEND_URL"), ("chat", "CHAT_URL")] {
        let client = Client::new(&std::env::var(variable).unwrap(), "");
        let documented = documented(service);
        assert!(documented.len() > 20, "the table has too few rows: {documented:?}");

        let scrape = async || scraped(&client.get("/metrics").await.text);
        // The lag is measured every 5 s, and its series exists after the first measurement.
        let is_complete = |metrics: &Metrics| documented.keys().all(|name| metrics.contains_key(name));
        eventually(&format!("{service}-service has all metrics"), || async {
            let (metrics, _) = scrape().await;
            is_complete(&metrics).then_some(())
        })
        .await;
        let (metrics, mut values) = scrape().await;

        for (name, metric) in &metrics {
            assert_eq!(Some(metric), documented.get(name), "{name} of {service}-service, and docs/metrics.md");
        }
        values.retain(|(label, _)| !["le", "partition", "status", "version"].contains(&&**label));
        for (label, value) in values {
            let mut parts = value.split(['/', '.', '_', '-']);
            assert!(!parts.any(|part| part.chars().any(|c| c.is_ascii_digit())), "{label}=\"{value}\"");
        }
    }
}
