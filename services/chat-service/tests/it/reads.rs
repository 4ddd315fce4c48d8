//! Read markers: unread counts, and read receipts.

use std::time::{Duration, Instant};

use futures_util::future::join_all;
use mongodb::bson::{Document, doc};
use serde_json::{Value, json};
use testkit::{Events, Server};

use crate::app::{TestApp, mongo_database, rooms_with_a_message};
use crate::large_group::profiled;
use crate::person::{message_path, pluck, repeat_until};

#[tokio::test]
async fn messages_of_others_are_unread_until_the_user_reads_them() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let mut sent = Vec::new();
    for n in 0..5 {
        sent.push(ann.sends(room, &n.to_string()).await);
    }
    assert_eq!((ann.unread(room).await, bob.unread(room).await), (0, 5));

    let answer = bob.reads(room, &sent[1..3]).await;
    assert_eq!(answer, json!({"success": true, "read_count": 2, "message": "2 messages marked as read"}));
    assert_eq!(bob.reads(room, &sent[1..3]).await["read_count"], 0);
    assert_eq!(bob.unread(room).await, 3);

    ann.client.delete(&message_path(&sent[4])).await.expect(200);
    assert_eq!(bob.unread(room).await, 2);
    assert_eq!(bob.reads_all(room).await["read_count"], 2);
    assert_eq!(bob.unread(room).await, 0);
    ann.sends(room, "more").await;
    assert_eq!(bob.unread(room).await, 1);
}

/// The command of a request, which has a limit of time. Tasks of the replicas read the same collections.
fn of_request(profiled: &Document) -> Option<&Document> {
    profiled.get_document("command").ok().filter(|command| command.contains_key("maxTimeMS"))
}

#[tokio::test]
async fn a_remembered_count_follows_every_change_at_another_replica() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let replica = app.replica().await;
    let [ann_elsewhere, bob_elsewhere] = [&ann, &bob].map(|person| app.person_at(&replica, person.id));
    let sent = [ann.sends(room, "one").await, ann.sends(room, "two").await, ann.sends(room, "three").await];
    assert_eq!(bob.unread(room).await, 3);
    let mongo = mongo_database(&app.space).await;
    let counted = profiled(&mongo, "messages", async { assert_eq!(bob.unread(room).await, 3) }).await;
    assert_eq!(counted.iter().find_map(of_request), None, "what nobody has changed is counted once");

    ann_elsewhere.sends(room, "four").await;
    assert_eq!(bob.unread(room).await, 4);
    bob_elsewhere.reads(room, &sent[..1]).await;
    assert_eq!(bob.unread(room).await, 3);
    ann_elsewhere.client.delete(&message_path(&sent[1])).await.expect(200);
    assert_eq!(bob.unread(room).await, 2);
    // As the retention does it, which takes no position.
    mongo.collection::<Document>("messages").delete_one(doc! {"seq": 3_i64}).await.unwrap();
    let head = doc! {"$inc": {"messages": -1_i64}};
    mongo.collection::<Document>("room_heads").update_one(doc! {"_id": room}, head).await.unwrap();
    assert_eq!(bob.unread(room).await, 1);
    bob_elsewhere.reads_all(room).await;
    let counted = profiled(&mongo, "messages", async { assert_eq!(bob.unread(room).await, 0) }).await;
    assert_eq!(counted.iter().find_map(of_request), None, "what is read to the end is not counted");
}

#[tokio::test]
async fn messages_are_not_read_from_an_older_state_than_the_head() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    ann.sends(room, "one").await;
    let mongo = mongo_database(&app.space).await;
    let counted = profiled(&mongo, "messages", async { assert_eq!(bob.unread(room).await, 1) }).await;
    let listed = profiled(&mongo, "messages", bob.client.get(&format!("/messages/{room}"))).await;
    let read = profiled(&mongo, "messages", async { assert_eq!(bob.reads_all(room).await["read_count"], 1) }).await;

    // For a moment after a failover, a new primary returns less than the old one did. The server is asked to wait.
    for (act, commands) in [("count", counted), ("list", listed), ("read", read)] {
        let reads: Vec<_> = commands.iter().filter_map(of_request).collect();
        assert_eq!(reads.len(), 1, "{act}: {commands:?}");
        let concern = reads[0].get_document("readConcern").unwrap();
        assert!(concern.contains_key("afterClusterTime"), "{act}: {concern}");
    }
}

#[tokio::test]
async fn messages_of_another_room_are_refused() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let other_room = app.person(3).room_with(2).await;
    let foreign = app.person(3).sends(other_room, "x").await;
    let sent = ann.sends(room, "y").await;
    let read = async |ids: Value| bob.client.post("/messages/read", json!({"room_id": room, "message_ids": ids})).await;

    assert_eq!(read(json!([])).await.expect(400)["message"], "Message IDs cannot be empty");
    let mixed = read(json!([sent["id"], foreign["id"]])).await.expect(400);
    assert_eq!(mixed["message"], "All messages must be from the same room");
    assert_eq!(read(json!(["0123456789abcdef01234567", "unknown"])).await.expect(200)["read_count"], 0);
    read(json!("x")).await.expect(422);
    bob.client.post("/messages/read", json!({})).await.expect(422);
    assert_eq!(bob.unread(room).await, 1);
}

#[tokio::test]
async fn a_read_receipt_reaches_every_stream_and_kafka_once_and_is_shown_in_listings() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, bob, room) = app.direct_room().await;
    let replica = app.replica().await;
    until_subscribed(&app, &app.server, &replica).await;
    until_subscribed(&app, &replica, &app.server).await;
    let mut local = ann.subscribes(room, None).await;
    let mut remote = app.person_at(&replica, ann.id).subscribes(room, None).await;
    let sent = [ann.sends(room, "one").await, ann.sends(room, "two").await];

    bob.reads_all(room).await;
    bob.reads_all(room).await;
    ann.sends(room, "three").await;

    for stream in [&mut local, &mut remote] {
        let (mut receipt, mut received_three) = (None, false);
        while receipt.is_none() || !received_three {
            let event = stream.next().await;
            received_three |= event.data["content"] == "three";
            if event.name == "messages_read" {
                assert!(receipt.replace(event).is_none(), "a second receipt came");
            }
        }
        let receipt = receipt.unwrap();
        assert_eq!((&receipt.data["user_id"], &receipt.data["up_to"]), (&json!(2), &json!(2)));
        assert_eq!(receipt.data["message_ids"], json!(pluck(&sent, "id")));
        // A repeat would wait for the end of the reader's second.
        while let Some(event) = stream.next_within(Duration::from_millis(1_500)).await {
            assert_ne!(event.name, "messages_read");
        }
    }
    let published = Events::of(&app.space.topics().message_events).expect("MessagesRead", 1).await;
    let published: Vec<_> = published.iter().filter(|event| event["room_id"] == room).collect();
    assert_eq!((published.len(), &published[0]["message_ids"]), (1, &json!(pluck(&sent, "id"))));
    let seen_by_ann = ann.messages(room).await;
    assert_eq!((&seen_by_ann[1]["is_read"], &seen_by_ann[1]["read_by"]), (&json!(true), &json!([2])));
    assert_eq!((&seen_by_ann[2]["is_read"], &seen_by_ann[2]["read_by"]), (&json!(false), &json!([])));
}

#[tokio::test]
async fn simultaneous_reads_of_the_same_messages_count_and_report_each_message_once() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let mut sent = Vec::new();
    for n in 0..5 {
        sent.push(ann.sends(room, &n.to_string()).await);
    }
    let mut stream = ann.subscribes(room, None).await;

    let some = join_all((0..10).map(|_| bob.reads(room, &sent[..3])));
    let all = join_all((0..10).map(|_| bob.reads_all(room)));
    let (some, all) = tokio::join!(some, all);

    let counted = some.iter().chain(&all).map(|answer| answer["read_count"].as_u64().unwrap()).sum::<u64>();
    assert_eq!((counted, bob.unread(room).await), (5, 0));
    let mut reported = Vec::new();
    while let Some(event) = stream.next_within(Duration::from_millis(1_500)).await {
        if event.name == "messages_read" {
            reported.extend(event.data["message_ids"].as_array().unwrap().clone());
        }
    }
    reported.sort_by_key(|id| id.as_str().unwrap().to_owned());
    assert_eq!(reported, pluck(&sent, "id"));
}

#[tokio::test]
async fn simultaneous_reads_at_two_replicas_count_each_message_once() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let replica = app.replica().await;
    let bobs = [app.person_at(&replica, bob.id), bob];

    for n in 0..10 {
        let sent = [ann.sends(room, &n.to_string()).await, ann.sends(room, &n.to_string()).await];
        let answers = join_all(bobs.iter().map(|bob| bob.reads(room, &sent))).await;
        let counted = answers.iter().map(|answer| answer["read_count"].as_u64().unwrap()).sum::<u64>();
        assert_eq!(counted, 2, "{answers:?}");
    }
}

/// Waits until a replica receives the read receipts of another one.
async fn until_subscribed(app: &TestApp, other: &Server, replica: &Server) {
    let (cat, dan) = (app.person_at(other, 3), app.person_at(other, 4));
    let room = cat.room_with(dan.id).await;
    let mut stream = app.person_at(replica, cat.id).subscribes(room, None).await;
    let read = async || {
        cat.sends(room, "unread").await;
        dan.reads_all(room).await;
    };
    repeat_until(&mut stream, read, |event| event.name == "messages_read").await;
}

#[tokio::test]
async fn unread_messages_are_counted_up_to_a_thousand() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    for _ in 0..11 {
        join_all((0..100).map(|_| ann.sends(room, "x"))).await;
    }
    bob.sends(room, "so much!").await;

    assert_eq!((bob.unread(room).await, ann.unread(room).await), (1_000, 1));
    let read = bob.reads_all(room).await;
    assert_eq!((&read["read_count"], bob.unread(room).await), (&json!(1_000), 0));
}

#[tokio::test]
async fn the_reads_of_a_reader_are_one_frame_a_second() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let mut sent = Vec::new();
    for n in 0..20 {
        sent.push(ann.sends(room, &n.to_string()).await);
    }
    let mut stream = ann.subscribes(room, None).await;

    let started = Instant::now();
    for message in &sent {
        bob.reads(room, std::slice::from_ref(message)).await;
    }
    let seconds = started.elapsed().as_secs() as usize;

    let (mut frames, mut ids) = (0, Vec::new());
    while ids.len() < sent.len() {
        let event = stream.next_named("messages_read").await;
        frames += 1;
        ids.extend(event.data["message_ids"].as_array().unwrap().clone());
    }
    assert_eq!(ids, pluck(&sent, "id"));
    assert!(frames <= seconds + 2, "{frames} frames in {seconds} s");
}

async fn read_marker(app: &TestApp, room: i64, reader: i64) -> Document {
    let markers = mongo_database(&app.space).await.collection("room_marks");
    markers.find_one(doc! {"_id": {"room": room, "user": reader}}).await.unwrap().unwrap()
}

fn ranges(marker: &Document) -> Vec<(i64, i64)> {
    let ranges = marker.get_array("ranges").unwrap().iter().map(|range| range.as_document().unwrap());
    ranges.map(|range| (range.get_i64("from").unwrap(), range.get_i64("to").unwrap())).collect()
}

#[tokio::test]
async fn a_read_marker_stays_small_when_messages_are_read_one_by_one() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let mut sent = Vec::new();
    for n in 0..200 {
        sent.push(ann.sends(room, &n.to_string()).await);
    }
    let read = async |some: &[Value]| bob.reads(room, some).await["read_count"].as_u64().unwrap();

    for some in sent[..100].chunks(10) {
        assert_eq!(read(some).await, 10);
        assert_eq!(read(some).await, 0);
    }
    for some in sent[101..].chunks(33) {
        assert_eq!(read(some).await, 33);
    }
    let marker = read_marker(&app, room, bob.id).await;
    assert_eq!((marker.get_i64("up_to").unwrap(), ranges(&marker)), (100, vec![(102, 200)]));
    assert_eq!(bob.unread(room).await, 1, "the early message stays unread");
    assert_eq!(read(&sent[100..101]).await, 1);
    assert_eq!((bob.unread(room).await, read(&sent).await), (0, 0));
    let marker = read_marker(&app, room, bob.id).await;
    assert_eq!((marker.get_i64("up_to").unwrap(), ranges(&marker)), (200, vec![]));
}

#[tokio::test]
async fn positions_between_read_messages_that_hold_no_unread_one_take_no_room() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let mut sent = Vec::new();
    for n in 0..140 {
        sent.push(ann.sends(room, &n.to_string()).await);
        bob.sends(room, "between").await;
    }

    bob.reads(room, &sent[1..]).await;

    let marker = read_marker(&app, room, bob.id).await;
    assert_eq!((marker.get_i64("up_to").unwrap_or(0), ranges(&marker)), (0, vec![(3, 279)]));
    assert_eq!(bob.unread(room).await, 1);
}

#[tokio::test]
async fn beyond_128_gaps_the_oldest_unread_messages_count_as_read() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let mut sent = Vec::new();
    for n in 0..300 {
        sent.push(ann.sends(room, &n.to_string()).await);
    }
    let every_second = |from: usize, to: usize| sent[from..to].iter().skip(1).step_by(2).cloned().collect::<Vec<_>>();

    bob.reads(room, &every_second(0, 256)).await;
    assert_eq!(bob.unread(room).await, 300 - 128);
    bob.reads(room, &every_second(256, 300)).await;

    assert_eq!(ranges(&read_marker(&app, room, bob.id).await).len(), 96);
    assert_eq!(bob.unread(room).await, 96);
}

#[tokio::test]
async fn a_marker_of_an_earlier_release_is_read_and_converted() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let mut sent = Vec::new();
    for n in 0..10 {
        sent.push(ann.sends(room, &n.to_string()).await);
    }
    let markers = mongo_database(&app.space).await.collection::<Document>("room_marks");
    let earlier = doc! {"_id": {"room": room, "user": bob.id}, "up_to": 2_i64, "read": [4_i64, 6_i64, 5_i64]};
    markers.insert_one(earlier).await.unwrap();

    assert_eq!(bob.unread(room).await, 5);
    let read_by = |page: Vec<Value>| pluck(&page, "read_by").iter().map(|by| *by == json!([2])).collect::<Vec<_>>();
    let expected = [true, true, false, true, true, true, false, false, false, false];
    assert_eq!(read_by(ann.messages(room).await), expected);
    assert_eq!(bob.reads(room, &sent[4..8]).await["read_count"], 2);

    let marker = read_marker(&app, room, bob.id).await;
    assert_eq!((marker.get_i64("up_to").unwrap(), ranges(&marker)), (2, vec![(4, 8)]));
    assert!(!marker.contains_key("read"), "{marker}");
    assert_eq!(bob.unread(room).await, 3);
}

/// A read marker: the position up to which all is read, single positions (of an earlier release), and ranges.
type Marker = (i64, &'static [i64], &'static [(i64, i64)]);

#[tokio::test]
async fn a_page_names_the_readers_whatever_form_their_markers_have() {
    const MESSAGES: i64 = 40;
    let app = TestApp::start().await;
    let ann = app.person(1);
    let readers: Vec<i64> = (2..=9).collect();
    let group = ann.group_with(&readers).await;
    for n in 1..=MESSAGES {
        ann.sends(group, &n.to_string()).await;
    }
    // Ranges: one, four (all are among the newest) and more. A page begins where the oldest of the newest four begins, one position
    // before it, and one after it.
    let forms: [Marker; 8] = [
        (0, &[], &[]),
        (15, &[], &[]),
        (2, &[4, 11, 12, 39], &[]),
        (0, &[], &[(5, 33)]),
        (3, &[], &[(5, 6), (11, 14), (20, 20), (31, 40)]),
        (0, &[], &[(2, 3), (5, 7), (11, 12), (15, 16), (19, 25), (28, 29)]),
        (0, &[], &[(2, 3), (5, 7), (10, 12), (15, 16), (19, 25), (28, 29)]),
        (0, &[], &[(2, 3), (5, 10), (12, 13), (15, 16), (19, 25), (28, 29)]),
    ];
    let markers = mongo_database(&app.space).await.collection::<Document>("room_marks");
    for (reader, (up_to, read, ranges)) in readers.iter().zip(forms) {
        let mut marker = doc! {"_id": {"room": group, "user": reader}, "up_to": up_to};
        if !read.is_empty() {
            marker.insert("read", read);
        }
        if !ranges.is_empty() {
            let of = |(from, to): &(i64, i64)| doc! {"from": from, "to": to};
            marker.insert("ranges", ranges.iter().map(of).collect::<Vec<_>>());
        }
        markers.insert_one(marker).await.unwrap();
    }
    let has_read = |position: i64, (up_to, read, ranges): &Marker| {
        position <= *up_to
            || read.contains(&position)
            || ranges.iter().any(|(from, to)| (*from..=*to).contains(&position))
    };

    for skip in 0..MESSAGES {
        let page = ann.client.get(&format!("/messages/{group}?limit=10&skip={skip}")).await.expect(200);
        for message in page["messages"].as_array().unwrap() {
            let position = message["seq"].as_i64().unwrap();
            let expected = readers.iter().zip(&forms).filter(|(_, form)| has_read(position, form));
            let expected: Vec<i64> = expected.map(|(reader, _)| *reader).collect();
            let mut named: Vec<i64> = serde_json::from_value(message["read_by"].clone()).unwrap();
            named.sort_unstable();
            assert_eq!(named, expected, "of position {position} on the page after {skip} newer messages");
        }
    }
}

#[tokio::test]
async fn one_request_counts_the_unread_messages_of_all_rooms() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let rooms = [ann.room_with(2).await, ann.group_with(&[2, 3]).await, ann.group_with(&[2, 4]).await];
    assert_eq!(
        bob.client.get("/chat-rooms/unread").await.expect(200),
        json!({"total": 0, "rooms": [], "complete": true})
    );
    for (room, count) in rooms.into_iter().zip([2, 3, 1]) {
        for n in 0..count {
            ann.sends(room, &n.to_string()).await;
        }
    }
    bob.sends(rooms[1], "mine").await;
    bob.reads_all(rooms[2]).await;

    let unread = bob.client.get("/chat-rooms/unread").await.expect(200);

    let expected = json!([
        {"room_id": rooms[1], "unread_count": 3, "muted": false},
        {"room_id": rooms[0], "unread_count": 2, "muted": false},
    ]);
    assert_eq!(unread, json!({"total": 5, "rooms": expected, "complete": true}));
    assert_eq!(ann.client.get("/chat-rooms/unread").await.expect(200)["total"], 1);
}

#[tokio::test]
async fn a_call_marks_at_most_a_thousand_messages() {
    let app = TestApp::start().await;
    let (_, bob, room) = app.direct_room().await;
    let read = async |count: usize| {
        let ids: Vec<String> = (0..count).map(|n| format!("{n:024x}")).collect();
        bob.client.post("/messages/read", json!({"room_id": room, "message_ids": ids})).await
    };

    assert_eq!(read(1_000).await.expect(200)["read_count"], 0);
    assert_eq!(read(1_001).await.expect(422)["detail"][0]["type"], "too_long");
}

#[tokio::test]
async fn of_more_than_a_thousand_rooms_those_with_the_newest_messages_are_counted() {
    let app = TestApp::start().await;
    let rooms = rooms_with_a_message(&app, 1, 1_001, 1).await;

    let unread = app.person(1).client.get("/chat-rooms/unread").await.expect(200);

    assert_eq!((&unread["total"], &unread["complete"]), (&json!(1_000), &json!(false)));
    let mut counted = pluck(unread["rooms"].as_array().unwrap(), "room_id");
    counted.reverse();
    assert_eq!(counted, rooms[1..], "the room with the oldest message is left out");
}
