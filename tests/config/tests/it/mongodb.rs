//! `start.sh` of MongoDB, with simulated programs, and the probes of its pod.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use config_tests::{Kubernetes, repository_path, strings};

const OWN_ADDRESS: &str = "10.0.0.7";

/// A machine whose name server answers with the content of a file, and whose mongod writes a file when it starts.
struct Machine {
    folder: PathBuf,
}

impl Machine {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("bigtech-mongodb-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let machine = Self { folder };
        let record = machine.folder.join("record");
        machine.program("getent", &format!("[ -s {0} ] && cat {0}", record.display()));
        machine.program("hostname", &format!("echo {OWN_ADDRESS}"));
        machine.program("mongosh", "exit 0");
        machine.program("mongod", &format!("touch {}", machine.folder.join("started").display()));
        machine
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.folder.join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn resolves_to(&self, address: &str) {
        fs::write(self.folder.join("record"), format!("{address} STREAM mongodb-0.mongodb-headless\n")).unwrap();
    }

    fn start(&self) -> Child {
        let path = format!("{}:{}", self.folder.display(), std::env::var("PATH").unwrap());
        let mut command = Command::new("bash");
        command.arg(repository_path("infrastructure/docker/mongodb/start.sh"));
        command.env("PATH", path).env("TMPDIR", &self.folder).stderr(Stdio::null());
        for name in [
            "MONGODB_ROOT_USER",
            "MONGODB_ROOT_PASSWORD",
            "MONGODB_REPLICA_KEY",
            "CHAT_MONGODB_PASSWORD",
            "EXPORTER_MONGODB_PASSWORD",
        ] {
            command.env(name, "x");
        }
        command.env("MONGODB_MEMBER", "mongodb-0.mongodb-headless:27017").spawn().unwrap()
    }

    /// Whether mongod starts within `limit`.
    fn starts_within(&self, limit: Duration) -> bool {
        let started: &Path = &self.folder.join("started");
        let began = Instant::now();
        while !started.exists() && began.elapsed() < limit {
            std::thread::sleep(Duration::from_millis(50));
        }
        started.exists()
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// The tests of crates/engines start a real mongod, which is REMOVED from its set if its name does not resolve.
#[test]
fn mongod_starts_only_when_the_name_of_the_member_leads_to_this_machine() {
    let machine = Machine::new();
    let mut script = machine.start();
    assert!(!machine.starts_within(Duration::from_secs(2)), "the name does not resolve");
    machine.resolves_to("10.0.0.6");
    assert!(!machine.starts_within(Duration::from_secs(2)), "the record has the last address of the pod");
    machine.resolves_to(OWN_ADDRESS);
    assert!(machine.starts_within(Duration::from_secs(30)));
    assert!(script.wait().unwrap().success());
}

#[test]
fn a_member_outside_of_its_set_is_restarted_and_the_probe_needs_no_account() {
    let kubernetes = Kubernetes::read();
    let probe = &kubernetes.pod("mongodb")["containers"][0]["livenessProbe"];
    let command = strings(&probe["exec"]["command"]).join(" ");
    assert!(command.contains("quit(db.hello().setName ? 0 : 1)"), "{command}");
    assert!(!command.contains("PASSWORD") && !command.contains("auth"), "{command}");
    let patience = probe["periodSeconds"].as_u64().unwrap() * probe["failureThreshold"].as_u64().unwrap();
    assert!(patience >= 60, "creating the set takes seconds");
}
