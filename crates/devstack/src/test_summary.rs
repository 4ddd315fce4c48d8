//! The summary of a test run, read from the output of `cargo test`.

use std::collections::BTreeMap;
use std::path::Path;

use regex::Regex;

use crate::build::Executable;
use crate::terminal::without_escapes;

/// The line with which a test program sums up its tests.
const RESULT: &str = r"^test result: \w+\. (?<passed>\d+) passed; (?<failed>\d+) failed; (?<ignored>\d+) ignored; .*?(?:finished in (?<seconds>[\d.]+)s)?$";

pub struct TestSummary {
    /// Names of test programs by the file names of their executables.
    names: BTreeMap<String, String>,
    result: Option<Regex>,
    programs: Vec<Program>,
    /// The beginning of a line whose end has not arrived.
    rest: Vec<u8>,
}

#[derive(Default)]
struct Program {
    name: String,
    passed: usize,
    failed: usize,
    ignored: usize,
    seconds: f64,
    has_result: bool,
    /// Names of failed tests; between the line `failures:` and the result, its last list.
    failures: Vec<String>,
    in_failures: bool,
    /// Tests that the program ignored, with the reasons.
    ignored_tests: Vec<String>,
    /// Reasons of tests that ran and printed that they are skipped; libtest counts these tests as passed.
    skip_notes: Vec<String>,
}

impl TestSummary {
    pub fn new(executables: &[Executable]) -> Self {
        let names = executables.iter().filter_map(|executable| {
            let name = format!("{} {}", executable.package(), executable.target.name);
            Some((file_name(&executable.path)?, name))
        });
        Self { names: names.collect(), result: Regex::new(RESULT).ok(), programs: Vec::new(), rest: Vec::new() }
    }

    /// Reads a piece of the output, which may begin and end within a line.
    pub fn read(&mut self, output: &[u8]) {
        self.rest.extend_from_slice(output);
        while let Some(end) = self.rest.iter().position(|&byte| byte == b'\n') {
            let line: Vec<_> = self.rest.drain(..=end).collect();
            self.read_line(without_escapes(&String::from_utf8_lossy(&line)).trim_end());
        }
    }

    fn read_line(&mut self, line: &str) {
        if let Some(name) = self.heading(line) {
            self.programs.push(Program { name, ..Program::default() });
            return;
        }
        let Some(program) = self.programs.last_mut() else { return };
        if let Some(result) = self.result.as_ref().and_then(|result| result.captures(line)) {
            let count = |name: &str| result.name(name).and_then(|count| count.as_str().parse().ok()).unwrap_or(0);
            program.passed += count("passed");
            program.failed += count("failed");
            program.ignored += count("ignored");
            program.seconds += result.name("seconds").and_then(|time| time.as_str().parse::<f64>().ok()).unwrap_or(0.0);
            (program.has_result, program.in_failures) = (true, false);
        } else {
            program.read_line(line);
        }
    }

    /// The name of the program that a heading of cargo announces: `Running path (executable)` or `Doc-tests crate`.
    fn heading(&self, line: &str) -> Option<String> {
        if let Some(library) = line.strip_prefix("   Doc-tests ") {
            return Some(format!("{library} (documentation)"));
        }
        let (source, executable) = line.strip_prefix("     Running ")?.strip_suffix(')')?.rsplit_once(" (")?;
        let name = file_name(Path::new(executable)).and_then(|file| self.names.get(&file).cloned());
        Some(name.unwrap_or_else(|| source.to_owned()))
    }

    /// The lines of the summary. A program without a result has failed if cargo has.
    pub fn lines(mut self, success: bool) -> Vec<String> {
        if !success {
            self.programs.iter_mut().filter(|program| !program.has_result).for_each(|program| {
                program.failed = 1;
                program.failures = vec!["ended without a result".into()];
            });
        }
        self.programs.retain(|program| program.passed + program.failed + program.ignored > 0);
        let mut lines = vec![String::new(), "Summary of the tests".to_owned()];
        lines.extend(self.programs.iter().map(Program::line));
        lines.extend(self.list("Failed", |program| &program.failures));
        lines.extend(self.list("Skipped", |program| &program.ignored_tests));
        lines.extend(self.list("Skipped while running", |program| &program.skip_notes));
        let sum = |count: fn(&Program) -> usize| self.programs.iter().map(count).sum::<usize>();
        let (passed, failed, skipped) = (sum(Program::passed), sum(|program| program.failed), sum(Program::skipped));
        lines.push(format!("{passed} passed, {failed} failed, {skipped} skipped"));
        lines
    }

    fn list(&self, title: &str, tests: fn(&Program) -> &Vec<String>) -> Vec<String> {
        let programs = self.programs.iter();
        let tests =
            programs.flat_map(|program| tests(program).iter().map(|test| format!("  {}: {test}", program.name)));
        let tests: Vec<_> = tests.collect();
        if tests.is_empty() { tests } else { [vec![format!("{title}:")], tests].concat() }
    }
}

impl Program {
    fn read_line(&mut self, line: &str) {
        if line == "failures:" {
            self.failures.clear();
            self.in_failures = true;
        } else if let Some(name) = line.strip_prefix("    ").filter(|_| self.in_failures) {
            self.failures.push(name.to_owned());
        } else if let Some((name, outcome)) = line.strip_prefix("test ").and_then(|test| test.split_once(" ... ")) {
            match (outcome.strip_prefix("ignored"), outcome.strip_prefix("skipped: ")) {
                (Some(""), _) => self.ignored_tests.push(name.to_owned()),
                (Some(reason), _) => self.ignored_tests.push(format!("{name} ({})", reason.trim_start_matches(", "))),
                (None, Some(reason)) => self.skip_notes.push(format!("{name} ({reason})")),
                (None, None) => {}
            }
        } else if let Some(reason) = line.strip_prefix("skipped: ") {
            self.skip_notes.push(format!("a test ({reason})"));
        }
    }

    fn passed(&self) -> usize {
        self.passed.saturating_sub(self.skip_notes.len())
    }

    fn skipped(&self) -> usize {
        self.ignored + self.skip_notes.len()
    }

    fn line(&self) -> String {
        let (passed, failed, skipped) = (self.passed(), self.failed, self.skipped());
        format!(
            "  {:<36} {passed:>5} passed {failed:>4} failed {skipped:>4} skipped {:>8.1} s",
            self.name, self.seconds
        )
    }
}

fn file_name(path: &Path) -> Option<String> {
    Some(path.file_name()?.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(output: &str, success: bool) -> Vec<String> {
        let it = r#"{"package_id": "path+file:///x/friend-service#0.1.0", "target": {"name": "it"}, "executable": "/t/it-1f"}"#;
        let mut summary = TestSummary::new(&[serde_json::from_str(it).unwrap()]);
        // In pieces, as a pipe delivers it.
        output.as_bytes().chunks(7).for_each(|piece| summary.read(piece));
        summary.lines(success)
    }

    const OUTPUT: &str = "   Compiling friend-service v0.1.0
     Running tests/it/main.rs (t/it-1f)

running 4 tests
test a_request_is_sent ... ok
test latency ... ignored, a measurement
skipped: no chromedriver here
test pages ... ok
test a_request_is_answered ... \x1b[31mFAILED\x1b(B\x1b[m

failures:

---- a_request_is_answered stdout ----
    left: 1

failures:
    a_request_is_answered

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 1.25s

error: test failed, to rerun pass `-p friend-service --test it`
   Doc-tests common

running 0 tests

test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s
";

    #[test]
    fn tests_are_counted_by_program_with_names_and_reasons() {
        assert_eq!(
            summary(OUTPUT, false),
            [
                "",
                "Summary of the tests",
                "  friend-service it                        1 passed    1 failed    2 skipped      1.2 s",
                "Failed:",
                "  friend-service it: a_request_is_answered",
                "Skipped:",
                "  friend-service it: latency (a measurement)",
                "Skipped while running:",
                "  friend-service it: a test (no chromedriver here)",
                "1 passed, 1 failed, 2 skipped",
            ]
        );
    }

    #[test]
    fn a_program_that_ends_without_a_result_has_failed() {
        let lines = summary("     Running unittests src/lib.rs (t/common-2a)\n\nrunning 3 tests\n", false);
        assert_eq!(lines[4], "  unittests src/lib.rs: ended without a result");
        assert_eq!(lines.last().unwrap(), "0 passed, 1 failed, 0 skipped");
    }

    #[test]
    fn a_test_that_prints_between_its_name_and_its_result_is_counted_once() {
        let output = "     Running tests/it/main.rs (t/it-1f)
test pages ... skipped: no chromedriver here
ok
test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.10s
";
        let lines = summary(output, true);
        assert_eq!(lines[4], "  friend-service it: pages (no chromedriver here)");
        assert_eq!(lines.last().unwrap(), "0 passed, 0 failed, 1 skipped");
    }
}
