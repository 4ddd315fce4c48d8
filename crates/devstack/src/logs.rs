//! The logs of the processes: `cargo stack logs`.

use std::fs::{self, File};
use std::io::{Read, Seek, SeekFrom};
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::time::sleep;

use crate::stack_dir::StackDir;
use crate::terminal::{print, print_raw};

/// The number of lines of each log that `cargo stack logs` prints without a name.
const TAIL_LINES: usize = 10;
const POLL_EVERY: Duration = Duration::from_millis(100);

pub async fn print_logs(dir: &StackDir, name: Option<&str>, follow: bool) -> Result<()> {
    let Some(name) = name else { return print_tails(dir) };
    let path = dir.log(name);
    let mut log = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
    loop {
        print_raw(&read_appended(&mut log)?);
        if !follow {
            return Ok(());
        }
        sleep(POLL_EVERY).await;
    }
}

fn print_tails(dir: &StackDir) -> Result<()> {
    let files = fs::read_dir(dir.logs()).context("there are no logs")?;
    let mut paths: Vec<_> = files.flatten().map(|file| file.path()).collect();
    paths.sort();
    for path in paths {
        print(&format!("== {}", path.display()));
        tail(&path, TAIL_LINES).iter().for_each(|line| print(line));
    }
    Ok(())
}

fn tail(path: &Path, count: usize) -> Vec<String> {
    let text = fs::read(path).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines[lines.len().saturating_sub(count)..].to_vec()
}

/// The bytes that were appended to a log since the last call; all of it if the log has become shorter.
pub fn read_appended(log: &mut File) -> Result<Vec<u8>> {
    let (position, end) = (log.stream_position()?, log.metadata()?.len());
    if end < position {
        log.seek(SeekFrom::Start(0))?;
    }
    let mut bytes = Vec::new();
    log.read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_read_on_from_the_end_of_the_last_read() {
        let path = std::env::temp_dir().join("devstack-test-appended.log");
        fs::write(&path, "one\n").unwrap();
        let mut log = File::open(&path).unwrap();
        assert_eq!(read_appended(&mut log).unwrap(), b"one\n");

        fs::write(&path, "one\ntwo\n").unwrap();
        assert_eq!(read_appended(&mut log).unwrap(), b"two\n");

        fs::write(&path, "new\n").unwrap();
        assert_eq!(read_appended(&mut log).unwrap(), b"new\n");
    }
}
