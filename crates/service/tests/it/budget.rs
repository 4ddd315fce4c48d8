//! Budgets of writes in Redis: shared by replicas, taken in shares, and granted without Redis.

use std::sync::atomic::{AtomicI64, Ordering};

use common::id::UserId;
use engines::redis::Redis;
use futures_util::future::join_all;
use platform::Platform;
use service::budget::{WriteBudget, WriteBudgets};
use testkit::{Space, eventually, redis_link};

use crate::SERVICE;

/// The budget at one replica.
struct Replica {
    budget: WriteBudget,
    platform: Platform,
}

impl Replica {
    /// Further settings override those of the space.
    fn start(space: &Space, limit: u64, more: &[(&'static str, String)]) -> Self {
        let mut env = space.env("mysql://a@b/c");
        env.extend_from_slice(more);
        let platform = space.platform(SERVICE, env);
        let (config, metrics) = (&platform.config, &platform.metrics);
        let redis = Redis::new(&config.redis_url, &config.redis_tls, &config.redis_prefix, metrics).unwrap();
        let budget = WriteBudgets::register(redis, SERVICE.name, metrics).unwrap().per_minute("messages", limit);
        Self { budget, platform }
    }

    /// The number of accepted ones among so many concurrent writes.
    async fn accepted(&self, user: UserId, writes: u64) -> u64 {
        let writes = join_all((0..writes).map(|_| self.budget.spend(user))).await;
        writes.iter().filter(|write| write.is_ok()).count() as u64
    }

    /// The value of a series, 0 if it does not exist.
    fn metric(&self, series: &str) -> u64 {
        let text = self.platform.metrics.render().unwrap();
        let line = text.lines().find(|line| line.starts_with(series));
        line.map_or(0, |line| line.rsplit(' ').next().unwrap().parse().unwrap())
    }

    fn round_trips(&self) -> u64 {
        self.metric(r#"store_query_duration_seconds_count{operation="pipeline""#)
    }
}

/// A user who has not written yet.
fn newcomer() -> UserId {
    static LAST: AtomicI64 = AtomicI64::new(0);
    UserId(LAST.fetch_add(1, Ordering::Relaxed) + 1)
}

/// Repeats an attempt with a new user until it succeeds. One attempt may fall into two minutes, and a loaded machine may
/// miss the deadline for Redis; then a user may write more.
async fn for_some_user(what: &str, attempt: impl AsyncFn(UserId) -> bool) {
    eventually(what, || async { attempt(newcomer()).await.then_some(()) }).await;
}

#[tokio::test]
async fn concurrent_writes_at_two_replicas_share_one_budget() {
    let space = Space::new();
    let (a, b) = (Replica::start(&space, 100, &[]), Replica::start(&space, 100, &[]));

    for_some_user("exactly the budget is accepted", async |user| {
        let (at_a, at_b) = tokio::join!(a.accepted(user, 300), b.accepted(user, 300));
        assert!(at_a + at_b >= 100, "{at_a} + {at_b}");
        at_a + at_b == 100
    })
    .await;
    assert!(a.metric("write_budget_refused_total") > 0);
}

#[tokio::test]
async fn a_write_that_costs_more_than_the_budget_is_possible_beside_single_writes() {
    let space = Space::new();
    let replica = Replica::start(&space, 20, &[]);
    let budget = &replica.budget;

    for_some_user("half of the budget and ten further writes are accepted", async |user| {
        budget.spend(user).await.unwrap();
        budget.spend_many(user, 1_000).await.unwrap();
        let rest = replica.accepted(user, 30).await;
        assert!(rest >= 9, "{rest}");
        rest == 9
    })
    .await;
}

#[tokio::test]
async fn a_budget_costs_twenty_round_trips_a_minute() {
    let space = Space::new();
    for limit in [600, 20, 5] {
        let replica = Replica::start(&space, limit, &[]);
        for_some_user("a round trip for each share", async |user| {
            let before = replica.round_trips();
            // Refusals need no round trip.
            let accepted = replica.accepted(user, 3 * limit).await;
            accepted == limit && replica.round_trips() - before == limit.min(20)
        })
        .await;
    }
}

#[tokio::test]
async fn users_do_not_share_a_budget() {
    let space = Space::new();
    let replica = Replica::start(&space, 10, &[]);

    let accepted = join_all((0..20).map(|_| replica.accepted(newcomer(), 10))).await;
    assert!(accepted.iter().all(|accepted| *accepted == 10), "{accepted:?}");
}

#[tokio::test]
async fn without_redis_writes_are_accepted_and_bounded_and_redis_counts_again_when_it_is_back() {
    let space = Space::new();
    let (link, through_link) = redis_link().await;
    let (linked, other) = (Replica::start(&space, 100, &through_link), Replica::start(&space, 100, &[]));
    let share_one_budget = async |user| {
        let (at_linked, at_other) = tokio::join!(linked.accepted(user, 300), other.accepted(user, 300));
        at_linked + at_other == 100
    };
    for_some_user("the replicas share a budget", &share_one_budget).await;

    link.set_faulty(true);
    for_some_user("the replica grants the budget alone", async |user| {
        let (alone, shared) = (linked.accepted(user, 300).await, other.accepted(user, 300).await);
        assert!((100..=200).contains(&alone), "{alone}");
        alone == 100 && shared == 100
    })
    .await;

    link.set_faulty(false);
    for_some_user("the replicas share a budget again", &share_one_budget).await;
}

#[tokio::test]
async fn an_outage_within_a_minute_does_not_renew_the_budget_of_a_replica() {
    let space = Space::new();
    let (link, through_link) = redis_link().await;
    let replica = Replica::start(&space, 100, &through_link);

    for_some_user("half of the budget is left in the outage", async |user| {
        link.set_faulty(false);
        let counted = replica.round_trips();
        let before = replica.accepted(user, 50).await;
        let counted = replica.round_trips() - counted;
        link.set_faulty(true);
        let within = replica.accepted(user, 100).await;
        counted == 10 && before == 50 && within == 50
    })
    .await;
}
