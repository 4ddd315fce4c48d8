//! The process that decodes one picture. It has no secrets, no connections, and no more memory and time than a picture needs; a fault of
//! a decoder ends it, and not the service.
//!
//! It is this program with the command `picture`. It reads the file from its standard input, and writes a line of JSON with the lengths
//! of what follows: the file without metadata, and the thumbnails.

use std::io::{Read, Write};
use std::path::PathBuf;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use common::error::{BoxError, Error, Result};
use nix::sys::resource::{Resource, setrlimit};
use reqwest::Response;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufRead, AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{ChildStdin, Command};
use tokio::sync::Semaphore;

use super::{MAX_PREVIEW_CHARS, MAX_SIDE, PREVIEW_PREFIX, Prepared, prepare};
use crate::domain::{Picture, THUMBNAILS};

/// The command that decodes a picture.
pub const COMMAND: &str = "picture";

/// The name in errors.
const NAME: &str = "picture process";

/// Limit on the memory that the process writes to. With the service, it is below the 512 MiB that a replica has in `k8s`.
const MEMORY: u64 = 256 << 20;

/// Limit on the CPU time in seconds. Most pictures take less than one.
const CPU_SECONDS: u64 = 30;

/// Lower than the priority of the service by this much; 19 is the lowest.
const NICENESS: i32 = 10;

/// The longest wait for a picture. A replica may have half a core.
const TIMEOUT: Duration = Duration::from_secs(90);

/// Limit on the line before the bytes.
const MAX_HEADER: u64 = 4_096;

/// Limits on the files of the output. A thumbnail has 1,280 × 1,280 pixels at most.
const MAX_FILE: usize = 64 << 20;
const MAX_THUMBNAIL: usize = 8 << 20;

/// The work of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    Decode,
    RemoveMetadata,
}

impl Task {
    fn name(self) -> &'static str {
        match self {
            Self::Decode => "decode",
            Self::RemoveMetadata => "remove-metadata",
        }
    }
}

/// Starts the processes, one at a time.
#[derive(Clone)]
pub struct PictureProcess {
    program: PathBuf,
    turn: Arc<Semaphore>,
}

/// The line before the bytes.
#[derive(Serialize, Deserialize)]
struct Header {
    picture: Option<Picture>,
    file: usize,
    thumbnails: Vec<usize>,
}

impl PictureProcess {
    /// `program` is chat-service.
    pub fn new(program: PathBuf) -> Self {
        Self { program, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Waits until no other picture is decoded. The turn ends when the guard is dropped.
    ///
    /// # Errors
    /// Returns an error at the end of the runtime.
    pub async fn turn(&self) -> Result<impl Drop + use<>> {
        self.turn.clone().acquire_owned().await.map_err(Error::internal)
    }

    /// Decodes a picture, or only removes its metadata, while it is read from the store. None for a file that has not the structure of the type, and for one that takes too
    /// much memory or time.
    ///
    /// # Errors
    /// Returns an unavailable error if the store breaks off, or the process cannot be started or is killed from outside.
    pub async fn prepare(&self, file: Response, file_type: &str, task: Task) -> Result<Option<Prepared>> {
        let mut command = Command::new(&self.program);
        command.args([COMMAND, file_type, task.name()]).env_clear().kill_on_drop(true);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn();
        let process = process.as_mut().map_err(|e| Error::unavailable(NAME, e.to_string()))?;
        let work = async {
            let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
                return Err(Error::unavailable(NAME, "it has no pipes"));
            };
            feed(input, file).await?;
            let prepared = read(BufReader::new(output)).await;
            let status = process.wait().await.map_err(|e| Error::unavailable(NAME, e))?;
            Ok((status, prepared))
        };
        let done = tokio::time::timeout(TIMEOUT, work).await;
        let (status, prepared) = done.map_err(|_| Error::unavailable(NAME, "it takes too long"))??;
        match status.code() {
            Some(0) => Ok(prepared),
            Some(_) => Ok(None),
            None if ends_by_itself(status) => Ok(None),
            None => Err(Error::unavailable(NAME, status.to_string())),
        }
    }
}

/// Whether a process with this status was ended by the fault of a decoder, or by its limits of memory and time.
fn ends_by_itself(status: std::process::ExitStatus) -> bool {
    use nix::sys::signal::Signal::{SIGABRT, SIGSEGV, SIGXCPU};
    use std::os::unix::process::ExitStatusExt;
    status.signal().is_some_and(|signal| [SIGABRT, SIGSEGV, SIGXCPU].map(|own| own as i32).contains(&signal))
}

/// Passes a file on in pieces. The process reads all of it before it writes.
async fn feed(mut input: ChildStdin, mut file: Response) -> Result<()> {
    while let Some(piece) = file.chunk().await.map_err(|e| Error::unavailable("object_store", e.without_url()))? {
        // A process that has ended says why by its status.
        if input.write_all(&piece).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// The outcome of a process; none if a fault has spoilt it. A client chose what the process has read, so nothing of it is trusted.
async fn read(mut output: impl AsyncBufRead + Unpin) -> Option<Prepared> {
    let mut header = Vec::new();
    (&mut output).take(MAX_HEADER).read_until(b'\n', &mut header).await.ok()?;
    let Header { picture, file, thumbnails } = serde_json::from_slice(&header).ok()?;
    let expected = if picture.is_some() { THUMBNAILS.len() } else { 0 };
    let is_plausible = thumbnails.len() == expected && picture.as_ref().is_none_or(is_plausible);
    if !is_plausible || thumbnails.iter().any(|len| *len > MAX_THUMBNAIL) || file > MAX_FILE {
        return None;
    }
    let file = read_file(&mut output, file).await?;
    let mut shown = Vec::new();
    for len in thumbnails {
        shown.push(read_file(&mut output, len).await?);
    }
    Some(Prepared { picture, file, thumbnails: shown })
}

/// Reads a picture of so many bytes, which take no more memory than they have.
async fn read_file(output: &mut (impl AsyncBufRead + Unpin), len: usize) -> Option<Vec<u8>> {
    let mut bytes = vec![0; len];
    output.read_exact(&mut bytes).await.ok()?;
    image::guess_format(&bytes).ok()?;
    Some(bytes)
}

fn is_plausible(Picture { width, height, preview }: &Picture) -> bool {
    let is_base64 = |text: &str| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte));
    let is_preview = preview.is_empty() || preview.strip_prefix(PREVIEW_PREFIX).is_some_and(is_base64);
    let sides = 1..=MAX_SIDE;
    is_preview && preview.len() <= MAX_PREVIEW_CHARS && sides.contains(width) && sides.contains(height)
}

/// Decodes the picture of the standard input within the limits, and writes the outcome to the standard output.
///
/// # Errors
/// Returns an error if the file is no picture of the type.
pub fn execute(args: &[String]) -> Result<(), BoxError> {
    let [file_type, task] = args else { return Err("picture needs a media type and a task".into()) };
    setrlimit(Resource::RLIMIT_DATA, MEMORY, MEMORY)?;
    // The first limit ends the process by SIGXCPU, the second one by SIGKILL.
    setrlimit(Resource::RLIMIT_CPU, CPU_SECONDS, CPU_SECONDS + 1)?;
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    setrlimit(Resource::RLIMIT_FSIZE, 0, 0)?;
    // A replica that has few processors serves its clients first.
    rustix::process::nice(NICENESS)?;
    // Standard input, output and error: from here on, it opens no file and no connection.
    setrlimit(Resource::RLIMIT_NOFILE, 3, 3)?;
    let mut file = Vec::new();
    std::io::stdin().lock().read_to_end(&mut file)?;
    let Prepared { picture, file, thumbnails } = prepare(file, file_type, task == Task::Decode.name())?;
    let header = Header { picture, file: file.len(), thumbnails: thumbnails.iter().map(Vec::len).collect() };
    let mut out = std::io::stdout().lock();
    serde_json::to_writer(&mut out, &header)?;
    out.write_all(b"\n")?;
    for bytes in std::iter::once(&file).chain(&thumbnails) {
        out.write_all(bytes)?;
    }
    Ok(out.flush()?)
}
