//! In health no alert fires although each sees its series; of a service that is stopped somebody is told.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use regex::Regex;
use serde_json::Value;
use testkit::control;

use crate::life;
use crate::prometheus::{SCRAPED_WITHIN, ask, has_data};

/// Series that a healthy stack on one machine does not have, and why.
const ABSENT: [(&str, &str); 1] = [(
    "kafka_consumergroup_lag",
    "told by production's exporter; here Kafka tells of itself, and knows no group's lag",
)];

/// Words of the language that look like series.
const LANGUAGE: [&str; 12] =
    ["sum", "min", "max", "by", "or", "and", "rate", "absent", "max_over_time", "on", "job", "topic"];

/// `for: 1m`, a scrape and an evaluation before it, and Alertmanager's moment after it; twice that.
const FIRES_WITHIN: Duration = Duration::from_secs(240);

async fn rules() -> Vec<Value> {
    let groups = ask("PROMETHEUS_URL", "/api/v1/rules", &[]).await["data"]["groups"].take();
    let rules = groups.as_array().unwrap().iter().flat_map(|group| group["rules"].as_array().unwrap().clone());
    rules.collect()
}

/// The series that an expression names.
fn series(expression: &str) -> BTreeSet<String> {
    let strings_and_groupings = Regex::new(r#"\{[^}]*\}|\[[^\]]*\]|by \([^)]*\)"#).unwrap();
    let bare = strings_and_groupings.replace_all(expression, "");
    let words = Regex::new(r"[a-z_][a-z0-9_:]*").unwrap();
    words.find_iter(&bare).map(|word| word.as_str().to_owned()).filter(|word| !LANGUAGE.contains(&&**word)).collect()
}

async fn until<F: Future<Output = bool>>(what: &str, within: Duration, mut is_so: impl FnMut() -> F) -> Duration {
    let began = Instant::now();
    while !is_so().await {
        assert!(began.elapsed() < within, "{what}: not within {within:?}");
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    println!("{what}: after {:.0?}", began.elapsed());
    began.elapsed()
}

/// ServiceDown of friend-service, as Prometheus says it is.
async fn state() -> Option<String> {
    let alerts = ask("PROMETHEUS_URL", "/api/v1/alerts", &[]).await["data"]["alerts"].take();
    let found = alerts
        .as_array()?
        .iter()
        .find(|alert| alert["labels"]["alertname"] == "ServiceDown" && alert["labels"]["job"] == "friend-service");
    Some(found?["state"].as_str()?.to_owned())
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Prometheus: cargo stack test --observe"]
async fn every_alert_sees_its_series_and_none_fires_in_health() {
    let life = life::start();
    let rules = rules().await;
    let (alerts, records): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| rule["type"] == "alerting");
    assert!(alerts.len() >= 18 && records.len() >= 16, "{} and {}", alerts.len(), records.len());
    let named: BTreeSet<String> = alerts.iter().flat_map(|alert| series(alert["query"].as_str().unwrap())).collect();
    let absent = |name: &str| ABSENT.iter().any(|(absent, _)| *absent == name);

    for name in named.iter().filter(|name| !absent(name)) {
        until(&format!("{name} is there"), SCRAPED_WITHIN, || has_data(name)).await;
    }
    for name in records.iter().map(|record| record["name"].as_str().unwrap()) {
        until(&format!("{name} is recorded"), SCRAPED_WITHIN, || has_data(name)).await;
    }
    life.abort();

    for (name, reason) in ABSENT {
        assert!(named.contains(name) && !has_data(name).await, "{name} is there, although {reason}");
    }
    for rule in self::rules().await {
        assert_eq!(rule["health"], "ok", "{rule}");
        assert!(rule["type"] == "recording" || rule["state"] != "firing", "in health: {rule}");
    }
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes a service down: cargo stack test --observe"]
async fn of_a_service_that_is_stopped_the_pager_hears() {
    until("friend-service is watched", SCRAPED_WITHIN, || has_data(r#"up{job="friend-service"} == 1"#)).await;

    control("stop", "friend-service-1").await;
    until("ServiceDown is pending", FIRES_WITHIN, || async { state().await.as_deref() == Some("pending") }).await;
    until("ServiceDown fires", FIRES_WITHIN, || async { state().await.as_deref() == Some("firing") }).await;
    until("the pager hears of it", FIRES_WITHIN, || async {
        let alerts = ask("ALERTMANAGER_URL", "/api/v2/alerts", &[]).await;
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
    until("it is over", FIRES_WITHIN, || async { state().await.is_none() }).await;
}
