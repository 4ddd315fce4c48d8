//! Reactions: adding and removing, each of which takes a position in the room's log.

use futures_util::future::join_all;
use serde_json::{Value, json};
use testkit::{Answer, Events};

use crate::app::TestApp;
use crate::person::{Person, message_path};

async fn react(person: &Person, message: &Value, emoji: &str) -> Answer {
    person.client.put(&format!("{}/reactions/{emoji}", message_path(message)), json!({})).await
}

async fn unreact(person: &Person, message: &Value, emoji: &str) -> Answer {
    person.client.delete(&format!("{}/reactions/{emoji}", message_path(message))).await
}

#[tokio::test]
async fn a_changed_reaction_takes_a_position_and_reaches_listings_streams_and_kafka() {
    let app = TestApp::start().await;
    app.space.create_topics().await;
    let (ann, bob, room) = app.direct_room().await;
    let mut stream = ann.client.stream(&format!("/messages/stream/{room}"), None).await;
    let sent = ann.sends(room, "hello").await;

    react(&bob, &sent, "👍").await.expect(200);
    let both = react(&ann, &sent, "👍").await.expect(200);
    react(&ann, &sent, "👍").await.expect(200);
    let other = react(&bob, &sent, "❤").await.expect(200);
    unreact(&bob, &sent, "🎉").await.expect(200);
    unreact(&bob, &sent, "👍").await.expect(200);

    assert_eq!(
        (&both["reactions"], &both["seq"]),
        (&json!([{"emoji": "👍", "count": 2, "user_ids": [2, 1]}]), &json!(1))
    );
    assert_eq!(other["reactions"][1]["emoji"], "❤️");
    let left = json!([{"emoji": "👍", "count": 1, "user_ids": [1]}, {"emoji": "❤️", "count": 1, "user_ids": [2]}]);
    assert_eq!(ann.messages(room).await[0]["reactions"], left);
    let mut received = Vec::new();
    for _ in 0..4 {
        let event = stream.next_named("reaction_changed").await;
        assert_eq!((&event.data["message_id"], &event.data["room_id"]), (&sent["id"], &json!(room)));
        received.push(json!([event.position(), event.data["user_id"], event.data["emoji"], event.data["added"]]));
    }
    let expected =
        [json!([2, 2, "👍", true]), json!([3, 1, "👍", true]), json!([4, 2, "❤️", true]), json!([5, 2, "👍", false])];
    assert_eq!(received, expected, "a request that changes nothing takes no position");
    let events = Events::of(&app.space.topics().message_events).expect("ReactionChanged", 4).await;
    let last = events.iter().find(|event| event["position"] == 5).unwrap();
    assert_eq!((&last["reactions"], &last["added"]), (&left, &json!(false)));
    let mut replay = bob.subscribes(room, Some("4")).await;
    let replayed = replay.next_named("reaction_changed").await;
    assert_eq!((replayed.position(), &replayed.data["reactions"]), (5, &left));
    assert_eq!(ann.sends(room, "next").await["seq"], 6);
}

#[tokio::test]
async fn a_reaction_is_one_emoji_on_an_existing_message() {
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let sent = ann.sends(room, "hello").await;

    for invalid in ["a", "👍👍", "가", "1", "%20", ":+1:"] {
        react(&bob, &sent, invalid).await.expect(422);
        unreact(&bob, &sent, invalid).await.expect(422);
    }
    for emoji in ["👨‍👩‍👧‍👦", "🇰🇷", "1️⃣", "👍🏽"] {
        react(&bob, &sent, emoji).await.expect(200);
    }
    for unknown in [json!({"id": "0123456789abcdef01234567"}), json!({"id": "x"})] {
        react(&bob, &unknown, "👍").await.expect(404);
    }
    ann.client.delete(&message_path(&sent)).await.expect(200);
    for answer in [react(&bob, &sent, "👍").await, unreact(&bob, &sent, "🇰🇷").await] {
        assert_eq!(answer.expect(400)["error"], "MESSAGE_ALREADY_DELETED");
    }
}

#[tokio::test]
async fn a_reaction_lists_fifty_users_and_counts_the_others() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let room = ann.group_with(&(2..=60).collect::<Vec<_>>()).await;
    let sent = ann.sends(room, "hello").await;
    let people: Vec<Person> = (1..=60).map(|id| app.person(id)).collect();
    let shown = async || {
        let reaction = ann.messages(room).await[0]["reactions"][0].clone();
        (reaction["count"].as_u64().unwrap(), reaction["user_ids"].as_array().unwrap().len())
    };

    join_all(people.iter().map(|person| react(person, &sent, "👍"))).await;
    assert_eq!(shown().await, (60, 50));
    join_all(people.iter().map(|person| react(person, &sent, "👍"))).await;
    assert_eq!(shown().await, (60, 50), "a repeated reaction changes nothing, listed or not");
    let page = ann.messages(room).await;
    let listed = page[0]["reactions"][0]["user_ids"].as_array().unwrap();
    let is_listed = |person: &&Person| listed.contains(&json!(person.id));
    let (one, other) = (people.iter().find(is_listed).unwrap(), people.iter().find(|p| !is_listed(p)).unwrap());
    for person in [one, other, one, other] {
        unreact(person, &sent, "👍").await.expect(200);
    }
    assert_eq!(shown().await, (58, 49));
    react(other, &sent, "👍").await.expect(200);
    assert_eq!(shown().await, (59, 50));
    join_all(people.iter().map(|person| unreact(person, &sent, "👍"))).await;
    assert_eq!(ann.messages(room).await[0]["reactions"], json!([]));
}

#[tokio::test]
async fn concurrent_reactions_stop_at_twenty_different_emoji() {
    const EMOJI: [&str; 25] = [
        "😀", "😃", "😄", "😁", "😆", "😅", "🤣", "😂", "🙂", "🙃", "😉", "😊", "😇", "🥰", "😍", "🤩", "😘", "😗",
        "😚", "😙", "😋", "😛", "😜", "🤪", "😝",
    ];
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let replica = app.replica().await;
    let bob_at_replica = app.person_at(&replica, bob.id);
    let sent = ann.sends(room, "hello").await;

    let people = [&ann, &bob_at_replica].into_iter().cycle();
    let answers = join_all(people.zip(EMOJI).map(|(person, emoji)| react(person, &sent, emoji))).await;

    let with_status = |status| answers.iter().filter(|answer| answer.status == status).count();
    assert_eq!((with_status(200), with_status(400)), (20, 5), "{answers:?}");
    assert_eq!(ann.messages(room).await[0]["reactions"].as_array().unwrap().len(), 20);
}
