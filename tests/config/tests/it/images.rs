//! Images have the same version in all files, and are pinned by digest.

use std::collections::BTreeMap;

use config_tests::{Compose, Kubernetes, documents, images, text};
use regex::Regex;

const DOCKERFILE: &str = "infrastructure/docker/Dockerfile";

/// A reference to an image: `name:tag` or `name:tag@sha256:digest`.
#[derive(Clone)]
pub struct Image {
    file: &'static str,
    name: String,
    tag: String,
    digest: Option<String>,
}

impl Image {
    fn parse(file: &'static str, reference: &str) -> Self {
        let (tagged, digest) = reference.split_once('@').map_or((reference, None), |(tagged, it)| (tagged, Some(it)));
        let (name, tag) = tagged.rsplit_once(':').unwrap_or_else(|| panic!("{file}: {reference} has no tag"));
        Self { file, name: name.into(), tag: tag.into(), digest: digest.map(str::to_owned) }
    }

    /// The image as a deployment file names it.
    pub fn reference(&self) -> String {
        let Self { name, tag, .. } = self;
        self.digest.as_ref().map_or_else(|| format!("{name}:{tag}"), |digest| format!("{name}:{tag}@{digest}"))
    }

    pub fn is_ours(&self) -> bool {
        self.name.starts_with("bigtech-")
    }
}

/// The images of the deployment files and of the component `backup`.
pub fn deployed() -> Vec<Image> {
    let mut found = Vec::new();
    for file in ["docker-compose.msa.yml", "docker-compose.test.yml"] {
        found.extend(images(&Compose::read(file).file["services"]).iter().map(|image| Image::parse(file, image)));
    }
    let jobs = ["backup", "restore"].map(|name| documents(&format!("k8s/components/backup/{name}.yaml")));
    let objects = Kubernetes::read().objects.into_iter().chain(jobs.into_iter().flatten());
    found.extend(objects.flat_map(|object| images(&object)).map(|image| Image::parse("k8s", &image)));
    found
}

/// The images that the Dockerfile pulls: its frontend and the bases that are no stage of its own.
pub fn bases() -> Vec<Image> {
    let dockerfile = text(DOCKERFILE);
    let stages: Vec<_> = dockerfile.lines().filter_map(|line| line.split_once(" AS ")).map(|(_, name)| name).collect();
    let named = Regex::new(r"(?m)^(?:# syntax=|FROM )(\S+)").unwrap();
    let all = named.captures_iter(&dockerfile).map(|found| found[1].to_owned());
    all.filter(|name| !stages.contains(&name.as_str())).map(|image| Image::parse(DOCKERFILE, &image)).collect()
}

#[test]
fn every_image_has_the_same_tag_and_digest_in_all_files() {
    let mut known: BTreeMap<String, Image> = BTreeMap::new();
    for image in deployed() {
        let first = known.entry(image.name.clone()).or_insert_with(|| image.clone());
        let same = (&first.tag, &first.digest) == (&image.tag, &image.digest);
        assert!(same, "{} differs in {} and {}", image.name, first.file, image.file);
    }
}

#[test]
fn only_our_own_images_have_the_tag_latest() {
    let exact = Regex::new(r"^v?\d+\.\d+(\.\d+)?(-alpine)?$").unwrap();
    for image in deployed() {
        let Image { file, name, tag, .. } = &image;
        assert_eq!(tag == "latest", image.is_ours(), "{file}: {name}:{tag}");
        assert!(image.is_ours() || exact.is_match(tag), "{file}: {name}:{tag}");
    }
}

#[test]
fn digests_are_those_of_sha256() {
    let digest = Regex::new("^sha256:[0-9a-f]{64}$").unwrap();
    assert_eq!(bases().len(), 4, "the frontend, the builder, the page's server and the services' base");
    for image in deployed().into_iter().chain(bases()) {
        assert!(image.digest.is_none_or(|found| digest.is_match(&found)), "{}: {}", image.file, image.name);
    }
}

#[test]
fn containers_run_the_tested_version_of_kafka() {
    let pom = text("infrastructure/docker/kafka/pom.xml");
    let version = Regex::new("<kafka.version>(.+)</kafka.version>").unwrap().captures(&pom).unwrap()[1].to_owned();
    let kafka = deployed().into_iter().find(|image| image.name == "apache/kafka").unwrap();
    assert_eq!(kafka.tag, version);
}

#[test]
fn the_mysql_driver_supports_the_login_of_mysql_8() {
    let mysql = deployed().into_iter().find(|image| image.name == "mysql").unwrap();
    assert!(mysql.tag.starts_with("8."));
    let cargo = text("crates/engines/Cargo.toml");
    let sqlx = cargo.lines().find(|line| line.starts_with("sqlx = ")).unwrap();
    assert!(sqlx.contains("\"mysql-rsa\""), "caching_sha2_password without TLS needs RSA");
}
