//! Random changes of members in random groups. After every step, each user can read and write the groups that they are
//! a member of, and no other, through every endpoint.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::seq::{IndexedMutRandom, IndexedRandom};
use rand::{RngExt, SeedableRng};
use reqwest::Method;
use serde_json::json;

use crate::app::TestApp;
use crate::person::Person;

const SEED: u64 = 20_261_124;
const PEOPLE: [i64; 5] = [1, 2, 3, 4, 5];
const STEPS: usize = 60;

/// A group as the test expects it.
struct Group {
    id: i64,
    creator: i64,
    members: BTreeSet<i64>,
    /// Users who left by themselves.
    left: BTreeSet<i64>,
    message: String,
}

#[tokio::test]
async fn only_members_read_and_write_a_group() {
    let app = TestApp::start().await;
    let mut rng = StdRng::seed_from_u64(SEED);
    let mut groups = Vec::new();
    for creator in [1, 2, 3] {
        let others: Vec<i64> = PEOPLE.into_iter().filter(|id| *id != creator).take(2).collect();
        let id = app.person(creator).group_with(&others).await;
        let sent = app.person(creator).sends(id, "word").await;
        let members = others.into_iter().chain([creator]).collect();
        groups.push(Group {
            id,
            creator,
            members,
            left: BTreeSet::new(),
            message: sent["id"].as_str().unwrap().to_owned(),
        });
    }

    for step in 0..STEPS {
        let group = groups.choose_mut(&mut rng).unwrap();
        let (actor, other) = (*PEOPLE.choose(&mut rng).unwrap(), *PEOPLE.choose(&mut rng).unwrap());
        if rng.random() {
            add(&app, group, actor, other).await;
        } else {
            remove(&app, group, actor, other).await;
        }
        for person in PEOPLE {
            let member = group.members.contains(&person);
            try_everything(&app.person(person), group, member, step).await;
        }
    }
}

async fn add(app: &TestApp, group: &mut Group, actor: i64, other: i64) {
    let returns = group.left.contains(&other) && !group.members.contains(&other);
    let allowed = actor == group.creator && group.members.contains(&actor) && !returns;
    let answer = app.person(actor).adds(group.id, &[other]).await;
    assert_eq!(answer.status, if allowed { 200 } else { 403 }, "{}", answer.text);
    if allowed {
        group.members.insert(other);
    }
}

async fn remove(app: &TestApp, group: &mut Group, actor: i64, other: i64) {
    let member = group.members.contains(&actor);
    let expected = match (member, actor == other || actor == group.creator) {
        (true, true) if group.members.contains(&other) => 200,
        (true, true) => 404,
        _ => 403,
    };
    let answer = app.person(actor).removes(group.id, other).await;
    assert_eq!(answer.status, expected, "{}", answer.text);
    if expected == 200 {
        group.members.remove(&other);
        if actor == other {
            group.left.insert(other);
        }
    }
}

/// Sends a request to every endpoint of the group.
async fn try_everything(person: &Person, group: &Group, member: bool, step: usize) {
    let (id, message) = (group.id, &group.message);
    let requests = [
        (Method::GET, format!("/chat-rooms/{id}"), json!({})),
        (Method::GET, format!("/messages/{id}"), json!({})),
        (Method::GET, format!("/messages?room_id={id}"), json!({})),
        (Method::GET, format!("/messages/room/{id}/unread-count"), json!({})),
        (Method::GET, format!("/messages/search?q=word&room_id={id}"), json!({})),
        (Method::POST, format!("/messages/{id}"), json!({"content": step.to_string()})),
        (Method::POST, "/messages".to_owned(), json!({"room_id": id, "content": step.to_string()})),
        (
            Method::POST,
            format!("/messages/{id}/uploads"),
            json!({"file_name": "a", "file_size": 1, "file_type": "text/plain"}),
        ),
        (Method::POST, "/messages/read".to_owned(), json!({"room_id": id})),
        (Method::PUT, format!("/messages/{message}/reactions/👍"), json!({})),
        (Method::DELETE, format!("/messages/{message}/reactions/👍"), json!({})),
    ];
    for (method, path, body) in requests {
        let answer = person.client.send(person.client.request(method.clone(), &path).json(&body)).await;
        let expected = if member { answer.ok() } else { answer.status == 403 };
        assert!(expected, "{} {method} {path} (member: {member}): {}", person.id, answer.text);
    }
    let file = person.client.get(&format!("/messages/{message}/file")).await.status;
    assert_eq!(file, if member { 404 } else { 403 }, "the message has no file");
    let typing = person.client.post(&format!("/messages/{id}/typing"), json!({})).await.status;
    assert!(if member { [202, 429].contains(&typing) } else { typing == 403 }, "{typing}");
    let stream = person.client.request(Method::GET, &format!("/messages/stream/{id}")).send().await.unwrap();
    assert_eq!(stream.status(), if member { 200 } else { 403 });
    assert_eq!(person.rooms().await.iter().any(|room| room["id"] == id), member);
    let found = person.client.get("/messages/search?q=word&limit=100").await.expect(200);
    assert_eq!(found["messages"].as_array().unwrap().iter().any(|message| message["room_id"] == id), member);
}
