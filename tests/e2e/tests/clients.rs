//! The tests of the SDKs in `clients/`, against the stack. They kill replicas of chat-service.
//!
//! Each needs its language only: node, and a python with httpx (`PYTHON` names another one than `python3`). The clients that
//! `.ci/check-documents` generates are in the folder `GENERATED_CLIENTS`; where it is set, the documents of the single services are
//! checked too.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::{Mutex, MutexGuard, PoisonError};

use testkit::skip;

/// The version of package.json's `engines`.
const NODE_MAJOR: u32 = 20;

/// The tests of one client kill replicas that those of the other one use.
fn alone() -> MutexGuard<'static, ()> {
    static RUNNING: Mutex<()> = Mutex::new(());
    RUNNING.lock().unwrap_or_else(PoisonError::into_inner)
}

fn folder(client: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../clients").join(client)
}

/// The output of a program, None if it is not installed or fails.
fn output_of(program: &str, args: &[&str]) -> Option<String> {
    let Output { status, stdout, .. } = Command::new(program).args(args).output().ok()?;
    status.success().then(|| String::from_utf8_lossy(&stdout).into_owned())
}

/// Runs a program in a folder, and panics with its output if it fails.
fn run(folder: &Path, program: impl AsRef<OsStr>, args: &[&str]) {
    let ran = Command::new(program).args(args).current_dir(folder).env("PYTHONPATH", "src").output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(ran.status.success(), "{args:?}\n{}{}", text(&ran.stdout), text(&ran.stderr));
}

#[test]
fn the_typescript_client_passes_its_tests() {
    let version = output_of("node", &["--version"]);
    let major = version.and_then(|version| version.trim_start_matches('v').split('.').next()?.parse().ok());
    if major.is_none_or(|major: u32| major < NODE_MAJOR) {
        return skip("no node 20 or newer here (Debian: nodejs)");
    }
    let _alone = alone();

    run(&folder("typescript"), "node", &["--test", "--test-concurrency=1"]);
}

#[test]
fn the_python_client_passes_its_tests() {
    let python = env::var("PYTHON").unwrap_or_else(|_| "python3".into());
    if output_of(&python, &["-c", "import sys, httpx; assert sys.version_info >= (3, 11)"]).is_none() {
        return skip("no python 3.11 with httpx here (Debian: python3-httpx)");
    }
    let _alone = alone();

    run(&folder("python"), &python, &["-m", "unittest"]);
}

#[test]
fn generated_clients_hold_a_conversation() {
    let Ok(generated) = env::var("GENERATED_CLIENTS").map(PathBuf::from) else {
        return skip("no generated clients here: .ci/check-clients makes them");
    };
    let _alone = alone();

    run(&generated, "node", &["story.js"]);
    run(&generated, generated.join("tools/python/bin/python"), &["story.py"]);
}

#[test]
fn the_linter_and_the_generators_accept_the_document_of_each_service() {
    if env::var_os("GENERATED_CLIENTS").is_none() {
        return skip("the documents of the services are not checked: .ci/check-clients does it");
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let _alone = alone();

    run(&root, root.join(".ci/check-documents"), &["--services"]);
}
