//! The alerts of Prometheus: operators have a table of them, Kubernetes has a copy, and they fire under the limits that are
//! set.

use std::collections::{BTreeMap, BTreeSet};

use config_tests::{Compose, Kubernetes, Program, repository_path, text, yaml};
use regex::Regex;
use serde_yaml_ng::Value;

/// The rules of every deployment, and those on what only Kubernetes measures.
const FOLDERS: [&str; 2] = ["infrastructure/docker/prometheus/rules", "infrastructure/docker/prometheus/kubernetes"];

/// The name, the severity and the runbook of an alert.
type Alert = [String; 3];

/// The groups of rules in all files, by their names.
fn groups() -> BTreeMap<String, Value> {
    let files = FOLDERS.iter().flat_map(|folder| {
        let files = std::fs::read_dir(repository_path(folder)).unwrap();
        files.map(move |file| yaml(&format!("{folder}/{}", file.unwrap().file_name().to_str().unwrap())))
    });
    let groups = files.flat_map(|file| file["groups"].as_sequence().unwrap().clone());
    groups.map(|group| (group["name"].as_str().unwrap().to_owned(), group)).collect()
}

fn rules() -> BTreeSet<Alert> {
    let rules = groups().into_values().flat_map(|group| group["rules"].as_sequence().unwrap().clone());
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

#[test]
fn the_rules_in_kubernetes_are_those_of_all_files() {
    let copy = yaml("k8s/components/monitoring/prometheus-rule.yaml");
    let copies = copy["spec"]["groups"].as_sequence().unwrap();
    let copies: BTreeMap<_, _> =
        copies.iter().map(|group| (group["name"].as_str().unwrap().to_owned(), group.clone())).collect();
    assert_eq!(copies, groups(), "run k8s/render");
}

#[test]
fn the_dashboards_in_kubernetes_are_those_of_compose() {
    let source = "infrastructure/docker/grafana/dashboards";
    let kustomization = text("k8s/components/monitoring/kustomization.yaml");
    for file in std::fs::read_dir(repository_path(source)).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let copy = format!("dashboards/{name}");
        assert_eq!(
            text(&format!("k8s/components/monitoring/{copy}")),
            text(&format!("{source}/{name}")),
            "run k8s/render"
        );
        assert!(kustomization.contains(&copy), "{copy}");
    }
}

/// The value that an alert's expression compares with, as a product: `0.8 * 512 * 1024 * 1024`.
fn threshold(alert: &str) -> f64 {
    let group = &groups()["service-health"];
    let rules = group["rules"].as_sequence().unwrap();
    let expression = rules.iter().find(|rule| rule["alert"] == alert).unwrap()["expr"].as_str().unwrap();
    let product = expression.rsplit_once("> ").unwrap().1;
    product.split(" * ").map(|factor| factor.trim().parse::<f64>().unwrap()).product()
}

/// A quantity of Kubernetes or Docker: `500m` cores, `512Mi` or `512m` bytes.
fn quantity(text: &str, small: f64) -> f64 {
    let found = Regex::new(r"^(\d+)(m|Mi|g)?$").unwrap().captures(text).unwrap_or_else(|| panic!("{text}"));
    let unit = match found.get(2).map(|unit| unit.as_str()) {
        Some("m") => small,
        Some("Mi") => MIB,
        Some("g") => 1024.0 * MIB,
        _ => 1.0,
    };
    found[1].parse::<f64>().unwrap() * unit
}

const MIB: f64 = 1024.0 * 1024.0;

#[test]
fn alerts_on_memory_and_cpu_fire_under_the_limits_of_the_containers() {
    let kubernetes = Kubernetes::read();
    for program in Program::ALL {
        let limits = &kubernetes.pod(program.name())["containers"][0]["resources"]["limits"];
        assert!(threshold("HighCPUUsage") <= 0.8 * quantity(limits["cpu"].as_str().unwrap(), 0.001));
        let mut memory = vec![quantity(limits["memory"].as_str().unwrap(), 0.001)];
        for file in ["docker-compose.msa.yml", "docker-compose.test.yml"] {
            let compose = Compose::read(file);
            memory.push(quantity(compose.service(program.name())["mem_limit"].as_str().unwrap(), MIB));
        }
        assert!(memory.iter().all(|limit| threshold("HighMemoryUsage") <= 0.8 * limit), "{memory:?}");
    }
}
