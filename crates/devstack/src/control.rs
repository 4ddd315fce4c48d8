//! How other commands speak to the supervisor: one line of JSON each way over a Unix socket.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result, anyhow};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::stack::Stack;
use crate::state::{Entry, Phase, StateFile};
use crate::workspace::Place;

const SOCKET: &str = "control";

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
pub enum Answer {
    Done,
    Entries(Vec<Entry>),
    Refused(String),
}

/// Where a stack is spoken to.
pub fn socket(place: &Place) -> PathBuf {
    place.socket(SOCKET)
}

pub struct Control {
    listener: UnixListener,
}

impl Control {
    pub fn open(place: &Place) -> Result<Self> {
        let path = socket(place);
        // Left by a supervisor that was killed: the lock says that none lives.
        let _ = fs::remove_file(&path);
        let listener = UnixListener::bind(&path).with_context(|| format!("cannot open {}", path.display()))?;
        Ok(Self { listener })
    }

    /// Answers until the stack goes down.
    pub async fn serve(self, stack: Arc<Stack>) {
        while let Ok((connection, _)) = self.listener.accept().await {
            let stack = Arc::clone(&stack);
            tokio::spawn(async move {
                // A command that hung up needs no answer.
                let _ = converse(connection, &stack).await;
            });
        }
    }
}

async fn converse(connection: UnixStream, stack: &Stack) -> Result<()> {
    let (read, mut write) = connection.into_split();
    let line = BufReader::new(read).lines().next_line().await?.context("no request")?;
    let answer = match serde_json::from_str(&line) {
        Ok(request) => obey(request, stack).await.unwrap_or_else(|error| Answer::Refused(format!("{error:#}"))),
        Err(error) => Answer::Refused(error.to_string()),
    };
    write.write_all(format!("{}\n", serde_json::to_string(&answer)?).as_bytes()).await?;
    Ok(())
}

async fn obey(request: Request, stack: &Stack) -> Result<Answer> {
    match request {
        Request::Status => return Ok(Answer::Entries(stack.entries())),
        Request::Stop { name } => stack.named(&name)?.stop().await?,
        Request::Start { name } => stack.named(&name)?.start().await?,
        Request::Restart { name } => {
            stack.named(&name)?.stop().await?;
            stack.named(&name)?.start().await?;
        }
        Request::Kill { name } => stack.named(&name)?.kill().await?,
        Request::Down => stack.leave.cancel(),
    }
    Ok(Answer::Done)
}

async fn ask(place: &Place, request: &Request) -> Result<Answer> {
    let connection = UnixStream::connect(socket(place)).await.context("nothing runs here")?;
    let (read, mut write) = connection.into_split();
    write.write_all(format!("{}\n", serde_json::to_string(request)?).as_bytes()).await?;
    let line = BufReader::new(read).lines().next_line().await?.context("the supervisor went away")?;
    Ok(serde_json::from_str(&line)?)
}

/// Gives an order and waits until it has taken effect.
pub async fn order(place: &Place, request: Request) -> Result<()> {
    match ask(place, &request).await? {
        Answer::Refused(why) => Err(anyhow!(why)),
        Answer::Done | Answer::Entries(_) => Ok(()),
    }
}

/// What runs, by the supervisor; or what ran, by the state file that one left behind.
pub async fn entries(place: &Place) -> Vec<Entry> {
    if let Ok(Answer::Entries(entries)) = ask(place, &Request::Status).await {
        return entries;
    }
    let left = StateFile::read(place).map(|state| state.processes).unwrap_or_default();
    left.into_iter().map(|process| Entry { pid: None, state: Phase::Stopped, ..process.entry }).collect()
}
