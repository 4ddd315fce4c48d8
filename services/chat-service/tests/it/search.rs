//! Search of messages.

use mongodb::bson::{DateTime, Document, doc, oid::ObjectId};
use reqwest::Method;
use serde_json::json;
use testkit::early_in_a_minute;

use crate::app::{TestApp, mongo_database, rooms_with_a_message};
use crate::person::{Person, message_path};

/// The contents of the messages on a page, and the cursor of the next page.
type Page = (Vec<String>, Option<String>);

async fn page(person: &Person, query: &[(&str, &str)]) -> Page {
    let request = person.client.request(Method::GET, "/messages/search").query(query);
    let page = person.client.send(request).await.expect(200);
    let messages = page["messages"].as_array().unwrap().iter();
    let contents = messages.map(|message| message["content"].as_str().unwrap().to_owned()).collect();
    (contents, page["next_cursor"].as_str().map(str::to_owned))
}

/// All pages of a search.
async fn pages(person: &Person, q: &str, limit: &str) -> Vec<Page> {
    let mut pages: Vec<Page> = Vec::new();
    loop {
        let mut query = vec![("q", q), ("limit", limit)];
        if let Some((_, Some(cursor))) = pages.last() {
            query.push(("cursor", cursor));
        }
        let page = page(person, &query).await;
        let last = page.1.is_none();
        pages.push(page);
        if last {
            return pages;
        }
    }
}

/// The contents of all messages that a search finds.
async fn search(person: &Person, q: &str, limit: &str) -> Vec<String> {
    pages(person, q, limit).await.into_iter().flat_map(|(contents, _)| contents).collect()
}

#[tokio::test]
async fn a_search_ignores_case_and_finds_parts_of_words_newest_first() {
    let app = TestApp::start().await;
    let (ann, bob) = (app.person(1), app.person(2));
    let rooms = [ann.room_with(2).await, ann.group_with(&[2, 3]).await];
    let contents = ["Hello World", "안녕하세요", "ÄRGER", "100% sure", "a.c", "abc", "hello again"];
    for (content, room) in contents.iter().zip(rooms.into_iter().cycle()) {
        ann.sends(room, content).await;
    }

    for (q, expected) in [
        ("hello", &["hello again", "Hello World"][..]),
        ("녕하", &["안녕하세요"]),
        ("ärg", &["ÄRGER"]),
        ("%", &["100% sure"]),
        (".", &["a.c"]),
        ("nothing", &[]),
    ] {
        let (found, next) = page(&bob, &[("q", q)]).await;
        assert_eq!(found, expected, "{q}");
        assert_eq!(next, None, "{q}");
    }
    let (in_group, _) = page(&ann, &[("q", "hello"), ("room_id", &rooms[1].to_string())]).await;
    assert_eq!(in_group, [""; 0], "both greetings are in the direct room");
    assert_eq!(search(&ann, "hello", "1").await, ["hello again", "Hello World"]);
}

#[tokio::test]
async fn a_search_omits_deleted_messages_system_messages_and_foreign_rooms() {
    let app = TestApp::start().await;
    let [ann, bob, eve] = [1, 2, 3].map(|id| app.person(id));
    let group = ann.group_with(&[2, 3]).await;
    let sent = ann.sends(group, "word deleted").await;
    ann.client.delete(&message_path(&sent)).await.expect(200);
    ann.adds(group, &[4]).await.expect(200);
    ann.sends(group, "word").await;
    let foreign = ann.room_with(3).await;
    ann.sends(foreign, "word for eve").await;

    assert_eq!(page(&bob, &[("q", "word")]).await.0, ["word"]);
    assert_eq!(page(&bob, &[("q", "added")]).await.0, [""; 0]);
    assert_eq!(page(&eve, &[("q", "word")]).await.0, ["word for eve", "word"]);
    ann.removes(group, 3).await.expect(200);
    assert_eq!(page(&eve, &[("q", "word")]).await.0, ["word for eve"], "a former member does not search the group");
    let path = format!("/messages/search?q=word&room_id={group}");
    eve.client.get(&path).await.expect(403);
    eve.client.get("/messages/search?q=word&room_id=999999").await.expect(404);
}

#[tokio::test]
async fn an_invalid_search_is_refused() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let too_long = format!("q={}", "x".repeat(101));

    for query in
        ["", "q=", &too_long, "q=a&limit=0", "q=a&limit=101", "q=a&room_id=x", "q=a&cursor=nonsense", "q=a&cursor="]
    {
        ann.client.get(&format!("/messages/search?{query}")).await.expect(422);
    }
    assert_eq!(ann.client.get("/messages/search?q=a").await.expect(200), json!({"messages": [], "next_cursor": null}));
}

#[tokio::test]
async fn pages_of_any_size_have_every_match_once_and_newest_first() {
    let app = TestApp::start().await;
    let ann = app.person(1);
    let mut rooms = Vec::new();
    for other in 2..=7 {
        rooms.push(ann.room_with(other).await);
    }
    let mut expected = Vec::new();
    for n in 0..60 {
        let content = if n % 3 == 0 { format!("find {n}") } else { n.to_string() };
        ann.sends(rooms[n * 7 % 6], &content).await;
        if n % 3 == 0 {
            expected.insert(0, content);
        }
    }

    for limit in ["1", "3", "7", "100"] {
        assert_eq!(search(&ann, "FIND", limit).await, expected, "{limit}");
    }
}

#[tokio::test]
async fn one_request_scans_a_limited_number_of_messages_and_the_cursor_continues() {
    const MESSAGES: i64 = 12_000;
    let app = TestApp::start().await;
    let (ann, bob, room) = app.direct_room().await;
    let messages = mongo_database(&app.space).await.collection::<Document>("messages");
    // The original's messages have no positions. The first read of the room assigns them.
    let at = |n: i64| DateTime::from_millis(1_700_000_000_000 + n);
    let of_the_original = (0..MESSAGES).map(|n| {
        let content = if n == 5 { "the needle" } else { "hay" };
        doc! {"_id": ObjectId::new(), "user_id": 1, "room_id": room, "room_type": "private", "content": content,
        "message_type": "text", "created_at": at(n), "updated_at": at(n)}
    });
    messages.insert_many(of_the_original).await.unwrap();
    let replica = app.replica().await;
    let [ann, bob] = [ann, bob].map(|person| app.person_at(&replica, person.id));

    let (first, cursor) = page(&bob, &[("q", "needle")]).await;

    assert!(first.is_empty() && cursor.is_some(), "one request does not scan all messages");
    assert_eq!(search(&ann, "needle", "20").await, ["the needle"]);
}

#[tokio::test]
async fn a_cursor_over_many_rooms_stays_short_and_its_store_has_a_budget() {
    const ROOMS: i64 = 220;
    /// With such a distance, the positions in the rooms are too long for a cursor.
    const DISTANCE: i64 = 1_000_003;
    let app = TestApp::start_with(&[("WRITE_LIMIT_CHANGES", "1".to_owned())]).await;
    rooms_with_a_message(&app, 1, ROOMS, DISTANCE).await;
    let ann = app.person(1);
    early_in_a_minute().await;

    let found = pages(&ann, "x", "100").await;

    assert_eq!(found.iter().map(|(contents, _)| contents.len()).sum::<usize>(), ROOMS as usize);
    let cursors: Vec<&String> = found.iter().filter_map(|(_, cursor)| cursor.as_ref()).collect();
    assert!(cursors.iter().all(|cursor| cursor.len() < 1_024), "{cursors:?}");
    let mongo = mongo_database(&app.space).await;
    let stored = mongo.collection::<Document>("stream_snapshots").count_documents(doc! {}).await.unwrap();
    assert_eq!(stored, 1, "the last cursor is stored");
    let query = [("q", "x"), ("limit", "100"), ("cursor", cursors[cursors.len() - 2])];
    let again = ann.client.send(ann.client.request(Method::GET, "/messages/search").query(&query)).await;
    again.expect(429);
}
