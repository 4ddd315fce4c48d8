//! The control socket, on which other commands send requests to the supervisor: one line of JSON each way.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::stack::Stack;
use crate::stack_dir::StackDir;
use crate::state::{Phase, ProcessStatus, StateFile};

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "do")]
pub enum Request {
    Status,
    Stop { name: String },
    Start { name: String },
    Restart { name: String },
    Kill { name: String },
    Down,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Response {
    Done,
    #[serde(rename = "entries")]
    Processes(Vec<ProcessStatus>),
    #[serde(rename = "refused")]
    Error(String),
}

pub fn socket(dir: &StackDir) -> PathBuf {
    dir.socket("control")
}

pub struct Control {
    listener: UnixListener,
}

impl Control {
    pub fn bind(dir: &StackDir) -> Result<Self> {
        let path = socket(dir);
        // A killed supervisor leaves its socket. The lock ensures that no other supervisor uses it.
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
        Ok(Self { listener })
    }

    /// Serves requests until the task is aborted.
    pub async fn serve(self, stack: Arc<Stack>) {
        while let Ok((connection, _)) = self.listener.accept().await {
            let stack = Arc::clone(&stack);
            tokio::spawn(async move {
                // The only failure is a client that has hung up.
                let _ = respond(connection, &stack).await;
            });
        }
    }
}

async fn respond(connection: UnixStream, stack: &Stack) -> Result<()> {
    let (read, mut write) = connection.into_split();
    let line = BufReader::new(read).lines().next_line().await?.context("no request")?;
    let response = match serde_json::from_str(&line) {
        Ok(request) => perform(request, stack).await.unwrap_or_else(|error| Response::Error(format!("{error:#}"))),
        Err(error) => Response::Error(error.to_string()),
    };
    write.write_all(format!("{}\n", serde_json::to_string(&response)?).as_bytes()).await?;
    Ok(())
}

async fn perform(request: Request, stack: &Stack) -> Result<Response> {
    match request {
        Request::Status => return Ok(Response::Processes(stack.processes())),
        Request::Stop { name } => stack.handle(&name)?.stop().await?,
        Request::Start { name } => stack.handle(&name)?.start().await?,
        Request::Restart { name } => {
            let process = stack.handle(&name)?;
            process.stop().await?;
            process.start().await?;
        }
        Request::Kill { name } => stack.handle(&name)?.kill().await?,
        Request::Down => stack.shutdown.cancel(),
    }
    Ok(Response::Done)
}

async fn send(dir: &StackDir, request: &Request) -> Result<Response> {
    let connection = UnixStream::connect(socket(dir)).await.context("no stack is running")?;
    let (read, mut write) = connection.into_split();
    write.write_all(format!("{}\n", serde_json::to_string(request)?).as_bytes()).await?;
    let line = BufReader::new(read).lines().next_line().await?.context("the supervisor has ended")?;
    Ok(serde_json::from_str(&line)?)
}

/// Sends a request and waits until it has taken effect.
pub async fn request(dir: &StackDir, request: Request) -> Result<()> {
    match send(dir, &request).await? {
        Response::Error(error) => Err(anyhow!(error)),
        Response::Done | Response::Processes(_) => Ok(()),
    }
}

/// The processes of the running stack, or those of the last stack according to its state file.
pub async fn processes(dir: &StackDir) -> Vec<ProcessStatus> {
    if let Ok(Response::Processes(processes)) = send(dir, &Request::Status).await {
        return processes;
    }
    let recorded = StateFile::read(dir).map(|state| state.processes).unwrap_or_default();
    let stopped = |status| ProcessStatus { pid: None, state: Phase::Stopped, ..status };
    recorded.into_iter().map(|process| stopped(process.status)).collect()
}
