//! Concurrent changes.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::StreamExt;
use futures_util::future::join_all;
use serde_json::Value;

use crate::app::{Person, TestApp};

/// The number of answers by status.
fn counted(statuses: impl IntoIterator<Item = u16>) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    statuses.into_iter().for_each(|status| *counts.entry(status).or_default() += 1);
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_concurrent_requests_in_both_directions_leave_one_relation() {
    let app = TestApp::with_topics().await;
    let replica = app.replica(&app.users.url()).await;
    let (ann, bob) = app.ann_and_bob();

    let requests = (0..100).map(|n| {
        let (from, to) = if n % 2 == 0 { (&ann, bob.id) } else { (&bob, ann.id) };
        let from = if n % 4 < 2 { from.clone() } else { from.at(&replica) };
        async move { from.request(to).await.status }
    });
    let statuses = counted(join_all(requests).await);

    assert_eq!(statuses, BTreeMap::from([(201, 1), (400, 99)]));
    assert_eq!(app.live_relations(1, 2).await, 1);
    assert_eq!(app.friend_events().expect("FriendRequestSent", 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_of_many_pairs_leave_one_relation_each() {
    let app = TestApp::start().await;
    let people: Vec<_> = (1..=15).map(|id| app.person(id, &format!("user{id}"))).collect();

    let pairs = people.iter().flat_map(|a| people.iter().map(move |b| (a, b))).filter(|(a, b)| a.id != b.id);
    let statuses = counted(join_all(pairs.map(|(a, b)| async { a.request(b.id).await.status })).await);

    assert_eq!(statuses, BTreeMap::from([(201, 105), (400, 105)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_concurrent_block_and_request_leave_no_relation() {
    let app = TestApp::start().await;
    let pairs: Vec<_> =
        (0..20).map(|n| (app.person(2 * n + 1, &format!("a{n}")), app.person(2 * n + 2, &format!("b{n}")))).collect();

    let races = pairs.iter().map(|(blocker, asker)| async {
        let (blocked, asked) = tokio::join!(blocker.block(asker.id), asker.request(blocker.id));
        assert_eq!(blocked.status, 200);
        assert!([201, 403].contains(&asked.status), "{}", asked.text);
    });
    join_all(races).await;

    for (blocker, asker) in &pairs {
        assert_eq!(app.live_relations(blocker.id, asker.id).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_concurrent_accept_reject_and_cancel_wins() {
    let app = TestApp::with_topics().await;
    let (ann, bob) = app.ann_and_bob();
    for round in 1..=10 {
        ann.request(2).await.expect(201);
        let (accepted, rejected, cancelled) =
            tokio::join!(bob.answer(1, "accept"), bob.answer(1, "reject"), ann.cancel(2));
        let statuses = counted([accepted.status, rejected.status, cancelled.status]);
        assert_eq!(statuses, BTreeMap::from([(200, 1), (400, 2)]), "round {round}");
        if accepted.status == 200 {
            ann.unfriend(2).await.expect(200);
        }
    }
    let events = app.friend_events();
    events.expect("FriendRequestSent", 10).await;
    testkit::eventually("each request has one end", || async {
        let all = events.all().await;
        let ends = all.iter().filter(|e| {
            ["FriendRequestRejected", "FriendRequestCancelled", "FriendRemoved"]
                .contains(&e["event_type"].as_str().unwrap())
        });
        (ends.count() == 10).then_some(())
    })
    .await;
}

/// The requests, friendships and blocks between users.
type Relations = BTreeSet<(&'static str, i64, i64)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_random_changes_leave_the_state_that_their_events_describe() {
    let app = TestApp::with_topics().await;
    let replica = app.replica(&app.users.url()).await;
    let here: Vec<_> = (1..=4).map(|id| app.person(id, &format!("user{id}"))).collect();
    let there: Vec<_> = here.iter().map(|person| person.at(&replica)).collect();

    // Multiplied by a prime: the order appears random and is the same in each run.
    let acts = (0..600_usize).map(|n| n * 7919 % 600).map(|n| {
        let me = if n % 2 == 0 { &here[n / 2 % 4] } else { &there[n / 2 % 4] };
        act(me, (n / 8 % 4 + 1) as i64, n / 32)
    });
    let statuses = counted(futures_util::stream::iter(acts).buffer_unordered(32).collect::<Vec<_>>().await);

    assert!(statuses.keys().all(|status| *status < 500), "{statuses:?}");
    assert!(statuses.contains_key(&200) && statuses.contains_key(&201), "{statuses:?}");
    testkit::eventually("every event is published", || async {
        let unpublished: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM friend_outbox").fetch_one(&app.pool).await.unwrap();
        (unpublished == 0).then_some(())
    })
    .await;
    assert_eq!(from_events(app.friend_events().all().await), from_tables(&app).await);
}

async fn act(me: &Person, other: i64, kind: usize) -> u16 {
    let answer = match kind % 10 {
        0..=2 => me.request(other).await,
        3 | 4 => me.answer(other, "accept").await,
        5 => me.cancel(other).await,
        6 => me.unfriend(other).await,
        7 => me.block(other).await,
        _ => me.unblock(other).await,
    };
    answer.status
}

/// Applies the events in order. Each must fit the state that the earlier ones left.
fn from_events(mut events: Vec<Value>) -> Relations {
    events.sort_by_key(|event| event["version"].as_u64());
    let mut standing = Relations::new();
    for event in events {
        let id = |fields: [&str; 3]| fields.into_iter().find_map(|field| event[field].as_i64()).unwrap();
        let (a, b) = (id(["requester_id", "user_id", ""]), id(["addressee_id", "friend_id", "blocked_user_id"]));
        let fits = match event["event_type"].as_str().unwrap() {
            "FriendRequestSent" => standing.insert(("pending", a, b)),
            "FriendRequestAccepted" => standing.remove(&("pending", a, b)) && standing.insert(("accepted", a, b)),
            "FriendRequestRejected" | "FriendRequestCancelled" => standing.remove(&("pending", a, b)),
            "FriendRemoved" => standing.remove(&("accepted", a, b)) || standing.remove(&("accepted", b, a)),
            "UserBlocked" => standing.insert(("blocks", a, b)),
            "UserUnblocked" => standing.remove(&("blocks", a, b)),
            other => panic!("{other}"),
        };
        assert!(fits, "{event} after {standing:?}");
    }
    standing
}

async fn from_tables(app: &TestApp) -> Relations {
    let stored = sqlx::query_as(
        "SELECT status, user_id_1, user_id_2 FROM friendships WHERE deleted_at IS NULL
         UNION ALL SELECT 'blocks', user_id, blocked_user_id FROM block_users",
    );
    let stored: Vec<(String, i32, i32)> = stored.fetch_all(&app.pool).await.unwrap();
    let name = |kind: &str| ["pending", "accepted", "blocks"].into_iter().find(|name| *name == kind).unwrap();
    stored.into_iter().map(|(kind, a, b)| (name(&kind), a.into(), b.into())).collect()
}
