//! Links in the documents lead to existing files and headings.

use config_tests::{repository_path, text};
use regex::Regex;

const DOCUMENTS: [&str; 28] = [
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "README.md",
    "README.ko.md",
    "SECURITY.md",
    "clients/python/README.md",
    "clients/typescript/README.md",
    "docs/architecture.md",
    "docs/asvs.md",
    "docs/benchmarks.md",
    "docs/decisions/attachments.md",
    "docs/decisions/commit-point.md",
    "docs/decisions/original-writes-again.md",
    "docs/decisions/read-receipts.md",
    "docs/errors.md",
    "docs/events.md",
    "docs/files.md",
    "docs/glossary.md",
    "docs/guarantees.md",
    "docs/metrics.md",
    "docs/onboarding.md",
    "docs/operations.md",
    "docs/scaling.md",
    "docs/security.md",
    "docs/streaming.md",
    "docs/threat-model.md",
    "k8s/README.md",
    "tests/load/README.md",
];

/// The anchors that GitHub creates for a document's headings.
fn anchors(document: &str) -> Vec<String> {
    let headings = document.lines().filter(|line| line.starts_with('#'));
    let titles = headings.map(|line| line.trim_start_matches('#').trim().to_lowercase());
    let linkable = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    titles.map(|title| title.chars().filter(linkable).collect::<String>().replace(' ', "-")).collect()
}

#[test]
fn links_between_documents_lead_to_existing_files_and_headings() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    let mut followed = 0;
    for document in DOCUMENTS {
        let content = text(document);
        let local = link.captures_iter(&content).map(|found| found[1].to_owned()).filter(|to| !to.contains("://"));
        for to in local {
            let (file, anchor) = to.split_once('#').unwrap_or((&to, ""));
            let folder = document.rsplit_once('/').map_or("", |(folder, _)| folder);
            let target = if file.is_empty() { document.to_owned() } else { format!("{folder}/{file}") };
            let target = target.trim_start_matches('/');
            assert!(repository_path(target).exists(), "{document} links to {to}");
            let exists = || anchors(&text(target)).contains(&anchor.to_owned());
            assert!(anchor.is_empty() || exists(), "{document} links to {to}");
            followed += 1;
        }
    }
    assert!(followed > 30, "only {followed} links found");
}
