//! The accounts, friendships, rooms and messages that a run creates before it measures.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::api::{Api, Person};
use crate::http::{Failure, exchange};

/// Requests in flight while accounts and messages are created.
const AT_ONCE: usize = 8;

/// Messages of the room whose newest page is measured.
const ARCHIVED_MESSAGES: usize = 200;

/// Messages of a page.
pub const PAGE: u32 = 50;

/// Accounts that only log in. A session beyond the newest 100 of an account ends, and the measured tokens must not end.
const LOGIN_ACCOUNTS: usize = 32;

/// As long as the messages of the other benchmarks.
pub const CONTENT: &str = "안녕하세요, 이것은 부하 시험입니다 👋";

/// Two friends and their direct room.
#[derive(Clone)]
pub struct Pair {
    pub ann: Arc<Person>,
    pub bob: Arc<Person>,
    pub room: i64,
}

pub struct World {
    pub api: Arc<Api>,
    /// Not empty. Their rooms take the messages that are sent.
    pub pairs: Vec<Pair>,
    /// Not empty. Their rooms have 200 messages and get no more.
    archives: Vec<Pair>,
    /// Empty if no scenario logs in.
    pub logins: Vec<Person>,
}

impl World {
    /// # Errors
    /// Fails if the system refuses a request or does not list the messages that were sent.
    pub async fn create(api: Arc<Api>, pairs: usize, archives: usize, with_logins: bool) -> Result<Self> {
        let pairs = many(pairs, |_| pair(&api)).await.context("cannot prepare the accounts")?;
        let archives = many(archives, |_| pair(&api)).await.context("cannot prepare the accounts")?;
        for archive in &archives {
            archive.fill(&api).await.context("cannot prepare a room with messages")?;
        }
        let logins = if with_logins { LOGIN_ACCOUNTS } else { 0 };
        let logins = many(logins, |_| api.register("login")).await.context("cannot prepare the accounts")?;
        Ok(Self { api, pairs, archives, logins })
    }

    /// A world of one pair, in whose room all acts take place.
    pub fn of_pair(api: Arc<Api>, pair: Pair) -> Self {
        Self { api, pairs: vec![pair.clone()], archives: vec![pair], logins: Vec::new() }
    }

    /// The pair whose turn it is.
    pub fn pair(&self, index: u64) -> &Pair {
        &self.pairs[index as usize % self.pairs.len()]
    }

    /// The pair with a long room whose turn it is.
    pub fn archive(&self, index: u64) -> &Pair {
        &self.archives[index as usize % self.archives.len()]
    }

    /// Logs in everyone again. An access token of a long run ends otherwise.
    pub async fn renew_tokens(&self) -> Result<(), Failure> {
        for pair in self.pairs.iter().chain(&self.archives) {
            self.api.log_in(&pair.ann).await?;
            self.api.log_in(&pair.bob).await?;
        }
        Ok(())
    }
}

/// Two people who register, become friends and open a room.
pub async fn pair(api: &Api) -> Result<Pair, Failure> {
    let (ann, bob) = (api.sign_up("ann").await?, api.sign_up("bob").await?);
    api.request_friendship(&ann, &bob).await?;
    api.accept_friendship(&bob, &ann).await?;
    let room = api.room(&ann, &bob).await?;
    Ok(Pair { ann: ann.into(), bob: bob.into(), room })
}

/// Creates a number of things, some at once.
pub async fn many<T, F>(number: usize, create: impl Fn(usize) -> F) -> Result<Vec<T>, Failure>
where
    F: Future<Output = Result<T, Failure>>,
{
    stream::iter((0..number).map(create)).buffer_unordered(AT_ONCE).try_collect().await
}

impl Pair {
    async fn fill(&self, api: &Api) -> Result<()> {
        many(ARCHIVED_MESSAGES, |_| exchange(api.send_request(&self.ann, self.room, CONTENT))).await?;
        #[derive(Deserialize)]
        struct Page {
            messages: Vec<IgnoredAny>,
        }
        let page = exchange(api.list_request(&self.bob, self.room, PAGE)).await?;
        let page: Page = serde_json::from_slice(&page).context("the page of messages has another form")?;
        ensure!(page.messages.len() == PAGE as usize, "a page has {} of {PAGE} messages", page.messages.len());
        Ok(())
    }
}
