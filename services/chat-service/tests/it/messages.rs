//! Messages: sending, listing, editing, deleting.

use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::join_all;
use futures_util::stream::FuturesUnordered;
use insta::assert_json_snapshot;
use serde_json::{Value, json};
use testkit::{Client, Events, Server};
use tokio::time::timeout;

use crate::app::TestApp;
use crate::person::{message_path, pluck};

#[tokio::test]
async fn a_sent_message_is_answered_listed_and_published() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, bob, room) = app.direct_room().await;

    let sent = ann.sends(room, "안녕하세요 👋🏽").await;

    assert_eq!(sent["room_id"], room);
    assert!(sent["created_at"].as_str().unwrap().ends_with('Z'));
    assert_json_snapshot!(
        sent,
        {".id" => "[id]", ".room_id" => "[room]", ".created_at" => "[time]", ".updated_at" => "[time]"},
        @r#"
        {
          "client_message_id": null,
          "content": "안녕하세요 👋🏽",
          "created_at": "[time]",
          "deleted_at": null,
          "edited_at": null,
          "file_name": null,
          "file_size": null,
          "file_state": null,
          "file_type": null,
          "file_url": null,
          "id": "[id]",
          "image": null,
          "is_deleted": false,
          "is_edited": false,
          "is_read": null,
          "message_type": "text",
          "reactions": [],
          "read_by": null,
          "read_by_count": null,
          "reply_to": null,
          "room_id": "[room]",
          "room_type": "private",
          "seq": 1,
          "updated_at": "[time]",
          "user_id": 1,
          "username": "person_1"
        }
        "#
    );
    let mut page = bob.client.get(&format!("/api/messages/{room}")).await.expect(200);
    let last_event_id = page.as_object_mut().unwrap().remove("last_event_id").unwrap();
    assert!(last_event_id.as_str().unwrap().starts_with("1."), "the position and the epoch: {last_event_id}");
    let mut seen_by_bob = sent.clone();
    (seen_by_bob["read_by"], seen_by_bob["read_by_count"], seen_by_bob["is_read"]) =
        (json!([]), json!(0), json!(false));
    assert_eq!(page, json!({"messages": [seen_by_bob], "total_count": 1, "has_more": false, "position": 1}));
    let published = Events::of(&app.space.topics().message_events).expect("MessageSent", 1).await;
    assert_eq!((&published[0]["message_id"], &published[0]["room_id"]), (&sent["id"], &json!(room)));
    assert_json_snapshot!(
        published[0],
        {".event_id" => "[uuid]", ".message_id" => "[id]", ".room_id" => "[room]", ".timestamp" => "[time]"},
        @r#"
        {
          "__event_type__": "MessageSent",
          "client_message_id": null,
          "content": "안녕하세요 👋🏽",
          "event_id": "[uuid]",
          "event_type": "MessageSent",
          "file_name": null,
          "file_size": null,
          "file_state": null,
          "file_type": null,
          "file_url": null,
          "message_id": "[id]",
          "message_type": "text",
          "position": 1,
          "reply_to": null,
          "room_id": "[room]",
          "schema_version": 1,
          "seq": 1,
          "timestamp": "[time]",
          "user_id": 1,
          "username": "person_1"
        }
        "#
    );
}

#[tokio::test]
async fn concurrent_messages_take_consecutive_positions() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let replica = app.replica().await;
    let bob = app.person_at(&replica, bob.id);

    let from_ann = join_all((0..30).map(|_| ann.sends(room, "a")));
    let from_bob = join_all((0..30).map(|_| bob.sends(room, "b")));
    let (from_ann, from_bob) = tokio::join!(from_ann, from_bob);

    let mut answered: Vec<i64> =
        from_ann.iter().chain(&from_bob).map(|message| message["seq"].as_i64().unwrap()).collect();
    answered.sort_unstable();
    assert_eq!(answered, (1..=60).collect::<Vec<_>>());
    assert_eq!(pluck(&ann.messages(room).await, "seq"), answered);
}

#[tokio::test]
async fn an_empty_or_too_long_message_is_refused_and_changes_nothing() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    let send = async |body: Value| ann.client.post(&format!("/messages/{room}"), body).await;

    for body in [
        json!({}),
        json!({"content": ""}),
        json!({"content": "가".repeat(301)}),
        json!({"content": 5}),
        json!({"content": "a", "message_type": "video"}),
        json!({"content": "a", "client_message_id": "x".repeat(65)}),
        json!([]),
    ] {
        let refused = send(body).await.expect(422);
        assert_eq!(refused["error"], "validation_error");
    }
    for body in [json!({"content": " \n\t"}), json!({"content": "a", "message_type": "system"})] {
        let refused = send(body).await.expect(400);
        assert_eq!(
            (&refused["error"], &refused["detail"]["error"]),
            (&json!("INVALID_INPUT"), &json!("INVALID_INPUT"))
        );
    }
    send(json!({"content": "👨‍👩‍👧".repeat(60)})).await.expect(201);
    let unknown = send(json!({"content": "a", "reply_to": "0123456789abcdef01234567"})).await.expect(400);
    assert_eq!(unknown["error"], "INVALID_INPUT");
    assert_eq!(ann.messages(room).await.len(), 1);
}

#[tokio::test]
async fn the_longest_message_is_a_setting_that_clients_can_read() {
    let app = TestApp::start_with(&[("MESSAGE_MAX_CHARS", "10000".into())]).await;
    let (ann, bob, room) = app.direct_room().await;
    let longest = "🎉".repeat(10_000);

    let limits = ann.client.get("/chat-rooms/limits").await.expect(200);
    assert_eq!((&limits["message_max_chars"], &limits["group_max_members"]), (&json!(10_000), &json!(500)));
    let sent = ann.sends(room, &longest).await;
    ann.client.put(&message_path(&sent), json!({"content": "가".repeat(10_000)})).await.expect(200);
    let refused = ann.tries_to_send(room, &"a".repeat(10_001)).await.expect(422);
    assert_eq!(refused["detail"][0]["type"], "string_too_long");
    assert_eq!(refused["detail"][0]["loc"], json!(["body", "content"]));
    assert_eq!(bob.messages(room).await[0]["content"], "가".repeat(10_000));
    assert_eq!(bob.rooms().await[0]["last_message"]["content"], "가".repeat(300));
}

#[tokio::test]
async fn the_longest_message_has_300_characters_unless_configured() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;

    assert_eq!(ann.client.get("/chat-rooms/limits").await.expect(200)["message_max_chars"], 300);
    let sent = ann.sends(room, &"가".repeat(300)).await;
    let edit = ann.client.put(&message_path(&sent), json!({"content": "가".repeat(301)})).await.expect(422);
    assert_eq!(edit["validation_errors"][0]["field"], "content");
    let document = app.anonymous().get("/openapi.json").await.expect(200);
    let schemas = &document["components"]["schemas"];
    for body in ["NewMessage", "NewMessageInRoom", "NewContent"] {
        let content = &schemas[body]["properties"]["content"];
        let reference = content["$ref"].as_str().or(content["allOf"][0]["$ref"].as_str()).unwrap();
        assert_eq!(document.pointer(&reference[1..]).unwrap()["maxLength"], 300, "{body}");
    }
}

#[tokio::test]
async fn a_repeated_send_returns_the_first_message() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, bob, room) = app.direct_room().await;
    let replica = app.replica().await;
    let send = async |client: &Client, content: &str| {
        client.post(&format!("/messages/{room}"), json!({"content": content, "client_message_id": "c-1"})).await
    };
    let ann_at_replica = app.person_at(&replica, ann.id).client;

    let clients = [&ann.client, &ann_at_replica].into_iter().cycle().take(20);
    let concurrent = join_all(clients.map(|client| send(client, "first"))).await;

    let with_status = |status| concurrent.iter().filter(|answer| answer.status == status).count();
    assert_eq!((with_status(201), with_status(200)), (1, 19));
    let repeated = send(&ann.client, "another text").await.expect(200);
    assert!(concurrent.iter().all(|answer| answer.body["id"] == repeated["id"]));
    assert_eq!(repeated["content"], "first");
    send(&bob.client, "mine").await.expect(201);
    assert_eq!(pluck(&ann.messages(room).await, "content"), ["first", "mine"]);
    let published = Events::of(&app.space.topics().message_events).expect("MessageSent", 2).await;
    assert_eq!(published.len(), 2);
}

#[tokio::test]
async fn a_room_id_that_is_not_a_positive_integer_is_invalid() {
    let app = TestApp::start().await;
    let (ann, _, _) = app.direct_room().await;

    for id in ["0", "-1", "x", "1.5", "9223372036854775808"] {
        for path in
            [format!("/messages/{id}"), format!("/messages/room/{id}/unread-count"), format!("/messages/stream/{id}")]
        {
            let refused = &ann.client.get(&path).await.expect(422)["detail"][0];
            assert_eq!(refused["loc"][0], "path", "{path}");
        }
        ann.client.post(&format!("/messages/{id}"), json!({"content": "x"})).await.expect(422);
    }
}

#[tokio::test]
async fn the_listing_pages_by_skip_and_by_cursor() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    let mut sent = Vec::new();
    for n in 1..=7 {
        sent.push(ann.sends(room, &n.to_string()).await);
    }
    let fifth = sent[4]["id"].as_str().unwrap();
    let page = async |query: &str| {
        let page = ann.client.get(&format!("/messages/{room}?{query}")).await.expect(200);
        (pluck(page["messages"].as_array().unwrap(), "content"), page)
    };

    let (contents, newest) = page("limit=3").await;
    assert_eq!(contents, ["5", "6", "7"]);
    assert_eq!((&newest["total_count"], &newest["has_more"]), (&json!(7), &json!(true)));
    let (contents, skipped) = page("limit=3&skip=5").await;
    assert_eq!(contents, ["1", "2"]);
    assert_eq!(skipped["has_more"], false);
    assert_eq!(page(&format!("limit=2&before={fifth}")).await.0, ["3", "4"]);
    let (contents, after) = page(&format!("limit=2&after={fifth}")).await;
    assert_eq!(contents, ["6", "7"]);
    assert_eq!(after["has_more"], false);
    for unknown in ["0123456789abcdef01234567", "x"] {
        ann.client.get(&format!("/messages/{room}?before={unknown}")).await.expect(404);
    }
    let by_query = ann.client.get(&format!("/messages?room_id={room}&limit=2&offset=1")).await.expect(200);
    assert_eq!(pluck(by_query["messages"].as_array().unwrap(), "content"), ["5", "6"]);
    ann.client.get(&format!("/messages/{room}?limit=101")).await.expect(422);
    ann.client.get("/messages").await.expect(422);
}

#[tokio::test]
async fn a_list_shows_each_change_that_another_replica_has_acknowledged() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let other = app.replica().await;
    let bob_elsewhere = app.person_at(&other, bob.id);
    let newest = async |limit: usize| {
        let page = ann.client.get(&format!("/messages/{room}?limit={limit}")).await.expect(200);
        (page["messages"].as_array().unwrap().clone(), page["has_more"] == true)
    };
    for n in 0..4 {
        let sent = bob_elsewhere.sends(room, &n.to_string()).await;
        for limit in [1, 50, 2] {
            let (messages, has_more) = newest(limit).await;
            assert_eq!((messages.last().unwrap()["id"].clone(), has_more), (sent["id"].clone(), n >= limit));
            assert_eq!(messages.len(), limit.min(n + 1));
        }
    }
    let (messages, _) = newest(50).await;
    let (first, second) = (message_path(&messages[0]), message_path(&messages[1]));

    bob_elsewhere.client.put(&first, json!({"content": "edited"})).await.expect(200);
    assert_eq!(newest(50).await.0[0]["content"], "edited");
    bob_elsewhere.client.put(&format!("{first}/reactions/👍"), json!({})).await.expect(200);
    assert_eq!(newest(50).await.0[0]["reactions"][0]["count"], 1);
    ann.reads(room, &messages[..1]).await;
    let read = bob_elsewhere.client.get(&format!("/messages/{room}")).await.expect(200);
    assert_eq!(pluck(read["messages"].as_array().unwrap(), "is_read"), [true, false, false, false]);
    bob_elsewhere.client.delete(&second).await.expect(200);
    assert_eq!(pluck(&newest(50).await.0, "content"), ["edited", "2", "3"]);
}

/// A pair of people acts at one replica and reads at another one.
async fn pair_reads_elsewhere(app: &TestApp, elsewhere: &Server, ann: i64, bob: i64) {
    let [ann_there, bob_there] = [ann, bob].map(|person| app.person_at(elsewhere, person));
    let (ann, bob) = (app.person(ann), app.person(bob));
    let room = ann.room_with(bob.id).await;
    for n in 1..=5 {
        let sent = ann.sends(room, &n.to_string()).await;
        let (messages, rooms) = tokio::join!(ann_there.messages(room), bob_there.rooms());
        assert_eq!(messages.last().unwrap()["id"], sent["id"]);
        assert_eq!((messages.len(), &messages[n - 1]["is_read"]), (n, &json!(false)));
        assert_eq!(pluck(&rooms, "id"), [room], "rooms of the reader alone");
        assert_eq!((&rooms[0]["last_message"]["id"], &rooms[0]["unread_count"]), (&sent["id"], &json!(1)));
        bob.reads_all(room).await;
        let (messages, unread) = tokio::join!(ann_there.messages(room), bob_there.unread(room));
        assert_eq!((&messages[n - 1]["read_by"], unread), (&json!([bob.id]), 0));
    }
}

#[tokio::test]
async fn lists_of_many_readers_at_once_show_what_another_replica_has_acknowledged_and_nothing_of_others() {
    let app = TestApp::start().await;
    let elsewhere = app.replica().await;
    join_all((1..=40).step_by(2).map(|ann| pair_reads_elsewhere(&app, &elsewhere, ann, ann + 1))).await;
}

#[tokio::test]
async fn only_its_author_edits_or_deletes_a_message() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let sent = ann.sends(room, "frist").await;
    let path = message_path(&sent);

    bob.client.put(&path, json!({"content": "mine"})).await.expect(403);
    bob.client.delete(&path).await.expect(403);
    let edited = ann.client.put(&path, json!({"content": "first"})).await.expect(200);
    assert_eq!((&edited["content"], &edited["is_edited"], &edited["seq"]), (&json!("first"), &json!(true), &json!(1)));
    ann.client.put(&path, json!({"content": " "})).await.expect(400);
    ann.client.put(&path, json!({"content": ""})).await.expect(422);
    assert_eq!(ann.client.delete(&path).await.expect(200), json!({"message": "Message deleted"}));
    let deleted_again = ann.client.delete(&path).await.expect(400);
    assert_json_snapshot!(deleted_again, {".request_id" => "[uuid]"}, @r#"
    {
      "detail": {
        "details": null,
        "error": "MESSAGE_ALREADY_DELETED",
        "message": "Message is already deleted",
        "status_code": 400
      },
      "details": null,
      "error": "MESSAGE_ALREADY_DELETED",
      "message": "Message is already deleted",
      "request_id": "[uuid]",
      "status_code": 400
    }
    "#);
    let edited_late = ann.client.put(&path, json!({"content": "late"})).await.expect(400);
    assert_eq!(edited_late["message"], "Cannot edit a deleted message");
    for unknown in ["/messages/0123456789abcdef01234567", "/messages/not-an-id"] {
        assert_eq!(ann.client.delete(unknown).await.expect(404)["message"], "Message not found");
    }
    assert!(ann.messages(room).await.is_empty());
    let next = ann.sends(room, "second").await;
    assert_eq!(next["seq"], 4, "an edit and a deletion take a position each");
}

#[tokio::test]
async fn the_last_message_of_a_room_follows_edits_and_deletions() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    ann.sends(room, "one").await;
    let path = message_path(&ann.sends(room, "two").await);
    let last =
        async || ann.client.get(&format!("/chat-rooms/{room}")).await.expect(200)["last_message"]["content"].take();

    ann.client.put(&path, json!({"content": "zwei"})).await.expect(200);
    assert_eq!(last().await, "zwei");
    ann.client.delete(&path).await.expect(200);
    assert_eq!(last().await, "one");
}

/// The connection pool of MongoDB's driver serves one waiting request per event, even one that was dropped while it
/// waited.
#[tokio::test]
async fn clients_that_hang_up_do_not_delay_other_requests() {
    let mongo_url = format!("{}&maxPoolSize=1", std::env::var("MONGO_URL").unwrap());
    let app = TestApp::start_with(&[("MONGO_URL", mongo_url)]).await;
    let (ann, bob, room) = app.direct_room().await;
    join_all((0..100).map(|_| ann.sends(room, "x"))).await;

    let requests: FuturesUnordered<_> = (0..100).map(|_| bob.messages(room)).collect();
    let answered = requests.take(10).count().await;

    assert_eq!(answered, 10, "the other ninety hang up");
    timeout(Duration::from_secs(6), ann.sends(room, "still here?")).await.expect("an answer within 6 s");
}
