//! An engine of a test's own, which ends with the test.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};

use uuid::Uuid;

use super::authority::Authority;

/// A folder of a test's own with two authorities, of which the engine knows the first.
pub struct Ground {
    pub folder: PathBuf,
    pub known: Authority,
    pub other: Authority,
}

impl Ground {
    pub fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("it-{}", Uuid::now_v7().simple()));
        let (known, other) = (Authority::new(&folder, "known"), Authority::new(&folder, "other"));
        Self { folder, known, other }
    }

    /// The path of a file in the folder.
    pub fn path(&self, name: &str) -> String {
        self.folder.join(name).to_str().unwrap().to_owned()
    }

    /// Runs a program to its end.
    pub fn run(&self, program: impl AsRef<OsStr>, args: &[&str]) {
        let output = Command::new(program).args(args).current_dir(&self.folder).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    }

    pub fn start(&self, program: impl AsRef<OsStr>, args: &[&str]) -> Engine {
        let log = File::create(self.path("log")).unwrap();
        let mut command = Command::new(program);
        command.args(args).current_dir(&self.folder).stdout(log.try_clone().unwrap()).stderr(log);
        Engine(command.spawn().unwrap())
    }
}

impl Drop for Ground {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let log = fs::read_to_string(self.path("log")).unwrap_or_default();
            let last: Vec<_> = log.lines().rev().take(20).collect();
            tracing::error!(?last, "the log of the engine");
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A process that is killed at the end.
pub struct Engine(Child);

impl Drop for Engine {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// The first of these programs that is installed. Debian's PATH of a plain user has no servers.
pub fn program(names: &[&str]) -> PathBuf {
    let path = std::env::var_os("PATH").unwrap();
    let folders = std::env::split_paths(&path).chain(["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from));
    let folders: Vec<_> = folders.collect();
    let mut paths = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    paths.find(|path| Path::is_file(path)).unwrap_or_else(|| panic!("none of {names:?} is installed"))
}
