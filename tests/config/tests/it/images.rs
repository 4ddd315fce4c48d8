//! Images have the same version in all files.

use std::collections::BTreeMap;

use config_tests::{Compose, Kubernetes, images, text};
use regex::Regex;

/// The images with the files that name them.
fn named_images() -> Vec<(&'static str, String)> {
    let mut images_by_file = Vec::new();
    for file in ["docker-compose.msa.yml", "docker-compose.test.yml"] {
        images_by_file.extend(images(&Compose::read(file).file["services"]).into_iter().map(|image| (file, image)));
    }
    images_by_file.extend(Kubernetes::read().objects.iter().flat_map(images).map(|image| ("k8s", image)));
    images_by_file
}

fn split(image: &str) -> (&str, &str) {
    image.rsplit_once(':').unwrap_or_else(|| panic!("{image} has no tag"))
}

#[test]
fn every_image_has_the_same_tag_in_all_files() {
    let mut tags: BTreeMap<String, (String, &str)> = BTreeMap::new();
    for (file, image) in named_images() {
        let (name, tag) = split(&image);
        let (expected, first) = tags.entry(name.into()).or_insert_with(|| (tag.into(), file));
        assert_eq!(expected, tag, "{name} in {first} and {file}");
    }
}

#[test]
fn only_our_own_images_have_the_tag_latest() {
    let exact = Regex::new(r"^v?\d+\.\d+(\.\d+)?(-alpine)?$").unwrap();
    for (file, image) in named_images() {
        let (name, tag) = split(&image);
        let ours = name.starts_with("bigtech-");
        assert_eq!(tag == "latest", ours, "{file}: {image}");
        assert!(ours || exact.is_match(tag), "{file}: {image}");
    }
}

#[test]
fn the_bases_of_our_own_images_are_pinned() {
    let dockerfile = text("infrastructure/docker/Dockerfile");
    let bases: Vec<_> = dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")).collect();
    let stages = ["chef", "plan", "build", "web", "service"];
    let foreign = bases.iter().map(|base| base.split(' ').next().unwrap()).filter(|base| !stages.contains(base));
    let foreign: Vec<_> = foreign.collect();
    assert_eq!(foreign.len(), 3, "{foreign:?}");
    for base in foreign {
        assert_ne!(split(base).1, "latest", "{base}");
    }
}

#[test]
fn containers_run_the_tested_version_of_kafka() {
    let pom = text("infrastructure/docker/kafka/pom.xml");
    let version = Regex::new("<kafka.version>(.+)</kafka.version>").unwrap().captures(&pom).unwrap()[1].to_owned();
    assert!(named_images().contains(&("docker-compose.msa.yml", format!("apache/kafka:{version}"))), "{version}");
}

#[test]
fn the_mysql_driver_supports_the_login_of_mysql_8() {
    let (_, image) = named_images().into_iter().find(|(_, image)| image.starts_with("mysql:")).unwrap();
    assert!(image.starts_with("mysql:8."));
    let cargo = text("crates/engines/Cargo.toml");
    let sqlx = cargo.lines().find(|line| line.starts_with("sqlx = ")).unwrap();
    assert!(sqlx.contains("\"mysql-rsa\""), "caching_sha2_password without TLS needs RSA");
}
