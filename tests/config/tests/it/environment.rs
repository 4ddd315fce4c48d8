//! Every variable that is set is read, every one that is read is documented, and the values are taken.

use secrecy::ExposeSecret;
use std::collections::BTreeSet;

use config_tests::{Compose, Kubernetes, Program, Variables, text};

/// Read by the library that writes the log, and by no configuration of ours.
const OF_LIBRARIES: [&str; 1] = ["NO_COLOR"];

/// Read by the command `topics` alone.
const OF_TOPICS: &str = "KAFKA_REPLICATION";

const COMPOSE_FILES: [&str; 2] = ["docker-compose.msa.yml", "docker-compose.test.yml"];

fn in_kubernetes(program: &Program) -> Variables {
    let kubernetes = Kubernetes::read();
    kubernetes.environment(&kubernetes.pod(program.name())["containers"][0])
}

/// What each deployment tells a service.
fn told(program: &Program) -> Vec<(&'static str, Variables)> {
    let composed = COMPOSE_FILES.map(|file| (file, Compose::read(file).environment(program.name())));
    composed.into_iter().chain([("k8s", in_kubernetes(program))]).collect()
}

fn with_real_secrets(mut variables: Variables) -> Variables {
    for name in ["SECRET_KEY", "SERVICE_SECRET_KEY"] {
        variables.insert(name.into(), format!("a real secret of 32 bytes for {name}"));
    }
    variables
}

#[test]
fn no_service_is_told_what_it_does_not_read() {
    for program in Program::ALL {
        let reads = program.reads();
        for (file, variables) in told(&program) {
            let unread = |name: &&String| !reads.contains(*name) && !OF_LIBRARIES.contains(&name.as_str());
            let unread: Vec<_> = variables.keys().filter(unread).collect();
            assert!(unread.is_empty(), "{file}: {} does not read {unread:?}", program.name());
        }
    }
}

#[test]
fn the_services_start_with_what_the_compose_files_tell_them_and_nothing_to_warn_of() {
    for file in COMPOSE_FILES {
        let compose = Compose::read(file);
        for program in Program::ALL {
            let base = program.start(&compose.environment(program.name())).unwrap();
            assert!(base.debug, "{file} is for development");
            assert!(base.warnings().is_empty(), "{file}: {:?}", base.warnings());
            assert_eq!(base.port, program.service.port);
        }
    }
}

#[test]
fn the_services_start_with_what_the_manifests_tell_them_once_secrets_are_made() {
    for program in Program::ALL {
        let told = in_kubernetes(&program);
        let base = program.start(&with_real_secrets(told.clone())).unwrap();
        assert!(!base.debug && base.warnings().is_empty());
        let [user, password] = ["MYSQL_USER", "MYSQL_PASSWORD"].map(|name| &told[name]);
        assert_eq!(base.mysql_url.expose_secret(), format!("mysql://{user}:{password}@mysql:3306/{user}"));
        assert_eq!(base.redis_url.expose_secret(), "redis://redis:6379/0");
        assert_eq!(base.kafka.bootstrap.split(',').count(), 3);
    }
}

#[test]
fn the_placeholders_of_the_manifests_are_refused() {
    for program in Program::ALL {
        let told = in_kubernetes(&program);
        assert_eq!(program.start(&told).unwrap_err().variable, "SECRET_KEY");
        let mut half = with_real_secrets(told.clone());
        half.insert("SERVICE_SECRET_KEY".into(), told["SERVICE_SECRET_KEY"].clone());
        assert_eq!(program.start(&half).unwrap_err().variable, "SERVICE_SECRET_KEY");
    }
}

#[test]
fn the_step_that_creates_topics_starts_too() {
    let [user, ..] = Program::ALL;
    let kubernetes = Kubernetes::read();
    let composed = COMPOSE_FILES.map(|file| (file, Compose::read(file).environment("kafka-topics")));
    let job = with_real_secrets(kubernetes.environment(&kubernetes.pod("kafka-topics")["containers"][0]));
    let mut replications = Vec::new();
    for (file, mut variables) in composed.into_iter().chain([("k8s", job)]) {
        replications.push(variables.remove(OF_TOPICS).unwrap());
        let reads = user.reads();
        let is_read = |name: &String| reads.contains(name) || OF_LIBRARIES.contains(&name.as_str());
        assert!(variables.keys().all(is_read), "{file}: {variables:?}");
        user.start(&variables).unwrap();
    }
    assert_eq!(replications, ["3", "1", "3"], "as many copies as there are brokers");
}

#[test]
fn every_variable_that_is_read_is_documented_and_no_other() {
    let reads: BTreeSet<String> = Program::ALL.iter().flat_map(Program::reads).chain([OF_TOPICS.into()]).collect();
    assert_eq!(documented(), reads);
}

/// The first column of the table under "Configuration".
fn documented() -> BTreeSet<String> {
    let operations = text("docs/operations.md");
    let (_, section) = operations.split_once("\n## Configuration\n").expect("docs/operations.md has no Configuration");
    let section = section.split("\n## ").next().unwrap();
    let rows = section.lines().filter(|line| line.starts_with("| `"));
    let cells = rows.map(|row| row.split('|').nth(1).unwrap());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}
