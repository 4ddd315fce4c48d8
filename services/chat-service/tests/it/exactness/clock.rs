//! The clock of one process, which jumps while the process runs.

use std::path::PathBuf;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use tokio::process::Command;

/// The clock is right, or so many seconds behind or ahead.
const OFFSETS: [i64; 3] = [-300, 0, 300];

/// A clock that takes its offset from a file, by a library that is loaded into the process. The monotonic clock stays right.
pub struct Clock {
    library: PathBuf,
    file: PathBuf,
    offset: i64,
}

impl Clock {
    /// Compiles the library, and returns a clock that shows the right time.
    pub async fn new(name: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR"));
        let (library, file) = (folder.join(format!("clock-{name}.so")), folder.join(format!("clock-{name}")));
        let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/exactness/clock.c");
        let compiled = Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(source).status().await;
        assert!(compiled.unwrap().success());
        let mut clock = Self { library, file, offset: 0 };
        clock.set(0);
        clock
    }

    /// The environment of a process with this clock.
    pub fn settings(&self) -> [(&'static str, String); 2] {
        let path = |path: &PathBuf| path.display().to_string();
        [("LD_PRELOAD", path(&self.library)), ("CLOCK_OFFSET_FILE", path(&self.file))]
    }

    /// Sets another offset, and returns it.
    pub fn step(&mut self, rng: &mut StdRng) -> i64 {
        let others: Vec<i64> = OFFSETS.into_iter().filter(|offset| *offset != self.offset).collect();
        self.set(*others.choose(rng).unwrap());
        self.offset
    }

    /// Sets the offset in seconds. The file is replaced in one step, so that the process never reads an empty one.
    pub fn set(&mut self, offset: i64) {
        self.offset = offset;
        let draft = self.file.with_extension("new");
        std::fs::write(&draft, offset.to_string()).unwrap();
        std::fs::rename(draft, &self.file).unwrap();
    }
}

impl Drop for Clock {
    fn drop(&mut self) {
        for file in [&self.library, &self.file] {
            let _ = std::fs::remove_file(file);
        }
    }
}
