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
async fn a_hundred_concurrent_requests_in_both_directions_at_two_replicas_create_one_friendship() {
    let app = TestApp::start_with_events().await;
    let replica = app.replica(&app.user_service.url()).await;
    let (ann, bob) = app.ann_and_bob();

    let requests = (0..100).map(|n| {
        let (from, to) = if n % 2 == 0 { (&ann, bob.id) } else { (&bob, ann.id) };
        let from = if n % 4 < 2 { from.clone() } else { from.at(&replica) };
        async move { from.request(to).await.status }
    });
    let statuses = counted(join_all(requests).await);

    assert_eq!(statuses, BTreeMap::from([(201, 1), (400, 99)]));
    assert_eq!(app.live_friendships(1, 2).await, 1);
    assert_eq!(app.friend_events().expect("FriendRequestSent", 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_create_one_friendship_for_each_pair() {
    let app = TestApp::start().await;
    let people: Vec<_> = (1..=15).map(|id| app.person(id, &format!("user{id}"))).collect();

    let pairs = people.iter().flat_map(|a| people.iter().map(move |b| (a, b))).filter(|(a, b)| a.id != b.id);
    let statuses = counted(join_all(pairs.map(|(a, b)| async { a.request(b.id).await.status })).await);

    assert_eq!(statuses, BTreeMap::from([(201, 105), (400, 105)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_concurrent_block_and_request_leave_no_friendship() {
    let app = TestApp::start().await;
    let pairs: Vec<_> =
        (0..20).map(|n| (app.person(2 * n + 1, &format!("a{n}")), app.person(2 * n + 2, &format!("b{n}")))).collect();

    let races = pairs.iter().map(|(blocker, requester)| async {
        let (blocked, requested) = tokio::join!(blocker.block(requester.id), requester.request(blocker.id));
        assert_eq!(blocked.status, 200);
        assert!([201, 403].contains(&requested.status), "{}", requested.text);
    });
    join_all(races).await;

    for (blocker, requester) in &pairs {
        assert_eq!(app.live_friendships(blocker.id, requester.id).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_of_a_concurrent_accept_reject_and_cancel_succeeds() {
    let app = TestApp::start_with_events_and(&[("FRIEND_REQUEST_LIMIT_ENDED", "0")]).await;
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
    testkit::eventually("each request has ended once", || async {
        let all = events.all().await;
        let ends = all.iter().filter(|e| {
            ["FriendRequestRejected", "FriendRequestCancelled", "FriendRemoved"]
                .contains(&e["event_type"].as_str().unwrap())
        });
        (ends.count() == 10).then_some(())
    })
    .await;
}

/// All relationships, as `pending` or `accepted` with requester and addressee, and as `blocks` with both users.
type Relationships = BTreeSet<(&'static str, i64, i64)>;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_events_of_concurrent_random_actions_describe_the_stored_state() {
    let app = TestApp::start_with_events_and(&[("FRIEND_REQUEST_LIMIT_ENDED", "0")]).await;
    let replica = app.replica(&app.user_service.url()).await;
    let here: Vec<_> = (1..=4).map(|id| app.person(id, &format!("user{id}"))).collect();
    let there: Vec<_> = here.iter().map(|person| person.at(&replica)).collect();

    // The prime factor makes a pseudo-random order that is the same in each run.
    let actions = (0..600_usize).map(|n| n * 7919 % 600).map(|n| {
        let me = if n % 2 == 0 { &here[n / 2 % 4] } else { &there[n / 2 % 4] };
        perform(me, (n / 8 % 4 + 1) as i64, n / 32)
    });
    let statuses = counted(futures_util::stream::iter(actions).buffer_unordered(32).collect::<Vec<_>>().await);

    assert!(statuses.keys().all(|status| *status < 500), "{statuses:?}");
    assert!(statuses.contains_key(&200) && statuses.contains_key(&201), "{statuses:?}");
    testkit::eventually("the outbox is empty", || async {
        let unpublished: i64 =
            sqlx::query_scalar("SELECT COUNT(*) FROM friend_outbox").fetch_one(&app.pool).await.unwrap();
        (unpublished == 0).then_some(())
    })
    .await;
    assert_eq!(replayed(app.friend_events().all().await), stored(&app).await);
}

async fn perform(me: &Person, other: i64, kind: usize) -> u16 {
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

/// Applies the events in the order of their versions. Panics if an event does not fit the state before it.
fn replayed(mut events: Vec<Value>) -> Relationships {
    events.sort_by_key(|event| event["version"].as_u64());
    let mut relationships = Relationships::new();
    for event in events {
        let id = |fields: [&str; 3]| fields.into_iter().find_map(|field| event[field].as_i64()).unwrap();
        let (a, b) = (id(["requester_id", "user_id", ""]), id(["addressee_id", "friend_id", "blocked_user_id"]));
        let fits = match event["event_type"].as_str().unwrap() {
            "FriendRequestSent" => relationships.insert(("pending", a, b)),
            "FriendRequestAccepted" => {
                relationships.remove(&("pending", a, b)) && relationships.insert(("accepted", a, b))
            }
            "FriendRequestRejected" | "FriendRequestCancelled" => relationships.remove(&("pending", a, b)),
            "FriendRemoved" => relationships.remove(&("accepted", a, b)) || relationships.remove(&("accepted", b, a)),
            "UserBlocked" => relationships.insert(("blocks", a, b)),
            "UserUnblocked" => relationships.remove(&("blocks", a, b)),
            other => panic!("{other}"),
        };
        assert!(fits, "{event} after {relationships:?}");
    }
    relationships
}

async fn stored(app: &TestApp) -> Relationships {
    let rows = sqlx::query_as(
        "SELECT status, user_id_1, user_id_2 FROM friendships WHERE deleted_at IS NULL
         UNION ALL SELECT 'blocks', user_id, blocked_user_id FROM block_users",
    );
    let rows: Vec<(String, i32, i32)> = rows.fetch_all(&app.pool).await.unwrap();
    let name = |kind: &str| ["pending", "accepted", "blocks"].into_iter().find(|name| *name == kind).unwrap();
    rows.into_iter().map(|(kind, a, b)| (name(&kind), a.into(), b.into())).collect()
}
