//! The stream of all rooms: one place for many rooms, whatever the reader comes into and leaves.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::events::friend::FriendRequestSent;
use common::events::user::UserOnlineStatusChanged;
use common::id::UserId;
use serde_json::{Value, json};
use testkit::{Event, SLACK, Sse, eventually};

use crate::app::{Person, TestApp};
use crate::blocks::publish;

const ALL: &str = "/messages/stream";

/// A stream that stands where it begins, and the id of that place.
async fn listen(person: &Person, since: Option<&str>) -> (Sse, String) {
    let mut stream = person.client.stream(ALL, since).await;
    let connected = stream.next().await;
    assert_eq!((connected.name.as_str(), &connected.data["user_id"]), ("connected", &json!(person.id)));
    assert!((1..=1_024).contains(&connected.id.len()));
    (stream, connected.id)
}

/// The next `wanted` events with a place in history, as (room, content), and the id of the last.
async fn history(stream: &mut Sse, wanted: usize) -> (Vec<(i64, String)>, String) {
    let (mut seen, mut id) = (Vec::new(), String::new());
    while seen.len() < wanted {
        let event = stream.next().await;
        if event.name == "new_message" {
            assert!((1..=1_024).contains(&event.id.len()), "{}", event.id.len());
            id = event.id;
            let content = event.data["content"].as_str().unwrap().to_owned();
            seen.push((event.data["room_id"].as_i64().unwrap(), content));
        }
    }
    (seen, id)
}

fn in_order(seen: Vec<(i64, String)>) -> BTreeMap<i64, Vec<String>> {
    let mut rooms: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    seen.into_iter().for_each(|(room, content)| rooms.entry(room).or_default().push(content));
    rooms
}

async fn quiet(stream: &mut Sse) -> bool {
    stream.quiet_for(Duration::from_millis(2_500)).await
}

#[tokio::test]
async fn all_rooms_come_on_one_stream_and_none_of_others() {
    let app = TestApp::start().await;
    let (ann, bob, direct) = app.two_in_a_room().await;
    let group = ann.group_with(&[2, 3]).await;
    let foreign = ann.room_with(3).await;
    let (mut stream, mut place) = listen(&bob, None).await;

    ann.says(direct, "1").await;
    ann.says(foreign, "secret").await;
    let sent = ann.says(group, "2").await;
    ann.client
        .put(&format!("/messages/{}", sent["id"].as_str().unwrap()), json!({"content": "zwei"}))
        .await
        .expect(200);
    bob.client.post("/messages/read", json!({"room_id": group})).await.expect(200);

    let mut names = Vec::new();
    for _ in 0..4 {
        let event = stream.next().await;
        assert_ne!(event.data["room_id"], foreign);
        // A reader keeps the place of the last event that has one.
        assert_eq!(event.id == place, event.name == "messages_read");
        place = event.id;
        names.push(event.name);
    }
    assert_eq!(names, ["new_message", "new_message", "message_edited", "messages_read"]);
}

#[tokio::test]
async fn who_comes_back_gets_what_was_missed_in_each_room_once_and_in_order() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let rooms = [ann.room_with(2).await, ann.group_with(&[2, 3]).await, ann.group_with(&[2, 4]).await];
    let replica = app.replica().await;
    let bob_elsewhere = app.person_at(&replica, 2);
    let (mut stream, at_first) = listen(&bob, None).await;
    for room in rooms {
        ann.says(room, "0").await;
    }
    let (_, place) = history(&mut stream, 3).await;
    drop(stream);
    for n in 1..=40 {
        for room in rooms {
            ann.says(room, &n.to_string()).await;
        }
    }

    for reader in [&bob_elsewhere, &bob] {
        let (mut again, id) = listen(reader, Some(&place)).await;
        assert_eq!(id, place, "it stands where it stood");
        let missed = in_order(history(&mut again, 120).await.0);
        let expected: Vec<String> = (1..=40).map(|n| n.to_string()).collect();
        assert!(rooms.iter().all(|room| missed[room] == expected));
    }
    let (mut from_the_first, _) = listen(&bob, Some(&at_first)).await;
    assert_eq!(in_order(history(&mut from_the_first, 123).await.0)[&rooms[0]].len(), 41);
    let by_query = format!("{ALL}?last_event_id={place}");
    let mut by_query = bob.client.stream(&by_query, None).await;
    assert_eq!(by_query.next().await.name, "connected");
    assert_eq!(history(&mut by_query, 1).await.0[0].1, "1");
}

#[tokio::test]
async fn every_id_on_the_way_is_a_place_to_come_back_to() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let rooms = [ann.room_with(2).await, ann.group_with(&[2, 3]).await];
    let (mut stream, first) = listen(&bob, None).await;
    for n in 0..6 {
        ann.says(rooms[n % 2], &n.to_string()).await;
    }
    let mut places = vec![first];
    for _ in 0..6 {
        places.push(stream.next_named("new_message").await.id);
    }

    for (read, place) in places.iter().enumerate() {
        let (mut again, _) = listen(&bob, Some(place)).await;
        let seen = history(&mut again, 6 - read).await.0;
        let mut left: Vec<String> = seen.into_iter().map(|(_, content)| content).collect();
        left.sort_unstable();
        let expected: Vec<String> = (read..6).map(|n| n.to_string()).collect();
        assert_eq!(left, expected);
    }
}

#[tokio::test]
async fn an_id_that_names_no_place_of_the_reader_means_resync() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    ann.says(room, "1").await;
    let (_, of_ann) = listen(&ann, None).await;

    for unknown in ["0", "5", "not-an-id", &of_ann, &"A".repeat(40)] {
        let (mut stream, id) = listen(&bob, Some(unknown)).await;
        assert_eq!(stream.next().await.name, "resync", "{unknown}");
        let (mut again, _) = listen(&bob, Some(&id)).await;
        ann.says(room, "next").await;
        assert_eq!(history(&mut again, 1).await.0, [(room, "next".to_owned())], "the new id is a place");
    }
}

#[tokio::test]
async fn the_id_stays_short_in_however_many_rooms_the_reader_is() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let mut rooms = Vec::new();
    for n in 0..260 {
        rooms.push(ann.group_with(&[2, 1_000 + n]).await);
    }
    let (mut stream, _) = listen(&bob, None).await;
    for room in &rooms {
        ann.says(*room, "1").await;
    }
    let (seen, place) = history(&mut stream, 260).await;
    assert_eq!(in_order(seen).len(), 260);
    for room in &rooms {
        ann.says(*room, "2").await;
    }

    let (mut again, _) = listen(&bob, Some(&place)).await;

    let missed = in_order(history(&mut again, 260).await.0);
    assert!(missed.len() == 260 && missed.values().all(|said| *said == ["2"]));
}

#[tokio::test]
async fn a_new_room_is_told_to_its_people_and_then_read_from_its_beginning() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let replica = app.replica().await;
    let (mut here, place) = listen(&bob, None).await;
    let (mut there, _) = listen(&app.person_at(&replica, 2), None).await;
    let (mut stranger, _) = listen(&app.person(9), None).await;

    // The topics do not exist, so no event tells of it.
    let group = ann.group_with(&[2, 3]).await;
    ann.says(group, "welcome").await;
    let direct = ann.room_with(2).await;
    ann.says(direct, "hello").await;

    for stream in [&mut here, &mut there] {
        let (mut created, mut said) = (BTreeMap::new(), Vec::new());
        while created.len() < 2 || said.len() < 2 {
            let Event { name, data, .. } = stream.next().await;
            let room = data["room_id"].as_i64().unwrap();
            if name == "chat_room_created" {
                assert!(data["timestamp"].as_str().unwrap().ends_with('Z'));
                created.insert(room, data);
            } else {
                assert!(created.contains_key(&room), "a room is told before what is said in it");
                said.push((room, data["content"].as_str().unwrap().to_owned()));
            }
        }
        assert_eq!((&created[&group]["room_type"], &created[&group]["creator_id"]), (&json!("group"), &json!(1)));
        assert_eq!(created[&group]["participant_ids"], json!([1, 2, 3]));
        assert_eq!(
            (&created[&direct]["room_type"], &created[&direct]["participant_ids"]),
            (&json!("direct"), &json!([1, 2]))
        );
        assert_eq!(in_order(said), BTreeMap::from([(group, vec!["welcome".into()]), (direct, vec!["hello".into()])]));
    }
    let (mut again, _) = listen(&bob, Some(&place)).await;
    assert_eq!(in_order(history(&mut again, 2).await.0).len(), 2, "who was away reads it from its beginning too");
    assert!(quiet(&mut stranger).await);
}

#[tokio::test]
async fn a_room_begins_where_the_reader_came_in_and_ends_where_they_left() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let replica = app.replica().await;
    let group = ann.group_with(&[3, 4]).await;
    let (mut here, place) = listen(&bob, None).await;
    let (mut there, _) = listen(&app.person_at(&replica, 2), None).await;

    ann.says(group, "before").await;
    ann.adds(group, &[2]).await.expect(200);
    ann.says(group, "with bob").await;
    let during = ["person_1 added person_2", "with bob"].map(|content| (group, content.to_owned()));
    for stream in [&mut here, &mut there] {
        assert_eq!(history(stream, 2).await.0, during);
    }
    let (mut again, _) = listen(&bob, Some(&place)).await;
    let (seen, in_between) = history(&mut again, 2).await;
    assert_eq!(seen, during, "the same for who was away");

    ann.removes(group, 2).await.expect(200);
    ann.says(group, "without bob").await;
    for stream in [&mut here, &mut there, &mut again] {
        assert!(quiet(stream).await);
    }
    let (mut later, _) = listen(&bob, Some(&in_between)).await;
    assert!(quiet(&mut later).await, "who left gets nothing, from whatever place");

    ann.adds(group, &[2]).await.expect(200);
    ann.says(group, "again").await;
    let once_more = ["person_1 added person_2", "again"].map(|content| (group, content.to_owned()));
    for stream in [&mut here, &mut there, &mut again, &mut later] {
        assert_eq!(history(stream, 2).await.0, once_more);
    }
    let (mut at_last, _) = listen(&bob, Some(&in_between)).await;
    assert_eq!(history(&mut at_last, 2).await.0, once_more, "what was said in between is not told");
}

#[tokio::test]
async fn presence_and_friend_requests_are_told_to_those_whom_they_concern() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, bob, _) = app.two_in_a_room().await;
    ann.group_with(&[2, 3]).await;
    let (mut of_ann, place) = listen(&ann, None).await;
    let (mut of_eve, _) = listen(&app.person(3), None).await;
    let online = UserOnlineStatusChanged { user_id: UserId(bob.id), is_online: true };
    let request = FriendRequestSent {
        friendship_id: 7,
        requester_id: UserId(3),
        requester_name: "person_3".to_owned(),
        addressee_id: UserId(1),
        addressee_name: "person_1".to_owned(),
    };

    // Until the tail stands at the end of the new topics, an event could fall before it.
    let mut told: BTreeMap<String, Value> = BTreeMap::new();
    while told.len() < 2 {
        publish(&app, &online, 1).await;
        publish(&app, &request, 1).await;
        while let Some(event) = of_ann.next_within(Duration::from_millis(300)).await {
            assert_eq!(event.id, place, "it has no place of its own");
            told.insert(event.name, event.data);
        }
    }

    assert_eq!(told["presence"], json!({"user_id": 2, "is_online": true, "last_seen_at": null}));
    assert_eq!(told["friend_request"], json!({"friendship_id": 7, "user_id": 3, "username": "person_3"}));
    assert!(of_eve.quiet_for(Duration::from_millis(500)).await, "a group is no acquaintance");
    let offline = UserOnlineStatusChanged { is_online: false, ..online };
    publish(&app, &offline, 2).await;
    let gone = loop {
        let event = of_ann.next_named("presence").await;
        if event.data["is_online"] == false {
            break event;
        }
    };
    assert!(gone.data["last_seen_at"].as_str().unwrap().ends_with('Z'));
    let direct = app.person(3).room_with(2).await;
    assert_eq!(of_eve.next_named("chat_room_created").await.data["room_id"], direct);
    publish(&app, &offline, 3).await;
    assert_eq!(of_eve.next_named("presence").await.data["user_id"], 2, "of a new acquaintance too");
}

#[tokio::test]
async fn the_stream_ends_with_the_session() {
    let app = TestApp::start().await;
    let (_, bob, _) = app.two_in_a_room().await;
    let (mut stream, _) = listen(&bob, None).await;
    let claims = bob.client.token().split('.').nth(1).unwrap();
    let claims: Value =
        serde_json::from_slice(&base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, claims).unwrap())
            .unwrap();
    let prefix = app.server.platform().config.redis_prefix.clone();
    let mut redis = redis::Client::open(std::env::var("REDIS_URL").unwrap()).unwrap();
    let revoked = format!("{prefix}session:revoked:{}", claims["sid"].as_str().unwrap());
    let asked = Instant::now();
    let _: () = redis::Commands::set_ex(&mut redis, revoked, "1", 60).unwrap();

    while stream.try_next().await.is_some() {}

    assert!(asked.elapsed() < SLACK * Duration::from_secs(10));
    eventually("nor do requests get through", || async {
        (bob.client.get("/chat-rooms").await.status == 401).then_some(())
    })
    .await;
}
