//! Dashboards: every expression of every panel has data, except for known reasons.

use std::fs;
use std::time::Instant;

use serde_json::Value;

use crate::activity;
use crate::prometheus::{SCRAPE_DEADLINE, has_data};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infrastructure/docker/grafana/dashboards");

/// Parts of expressions without data on a healthy stack on one machine, and the reason.
const EMPTY: [(&str, &str); 2] = [
    ("kong", "the gateway of cargo stack reads kong.yml but has no status listener"),
    (
        "(kafka_consumergroup_lag)",
        "only the exporter in production measures it; here Kafka exports its own metrics, without the lag of groups",
    ),
];

/// The values of the dashboards' variables.
const VARIABLES: [(&str, &str); 4] =
    [("$__rate_interval", "1m"), ("$instance", ".*"), ("$service", ".*"), ("$topic", ".*")];

struct Panel {
    /// `Dashboard / Panel`.
    title: String,
    datasource: String,
    expression: String,
}

fn panels() -> Vec<Panel> {
    let mut panels = Vec::new();
    for file in fs::read_dir(FOLDER).unwrap().map(|file| file.unwrap().path()) {
        let dashboard: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let expression = target["expr"].as_str().unwrap().to_owned();
                let resolved = VARIABLES.iter().fold(expression, |text, (name, value)| text.replace(name, value));
                assert!(!resolved.contains('$'), "a variable without a value: {resolved}");
                panels.push(Panel {
                    title: format!("{} / {}", dashboard["title"].as_str().unwrap(), panel["title"].as_str().unwrap()),
                    datasource: target["datasource"]["uid"].as_str().unwrap().to_owned(),
                    expression: resolved,
                });
            }
        }
    }
    panels
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Prometheus: cargo stack test --observe"]
async fn every_panel_has_data() {
    let activity = activity::start();
    let (logs, graphs): (Vec<_>, Vec<_>) = panels().into_iter().partition(|panel| panel.datasource == "loki");
    assert!(graphs.len() > 150 && logs.len() >= 4, "{} and {}", graphs.len(), logs.len());

    let began = Instant::now();
    let mut empty = graphs.iter().collect::<Vec<_>>();
    while !empty.is_empty() && began.elapsed() < SCRAPE_DEADLINE {
        let mut still_empty = Vec::new();
        for panel in empty {
            if !has_data(&panel.expression).await {
                still_empty.push(panel);
            }
        }
        empty = still_empty;
        let known = empty.iter().filter(|panel| reason(panel).is_some()).count();
        if known == empty.len() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    }
    assert!(!activity.is_finished(), "the activity ended early: {:?}", activity.await);
    activity.abort();

    let unknown: Vec<_> = empty.iter().filter(|panel| reason(panel).is_none()).collect();
    for panel in &empty {
        println!("empty: {}: {} ({})", panel.title, panel.expression, reason(panel).unwrap_or("unknown reason"));
    }
    println!("{} expressions, {} with data after {:?}", graphs.len(), graphs.len() - empty.len(), began.elapsed());
    assert!(unknown.is_empty(), "{} panels have no data", unknown.len());
    for (part, reason) in EMPTY {
        assert!(empty.iter().any(|panel| panel.expression.contains(part)), "{part} has data, although {reason}");
    }
}

fn reason(panel: &Panel) -> Option<&'static str> {
    EMPTY.iter().find(|(part, _)| panel.expression.contains(part)).map(|(_, reason)| *reason)
}
