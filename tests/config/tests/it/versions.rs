//! One file names the versions of all images, tools and actions.

use std::collections::BTreeSet;

use config_tests::{names, repository_path, strings, text, yaml};
use regex::Regex;
use serde_yaml_ng::Value;

use crate::images::{bases, deployed};

/// Each file and script that names versions of tools, and how it names them.
const PYTHON_TOOLS: [(&str, &str); 2] = [
    (".ci/configuration-tools", r"(?m)^ +([\w-]+==[\d.]+)"),
    ("tests/e2e/tests/hostile/requirements.txt", r"(?m)^(schemathesis==[\d.]+)"),
];
const GO_TOOLS: [(&str, &str); 1] = [(".ci/configuration-tools", r"(?m)^ +'?([\w.-]+/[\w./-]+@v[\d.]+)")];

fn versions() -> Value {
    yaml("infrastructure/versions.yaml")
}

/// The entries of a list.
fn listed(list: &str) -> BTreeSet<String> {
    strings(&versions()[list]).into_iter().map(str::to_owned).collect()
}

/// The first groups of all matches in the files.
fn named(files: &[(&str, &str)]) -> BTreeSet<String> {
    let matches = |(file, pattern): &(&str, &str)| {
        let found = Regex::new(pattern).unwrap();
        found.captures_iter(&text(file)).map(|it| it[1].to_owned()).collect::<Vec<_>>()
    };
    files.iter().flat_map(matches).collect()
}

/// The first match of a pattern, which has one group, in a file.
fn first(file: &str, pattern: &str) -> String {
    named(&[(file, pattern)]).pop_first().unwrap_or_else(|| panic!("{file} has no {pattern}"))
}

/// The scripts and the documents of the repository.
fn files_in(folders: &[&str], extension: Option<&str>) -> Vec<String> {
    let entries = folders
        .iter()
        .flat_map(|folder| std::fs::read_dir(repository_path(folder)).unwrap().map(move |it| (folder, it.unwrap())));
    let files = entries.filter(|(_, it)| it.file_type().unwrap().is_file());
    let names = files.map(|(folder, it)| format!("{folder}/{}", it.file_name().into_string().unwrap()));
    names.filter(|name| name.rsplit('/').next().unwrap().split_once('.').map(|(_, end)| end) == extension).collect()
}

#[test]
fn the_images_of_all_files_have_the_listed_versions() {
    let foreign = deployed().into_iter().chain(bases()).filter(|image| !image.is_ours());
    assert_eq!(foreign.map(|image| image.reference()).collect::<BTreeSet<_>>(), listed("images"));
}

#[test]
fn documents_name_no_other_version_of_an_image() {
    let images = listed("images");
    for file in files_in(&[".", "docs", "k8s", "tests/load"], Some("md")) {
        let document = text(&file);
        for image in &images {
            let (name, version) = image.split('@').next().unwrap().rsplit_once(':').unwrap();
            let tagged = Regex::new(&format!(r"\b{}:(v?\d+\.[\w.-]*\w)", regex::escape(name))).unwrap();
            for found in tagged.captures_iter(&document) {
                assert_eq!(&found[1], version, "{name} in {file}");
            }
        }
    }
}

#[test]
fn the_servers_of_the_mysql_operator_have_the_listed_version() {
    let version = first("k8s/examples/operators/stores/mysql.yaml", r"(?m)^  version: (\S+)$");
    assert!(listed("images").iter().any(|image| image.starts_with(&format!("mysql:{version}@"))), "{version}");
}

#[test]
fn scripts_install_the_listed_tools() {
    assert_eq!(named(&PYTHON_TOOLS), listed("python_tools"));

    let mut go = named(&GO_TOOLS);
    let exporter = "crates/devstack/src/observe/mongodb_exporter.rs";
    let constant = |name: &str| first(exporter, &format!(r#"const {name}: &str = "(.+)";"#));
    go.insert(format!("{}@{}", constant("MODULE"), constant("VERSION")));
    assert_eq!(go, listed("go_tools"));
    assert_eq!(first(".ci/configuration-tools", r"(?m)^go_version=(.+)$"), versions()["go"].as_str().unwrap());

    let installed = Regex::new(r"cargo-tool (cargo-\w+) (\d[\d.]+\d)\)").unwrap();
    let mut cargo = BTreeSet::new();
    for script in files_in(&[".ci", "tests/fuzz"], None) {
        cargo.extend(installed.captures_iter(&text(&script)).map(|it| format!("{}@{}", &it[1], &it[2])));
    }
    assert_eq!(cargo, listed("cargo_tools"));
}

#[test]
fn devstack_gets_the_listed_artifacts_from_maven() {
    let pom = "infrastructure/docker/kafka/pom.xml";
    let property = |name: &str| first(pom, &format!(r"<{name}\.version>(.+)</"));
    let mut maven = named(&[("crates/devstack/src/observe/jmx.rs", r#"const ARTIFACT: &str = "(.+)";"#)]);
    maven.insert(format!("org.apache.kafka:kafka_2.13:{}", property("kafka")));
    maven.insert(format!("org.apache.logging.log4j:log4j-slf4j-impl:{}", property("log4j")));
    assert_eq!(maven, listed("maven"));
}

#[test]
fn workflows_run_the_listed_actions() {
    let used = Regex::new(r"uses: ([\w./-]+)@[0-9a-f]{40} # (v[\d.]+)").unwrap();
    let mut actions = BTreeSet::new();
    for workflow in files_in(&[".github/workflows"], Some("yml")) {
        actions.extend(used.captures_iter(&text(&workflow)).map(|it| format!("{}@{}", &it[1], &it[2])));
    }
    assert_eq!(actions, listed("actions"));
}

#[test]
fn manifests_are_validated_for_the_supported_versions_of_kubernetes() {
    let versions = versions();
    let supported = strings(&versions["kubernetes"]);
    assert_eq!(first(".ci/configuration-tools", r"(?m)^kubernetes_versions=\((.+)\)$"), supported.join(" "));
    assert_eq!(first("k8s/README.md", r"Kubernetes (\d+\.\d+) or newer"), supported[0]);
    assert_eq!(first(".ci/api-server/go.mod", r"k8s\.io/kubernetes v(\d+\.\d+)"), supported[1]);
}

#[test]
fn an_image_without_a_digest_has_a_reason() {
    let images = listed("images");
    let without = images.iter().filter(|image| !image.contains('@'));
    let without: Vec<_> = without.map(|image| image.rsplit_once(':').unwrap().0).collect();
    let versions = versions();
    assert_eq!(without, names(&versions["without_digest"]));
    assert!(names(&versions["without_digest"]).iter().all(|it| versions["without_digest"][it].is_string()));
}
