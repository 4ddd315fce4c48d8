//! A handle to a supervised process: requests to its supervisor, and its status.

use anyhow::{Context, Result, bail};
use tokio::sync::{mpsc, oneshot, watch};

use crate::state::{Phase, ProcessStatus};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    Start,
    Stop,
    /// SIGKILL; the supervisor then acts as after every unexpected end.
    Kill,
}

/// An action, and the channel on which the supervisor acknowledges it.
pub struct ActionRequest {
    pub action: Action,
    pub done: oneshot::Sender<()>,
}

#[derive(Clone)]
pub struct Handle {
    pub name: String,
    requests: mpsc::Sender<ActionRequest>,
    status: watch::Receiver<ProcessStatus>,
}

impl Handle {
    pub fn new(name: &str, requests: mpsc::Sender<ActionRequest>, status: watch::Receiver<ProcessStatus>) -> Self {
        Self { name: name.into(), requests, status }
    }

    pub fn status(&self) -> ProcessStatus {
        self.status.borrow().clone()
    }

    /// Starts the process and waits until it is ready.
    pub async fn start(&self) -> Result<()> {
        self.request(Action::Start).await?;
        self.wait_for(|phase| matches!(phase, Phase::Ready | Phase::Failed)).await?;
        match self.status() {
            ProcessStatus { state: Phase::Failed, failure, log, .. } => {
                bail!("{} {}; its log: {}", self.name, failure.unwrap_or_default(), log.display())
            }
            _ => Ok(()),
        }
    }

    /// Stops the process and waits until it has ended.
    pub async fn stop(&self) -> Result<()> {
        self.request(Action::Stop).await
    }

    pub async fn kill(&self) -> Result<()> {
        self.request(Action::Kill).await
    }

    async fn request(&self, action: Action) -> Result<()> {
        let (done, acknowledged) = oneshot::channel();
        let unsupervised = || format!("{} is no longer supervised", self.name);
        self.requests.send(ActionRequest { action, done }).await.ok().with_context(unsupervised)?;
        acknowledged.await.with_context(unsupervised)
    }

    pub async fn wait_for(&self, condition: impl Fn(Phase) -> bool) -> Result<()> {
        self.status.clone().wait_for(|status| condition(status.state)).await?;
        Ok(())
    }
}
