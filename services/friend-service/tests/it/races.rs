//! Many at once.

use std::collections::BTreeMap;

use futures_util::future::join_all;

use crate::stage::Stage;

/// How often each status was answered.
fn counted(statuses: impl IntoIterator<Item = u16>) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    statuses.into_iter().for_each(|status| *counts.entry(status).or_default() += 1);
    counts
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_requests_and_counter_requests_at_two_replicas_end_in_one_relation() {
    let stage = Stage::with_topics().await;
    let replica = stage.replica(&stage.users.url()).await;
    let (ann, bob) = stage.ann_and_bob();

    let requests = (0..100).map(|n| {
        let (from, to) = if n % 2 == 0 { (&ann, bob.id) } else { (&bob, ann.id) };
        let from = if n % 4 < 2 { from.clone() } else { from.at(&replica) };
        async move { from.request(to).await.status }
    });
    let statuses = counted(join_all(requests).await);

    assert_eq!(statuses, BTreeMap::from([(201, 1), (400, 99)]));
    assert_eq!(stage.live_relations(1, 2).await, 1);
    assert_eq!(stage.friend_events().expect("FriendRequestSent", 1).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_pairs_at_once_get_each_their_one_relation() {
    let stage = Stage::start().await;
    let people: Vec<_> = (1..=15).map(|id| stage.person(id, &format!("user{id}"))).collect();

    let pairs = people.iter().flat_map(|a| people.iter().map(move |b| (a, b))).filter(|(a, b)| a.id != b.id);
    let statuses = counted(join_all(pairs.map(|(a, b)| async { a.request(b.id).await.status })).await);

    assert_eq!(statuses, BTreeMap::from([(201, 105), (400, 105)]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_and_a_request_at_once_leave_no_relation() {
    let stage = Stage::start().await;
    let pairs: Vec<_> = (0..20)
        .map(|n| (stage.person(2 * n + 1, &format!("a{n}")), stage.person(2 * n + 2, &format!("b{n}"))))
        .collect();

    let races = pairs.iter().map(|(blocker, asker)| async {
        let (blocked, asked) = tokio::join!(blocker.block(asker.id), asker.request(blocker.id));
        assert_eq!(blocked.status, 200);
        assert!([201, 403].contains(&asked.status), "{}", asked.text);
    });
    join_all(races).await;

    for (blocker, asker) in &pairs {
        assert_eq!(stage.live_relations(blocker.id, asker.id).await, 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_accept_reject_and_cancel_at_once_one_wins() {
    let stage = Stage::with_topics().await;
    let (ann, bob) = stage.ann_and_bob();
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
    let events = stage.friend_events();
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
