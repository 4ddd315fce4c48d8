//! Alerts: on a healthy stack every alert has its series and none fires; a stopped service fires ServiceDown.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use regex::Regex;
use serde_json::Value;
use testkit::control;

use crate::activity;
use crate::prometheus::{SCRAPE_DEADLINE, get, has_data};

/// The series that a healthy stack on one machine does not have, and the reason.
const ABSENT: [(&str, &str); 1] = [(
    "kafka_consumergroup_lag",
    "only the exporter in production measures it; here Kafka exports its own metrics, without the lag of groups",
)];

/// Words of PromQL that look like names of series.
const PROMQL_WORDS: [&str; 14] = [
    "sum",
    "min",
    "max",
    "by",
    "or",
    "and",
    "rate",
    "increase",
    "absent",
    "max_over_time",
    "time",
    "on",
    "job",
    "topic",
];

/// Twice the sum of a scrape, an evaluation, `for: 1m`, and the delay of Alertmanager.
const ALERT_DEADLINE: Duration = Duration::from_secs(240);

async fn rules() -> Vec<Value> {
    let groups = get("PROMETHEUS_URL", "/api/v1/rules", &[]).await["data"]["groups"].take();
    let rules = groups.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone());
    rules.collect()
}

/// The series that an expression names.
fn series(expression: &str) -> BTreeSet<String> {
    let strings_and_groupings = Regex::new(r#"\{[^}]*\}|\[[^\]]*\]|by \([^)]*\)"#).unwrap();
    let bare = strings_and_groupings.replace_all(expression, "");
    let words = Regex::new(r"[a-z_][a-z0-9_:]*").unwrap();
    words
        .find_iter(&bare)
        .map(|word| word.as_str().to_owned())
        .filter(|word| !PROMQL_WORDS.contains(&&**word))
        .collect()
}

/// Polls until `condition` holds. Panics at the deadline.
async fn wait_until<F: Future<Output = bool>>(what: &str, deadline: Duration, mut condition: impl FnMut() -> F) {
    let began = Instant::now();
    while !condition().await {
        assert!(began.elapsed() < deadline, "{what}: not within {deadline:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    println!("{what}: after {:.0?}", began.elapsed());
}

/// The state of the alert ServiceDown of friend-service in Prometheus.
async fn service_down() -> Option<String> {
    let alerts = get("PROMETHEUS_URL", "/api/v1/alerts", &[]).await["data"]["alerts"].take();
    let found = alerts
        .as_array()?
        .iter()
        .find(|alert| alert["labels"]["alertname"] == "ServiceDown" && alert["labels"]["job"] == "friend-service");
    Some(found?["state"].as_str()?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Prometheus: cargo stack test --observe"]
async fn every_alert_has_its_series_and_none_fires_on_a_healthy_stack() {
    let activity = activity::start();
    let rules = rules().await;
    let (alerts, records): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| rule["type"] == "alerting");
    assert!(alerts.len() >= 18 && records.len() >= 16, "{} and {}", alerts.len(), records.len());
    let named: BTreeSet<String> = alerts.iter().flat_map(|alert| series(alert["query"].as_str().unwrap())).collect();
    let absent = |name: &str| ABSENT.iter().any(|(absent, _)| *absent == name);

    for name in named.iter().filter(|name| !absent(name)) {
        wait_until(&format!("{name} exists"), SCRAPE_DEADLINE, || has_data(name)).await;
    }
    for name in records.iter().map(|record| record["name"].as_str().unwrap()) {
        wait_until(&format!("{name} is recorded"), SCRAPE_DEADLINE, || has_data(name)).await;
    }
    activity.abort();

    for (name, reason) in ABSENT {
        assert!(named.contains(name) && !has_data(name).await, "{name} exists, although {reason}");
    }
    for rule in self::rules().await {
        assert_eq!(rule["health"], "ok", "{rule}");
        assert!(rule["type"] == "recording" || rule["state"] != "firing", "on a healthy stack: {rule}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a service down: cargo stack test --observe"]
async fn a_stopped_service_alerts_the_pager() {
    wait_until("friend-service is scraped", SCRAPE_DEADLINE, || has_data(r#"up{job="friend-service"} == 1"#)).await;

    control("stop", "friend-service-1").await;
    wait_until("ServiceDown is pending", ALERT_DEADLINE, || async {
        service_down().await.as_deref() == Some("pending")
    })
    .await;
    wait_until("ServiceDown fires", ALERT_DEADLINE, || async { service_down().await.as_deref() == Some("firing") })
        .await;
    wait_until("the alert reaches the pager", ALERT_DEADLINE, || async {
        let alerts = get("ALERTMANAGER_URL", "/api/v2/alerts", &[]).await;
        alerts.as_array().unwrap().iter().any(|alert| {
            alert["labels"]["alertname"] == "ServiceDown"
                && alert["labels"]["job"] == "friend-service"
                && alert["status"]["state"] == "active"
                && alert["receivers"][0]["name"] == "pages"
                && alert["annotations"]["runbook_url"] == "docs/operations.md#servicedown"
        })
    })
    .await;

    control("start", "friend-service-1").await;
    wait_until("the alert is resolved", ALERT_DEADLINE, || async { service_down().await.is_none() }).await;
}
