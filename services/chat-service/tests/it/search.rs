//! Searching messages.

use futures_util::future::join_all;
use mongodb::bson::{DateTime, Document, doc, oid::ObjectId};
use serde_json::json;

use crate::app::{Person, TestApp};

async fn page(person: &Person, query: &[(&str, &str)]) -> (Vec<String>, Option<String>) {
    let request = person.client.request(reqwest::Method::GET, "/messages/search").query(query);
    let page = person.client.send(request).await.expect(200);
    let contents = page["messages"].as_array().unwrap().iter();
    let contents = contents.map(|message| message["content"].as_str().unwrap().to_owned()).collect();
    (contents, page["next_cursor"].as_str().map(str::to_owned))
}

/// Everything that a search finds, page by page.
async fn all(person: &Person, q: &str, limit: &str) -> Vec<String> {
    let (mut found, mut cursor) = (Vec::new(), None::<String>);
    loop {
        let mut query = vec![("q", q), ("limit", limit)];
        if let Some(cursor) = &cursor {
            query.push(("cursor", cursor));
        }
        let (page, next) = page(person, &query).await;
        found.extend(page);
        cursor = next;
        if cursor.is_none() {
            return found;
        }
    }
}

#[tokio::test]
async fn parts_of_words_are_found_whatever_their_case_and_newest_first() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let rooms = [ann.room_with(2).await, ann.group_with(&[2, 3]).await];
    for (n, content) in
        ["Hello World", "안녕하세요", "ÄRGER", "100% sure", "a.c", "abc", "hello again"].iter().enumerate()
    {
        ann.says(rooms[n % 2], content).await;
    }

    for (q, expected) in [
        ("hello", vec!["hello again", "Hello World"]),
        ("녕하", vec!["안녕하세요"]),
        ("ärg", vec!["ÄRGER"]),
        ("%", vec!["100% sure"]),
        (".", vec!["a.c"]),
        ("nothing", vec![]),
    ] {
        assert_eq!(
            page(&app.person(2), &[("q", q)]).await,
            (expected.iter().map(|s| s.to_string()).collect(), None),
            "{q}"
        );
    }
    let in_one_room = page(&ann, &[("q", "hello"), ("room_id", &rooms[1].to_string())]).await;
    assert!(in_one_room.0.is_empty() || in_one_room.0.len() == 1);
    assert_eq!(all(&ann, "hello", "1").await, ["hello again", "Hello World"]);
}

#[tokio::test]
async fn what_is_deleted_said_by_the_system_or_in_rooms_of_others_is_not_found() {
    let app = TestApp::start().await;
    let [ann, bob, eve] = [1, 2, 3].map(|id| app.person(id));
    let group = ann.group_with(&[2, 3]).await;
    let sent = ann.says(group, "word deleted").await;
    ann.client.delete(&format!("/messages/{}", sent["id"].as_str().unwrap())).await.expect(200);
    ann.adds(group, &[4]).await.expect(200);
    ann.says(group, "word").await;
    let foreign = ann.room_with(3).await;
    ann.says(foreign, "word for eve").await;

    assert_eq!(page(&bob, &[("q", "word")]).await.0, ["word"]);
    assert_eq!(page(&bob, &[("q", "added")]).await.0, [""; 0]);
    assert_eq!(page(&eve, &[("q", "word")]).await.0, ["word for eve", "word"]);
    ann.removes(group, 3).await.expect(200);
    assert_eq!(page(&eve, &[("q", "word")]).await.0, ["word for eve"], "a room that was left is not searched");
    let path = format!("/messages/search?q=word&room_id={group}");
    eve.client.get(&path).await.expect(403);
    eve.client.get("/messages/search?q=word&room_id=999999").await.expect(404);
}

#[tokio::test]
async fn a_search_that_cannot_be_read_is_refused() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let long = format!("q={}", "x".repeat(101));

    for query in
        ["", "q=", &long, "q=a&limit=0", "q=a&limit=101", "q=a&room_id=x", "q=a&cursor=nonsense", "q=a&cursor="]
    {
        ann.client.get(&format!("/messages/search?{query}")).await.expect(422);
    }
    assert_eq!(ann.client.get("/messages/search?q=a").await.expect(200), json!({"messages": [], "next_cursor": null}));
}

#[tokio::test]
async fn pages_of_any_size_hold_every_find_once_and_newest_first() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let mut rooms = Vec::new();
    for other in 2..=7 {
        rooms.push(ann.room_with(other).await);
    }
    let mut expected = Vec::new();
    for n in 0..60 {
        let content = if n % 3 == 0 { format!("find {n}") } else { n.to_string() };
        ann.says(rooms[n * 7 % 6], &content).await;
        if n % 3 == 0 {
            expected.insert(0, content);
        }
    }

    for limit in ["1", "3", "7", "100"] {
        assert_eq!(all(&ann, "FIND", limit).await, expected, "{limit}");
    }
}

#[tokio::test]
async fn a_request_looks_at_so_many_messages_and_the_cursor_goes_on() {
    const MESSAGES: i64 = 12_000;
    let app = TestApp::start().await;
    let (ann, bob, room) = app.two_in_a_room().await;
    let mongo = mongodb::Client::with_uri_str(app.space.mongo_url()).await.unwrap();
    let messages = mongo.database(&app.space.mongo_database()).collection::<Document>("messages");
    // As the original leaves them; the first read numbers them.
    let at = |n: i64| DateTime::from_millis(1_700_000_000_000 + n);
    let old = (0..MESSAGES).map(|n| {
        let content = if n == 5 { "the needle" } else { "hay" };
        doc! {"_id": ObjectId::new(), "user_id": 1, "room_id": room, "room_type": "private", "content": content,
        "message_type": "text", "created_at": at(n), "updated_at": at(n)}
    });
    messages.insert_many(old).await.unwrap();
    let other = app.replica().await;
    let bob = app.person_at(&other, bob.id);
    let ann = app.person_at(&other, ann.id);

    let (first, cursor) = page(&bob, &[("q", "needle")]).await;

    assert!(first.is_empty() && cursor.is_some(), "one request does not look at all of it");
    assert_eq!(all(&ann, "needle", "20").await, ["the needle"]);
}

#[tokio::test]
async fn a_cursor_over_many_rooms_stays_short_and_is_its_owners() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let groups = join_all((0..220).map(|n| {
        let ann = ann.clone();
        async move {
            let group = ann.group_with(&[2, 1_000 + n]).await;
            ann.says(group, "find").await;
            group
        }
    }))
    .await;

    let (mut found, mut cursor, mut longest) = (0, None::<String>, 0);
    loop {
        let mut query = vec![("q", "find"), ("limit", "100")];
        if let Some(cursor) = &cursor {
            query.push(("cursor", cursor));
        }
        let (page, next) = page(&ann, &query).await;
        found += page.len();
        let Some(next) = next else { break };
        longest = longest.max(next.len());
        cursor = Some(next);
    }
    assert_eq!(found, groups.len());
    assert!(longest < 1_024, "{longest}");
}
