//! Environment variables: every set one is read, every read one is documented, and the values are valid.

use platform::config::{KafkaConfig, PLACEHOLDER, PUBLIC_PASSWORDS};
use secrecy::ExposeSecret;
use std::collections::BTreeSet;
use std::process::Command;

use common::config::Env;
use config_tests::{Compose, Kubernetes, Program, Variables, names, repository_path, strings, text};

/// Variables that a library reads, not our configuration.
const LIBRARY_VARIABLES: [&str; 1] = ["NO_COLOR"];

/// The variable that only the command `topics` reads.
const TOPICS_VARIABLE: &str = "KAFKA_REPLICATION";

/// The passwords of stores in the manifests.
const PASSWORDS: [&str; 2] = ["MYSQL_PASSWORD", "MONGODB_PASSWORD"];

const COMPOSE_FILES: [&str; 2] = ["docker-compose.msa.yml", "docker-compose.test.yml"];

fn in_kubernetes(program: &Program) -> Variables {
    let kubernetes = Kubernetes::read();
    kubernetes.environment(&kubernetes.pod(program.name())["containers"][0])
}

/// The variables that each deployment sets for a service.
fn deployed(program: &Program) -> Vec<(&'static str, Variables)> {
    let composed = COMPOSE_FILES.map(|file| (file, Compose::read(file).environment(program.name())));
    composed.into_iter().chain([("k8s", in_kubernetes(program))]).collect()
}

/// The variables with what an operator has to set: real secrets and the network of the pods.
fn completed(mut variables: Variables) -> Variables {
    variables.insert("TRUSTED_PROXIES".into(), "10.244.0.0/16".into());
    for name in ["SECRET_KEY", "SERVICE_SECRET_KEY", "MFA_SECRET_KEY"] {
        variables.insert(name.into(), format!("a real secret of 32 bytes for {name}"));
    }
    for name in PASSWORDS {
        variables.entry(name.into()).and_modify(|password| *password = "a-real-password".into());
    }
    variables
}

#[test]
fn deployments_set_only_variables_that_the_service_reads() {
    // All three services share one ConfigMap, so one of them has to read each of its variables.
    let kubernetes = Kubernetes::read();
    let shared = names(&kubernetes.get("ConfigMap", "bigtech-chat-config")["data"]);
    let by_any: BTreeSet<String> = Program::ALL.iter().flat_map(Program::reads).collect();
    assert!(shared.iter().all(|name| by_any.contains(*name)), "{shared:?}");
    for program in Program::ALL {
        let reads = program.reads();
        for (file, variables) in deployed(&program) {
            let is_shared = |name: &str| file == "k8s" && shared.contains(&name);
            let is_known = |name: &str| LIBRARY_VARIABLES.contains(&name) || is_shared(name);
            let unread: Vec<_> = variables.keys().filter(|name| !reads.contains(*name) && !is_known(name)).collect();
            assert!(unread.is_empty(), "{file}: {} does not read {unread:?}", program.name());
        }
    }
}

#[test]
fn the_variables_of_the_compose_files_are_valid_without_warnings() {
    for file in COMPOSE_FILES {
        let compose = Compose::read(file);
        for program in Program::ALL {
            let base = program.configure(&compose.environment(program.name())).unwrap();
            assert!(base.debug, "{file} is for development");
            assert!(base.warnings().is_empty(), "{file}: {:?}", base.warnings());
            assert_eq!(base.port, program.service.port);
        }
    }
}

#[test]
fn the_variables_of_the_manifests_are_valid_with_real_secrets() {
    for program in Program::ALL {
        let variables = completed(in_kubernetes(&program));
        let base = program.configure(&variables).unwrap();
        assert!(!base.debug && base.warnings().is_empty());
        let [user, password] = ["MYSQL_USER", "MYSQL_PASSWORD"].map(|name| &variables[name]);
        assert_eq!(base.mysql_url.expose_secret(), format!("mysql://{user}:{password}@mysql:3306/{user}"));
        assert_eq!(base.redis_url.expose_secret(), "redis://redis:6379/0");
        assert_eq!(base.kafka.bootstrap.split(',').count(), 3);
    }
}

#[test]
fn the_placeholders_of_the_manifests_are_refused() {
    for program in Program::ALL {
        let variables = in_kubernetes(&program);
        assert_eq!(program.configure(&variables).unwrap_err().variable, "SECRET_KEY");
        let mut partly = completed(variables.clone());
        partly.insert("SERVICE_SECRET_KEY".into(), variables["SERVICE_SECRET_KEY"].clone());
        assert_eq!(program.configure(&partly).unwrap_err().variable, "SERVICE_SECRET_KEY");
        if let Some(key) = variables.get("MFA_SECRET_KEY") {
            let mut partly = completed(variables.clone());
            partly.insert("MFA_SECRET_KEY".into(), key.clone());
            assert_eq!(program.configure(&partly).unwrap_err().variable, "MFA_SECRET_KEY");
        }
        for name in PASSWORDS.into_iter().filter(|name| variables.contains_key(*name)) {
            let mut partly = completed(variables.clone());
            partly.insert(name.into(), variables[name].clone());
            assert_eq!(program.configure(&partly).unwrap_err().variable, name);
        }
    }
}

/// The exit status and the errors of the script that starts a store in its pod, with real secrets but for one variable.
fn starts(store: &str, change: (&str, &str)) -> (Option<i32>, String) {
    let kubernetes = Kubernetes::read();
    let container = &kubernetes.pod(store)["containers"][0];
    let script = strings(&container["command"])[1].replace("/etc/bigtech", &format!("infrastructure/docker/{store}"));
    let mut variables = kubernetes.environment(container);
    for value in variables.values_mut().filter(|value| value.as_str() == PLACEHOLDER) {
        *value = "a-real-password".into();
    }
    variables.insert(change.0.into(), change.1.into());
    let mut program = Command::new("/bin/bash");
    let ended =
        program.arg(repository_path(&script)).env_clear().envs(variables).env("PATH", "/nowhere").output().unwrap();
    (ended.status.code(), String::from_utf8(ended.stderr).unwrap())
}

#[test]
fn kong_and_the_services_trust_the_same_proxies_which_an_operator_has_to_name() {
    let kubernetes = Kubernetes::read();
    let kong = kubernetes.environment(&kubernetes.pod("kong")["containers"][0]);
    for program in Program::ALL {
        let variables = in_kubernetes(&program);
        assert_eq!(kong["KONG_TRUSTED_IPS"], variables["TRUSTED_PROXIES"]);
        let mut partly = completed(variables.clone());
        partly.insert("TRUSTED_PROXIES".into(), variables["TRUSTED_PROXIES"].clone());
        assert_eq!(program.configure(&partly).unwrap_err().variable, "TRUSTED_PROXIES");
    }
}

#[test]
fn the_stores_start_with_no_placeholder_of_their_secrets() {
    let kubernetes = Kubernetes::read();
    let mut refused = 0;
    for store in ["mysql", "mongodb", "seaweedfs"] {
        // Without a placeholder the script goes on to a program that does not exist here.
        assert_eq!(starts(store, ("UNUSED", "")).0, Some(127), "{store}");
        for variable in kubernetes.pod(store)["containers"][0]["env"].as_sequence().unwrap() {
            if variable["valueFrom"]["secretKeyRef"].is_null() {
                continue;
            }
            let name = variable["name"].as_str().unwrap();
            let (status, reason) = starts(store, (name, PLACEHOLDER));
            assert!(
                status == Some(1) && reason.starts_with(&format!("{name} is the placeholder")),
                "{store}: {reason}"
            );
            refused += 1;
        }
    }
    assert_eq!(refused, 10);
}

#[test]
fn the_manifests_work_without_the_secret_of_access_tokens_once_another_key_signs() {
    let kubernetes = Kubernetes::read();
    for program in Program::ALL {
        let variables = kubernetes.pod(program.name())["containers"][0]["env"].as_sequence().unwrap();
        let secret = variables.iter().find(|variable| variable["name"] == "SECRET_KEY").unwrap();
        assert_eq!(secret["valueFrom"]["secretKeyRef"]["optional"], true, "{}", program.name());

        let mut without = completed(in_kubernetes(&program));
        without.remove("SECRET_KEY");
        assert_eq!(program.configure(&without).unwrap_err().to_string(), "SECRET_KEY: is required and not set");
        without.extend([("ALGORITHM".into(), "EdDSA".into()), ("JWT_PRIVATE_KEY".into(), testkit::private_key(1))]);
        program.configure(&without).unwrap();
    }
}

#[test]
fn production_refuses_or_reports_every_password_of_a_store_in_the_deployment_files() {
    let kubernetes = Kubernetes::read();
    let secrets = kubernetes.get("Secret", "bigtech-chat-secrets")["stringData"].as_mapping().unwrap();
    let secrets =
        secrets.iter().map(|(name, value)| (name.as_str().unwrap().to_owned(), value.as_str().unwrap().to_owned()));
    let composed = COMPOSE_FILES.map(Compose::read);
    let composed = composed.iter().flat_map(|file| ["mysql", "mongodb"].map(|store| file.environment(store)));
    let passwords = composed.flatten().chain(secrets).filter(|(name, _)| name.ends_with("_PASSWORD"));
    let found: BTreeSet<_> = passwords.map(|(_, password)| password).collect();
    let known = PUBLIC_PASSWORDS.into_iter().chain([PLACEHOLDER]).map(str::to_owned).collect();
    assert_eq!(found, known);
}

#[test]
fn the_variables_of_the_step_that_creates_topics_are_valid() {
    let [user, ..] = Program::ALL;
    let kubernetes = Kubernetes::read();
    let composed = COMPOSE_FILES.map(|file| (file, Compose::read(file).environment("kafka-topics")));
    let job = kubernetes.environment(&kubernetes.pod("kafka-topics")["containers"][0]);
    assert!(!job.contains_key("SECRET_KEY") && !job.contains_key("MYSQL_URL"), "the step needs Kafka only");
    let mut replications = Vec::new();
    for (file, mut variables) in composed.into_iter().chain([("k8s", job)]) {
        replications.push(variables.remove(TOPICS_VARIABLE).unwrap());
        let reads = user.reads();
        let is_read = |name: &String| reads.contains(name) || LIBRARY_VARIABLES.contains(&name.as_str());
        assert!(variables.keys().all(is_read), "{file}: {variables:?}");
        let kafka = KafkaConfig::read(&Env::of(variables), user.name()).unwrap();
        assert_ne!(kafka.bootstrap, "localhost:9092", "{file}");
    }
    assert_eq!(replications, ["3", "1", "3"], "one replica on each broker");
}

#[test]
fn the_documented_variables_are_those_that_are_read() {
    let reads: BTreeSet<String> =
        Program::ALL.iter().flat_map(Program::reads).chain([TOPICS_VARIABLE.into()]).collect();
    assert_eq!(documented(), reads);
}

/// The variables in the first column of the table under "Configuration".
fn documented() -> BTreeSet<String> {
    let operations = text("docs/operations.md");
    let (_, section) = operations.split_once("\n## Configuration\n").expect("docs/operations.md has no Configuration");
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').nth(1).unwrap());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}
