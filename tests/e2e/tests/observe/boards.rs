//! Every expression of every panel finds data, or it is known why not.

use std::fs;
use std::time::Instant;

use serde_json::Value;

use crate::life;
use crate::prometheus::{SCRAPED_WITHIN, has_data};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../infrastructure/docker/grafana/dashboards");

/// What a healthy stack on one machine does not show, and why. Parts of expressions.
const EMPTY: [(&str, &str); 2] = [
    ("kong", "the gateway of cargo stack obeys kong.yml but has no status listener"),
    (
        "(kafka_consumergroup_lag)",
        "told by production's exporter; here Kafka tells of itself, and knows no group's lag",
    ),
];

/// What a viewer has chosen: everything, over a minute.
const CHOICES: [(&str, &str); 4] =
    [("$__rate_interval", "1m"), ("$instance", ".*"), ("$service", ".*"), ("$topic", ".*")];

struct Panel {
    /// `Board / Panel`.
    title: String,
    datasource: String,
    expression: String,
}

fn panels() -> Vec<Panel> {
    let mut panels = Vec::new();
    for file in fs::read_dir(FOLDER).unwrap().map(|file| file.unwrap().path()) {
        let board: Value = serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap();
        for panel in board["panels"].as_array().unwrap() {
            for target in panel["targets"].as_array().into_iter().flatten() {
                let expression = target["expr"].as_str().unwrap().to_owned();
                let chosen = CHOICES.iter().fold(expression, |text, (name, value)| text.replace(name, value));
                assert!(!chosen.contains('$'), "a variable that nobody chose: {chosen}");
                panels.push(Panel {
                    title: format!("{} / {}", board["title"].as_str().unwrap(), panel["title"].as_str().unwrap()),
                    datasource: target["datasource"]["uid"].as_str().unwrap().to_owned(),
                    expression: chosen,
                });
            }
        }
    }
    panels
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs Prometheus: cargo stack test --observe"]
async fn every_panel_shows_something() {
    let life = life::start();
    let (logs, graphs): (Vec<_>, Vec<_>) = panels().into_iter().partition(|panel| panel.datasource == "loki");
    assert!(graphs.len() > 150 && logs.len() >= 4, "{} and {}", graphs.len(), logs.len());

    let began = Instant::now();
    let mut dark = graphs.iter().collect::<Vec<_>>();
    while !dark.is_empty() && began.elapsed() < SCRAPED_WITHIN {
        let mut still = Vec::new();
        for panel in dark {
            if !has_data(&panel.expression).await {
                still.push(panel);
            }
        }
        dark = still;
        let known = dark.iter().filter(|panel| reason(panel).is_some()).count();
        if known == dark.len() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    }
    assert!(!life.is_finished(), "the people went on living: {:?}", life.await);
    life.abort();

    let unknown: Vec<_> = dark.iter().filter(|panel| reason(panel).is_none()).collect();
    for panel in &dark {
        println!("empty: {}: {} ({})", panel.title, panel.expression, reason(panel).unwrap_or("why?"));
    }
    println!("{} expressions, {} with data after {:?}", graphs.len(), graphs.len() - dark.len(), began.elapsed());
    assert!(unknown.is_empty(), "{} panels show nothing", unknown.len());
    for (part, reason) in EMPTY {
        assert!(dark.iter().any(|panel| panel.expression.contains(part)), "{part} has data, although {reason}");
    }
}

fn reason(panel: &Panel) -> Option<&'static str> {
    EMPTY.iter().find(|(part, _)| panel.expression.contains(part)).map(|(_, reason)| *reason)
}
