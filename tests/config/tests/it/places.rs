//! Ports, paths and names that the compose files refer to are there.

use std::collections::{BTreeMap, BTreeSet};

use config_tests::{Compose, Program, names, place, text, yaml};
use regex::Regex;

const MSA: &str = "docker-compose.msa.yml";
const TEST: &str = "docker-compose.test.yml";

/// Where a container listens, by its name in the compose files.
fn listens(name: &str) -> Vec<u16> {
    if let Some(program) = Program::ALL.iter().find(|program| program.name() == name) {
        return vec![program.service.port];
    }
    match name {
        "mysql" => vec![3306],
        "mongodb" => vec![27017],
        "redis" => vec![6379],
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

/// What a text names as `host:port` with a host of the stack.
fn places_in(text: &str, hosts: &[&str]) -> Vec<(String, u16)> {
    let place = Regex::new(r"\b([a-z][a-z0-9-]*):(\d{2,5})\b").unwrap();
    let found = place.captures_iter(text).map(|found| (found[1].to_owned(), found[2].parse().unwrap()));
    found.filter(|(host, _)| hosts.contains(&host.as_str())).collect()
}

#[test]
fn hosts_and_ports_in_environments_and_commands_are_those_of_containers() {
    for file in [MSA, TEST] {
        let compose = Compose::read(file);
        let mut seen = 0;
        for name in compose.services() {
            let service = compose.service(name);
            let said = serde_yaml_ng::to_string(&(&service["environment"], &service["command"])).unwrap();
            for (host, port) in places_in(&said, &compose.services()) {
                assert!(listens(&host).contains(&port), "{file}: {name} names {host}:{port}");
                seen += 1;
            }
        }
        assert!(seen > 10, "{file}: only {seen} places were found");
    }
}

#[test]
fn published_ports_lead_to_where_containers_listen() {
    for file in [MSA, TEST] {
        let compose = Compose::read(file);
        let mut taken = BTreeSet::new();
        for name in compose.services() {
            for (ours, theirs) in compose.published(name) {
                assert!(listens(name).contains(&theirs), "{file}: {name} does not listen on {theirs}");
                assert!(taken.insert(ours), "{file}: {ours} is published twice");
            }
        }
    }
}

#[test]
fn both_stacks_have_the_ports_that_the_guide_names_and_run_side_by_side() {
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
        (29092, "kafka"),
    ];
    for (port, name) in test_names {
        assert_eq!(test.get(&port), Some(&format!("bigtech-{name}-test")), "{port}");
    }
    assert!(msa.keys().all(|port| !test.contains_key(port)), "both stacks run at once");
    assert_ne!(Compose::read(MSA).file["name"], Compose::read(TEST).file["name"]);
}

#[test]
fn what_is_mounted_needed_and_built_is_there() {
    for file in [MSA, TEST] {
        let compose = Compose::read(file);
        let volumes = names(&compose.file["volumes"]);
        for name in compose.services() {
            for mount in compose.mounts(name) {
                let known = match mount.strip_prefix("./") {
                    Some(path) => place(path).exists(),
                    None => volumes.contains(&mount) || mount == "/var/run/docker.sock",
                };
                assert!(known, "{file}: {name} mounts {mount}");
            }
            for needed in compose.needs(name) {
                assert!(compose.services().contains(&needed), "{file}: {name} waits for {needed}");
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

/// In whose images there is nothing that could ask.
const WITHOUT_TOOLS: [&str; 3] = ["jaeger", "mongodb-exporter", "redis-exporter"];

#[test]
fn every_container_is_bounded_and_says_how_it_is() {
    for file in [MSA, TEST] {
        let compose = Compose::read(file);
        for name in compose.services() {
            let service = compose.service(name);
            assert!(service["mem_limit"].is_string(), "{file}: {name} may take all memory");
            let checked = service["healthcheck"].is_mapping();
            assert_ne!(checked, WITHOUT_TOOLS.contains(&name), "{file}: healthcheck of {name}");
            if file == MSA {
                assert!(service["restart"].is_string(), "{name} is not restarted");
            }
        }
    }
}

#[test]
fn the_gateway_alone_brings_up_the_core_and_no_monitoring() {
    let compose = Compose::read(MSA);
    let (mut core, mut next) = (BTreeSet::new(), vec!["kong"]);
    while let Some(name) = next.pop() {
        if core.insert(name) {
            next.extend(compose.needs(name));
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
        "user-service",
        "web",
    ];
    assert_eq!(core, expected.into());
}

#[test]
fn the_gateway_and_prometheus_find_what_they_name() {
    let compose = Compose::read(MSA);
    for file in ["infrastructure/docker/kong/kong.yml", "infrastructure/docker/prometheus/prometheus.yml"] {
        let said = serde_yaml_ng::to_string(&yaml(file)).unwrap();
        let named = places_in(&said, &compose.services());
        assert!(named.len() >= 4, "{file} names only {named:?}");
        for (host, port) in named {
            assert!(listens(&host).contains(&port), "{file} names {host}:{port}");
        }
    }
}
