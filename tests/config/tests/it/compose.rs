//! The ports, paths and names in the compose files exist.

use std::collections::{BTreeMap, BTreeSet};

use config_tests::{Compose, Program, names, repository_path, text, yaml};
use regex::Regex;

const MSA: &str = "docker-compose.msa.yml";
const TEST: &str = "docker-compose.test.yml";

/// The ports on which a container listens, by its name in the compose files.
fn listening_ports(name: &str) -> Vec<u16> {
    if let Some(program) = Program::ALL.iter().find(|program| program.name() == name) {
        return vec![program.service.port];
    }
    match name {
        "mysql" => vec![3306],
        "mongodb" => vec![27017],
        "redis" => vec![6379],
        "seaweedfs" => vec![8333, 9327],
        "kafka" => vec![9092, 9093, 29092],
        "kafka-1" => vec![9092, 9093, 19092],
        "kafka-2" => vec![9092, 9093, 19093],
        "kafka-3" => vec![9092, 9093, 19094],
        "web" | "kafka-ui" => vec![8080],
        "kong" => vec![8000, 8443, 8001, 8100],
        "prometheus" => vec![9090],
        "alertmanager" => vec![9093],
        "grafana" => vec![3000],
        "loki" => vec![3100],
        "alloy" => vec![12345],
        "jaeger" => vec![16686, 4317, 4318, 8888, 8889],
        "mysql-exporter" => vec![9104],
        "mongodb-exporter" => vec![9216],
        "redis-exporter" => vec![9121],
        "kafka-exporter" => vec![9308],
        _ => vec![],
    }
}

/// The addresses of these hosts in a text, as `host:port`.
fn addresses_in(text: &str, hosts: &[&str]) -> Vec<(String, u16)> {
    let address = Regex::new(r"\b([a-z][a-z0-9-]*):(\d{2,5})\b").unwrap();
    let found = address.captures_iter(text).map(|found| (found[1].to_owned(), found[2].parse().unwrap()));
    found.filter(|(host, _)| hosts.contains(&host.as_str())).collect()
}

#[test]
fn addresses_in_environments_and_commands_are_those_of_containers() {
    for file in [MSA, TEST] {
        let compose = Compose::read(file);
        let mut seen = 0;
        for name in compose.services() {
            let service = compose.service(name);
            let text = serde_yaml_ng::to_string(&(&service["environment"], &service["command"])).unwrap();
            for (host, port) in addresses_in(&text, &compose.services()) {
                assert!(listening_ports(&host).contains(&port), "{file}: {name} names {host}:{port}");
                seen += 1;
            }
        }
        assert!(seen > 10, "{file}: only {seen} addresses found");
    }
}

#[test]
fn published_ports_lead_to_listening_ports() {
    for file in [MSA, TEST] {
        let compose = Compose::read(file);
        let mut published = BTreeSet::new();
        for name in compose.services() {
            for (host, container) in compose.published(name) {
                assert!(listening_ports(name).contains(&container), "{file}: {name} does not listen on {container}");
                assert!(published.insert(host), "{file}: {host} is published twice");
            }
        }
    }
}

#[test]
fn both_stacks_publish_the_ports_of_the_guide_and_can_run_together() {
    let published = |file| {
        let compose = Compose::read(file);
        let services = compose.services();
        let ports = services.into_iter().flat_map(|name| {
            let container = compose.service(name)["container_name"].as_str().unwrap().to_owned();
            compose.published(name).into_keys().map(move |port| (port, container.clone()))
        });
        ports.collect::<BTreeMap<u16, String>>()
    };
    let (msa, test) = (published(MSA), published(TEST));
    let msa_names = [
        (80, "kong"),
        (443, "kong"),
        (8001, "kong"),
        (8005, "user-service"),
        (8003, "friend-service"),
        (8002, "chat-service"),
        (3306, "mysql"),
        (27017, "mongodb"),
        (6379, "redis"),
        (8333, "seaweedfs"),
        (19092, "kafka-1"),
        (19093, "kafka-2"),
        (19094, "kafka-3"),
        (8080, "kafka-ui"),
        (9090, "prometheus"),
        (9093, "alertmanager"),
        (3000, "grafana"),
        (3100, "loki"),
    ];
    for (port, name) in msa_names {
        assert_eq!(msa.get(&port), Some(&format!("bigtech-{name}")), "{port}");
    }
    let test_names = [
        (8015, "user-service"),
        (8013, "friend-service"),
        (8012, "chat-service"),
        (3307, "mysql"),
        (27018, "mongodb"),
        (6380, "redis"),
        (8334, "seaweedfs"),
        (29092, "kafka"),
    ];
    for (port, name) in test_names {
        assert_eq!(test.get(&port), Some(&format!("bigtech-{name}-test")), "{port}");
    }
    assert!(msa.keys().all(|port| !test.contains_key(port)), "both stacks can run together");
    assert_ne!(Compose::read(MSA).file["name"], Compose::read(TEST).file["name"]);
}

#[test]
fn mounts_dependencies_and_build_targets_exist() {
    for file in [MSA, TEST] {
        let compose = Compose::read(file);
        let volumes = names(&compose.file["volumes"]);
        for name in compose.services() {
            for mount in compose.mounts(name) {
                let exists = match mount.strip_prefix("./") {
                    Some(path) => repository_path(path).exists(),
                    None => volumes.contains(&mount) || mount == "/var/run/docker.sock",
                };
                assert!(exists, "{file}: {name} mounts {mount}");
            }
            for dependency in compose.dependencies(name) {
                assert!(compose.services().contains(&dependency), "{file}: {name} waits for {dependency}");
            }
            let built = &compose.service(name)["build"];
            if let Some(service) = built["args"]["SERVICE"].as_str() {
                assert_eq!(service, name);
            }
            if let Some(dockerfile) = built["dockerfile"].as_str() {
                assert!(text(dockerfile).contains(&format!(" AS {}\n", built["target"].as_str().unwrap())), "{name}");
            }
        }
    }
}

/// The containers whose images have no program for a health check.
const WITHOUT_HEALTHCHECK: [&str; 3] = ["jaeger", "mongodb-exporter", "redis-exporter"];

#[test]
fn every_container_has_a_memory_limit_and_a_health_check() {
    for file in [MSA, TEST] {
        let compose = Compose::read(file);
        for name in compose.services() {
            let service = compose.service(name);
            assert!(service["mem_limit"].is_string(), "{file}: {name} has no memory limit");
            let checked = service["healthcheck"].is_mapping();
            assert_ne!(checked, WITHOUT_HEALTHCHECK.contains(&name), "{file}: healthcheck of {name}");
            if file == MSA {
                assert!(service["restart"].is_string(), "{name} is not restarted");
            }
        }
    }
}

#[test]
fn the_gateway_depends_on_the_core_without_monitoring() {
    let compose = Compose::read(MSA);
    let (mut core, mut next) = (BTreeSet::new(), vec!["kong"]);
    while let Some(name) = next.pop() {
        if core.insert(name) {
            next.extend(compose.dependencies(name));
        }
    }
    let expected = [
        "chat-service",
        "friend-service",
        "kafka-1",
        "kafka-2",
        "kafka-3",
        "kafka-topics",
        "kong",
        "mongodb",
        "mysql",
        "redis",
        "seaweedfs",
        "user-service",
        "web",
    ];
    assert_eq!(core, expected.into());
}

#[test]
fn the_addresses_in_the_files_of_the_gateway_and_prometheus_exist() {
    let compose = Compose::read(MSA);
    for file in ["infrastructure/docker/kong/kong.yml", "infrastructure/docker/prometheus/prometheus.yml"] {
        let text = serde_yaml_ng::to_string(&yaml(file)).unwrap();
        let named = addresses_in(&text, &compose.services());
        assert!(named.len() >= 4, "{file} has only the addresses {named:?}");
        for (host, port) in named {
            assert!(listening_ports(&host).contains(&port), "{file} names {host}:{port}");
        }
    }
}
