//! Reactions: given and taken back, each change a position.

use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::Events;

use crate::app::{Person, TestApp};

async fn react(person: &Person, message: &Value, emoji: &str) -> testkit::Answer {
    let path = format!("/messages/{}/reactions/{emoji}", message["id"].as_str().unwrap());
    person.client.put(&path, json!({})).await
}

async fn take_back(person: &Person, message: &Value, emoji: &str) -> testkit::Answer {
    let path = format!("/messages/{}/reactions/{emoji}", message["id"].as_str().unwrap());
    person.client.delete(&path).await
}

#[tokio::test]
async fn a_reaction_is_counted_listed_and_told_and_takes_a_position() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    let path = format!("/messages/stream/{room}");
    let mut stream = ann.client.stream(&path, None).await;
    let sent = ann.says(room, "hello").await;

    react(&bob, &sent, "👍").await.expect(200);
    let both = react(&ann, &sent, "👍").await.expect(200);
    react(&ann, &sent, "👍").await.expect(200);
    let other = react(&bob, &sent, "❤").await.expect(200);
    take_back(&bob, &sent, "🎉").await.expect(200);
    take_back(&bob, &sent, "👍").await.expect(200);

    assert_eq!(
        (&both["reactions"], &both["seq"]),
        (&json!([{"emoji": "👍", "count": 2, "user_ids": [2, 1]}]), &json!(1))
    );
    assert_eq!(other["reactions"][1]["emoji"], "❤️");
    let left = json!([{"emoji": "👍", "count": 1, "user_ids": [1]}, {"emoji": "❤️", "count": 1, "user_ids": [2]}]);
    assert_eq!(ann.messages(room).await[0]["reactions"], left);
    let mut told = Vec::new();
    while told.len() < 4 {
        let event = stream.next().await;
        if event.name == "reaction_changed" {
            let data = event.data;
            assert_eq!((&data["message_id"], &data["room_id"]), (&sent["id"], &json!(room)));
            told.push((event.id, data["user_id"].clone(), data["emoji"].clone(), data["added"].clone()));
        }
    }
    let expected = [("2", 2, "👍", true), ("3", 1, "👍", true), ("4", 2, "❤️", true), ("5", 2, "👍", false)];
    let expected = expected.map(|(id, user, emoji, added)| (id.to_owned(), json!(user), json!(emoji), json!(added)));
    assert_eq!(told, expected, "what changes nothing takes no position");
    let events = Events::of(&app.space.topics().message_events).expect("ReactionChanged", 4).await;
    let last = events.iter().find(|event| event["position"] == 5).unwrap();
    assert_eq!((&last["reactions"], &last["added"]), (&left, &json!(false)));
    let mut replay = bob.client.stream(&path, Some("4")).await;
    let replayed = replay.next_named("reaction_changed").await;
    assert_eq!((replayed.id.as_str(), &replayed.data["reactions"]), ("5", &left));
    assert_eq!(ann.says(room, "next").await["seq"], 6);
}

#[tokio::test]
async fn what_is_not_one_emoji_and_what_cannot_be_reacted_to_is_refused() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    let sent = ann.says(room, "hello").await;

    for none in ["a", "👍👍", "가", "1", "%20", ":+1:"] {
        react(&bob, &sent, none).await.expect(422);
        take_back(&bob, &sent, none).await.expect(422);
    }
    for one in ["👨‍👩‍👧‍👦", "🇰🇷", "1️⃣", "👍🏽"] {
        react(&bob, &sent, one).await.expect(200);
    }
    for unknown in [json!({"id": "0123456789abcdef01234567"}), json!({"id": "x"})] {
        react(&bob, &unknown, "👍").await.expect(404);
    }
    ann.client.delete(&format!("/messages/{}", sent["id"].as_str().unwrap())).await.expect(200);
    for answer in [react(&bob, &sent, "👍").await, take_back(&bob, &sent, "🇰🇷").await] {
        assert_eq!(answer.expect(400)["error"], "MESSAGE_ALREADY_DELETED");
    }
}

#[tokio::test]
async fn twenty_different_ones_are_enough_whoever_gives_them_at_once() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    let replica = app.replica().await;
    let bob_elsewhere = app.person_at(&replica, bob.id);
    let sent = ann.says(room, "hello").await;
    let faces = [
        "😀", "😃", "😄", "😁", "😆", "😅", "🤣", "😂", "🙂", "🙃", "😉", "😊", "😇", "🥰", "😍", "🤩", "😘", "😗",
        "😚", "😙", "😋", "😛", "😜", "🤪", "😝",
    ];

    let reactions = faces.iter().enumerate().map(|(n, face)| {
        let (who, sent) = (if n % 2 == 0 { &ann } else { &bob_elsewhere }, &sent);
        async move { react(who, sent, face).await.status }
    });
    let answers = join_all(reactions).await;

    assert_eq!(answers.iter().filter(|status| **status == 200).count(), 20, "{answers:?}");
    assert_eq!(answers.iter().filter(|status| **status == 400).count(), 5);
    let reacted = ann.messages(room).await.remove(0)["reactions"].as_array().unwrap().len();
    assert_eq!(reacted, 20);
}
