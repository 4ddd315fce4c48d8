//! Orders to whoever keeps a process, and what is seen of it.

use anyhow::{Context, Result, bail};
use tokio::sync::{mpsc, oneshot, watch};

use crate::state::{Entry, Phase};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    Start,
    Stop,
    /// SIGKILL; what follows is what follows every death.
    Kill,
}

/// An order, and whom to tell that it has taken effect.
pub type Ordered = (Order, oneshot::Sender<()>);

/// The supervisor's end of a keeper.
#[derive(Clone)]
pub struct Handle {
    pub name: String,
    orders: mpsc::Sender<Ordered>,
    seen: watch::Receiver<Entry>,
}

impl Handle {
    pub fn new(name: &str, orders: mpsc::Sender<Ordered>, seen: watch::Receiver<Entry>) -> Self {
        Self { name: name.into(), orders, seen }
    }

    pub fn entry(&self) -> Entry {
        self.seen.borrow().clone()
    }

    /// Returns when it is ready.
    pub async fn start(&self) -> Result<()> {
        self.order(Order::Start).await?;
        self.wait_for(|phase| matches!(phase, Phase::Ready | Phase::Failed)).await?;
        match self.entry() {
            Entry { state: Phase::Failed, failure, log, .. } => {
                bail!("{} {}; its log: {}", self.name, failure.unwrap_or_default(), log.display())
            }
            _ => Ok(()),
        }
    }

    /// Returns when it has ended.
    pub async fn stop(&self) -> Result<()> {
        self.order(Order::Stop).await
    }

    pub async fn kill(&self) -> Result<()> {
        self.order(Order::Kill).await
    }

    async fn order(&self, order: Order) -> Result<()> {
        let (done, is_done) = oneshot::channel();
        self.orders.send((order, done)).await.ok().with_context(|| format!("{} is not kept any more", self.name))?;
        is_done.await.with_context(|| format!("{} is not kept any more", self.name))
    }

    pub async fn wait_for(&self, wanted: impl Fn(Phase) -> bool) -> Result<()> {
        self.seen.clone().wait_for(|entry| wanted(entry.state)).await?;
        Ok(())
    }
}
