//! The table of alerts for operators has the alerts of Prometheus.

use std::collections::BTreeSet;

use config_tests::{repository_path, text, yaml};

const RULES: &str = "infrastructure/docker/prometheus/rules";

/// The name, the severity and the runbook of an alert.
type Alert = [String; 3];

fn rules() -> BTreeSet<Alert> {
    let files = std::fs::read_dir(repository_path(RULES)).unwrap();
    let files = files.map(|file| yaml(&format!("{RULES}/{}", file.unwrap().file_name().to_str().unwrap())));
    let groups = files.flat_map(|file| file["groups"].as_sequence().unwrap().clone());
    let rules = groups.flat_map(|group| group["rules"].as_sequence().unwrap().clone());
    let alerts = rules.filter(|rule| rule["alert"].is_string()).map(|rule| {
        let runbook = &rule["annotations"]["runbook_url"];
        [&rule["alert"], &rule["labels"]["severity"], runbook].map(|value| value.as_str().unwrap().to_owned())
    });
    alerts.collect()
}

/// The rows of the table under "Alerts". A row can have several alerts, each with its severity.
fn documented() -> BTreeSet<Alert> {
    let operations = text("docs/operations.md");
    let (_, section) = operations.split_once("\n## Alerts\n").unwrap();
    let table = section.split("\n### ").next().unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| ")).skip(1);
    let alerts = rows.flat_map(|row| {
        let cells: Vec<&str> = row.trim_matches('|').split(" | ").map(str::trim).collect();
        let anchor = cells[3].split_once("](").unwrap().1.trim_end_matches(')');
        let runbook = format!("docs/operations.md{anchor}");
        let named = cells[0].split(", ").zip(cells[1].split(", "));
        named.map(|(name, severity)| [name, severity, runbook.as_str()].map(str::to_owned)).collect::<Vec<_>>()
    });
    alerts.collect()
}

#[test]
fn the_table_of_alerts_has_the_alerts_of_the_rules() {
    assert_eq!(documented(), rules());
}
