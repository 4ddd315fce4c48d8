//! The stream of all rooms: one cursor for many rooms, across changes of membership.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::events::friend::FriendRequestSent;
use common::events::user::UserOnlineStatusChanged;
use common::id::UserId;
use mongodb::bson::{Document, doc};
use redis::AsyncCommands;
use serde_json::{Value, json};
use testkit::{Event, PATIENCE, SLACK, Sse, eventually};
use uuid::Uuid;

use crate::app::{TestApp, mongo_database, rooms_with_a_message};
use crate::person::{Person, message_path, repeat_until};

const STREAM: &str = "/messages/stream";

/// Opens the stream and returns it with its first cursor.
pub async fn subscribe(person: &Person, last_event_id: Option<&str>) -> (Sse, String) {
    let mut stream = person.client.stream(STREAM, last_event_id).await;
    let connected = stream.next().await;
    assert_eq!((connected.name.as_str(), &connected.data["user_id"]), ("connected", &json!(person.id)));
    assert!((1..=1_024).contains(&connected.id.len()));
    (stream, connected.id)
}

/// The next `n` new messages as pairs of room and content, and the cursor of the last one.
pub async fn new_messages(stream: &mut Sse, n: usize) -> (Vec<(i64, String)>, String) {
    let (mut messages, mut cursor) = (Vec::new(), String::new());
    while messages.len() < n {
        let event = stream.next_named("new_message").await;
        assert!((1..=1_024).contains(&event.id.len()), "{}", event.id.len());
        cursor = event.id;
        let content = event.data["content"].as_str().unwrap().to_owned();
        messages.push((event.data["room_id"].as_i64().unwrap(), content));
    }
    (messages, cursor)
}

/// The contents of the messages of each room, in their order.
fn by_room(messages: Vec<(i64, String)>) -> BTreeMap<i64, Vec<String>> {
    let mut rooms: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    messages.into_iter().for_each(|(room, content)| rooms.entry(room).or_default().push(content));
    rooms
}

/// Whether the stream has no event for longer than a replica needs to find messages without Kafka.
async fn is_quiet(stream: &mut Sse) -> bool {
    stream.quiet_for(Duration::from_millis(2_500)).await
}

#[tokio::test]
async fn the_stream_has_the_events_of_all_rooms_of_the_user_and_no_other() {
    let app = TestApp::start().await;
    let (ann, bob, direct) = app.direct_room().await;
    let group = ann.group_with(&[2, 3]).await;
    let foreign = ann.room_with(3).await;
    let (mut stream, mut cursor) = subscribe(&bob, None).await;

    ann.sends(direct, "1").await;
    ann.sends(foreign, "secret").await;
    let sent = ann.sends(group, "2").await;
    ann.client.put(&message_path(&sent), json!({"content": "zwei"})).await.expect(200);
    bob.reads_all(group).await;

    let mut names = Vec::new();
    for _ in 0..4 {
        let event = stream.next().await;
        assert_ne!(event.data["room_id"], foreign);
        // A client keeps the cursor of the last event that has one.
        assert_eq!(event.id == cursor, event.name == "messages_read");
        cursor = event.id;
        names.push(event.name);
    }
    assert_eq!(names, ["new_message", "new_message", "message_edited", "messages_read"]);
}

#[tokio::test]
async fn a_reconnected_stream_receives_the_missed_messages_of_each_room_once_and_in_order() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let rooms = [ann.room_with(2).await, ann.group_with(&[2, 3]).await, ann.group_with(&[2, 4]).await];
    let replica = app.replica().await;
    let bob_at_replica = app.person_at(&replica, 2);
    let (mut stream, first_cursor) = subscribe(&bob, None).await;
    for room in rooms {
        ann.sends(room, "0").await;
    }
    let (_, cursor) = new_messages(&mut stream, 3).await;
    drop(stream);
    for n in 1..=40 {
        for room in rooms {
            ann.sends(room, &n.to_string()).await;
        }
    }

    for reader in [&bob_at_replica, &bob] {
        let (mut stream, id) = subscribe(reader, Some(&cursor)).await;
        assert_eq!(id, cursor, "the stream starts at the given cursor");
        let missed = by_room(new_messages(&mut stream, 120).await.0);
        let expected: Vec<String> = (1..=40).map(|n| n.to_string()).collect();
        assert!(rooms.iter().all(|room| missed[room] == expected));
    }
    let (mut from_first_cursor, _) = subscribe(&bob, Some(&first_cursor)).await;
    assert_eq!(by_room(new_messages(&mut from_first_cursor, 123).await.0)[&rooms[0]].len(), 41);
    let mut by_query = bob.client.stream(&format!("{STREAM}?last_event_id={cursor}"), None).await;
    assert_eq!(by_query.next().await.name, "connected");
    assert_eq!(new_messages(&mut by_query, 1).await.0[0].1, "1");
}

#[tokio::test]
async fn every_event_id_is_a_cursor() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let rooms = [ann.room_with(2).await, ann.group_with(&[2, 3]).await];
    let (mut stream, first_cursor) = subscribe(&bob, None).await;
    for n in 0..6 {
        ann.sends(rooms[n % 2], &n.to_string()).await;
    }
    let mut cursors = vec![first_cursor];
    for _ in 0..6 {
        cursors.push(stream.next_named("new_message").await.id);
    }

    for (received, cursor) in cursors.iter().enumerate() {
        let (mut stream, _) = subscribe(&bob, Some(cursor)).await;
        let messages = new_messages(&mut stream, 6 - received).await.0;
        let mut contents: Vec<String> = messages.into_iter().map(|(_, content)| content).collect();
        contents.sort_unstable();
        let expected: Vec<String> = (received..6).map(|n| n.to_string()).collect();
        assert_eq!(contents, expected);
    }
}

#[tokio::test]
async fn an_id_that_is_no_cursor_of_the_user_leads_to_resync() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    ann.sends(room, "1").await;
    let (_, cursor_of_ann) = subscribe(&ann, None).await;

    for unknown in ["0", "5", "not-an-id", &cursor_of_ann, &"A".repeat(40)] {
        let mut stream = bob.client.stream(STREAM, Some(unknown)).await;
        assert_eq!(stream.next().await.name, "connected");
        let resync = stream.next().await;
        assert_eq!(resync.name, "resync", "{unknown}");
        let cursor = resync.id;
        let (mut stream, _) = subscribe(&bob, Some(&cursor)).await;
        ann.sends(room, "next").await;
        assert_eq!(new_messages(&mut stream, 1).await.0, [(room, "next".to_owned())], "the new id is a cursor");
    }
}

#[tokio::test]
async fn the_cursor_stays_short_for_a_user_with_many_rooms() {
    const ROOMS: i64 = 260;
    /// With such a distance, the positions in all rooms are too long for an id.
    const DISTANCE: i64 = 1_000_003;
    let app = TestApp::start().await;
    let bob = app.person(2);
    let rooms = rooms_with_a_message(&app, bob.id, ROOMS, DISTANCE).await;
    let send = async |content: &str| {
        for (other, room) in (1_000..).zip(&rooms) {
            app.person(other).sends(*room, content).await;
        }
    };
    let (mut stream, _) = subscribe(&bob, None).await;
    send("1").await;
    let (messages, cursor) = new_messages(&mut stream, rooms.len()).await;
    assert_eq!(by_room(messages).len(), rooms.len());
    send("2").await;

    let (mut stream, _) = subscribe(&bob, Some(&cursor)).await;

    let missed = by_room(new_messages(&mut stream, rooms.len()).await.0);
    assert!(missed.len() == rooms.len() && missed.values().all(|contents| *contents == ["2"]));
}

#[tokio::test]
async fn a_new_room_is_announced_to_its_members_before_its_messages() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let replica = app.replica().await;
    let (mut local, cursor) = subscribe(&bob, None).await;
    let (mut remote, _) = subscribe(&app.person_at(&replica, 2), None).await;
    let (mut stranger, _) = subscribe(&app.person(9), None).await;

    // The topics do not exist, so the replica receives no event.
    let group = ann.group_with(&[2, 3]).await;
    ann.sends(group, "welcome").await;
    let direct = ann.room_with(2).await;
    ann.sends(direct, "hello").await;

    for stream in [&mut local, &mut remote] {
        let (mut created, mut messages) = (BTreeMap::new(), Vec::new());
        while created.len() < 2 || messages.len() < 2 {
            let Event { name, data, .. } = stream.next().await;
            let room = data["room_id"].as_i64().unwrap();
            if name == "chat_room_created" {
                assert!(data["timestamp"].as_str().unwrap().ends_with('Z'));
                created.insert(room, data);
            } else {
                assert!(created.contains_key(&room), "a message came before its room");
                messages.push((room, data["content"].as_str().unwrap().to_owned()));
            }
        }
        for (room, room_type, members) in [(group, "group", json!([1, 2, 3])), (direct, "direct", json!([1, 2]))] {
            let expected = json!({"room_id": room, "room_type": room_type, "creator_id": 1, "participant_ids": members,
                "timestamp": created[&room]["timestamp"]});
            assert_eq!(created[&room], expected);
        }
        assert_eq!(
            by_room(messages),
            BTreeMap::from([(group, vec!["welcome".into()]), (direct, vec!["hello".into()])])
        );
    }
    let (mut later, _) = subscribe(&bob, Some(&cursor)).await;
    assert_eq!(
        by_room(new_messages(&mut later, 2).await.0).len(),
        2,
        "a reconnected stream has both rooms from position 1"
    );
    assert!(is_quiet(&mut stranger).await);
}

#[tokio::test]
async fn a_room_starts_at_the_joining_of_the_user_and_ends_at_the_leaving() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let replica = app.replica().await;
    let group = ann.group_with(&[3, 4]).await;
    let (mut local, first_cursor) = subscribe(&bob, None).await;
    let (mut remote, _) = subscribe(&app.person_at(&replica, 2), None).await;

    ann.sends(group, "before").await;
    ann.adds(group, &[2]).await.expect(200);
    ann.sends(group, "with bob").await;
    let first_membership = ["person_1 added person_2", "with bob"].map(|content| (group, content.to_owned()));
    for stream in [&mut local, &mut remote] {
        assert_eq!(new_messages(stream, 2).await.0, first_membership);
    }
    let (mut reconnected, _) = subscribe(&bob, Some(&first_cursor)).await;
    let (messages, cursor) = new_messages(&mut reconnected, 2).await;
    assert_eq!(messages, first_membership, "a reconnected stream has the same messages");

    ann.removes(group, 2).await.expect(200);
    ann.sends(group, "without bob").await;
    for stream in [&mut local, &mut remote, &mut reconnected] {
        let left = stream.next().await;
        assert_eq!(left.name, "chat_room_left");
        let expected = json!({"room_id": group, "user_id": 2, "by": 1, "timestamp": left.data["timestamp"]});
        assert_eq!(left.data, expected);
        assert!(left.data["timestamp"].as_str().unwrap().ends_with('Z'));
        assert!(is_quiet(stream).await, "nothing of the room follows");
    }
    let (mut after_removal, _) = subscribe(&bob, Some(&cursor)).await;
    let missed = after_removal.next().await;
    assert_eq!(missed.name, "chat_room_left", "the client may have missed it");
    assert_eq!(missed.data, json!({"room_id": group, "user_id": 2, "by": null, "timestamp": null}));
    assert!(is_quiet(&mut after_removal).await, "a former member receives nothing else, whatever the cursor");

    ann.adds(group, &[2]).await.expect(200);
    ann.sends(group, "again").await;
    let second_membership = ["person_1 added person_2", "again"].map(|content| (group, content.to_owned()));
    for stream in [&mut local, &mut remote, &mut reconnected, &mut after_removal] {
        assert_eq!(new_messages(stream, 2).await.0, second_membership);
    }
    let (mut last, _) = subscribe(&bob, Some(&cursor)).await;
    let told = last.next().await;
    assert_eq!(
        (&*told.name, told.data),
        ("chat_room_left", missed.data),
        "who has come back has not heard of the leave"
    );
    let (messages, cursor) = new_messages(&mut last, 2).await;
    assert_eq!(messages, second_membership, "the messages between the memberships are omitted");
    let (mut last, _) = subscribe(&bob, Some(&cursor)).await;
    assert!(is_quiet(&mut last).await, "the end of the first membership is told once");
}

#[tokio::test]
async fn a_system_message_is_the_same_on_every_replica_and_in_a_page() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let replica = app.replica().await;
    let group = ann.group_with(&[2, 3]).await;
    let (mut local, _) = subscribe(&ann, None).await;
    let (mut remote, _) = subscribe(&app.person_at(&replica, 2), None).await;

    ann.adds(group, &[4]).await.expect(200);

    let [of_local, of_remote] = [local.next_named("new_message").await, remote.next_named("new_message").await];
    assert_eq!(of_local.data, of_remote.data);
    assert_eq!(of_local.data["created_at"], ann.messages(group).await[0]["created_at"]);
}

#[tokio::test]
async fn presence_and_friend_requests_reach_the_users_whom_they_concern() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, bob, _) = app.direct_room().await;
    ann.group_with(&[2, 3]).await;
    let (mut stream_of_ann, cursor) = subscribe(&ann, None).await;
    let (mut stream_of_eve, _) = subscribe(&app.person(3), None).await;
    let online = UserOnlineStatusChanged { user_id: UserId(bob.id), is_online: true };
    let request = FriendRequestSent {
        friendship_id: 7,
        requester_id: UserId(3),
        requester_name: "person_3".to_owned(),
        addressee_id: UserId(1),
        addressee_name: "person_1".to_owned(),
    };

    let mut received: BTreeMap<String, Value> = BTreeMap::new();
    let publish = async || {
        app.publish(&online, 1).await;
        app.publish(&request, 1).await;
    };
    repeat_until(&mut stream_of_ann, publish, |event| {
        assert_eq!(event.id, cursor, "the event leaves the cursor where it is");
        received.insert(event.name.clone(), event.data.clone());
        received.len() == 2
    })
    .await;

    assert_eq!(received["presence"], json!({"user_id": 2, "is_online": true, "last_seen_at": null}));
    assert_eq!(received["friend_request"], json!({"friendship_id": 7, "user_id": 3, "username": "person_3"}));
    assert!(stream_of_eve.quiet_for(Duration::from_millis(500)).await, "a common group does not show presence");
    let offline = UserOnlineStatusChanged { is_online: false, ..online };
    app.publish(&offline, 2).await;
    let presence = loop {
        let event = stream_of_ann.next_named("presence").await;
        if event.data["is_online"] == false {
            break event;
        }
    };
    assert!(presence.data["last_seen_at"].as_str().unwrap().ends_with('Z'));
    let direct = app.person(3).room_with(2).await;
    assert_eq!(stream_of_eve.next_named("chat_room_created").await.data["room_id"], direct);
    app.publish(&offline, 3).await;
    assert_eq!(stream_of_eve.next_named("presence").await.data["user_id"], 2, "a new direct room shows presence");
}

#[tokio::test]
async fn a_live_event_that_is_delivered_twice_is_sent_once() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, ..) = app.direct_room().await;
    let (mut stream, _) = subscribe(&ann, None).await;
    let request = |friendship_id| FriendRequestSent {
        friendship_id,
        requester_id: UserId(3),
        requester_name: "person_3".to_owned(),
        addressee_id: UserId(1),
        addressee_name: "person_1".to_owned(),
    };
    let presence = UserOnlineStatusChanged { user_id: UserId(2), is_online: true };
    let ready = async || app.publish(&request(1), 1).await;
    repeat_until(&mut stream, ready, |event| event.name == "friend_request").await;

    let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
    for _ in 0..2 {
        app.publish_as(first, &request(2), 2).await;
        app.publish_as(second, &presence, 3).await;
    }
    app.publish(&UserOnlineStatusChanged { is_online: false, ..presence }, 4).await;
    app.publish(&request(3), 5).await;

    let (mut requests, mut presences) = (Vec::new(), Vec::new());
    while requests.last() != Some(&json!(3)) || presences.last() != Some(&json!(false)) {
        let Event { name, data, .. } = stream.next().await;
        match name.as_str() {
            "friend_request" => requests.push(data["friendship_id"].clone()),
            _ => presences.push(data["is_online"].clone()),
        }
    }
    requests.retain(|id| *id != 1);
    assert_eq!((requests, presences), (vec![json!(2), json!(3)], vec![json!(true), json!(false)]));
}

#[tokio::test]
async fn all_streams_of_a_user_who_leaves_are_told_and_those_of_the_others_are_not() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let group = ann.group_with(&[2, 3]).await;
    let (mut tab, _) = subscribe(&bob, None).await;
    let (mut other_tab, _) = subscribe(&bob, None).await;
    let (mut stream_of_ann, _) = subscribe(&ann, None).await;
    let mut room_of_bob = bob.subscribes(group, None).await;

    bob.removes(group, 2).await.expect(200);
    for n in 0..20 {
        ann.client.post(&format!("/messages/{group}/typing"), json!({})).await;
        ann.sends(group, &n.to_string()).await;
    }

    for stream in [&mut tab, &mut other_tab] {
        let left = stream.next().await;
        assert_eq!(
            (left.name.as_str(), &left.data["user_id"], &left.data["by"]),
            ("chat_room_left", &json!(2), &json!(2))
        );
        assert!(is_quiet(stream).await);
    }
    assert_eq!(new_messages(&mut stream_of_ann, 21).await.0[0].1, "person_2 left");
    assert!(room_of_bob.try_next().await.is_none(), "the stream of the room ends without an event");
}

#[tokio::test]
async fn the_stream_ends_with_the_session() {
    let app = TestApp::start().await;
    let (_, bob, _) = app.direct_room().await;
    let (mut stream, _) = subscribe(&bob, None).await;
    let claims = bob.client.token().split('.').nth(1).unwrap();
    let claims = base64::Engine::decode(&base64::prelude::BASE64_URL_SAFE_NO_PAD, claims).unwrap();
    let claims: Value = serde_json::from_slice(&claims).unwrap();
    let revoked = Instant::now();
    app.revoke_session(claims["sid"].as_str().unwrap()).await;

    while stream.try_next().await.is_some() {}

    assert!(revoked.elapsed() < SLACK * Duration::from_secs(10));
    eventually("requests are refused too", || async {
        (bob.client.get("/chat-rooms").await.status == 401).then_some(())
    })
    .await;
}

#[tokio::test]
async fn an_open_stream_keeps_its_user_online_without_further_requests() {
    let app = TestApp::start_with(&[("ONLINE_TTL_SECONDS", "6".to_owned())]).await;
    let (_stream, _) = subscribe(&app.person(2), None).await;
    let (mut redis, key) = (app.redis().await, app.redis_key("user:online:2"));

    let renewed = async {
        let mut before = 0;
        loop {
            let left: i64 = redis.pttl(&key).await.unwrap();
            if before > 0 && left > before {
                return;
            }
            before = left;
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, renewed).await.expect("the life of the key is renewed");
}

#[tokio::test]
async fn a_stream_that_comes_back_renews_the_life_of_its_cursor() {
    let app = TestApp::start().await;
    let bob = app.person(2);
    let (_, cursor) = subscribe(&bob, None).await;
    let snapshots = mongo_database(&app.space).await.collection::<Document>("stream_snapshots");
    let days_ago = mongodb::bson::DateTime::from_chrono(chrono::Utc::now() - Duration::from_secs(6 * 24 * 3_600));
    snapshots.update_many(doc! {}, doc! {"$set": {"at": days_ago}}).await.unwrap();

    subscribe(&bob, Some(&cursor)).await;

    let snapshot = snapshots.find_one(doc! {}).await.unwrap().unwrap();
    assert!(*snapshot.get_datetime("at").unwrap() > days_ago);
}

#[tokio::test]
async fn a_new_stream_has_nothing_from_before_the_join_although_its_replica_is_behind() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let replica = app.replica().await;
    let [ann_at_replica, bob_at_replica] = [&ann, &bob].map(|person| app.person_at(&replica, person.id));
    // Without Kafka, the replica learns of new messages every two seconds: it is behind for most of the groups.
    for _ in 0..3 {
        let group = ann.group_with(&[3, 4]).await;
        let _feed = ann_at_replica.subscribes(group, None).await;
        for content in ["before", "the", "join"] {
            ann.sends(group, content).await;
        }
        ann.adds(group, &[bob.id]).await.expect(200);
        let (mut stream, _) = subscribe(&bob_at_replica, None).await;
        ann.sends(group, "after").await;

        let first = new_messages(&mut stream, 1).await.0.remove(0);
        assert!(
            [(group, "person_1 added person_2".to_owned()), (group, "after".to_owned())].contains(&first),
            "{first:?}"
        );
    }
}
