//! A file of breached passwords: SHA-1 hashes in hexadecimal, sorted, one `HASH` or `HASH:COUNT` in a line, as "Pwned
//! Passwords" offers it. A look-up is a binary search in the file, so that 40 GB need no memory.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use common::error::{Error, Result};
use sha1::{Digest, Sha1};
use tokio::sync::Semaphore;
use tokio::time::timeout;

const HASH_BYTES: usize = 20;

/// A longer line is malformed: 40 digits of the hash, a colon, a count of at most 20 digits, CR and LF.
const MAX_LINE_BYTES: usize = 63;

/// Lines that are compared at the start, evenly spread over the file. A file in another order has a descent among them.
const SAMPLES: u64 = 1_000;

/// Concurrent look-ups. Each takes about 35 reads of the file of "Pwned Passwords".
const CONCURRENT: usize = 8;

/// How long a look-up waits for another to end.
const PATIENCE: Duration = Duration::from_secs(3);

type Hash = [u8; HASH_BYTES];

/// The open file. A file that replaces it is read from the next start on.
#[derive(Clone, Debug)]
pub struct BreachedPasswords {
    list: Arc<List>,
    running: Arc<Semaphore>,
}

#[derive(Debug)]
struct List {
    file: File,
    bytes: u64,
}

/// A line, and the position of the next one.
struct Line {
    hash: Hash,
    next: u64,
}

impl BreachedPasswords {
    /// Opens a file and compares samples of its lines.
    ///
    /// # Errors
    /// Returns an error if the file cannot be read, has a line without a hash or is not sorted.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let list = List { bytes: file.metadata()?.len(), file };
        list.check()?;
        Ok(Self { list: Arc::new(list), running: Arc::new(Semaphore::new(CONCURRENT)) })
    }

    /// Whether the file contains a password.
    ///
    /// # Errors
    /// Returns [`Error::Unavailable`] if the file cannot be read or too many look-ups are under way.
    pub async fn contains(&self, password: &str) -> Result<bool> {
        let unavailable = |e: io::Error| Error::unavailable("breached passwords", e);
        let permit = timeout(PATIENCE, self.running.clone().acquire_owned()).await;
        let permit = permit.map_err(|e| unavailable(e.into()))?.map_err(Error::internal)?;
        let (list, hash) = (self.list.clone(), Hash::from(Sha1::digest(password)));
        let found = tokio::task::spawn_blocking(move || {
            let found = list.contains(&hash);
            drop(permit);
            found
        });
        found.await.map_err(Error::internal)?.map_err(unavailable)
    }
}

impl List {
    fn check(&self) -> io::Result<()> {
        if self.bytes == 0 {
            return Err(malformed("the file is empty".into()));
        }
        let mut previous = Hash::default();
        let mut position = 0;
        for sample in 0..SAMPLES {
            let Some(start) = self.line_start(position.max(self.bytes / SAMPLES * sample))? else { break };
            let line = self.line(start)?;
            if line.hash < previous {
                return Err(malformed(format!(
                    "the line at byte {start} is less than a line before: it is not sorted"
                )));
            }
            (previous, position) = (line.hash, line.next);
        }
        Ok(())
    }

    /// Searches the lines that begin between `low` and `high`. `low` is always the beginning of a line.
    fn contains(&self, hash: &Hash) -> io::Result<bool> {
        let (mut low, mut high) = (0, self.bytes);
        while low < high {
            let middle = low + (high - low) / 2;
            let start = if middle == low { Some(low) } else { self.line_start(middle)? };
            let Some(start) = start.filter(|start| *start < high) else {
                high = middle;
                continue;
            };
            let line = self.line(start)?;
            match line.hash.cmp(hash) {
                std::cmp::Ordering::Equal => return Ok(true),
                std::cmp::Ordering::Less => low = line.next,
                std::cmp::Ordering::Greater => high = middle.min(start),
            }
        }
        Ok(false)
    }

    /// The beginning of the first line at or after a position, or `None` if no other line follows.
    fn line_start(&self, position: u64) -> io::Result<Option<u64>> {
        let Some(before) = position.checked_sub(1) else { return Ok(Some(0)) };
        let mut buffer = [0; MAX_LINE_BYTES + 1];
        let read = self.read(before, &mut buffer)?;
        match read.iter().position(|byte| *byte == b'\n') {
            Some(end) => Ok(Some(before + end as u64 + 1).filter(|start| *start < self.bytes)),
            None if read.len() < buffer.len() => Ok(None),
            None => Err(no_hash(before)),
        }
    }

    fn line(&self, start: u64) -> io::Result<Line> {
        let mut buffer = [0; MAX_LINE_BYTES + 1];
        let read = self.read(start, &mut buffer)?;
        let text = read.split(|byte| *byte == b'\n').next().unwrap_or_default();
        let mut hash = Hash::default();
        let (digits, rest) = text.split_at_checked(2 * HASH_BYTES).ok_or_else(|| no_hash(start))?;
        if !matches!(rest.first(), None | Some(b':' | b'\r')) || text.len() > MAX_LINE_BYTES {
            return Err(no_hash(start));
        }
        hex::decode_to_slice(digits, &mut hash).map_err(|_| no_hash(start))?;
        Ok(Line { hash, next: start + text.len() as u64 + 1 })
    }

    /// Reads from a position until the buffer is full or the file ends.
    fn read<'a>(&self, position: u64, buffer: &'a mut [u8]) -> io::Result<&'a [u8]> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.file.read_at(&mut buffer[filled..], position + filled as u64) {
                Ok(0) => break,
                Ok(read) => filled += read,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(&buffer[..filled])
    }
}

fn no_hash(position: u64) -> io::Error {
    malformed(format!("the line at byte {position} has no SHA-1 hash of 40 hexadecimal digits"))
}

fn malformed(problem: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, problem)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn open(name: &str, content: &str) -> io::Result<BreachedPasswords> {
        let path = std::env::temp_dir().join(format!("breached-{name}-{}", std::process::id()));
        std::fs::write(&path, content).unwrap();
        let opened = BreachedPasswords::open(&path);
        std::fs::remove_file(path).unwrap();
        opened
    }

    fn lines(hashes: impl IntoIterator<Item = Hash>, end: impl Fn(usize) -> String) -> String {
        hashes.into_iter().enumerate().map(|(n, hash)| hex::encode_upper(hash) + &end(n)).collect()
    }

    #[test]
    fn a_file_that_is_empty_unsorted_or_no_list_of_sha1_is_refused() {
        let problem = |content: &str| open("bad", content).unwrap_err().to_string();
        let sorted = lines((0..100).map(|n| [n; HASH_BYTES]), |n| format!(":{n}\n"));
        let reversed = lines((0..100).rev().map(|n| [n; HASH_BYTES]), |_| "\n".into());

        assert!(open("good", &sorted).is_ok());
        assert_eq!(problem(""), "the file is empty");
        assert!(problem(&reversed).ends_with("it is not sorted"), "{}", problem(&reversed));
        assert!(problem(&format!("{sorted}{sorted}")).ends_with("it is not sorted"));
        for content in ["password\n123456\n", &"8846F7EAEE8FB117AD06BDD830B7586C\n".repeat(9), &"A".repeat(10_000)] {
            assert!(problem(content).contains("no SHA-1 hash"), "{content}: {}", problem(content));
        }
    }

    #[tokio::test]
    async fn a_password_is_found_by_its_hash() {
        let mut hashes: Vec<Hash> = ["Passw0rd!", "Test1234!@", "password"].map(|p| Sha1::digest(p).into()).into();
        hashes.sort_unstable();
        let list = open("found", &lines(hashes, |n| format!(":{n}\r\n"))).unwrap();

        assert!(list.contains("Test1234!@").await.unwrap() && list.contains("password").await.unwrap());
        assert!(!list.contains("Ta11-tulips!").await.unwrap());
    }

    proptest! {
        #[test]
        fn exactly_the_lines_of_a_file_are_found(
            numbers in prop::collection::btree_set(any::<[u8; 2]>(), 1..200),
            widths in prop::collection::vec(0..9_usize, 200),
            ends_with_newline in any::<bool>(),
        ) {
            let hash = |number: [u8; 2]| -> Hash { Sha1::digest(number).into() };
            let mut hashes: Vec<Hash> = numbers.iter().copied().map(hash).collect();
            hashes.sort_unstable();
            let content = lines(hashes, |n| format!(":{}\n", "1".repeat(1 + widths[n])));
            let content = if ends_with_newline { &content } else { content.trim_end() };
            let list = open("any", content).unwrap().list;
            for n in 0..=u16::MAX {
                let number = n.to_be_bytes();
                // All that are in, and a part of the others.
                if numbers.contains(&number) || n % 997 == 0 {
                    prop_assert_eq!(list.contains(&hash(number)).unwrap(), numbers.contains(&number));
                }
            }
        }
    }
}
