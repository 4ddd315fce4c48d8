//! The limits on friend requests, friends and blocks, and the pages of lists.

use futures_util::future::join_all;
use serde_json::Value;

use crate::app::{Person, TestApp};

fn people(app: &TestApp, ids: std::ops::RangeInclusive<i64>) -> Vec<Person> {
    ids.map(|id| app.person(id, &format!("user_{id}"))).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_requests_at_two_replicas_stop_at_the_limit_of_pending_ones() {
    let app = TestApp::start_with(&[("FRIEND_REQUEST_LIMIT_PENDING", "5")]).await;
    let replica = app.replica(&app.user_service.url()).await;
    let ann = app.person(1, "ann");
    people(&app, 2..=31);

    let (here, there) = (ann.clone(), ann.at(&replica));
    let requests = (2..=31).map(|id| if id % 2 == 0 { here.request(id) } else { there.request(id) });
    let answers = join_all(requests).await;

    let (sent, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 201);
    assert_eq!((sent.len(), refused.len()), (5, 25));
    for refused in refused {
        let body = refused.expect(403);
        assert_eq!(body["error"], "TOO_MANY_PENDING");
        assert_eq!(
            body["detail"],
            "At most 5 friend requests may be pending. Cancel one of them or wait for an answer"
        );
    }
}

#[tokio::test]
async fn a_user_has_200_pending_requests_and_an_answer_or_a_cancellation_makes_room() {
    let app = TestApp::start().await;
    let ann = app.person(1, "ann");
    let others = people(&app, 2..=203);
    for other in &others[..200] {
        ann.request(other.id).await.expect(201);
    }

    assert_eq!(ann.request(202).await.expect(403)["error"], "TOO_MANY_PENDING");
    others[0].answer(1, "accept").await.expect(200);
    ann.request(202).await.expect(201);
    ann.request(203).await.expect(403);
    ann.cancel(3).await.expect(200);
    ann.request(203).await.expect(201);
    others[1].request(1).await.expect(201);
}

#[tokio::test]
async fn a_fifth_request_of_a_day_to_a_user_who_accepted_none_waits() {
    let app = TestApp::start().await;
    let (ann, bob) = app.ann_and_bob();
    for rejected in [false, true, false, true] {
        ann.request(2).await.expect(201);
        let ended = if rejected { bob.answer(1, "reject").await } else { ann.cancel(2).await };
        ended.expect(200);
    }

    let refused = ann.request(2).await;
    let wait: u64 = refused.header("retry-after").unwrap().parse().unwrap();
    assert!((86_000..=86_400).contains(&wait), "{wait}");
    assert_eq!(refused.expect(429)["error"], "rate_limit_exceeded");
    bob.request(1).await.expect(201);
    bob.cancel(1).await.expect(200);
    app.person(3, "cara");
    ann.request(3).await.expect(201);

    let earlier =
        "UPDATE friendships SET deleted_at = deleted_at - INTERVAL 25 HOUR WHERE deleted_at IS NOT NULL LIMIT 1";
    sqlx::query(earlier).execute(&app.pool).await.unwrap();
    ann.request(2).await.expect(201);
}

#[tokio::test]
async fn ended_friendships_do_not_count_as_ended_requests() {
    let app = TestApp::start().await;
    let (ann, bob) = app.ann_and_bob();
    for _ in 0..6 {
        ann.befriend(&bob).await;
        ann.unfriend(2).await.expect(200);
    }
}

fn ids(requests: &Value) -> Vec<i64> {
    requests.as_array().unwrap().iter().map(|request| request["user_id"].as_i64().unwrap()).collect()
}

#[tokio::test]
async fn pending_requests_are_whole_up_to_a_thousand_and_then_paged() {
    let app = TestApp::start().await;
    let ann = app.person(1, "ann");
    app.requests_to(1, 10, 999).await;
    app.person(2, "bob");
    ann.request(2).await.expect(201);

    let whole = ann.client.get("/friends/requests").await;
    assert_eq!(whole.header("x-next-cursor"), None);
    let whole = whole.expect(200);
    assert_eq!(ids(&whole["received_requests"]), (10..1_009).collect::<Vec<_>>());
    assert_eq!(ids(&whole["sent_requests"]), [2]);

    app.requests_to(1, 2_000, 5).await;
    for path in ["/friends/requests", "/friends/requests/pending"] {
        let first = ann.client.get(path).await;
        let next = first.header("x-next-cursor").unwrap().to_owned();
        let first = first.expect(200);
        let received = first.get("received_requests").unwrap_or(&first);
        let rest = ann.client.get(&format!("{path}?cursor={next}&limit=10")).await;
        assert_eq!(rest.header("x-next-cursor"), None);
        let rest = rest.expect(200);
        let rest = ids(rest.get("received_requests").unwrap_or(&rest));
        let all: Vec<_> = ids(received).into_iter().chain(rest).collect();
        assert_eq!(all, (10..1_009).chain(2_000..2_005).collect::<Vec<_>>(), "{path}");
        for wrong in ["limit=0", "limit=1001", "cursor=-1"] {
            ann.client.get(&format!("{path}?{wrong}")).await.expect(422);
        }
    }
}

/// Inserts rows for the first user and each of so many others, whose ids begin at 10.
async fn insert_many(app: &TestApp, insert: &str, rest_of_row: &'static str, count: i64) {
    let mut rows = sqlx::QueryBuilder::<sqlx::MySql>::new(insert);
    rows.push_values(10..10 + count, |mut row, id| {
        app.user_service.add_user(id, &format!("user_{id}"));
        row.push("1").push_bind(id).push(rest_of_row);
    });
    rows.build().execute(&app.pool).await.unwrap();
}

async fn block_many(app: &TestApp, count: i64) {
    let insert = "INSERT INTO block_users (user_id, blocked_user_id, created_at) ";
    insert_many(app, insert, "UTC_TIMESTAMP(6)", count).await;
}

async fn befriend_many(app: &TestApp, count: i64) {
    let insert = "INSERT INTO friendships (user_id_1, user_id_2, status, created_at, updated_at) ";
    insert_many(app, insert, "'accepted', UTC_TIMESTAMP(6), UTC_TIMESTAMP(6)", count).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_blocks_at_two_replicas_stop_at_the_limit() {
    let app = TestApp::start_with(&[("BLOCKS_PER_USER", "5")]).await;
    let replica = app.replica(&app.user_service.url()).await;
    let ann = app.person(1, "ann");
    people(&app, 2..=21);

    let (here, there) = (ann.clone(), ann.at(&replica));
    let answers = join_all((2..=21).map(|id| if id % 2 == 0 { here.block(id) } else { there.block(id) })).await;

    let (blocked, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(|answer| answer.status == 200);
    assert_eq!((blocked.len(), refused.len()), (5, 15));
    for refused in refused {
        let body = refused.expect(403);
        assert_eq!(
            (&body["error"], &body["detail"]),
            (&"TOO_MANY_BLOCKED".into(), &"At most 5 users may be blocked".into())
        );
    }
}

#[tokio::test]
async fn a_user_blocks_2000_others_and_an_unblocked_one_makes_room() {
    let app = TestApp::start().await;
    let ann = app.person(1, "ann");
    block_many(&app, 1_999).await;
    let others = people(&app, 5_000..=5_001);

    ann.block(5_000).await.expect(200);
    ann.block(5_001).await.expect(403);
    ann.block(5_000).await.expect(200);
    others[0].block(1).await.expect(200);
    ann.unblock(10).await.expect(200);
    ann.block(5_001).await.expect(200);
    ann.block(10).await.expect(403);
}

#[tokio::test]
async fn neither_side_of_a_friendship_has_more_friends_than_the_limit() {
    let app = TestApp::start_with(&[("FRIENDS_PER_USER", "2")]).await;
    let [ann, bob, cara, dan, eve, _] = [1, 2, 3, 4, 5, 6].map(|id| app.person(id, &format!("user_{id}")));
    dan.request(1).await.expect(201);
    ann.request(5).await.expect(201);
    ann.befriend(&bob).await;
    cara.befriend(&ann).await;

    let refused = [ann.answer(4, "accept").await, eve.answer(1, "accept").await, ann.request(6).await];
    for refused in refused {
        assert_eq!(refused.expect(403)["error"], "TOO_MANY_FRIENDS");
    }
    bob.unfriend(1).await.expect(200);
    ann.answer(4, "accept").await.expect(200);
    eve.answer(1, "accept").await.expect(403);
    eve.answer(1, "reject").await.expect(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_acceptances_in_both_directions_stop_at_the_limit_of_friends() {
    let app = TestApp::start_with(&[("FRIENDS_PER_USER", "3")]).await;
    let ann = app.person(1, "ann");
    let others = people(&app, 2..=13);
    for other in &others {
        if other.id % 2 == 0 { ann.request(other.id).await } else { other.request(1).await }.expect(201);
    }

    let accept = async |other: &Person| {
        if other.id % 2 == 0 { other.answer(1, "accept").await } else { ann.answer(other.id, "accept").await }
    };
    let answers = join_all(others.iter().map(accept)).await;

    let accepted = answers.iter().filter(|answer| answer.status == 200).count();
    let refused = answers.iter().filter(|answer| answer.status == 403).count();
    assert_eq!((accepted, refused, ann.friends().await.len()), (3, 9, 3));
}

#[tokio::test]
async fn friends_and_blocked_users_are_whole_up_to_a_thousand_and_then_paged() {
    let app = TestApp::start_with(&[("BLOCKS_PER_USER", "100000")]).await;
    let ann = app.person(1, "ann");
    befriend_many(&app, 1_000).await;
    block_many(&app, 1_000).await;
    for path in ["/friends/list", "/friends", "/friends/blocked"] {
        let whole = ann.client.get(path).await;
        assert!(whole.header("x-next-cursor").is_none(), "{path}");
        assert_eq!(ids(&whole.expect(200)).len(), 1_000, "{path}");
    }
    for table in ["DELETE FROM friendships", "DELETE FROM block_users"] {
        sqlx::query(table).execute(&app.pool).await.unwrap();
    }
    befriend_many(&app, 1_005).await;
    block_many(&app, 1_005).await;

    for path in ["/friends/list", "/friends/blocked"] {
        let first = ann.client.get(path).await;
        let next = first.header("x-next-cursor").unwrap().to_owned();
        let rest = ann.client.get(&format!("{path}?cursor={next}&limit=10")).await;
        assert_eq!(rest.header("x-next-cursor"), None);
        let mut all = ids(&first.expect(200));
        assert_eq!(all.len(), 1_000);
        all.extend(ids(&rest.expect(200)));
        all.sort_unstable();
        assert_eq!(all, (10..1_015).collect::<Vec<_>>(), "{path}");
    }
    for wrong in ["limit=0", "limit=1001", "cursor=-1"] {
        ann.client.get(&format!("/friends/blocked?{wrong}")).await.expect(422);
    }
}
