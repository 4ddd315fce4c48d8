//! The documents about security and the guarantees name existing tests and files. Every requirement of OWASP's ASVS has an answer.

use std::collections::BTreeSet;
use std::path::Path;

use config_tests::{repository_path, text};
use regex::Regex;

const DOCUMENTS: [&str; 4] = ["docs/asvs.md", "docs/guarantees.md", "docs/security.md", "docs/threat-model.md"];

/// The requirements of levels 1 and 2 in ASVS 5.0.0, counted in the standard.
const REQUIREMENTS: [(&str, usize); 2] = [("1", 70), ("2", 183)];

const ANSWERS: [&str; 4] = ["met", "not applicable", "operator", "missing"];

/// A row of docs/asvs.md.
struct Row {
    id: String,
    level: String,
    answer: String,
    reason: String,
}

fn rows() -> Vec<Row> {
    let document = text("docs/asvs.md");
    let rows = document.lines().filter(|line| line.starts_with("| v5.0.0-"));
    let cells = rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>());
    let row = |cells: Vec<String>| match <[String; 5]>::try_from(cells) {
        Ok([id, level, _, answer, reason]) => Row { id, level, answer, reason },
        Err(cells) => panic!("not five cells: {cells:?}"),
    };
    cells.map(row).collect()
}

/// The texts in backticks.
fn quoted(text: &str) -> Vec<String> {
    Regex::new("`([^`\n]+)`").unwrap().captures_iter(text).map(|found| found[1].to_owned()).collect()
}

/// Whether a quoted text has the form of a test's name: four words or more. Names of metrics end with their unit.
fn is_test(quoted: &str) -> bool {
    let words = Regex::new("^[a-z0-9]+(_[a-z0-9]+){3,}$").unwrap().is_match(quoted);
    words && !["_total", "_seconds"].iter().any(|unit| quoted.ends_with(unit))
}

/// Whether a quoted text has the form of a file's path in the repository.
fn is_file(quoted: &str) -> bool {
    let folders = ["crates/", "services/", "tests/", "infrastructure/", "docs/", "k8s/", ".github/", ".ci/"];
    let in_root = ["Cargo.toml", "deny.toml", "SECURITY.md", ".dockerignore", ".grype.yaml"];
    folders.iter().any(|folder| quoted.starts_with(folder)) || in_root.contains(&quoted)
}

/// The names of all tests.
fn tests() -> BTreeSet<String> {
    let test = r"#\[(?:tokio::)?test(?:\(.*\))?\]\s+(?:(?:#\[.*\]|//.*)\s+)*(?:async )?fn ([a-z0-9_]+)\(";
    let test = Regex::new(test).unwrap();
    let mut sources = Vec::new();
    for folder in ["crates", "services", "tests"] {
        collect(&repository_path(folder), &mut sources);
    }
    sources.iter().flat_map(|source| test.captures_iter(source)).map(|found| found[1].to_owned()).collect()
}

fn collect(folder: &Path, sources: &mut Vec<String>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|it| it == "rs") {
            sources.push(std::fs::read_to_string(path).unwrap());
        }
    }
}

#[test]
fn the_named_tests_and_files_exist() {
    let tests = tests();
    let mut found = 0;
    for document in DOCUMENTS {
        for name in quoted(&text(document)) {
            assert!(!is_test(&name) || tests.contains(&name), "{document} names the test {name}");
            assert!(!is_file(&name) || repository_path(&name).exists(), "{document} names the file {name}");
            found += usize::from(is_test(&name));
        }
    }
    assert!(found > 100, "only {found} tests are named");
}

#[test]
fn every_requirement_of_levels_1_and_2_has_one_answer_with_its_reason() {
    let number = |id: &str| -> Vec<u32> {
        id.strip_prefix("v5.0.0-").unwrap().split('.').map(|part| part.parse().unwrap()).collect()
    };
    let rows = rows();
    for (level, count) in REQUIREMENTS {
        assert_eq!(rows.iter().filter(|row| row.level == level).count(), count, "level {level}");
    }
    assert!(rows.windows(2).all(|pair| number(&pair[0].id) < number(&pair[1].id)), "not sorted, or not unique");
    let chapters: BTreeSet<u32> = rows.iter().map(|row| number(&row.id)[0]).collect();
    assert_eq!(chapters, (1..=17).collect());
    for Row { id, answer, reason, .. } in &rows {
        assert!(ANSWERS.contains(&answer.as_str()), "{id}: {answer}");
        assert!(!reason.is_empty(), "{id}");
        let shown = quoted(reason).iter().any(|name| is_test(name) || is_file(name));
        assert!(shown || answer != "met", "{id} is met, but no test or file shows it");
        assert!(reason.contains(".md#") || answer != "operator", "{id} does not say where the duty is described");
    }
}
