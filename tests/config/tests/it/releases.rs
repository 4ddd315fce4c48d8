//! A release: the files name one version, and the scripts that prepare it and print its notes.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use config_tests::{repository_path, text};
use regex::Regex;

/// The files that name the version of the workspace, and how.
const VERSIONED: [(&str, &str); 10] = [
    ("Cargo.toml", r#"(?m)^version = "(.+)"$"#),
    ("Cargo.lock", r#"name = "chat-service"\nversion = "(.+)""#),
    ("Cargo.lock", r#"name = "config-tests"\nversion = "(.+)""#),
    ("clients/python/pyproject.toml", r#"(?m)^version = "(.+)"$"#),
    ("clients/typescript/package.json", r#"(?m)^  "version": "(.+)""#),
    ("clients/typescript/package-lock.json", r#""name": "@bigtech-chat/client",\n +"version": "(.+)""#),
    ("docs/asyncapi.json", r#"(?m)^    "version": "(.+)""#),
    ("infrastructure/docker/Dockerfile", r"(?m)^ARG VERSION=(.+)$"),
    ("infrastructure/docker/web/openapi.json", r#"(?m)^    "version": "(.+)""#),
    ("k8s/chart/Chart.yaml", r"(?m)^(?:version|appVersion): (.+)$"),
];

/// A folder with copies of the files, which is deleted at the end of the test.
struct Checkout(PathBuf);

impl Checkout {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("bigtech-{name}-{}", std::process::id()));
        let scripts = [".github/prepare-release", ".github/release-notes", "CHANGELOG.md"];
        for file in VERSIONED.map(|(file, _)| file).iter().chain(&scripts) {
            let copy = folder.join(file);
            fs::create_dir_all(copy.parent().unwrap()).unwrap();
            fs::copy(repository_path(file), copy).unwrap();
        }
        Self(folder)
    }

    fn run(&self, script: &str, argument: &str) -> Output {
        Command::new(self.0.join(".github").join(script))
            .arg(argument)
            .env("TAG", format!("v{argument}"))
            .output()
            .unwrap()
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// Every version in the files of a folder, with the file.
fn versions(folder: &Path) -> Vec<(&'static str, String)> {
    let found = VERSIONED.iter().flat_map(|(file, pattern)| {
        let text = fs::read_to_string(folder.join(file)).unwrap();
        let versions: Vec<_> = Regex::new(pattern).unwrap().captures_iter(&text).map(|it| it[1].to_owned()).collect();
        assert!(!versions.is_empty(), "{file} has no version");
        versions.into_iter().map(move |version| (*file, version))
    });
    found.collect()
}

#[test]
fn all_files_name_the_version_of_the_workspace() {
    for (file, version) in versions(&repository_path(".")) {
        assert_eq!(version, env!("CARGO_PKG_VERSION"), "{file}");
    }
}

#[test]
fn a_prepared_release_has_its_version_in_all_files_and_its_changes_as_notes() {
    let checkout = Checkout::new("release");
    assert!(!checkout.run("release-notes", "98.7.6").status.success(), "the release is not prepared");

    let prepared = checkout.run("prepare-release", "98.7.6");

    assert!(prepared.status.success(), "{prepared:?}");
    assert!(versions(&checkout.0).iter().all(|(_, version)| version == "98.7.6"), "{:?}", versions(&checkout.0));
    let notes = checkout.run("release-notes", "98.7.6");
    assert!(notes.status.success(), "{notes:?}");
    let changelog = text("CHANGELOG.md");
    let changes = changelog.split_once("## [Unreleased]\n").unwrap().1.split("\n## ").next().unwrap();
    assert_eq!(String::from_utf8(notes.stdout).unwrap().trim(), changes.trim());

    assert!(!checkout.run("prepare-release", "98.7.7").status.success(), "no changes are unreleased");
    assert!(!checkout.run("prepare-release", "v98.7.7").status.success(), "no version");
}
