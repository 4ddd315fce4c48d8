//! The workflows of CI and delivery run pinned actions, and accept a vulnerability only with a reason.

use std::collections::{BTreeMap, BTreeSet};

use config_tests::{names, strings, text, yaml};
use regex::Regex;

const WORKFLOWS: [&str; 2] = [".github/workflows/ci.yml", ".github/workflows/cd.yml"];

#[test]
fn actions_are_pinned_by_commit_and_name_their_version() {
    let pinned = Regex::new(r"uses: ([\w./-]+)@([0-9a-f]{40}) # (v\d+\.\d+\.\d+)$").unwrap();
    let mut commits: BTreeMap<String, String> = BTreeMap::new();
    for file in WORKFLOWS {
        for line in text(file).lines().filter(|line| line.contains("uses:")) {
            let action = pinned.captures(line).unwrap_or_else(|| panic!("{file}: {line}"));
            let pin = format!("{} {}", &action[2], &action[3]);
            let first = commits.entry(action[1].into()).or_insert_with(|| pin.clone());
            assert_eq!(*first, pin, "{} in {file}", &action[1]);
        }
    }
    assert!(commits.len() > 9, "only {commits:?}");
}

#[test]
fn ci_tests_every_package_and_generated_requests_before_a_merge() {
    let ci = text(WORKFLOWS[0]);
    let tested = Regex::new(r"--package ([\w-]+)").unwrap();
    let tested: BTreeSet<_> = tested.captures_iter(&ci).map(|found| found[1].to_owned()).collect();
    let members = Regex::new(r#"(?m)^    "((?:crates|services|tests)/[\w-]+)",$"#).unwrap();
    let name = Regex::new(r#"(?m)^name = "([\w-]+)"$"#).unwrap();
    let workspace = text("Cargo.toml");
    let packages = members.captures_iter(&workspace).map(|member| text(&format!("{}/Cargo.toml", &member[1])));
    let packages: BTreeSet<_> = packages.map(|manifest| name.captures(&manifest).unwrap()[1].to_owned()).collect();
    assert_eq!(tested, packages);

    // Only the tests behind the real gateway wait for a merge.
    let workflow = yaml(WORKFLOWS[0]);
    let jobs = &workflow["jobs"];
    let after: Vec<_> = names(jobs).into_iter().filter(|job| !jobs[*job]["if"].is_null()).collect();
    assert_eq!(after, ["e2e-tests"]);
    let steps = jobs["hostile-input"]["steps"].as_sequence().unwrap();
    assert!(steps.iter().any(|step| step["run"].as_str().is_some_and(|run| run.ends_with(".ci/check-hostile-input"))));
}

#[test]
fn images_and_bills_of_materials_are_scanned_before_they_are_delivered() {
    let ci = yaml(WORKFLOWS[0]);
    let steps = ci["jobs"]["build"]["steps"].as_sequence().unwrap();
    let scans = steps.iter().filter(|step| step["uses"].as_str().is_some_and(|uses| uses.starts_with("anchore/scan")));
    let scans: Vec<_> = scans.map(|step| &step["with"]).collect();
    assert_eq!(scans.len(), 2);
    assert!(scans.iter().all(|with| with["severity-cutoff"] == "high" && with["fail-build"] == true));
    assert!(scans.iter().any(|with| with["image"].is_string()) && scans.iter().any(|with| with["sbom"].is_string()));
}

#[test]
fn an_accepted_vulnerability_has_one_package_and_a_reason() {
    for accepted in yaml(".grype.yaml")["ignore"].as_sequence().unwrap() {
        for field in [&accepted["vulnerability"], &accepted["package"]["name"], &accepted["reason"]] {
            assert!(field.as_str().is_some_and(|it| !it.is_empty()), "{accepted:?}");
        }
    }
}

#[test]
fn deployed_images_were_signed_by_the_workflow_that_delivers_them() {
    let delivery = text(WORKFLOWS[1]);
    for step in ["cosign sign --yes", "cosign attest --yes --type cyclonedx", "actions/attest-build-provenance@"] {
        assert!(delivery.contains(step), "{step}");
    }
    let deploy = text(".github/deploy");
    let verified = deploy.find("cosign verify").unwrap();
    assert!(verified < deploy.find("kustomize edit set image").unwrap());
    assert!(deploy.contains(r#""bigtech-$image=$name@$digest""#), "a tag can move");
}

#[test]
fn deployments_get_the_tested_digests_and_a_release_builds_nothing() {
    let delivery = yaml(WORKFLOWS[1]);
    let jobs = &delivery["jobs"];
    for (job, step) in [("build-and-push", "digest"), ("promote", "promote")] {
        let images = &jobs["build-and-push"]["strategy"]["matrix"]["include"];
        for image in images.as_sequence().unwrap().iter().map(|it| it["image"].as_str().unwrap()) {
            assert_eq!(jobs[job]["outputs"][image], format!("${{{{ steps.{step}.outputs.{image} }}}}").as_str());
        }
    }
    // Images are signed after their tests, and only signed images are promoted and deployed.
    for (job, after) in [
        ("test-images", "build-and-push"),
        ("sign", "test-images"),
        ("deploy-staging", "sign"),
        ("deploy-production", "promote"),
    ] {
        assert!(strings(&jobs[job]["needs"]).contains(&after), "{job} runs without {after}");
    }
    for (job, source) in [("deploy-staging", "build-and-push"), ("deploy-production", "promote")] {
        assert_eq!(jobs[job]["env"]["DIGESTS"], format!("${{{{ toJSON(needs.{source}.outputs) }}}}").as_str());
        assert!(jobs[job]["env"]["SIGNER"].as_str().unwrap().ends_with("/cd.yml@refs/heads/main"));
    }
    assert_eq!(jobs["promote"]["if"], "github.event_name == 'push'");
    assert!(jobs["promote"]["needs"].is_null(), "a tag builds nothing");
    let promote = text(".github/promote");
    assert!(promote.find("cosign verify").unwrap() < promote.find("imagetools create").unwrap());
    assert!(!promote.contains("docker build "), "a tag builds nothing");
    let deploy = text(".github/deploy");
    assert!(!deploy.contains("COMMIT") && !deploy.contains("imagetools"), "a tag can move");
}
