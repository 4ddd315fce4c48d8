//! `cargo stack demo`: two people become friends and chat through the gateway. Every response is checked against the
//! documents.

mod person;
mod response;
mod stream;

use anyhow::{Context, Result, ensure};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::stack_dir::StackDir;
use crate::state::StateFile;
use crate::terminal::print;
use person::Person;
use response::{id, text};
use stream::EventStream;

const CONTENTS: [&str; 5] =
    ["Hi Bob!", "안녕하세요, 반갑습니다 😊", "👩‍👩‍👧‍👦 가족과 함께 🇰🇷", "\"quotes\" \\ and\nlines", "the last one"];

pub async fn play(dir: &StackDir) -> Result<()> {
    let state = StateFile::read_ready(dir)?;
    let gateway =
        state.env.get("GATEWAY_URL").context("only the engines are running; start everything: cargo stack up")?;
    let started = Instant::now();
    let (mut ann, mut bob) = (Person::new(gateway, "ann")?, Person::new(gateway, "bob")?);
    meet(&mut ann, &mut bob).await?;
    become_friends(&ann, &bob).await?;
    let room = open_room(&ann, &bob).await?;
    chat(&ann, &bob, room).await?;
    read(&ann, &bob, room).await?;
    print(&format!("Every response is as documented ({:.1} s).", started.elapsed().as_secs_f32()));
    Ok(())
}

/// Runs a step and prints how long it took.
async fn step<T>(description: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
    let started = Instant::now();
    let result = work.await.with_context(|| format!("{description}: not as documented"))?;
    print_elapsed(started, description);
    Ok(result)
}

/// Prints the time first, because terminals differ in the width of an emoji.
fn print_elapsed(since: Instant, description: &str) {
    print(&format!("{:>9.1} ms  {description}", since.elapsed().as_secs_f64() * 1000.0));
}

async fn meet(ann: &mut Person, bob: &mut Person) -> Result<()> {
    step("Ann registers", ann.register()).await?;
    step("Bob registers", bob.register()).await?;
    step("Ann logs in with a form", ann.log_in_by_form()).await?;
    step("Bob logs in with JSON", bob.log_in_by_json()).await?;
    step("Ann reads her profile", own_profile(ann)).await?;
    step("A forged X-User-Id is rejected", ann.is_rejected_without_token()).await?;
    step("Ann finds Bob", find(ann, bob)).await
}

async fn own_profile(ann: &Person) -> Result<()> {
    let profile = ann.get("/api/profile/me").await?;
    ensure!(profile["email"] == ann.email.as_str() && id(&profile, "id")? == ann.id, "{profile}");
    Ok(())
}

async fn find(ann: &Person, bob: &Person) -> Result<()> {
    let found = ann.get(&format!("/api/users/search?query={}", bob.username)).await?;
    ensure!(found["total_count"] == 1 && id(&found["users"][0], "id")? == bob.id, "{found}");
    ensure!(found["users"][0].get("email").is_none(), "the result contains an e-mail address: {found}");
    Ok(())
}

async fn become_friends(ann: &Person, bob: &Person) -> Result<()> {
    step("Ann sends Bob a friend request", async {
        let sent = ann.post("/api/friends/request", &json!({"user_id_2": bob.id}), StatusCode::CREATED).await?;
        ensure!(sent["status"] == "pending" && id(&sent, "user_id_1")? == ann.id, "{sent}");
        Ok(())
    })
    .await?;
    step("Bob lists the request", async {
        let requests = bob.get("/api/friends/requests").await?;
        let received = &requests["received_requests"][0];
        ensure!(id(received, "user_id")? == ann.id && received["request_type"] == "received", "{requests}");
        Ok(())
    })
    .await?;
    step("Bob accepts it", async {
        let accepted = bob.put(&format!("/api/friends/status/{}", ann.id), &json!({"action": "accept"})).await?;
        ensure!(accepted["status"] == "accepted", "{accepted}");
        Ok(())
    })
    .await?;
    step("Ann lists her friends", has_friend(ann, bob)).await?;
    step("Bob lists his friends", has_friend(bob, ann)).await
}

async fn has_friend(one: &Person, other: &Person) -> Result<()> {
    let friends = one.get("/api/friends/list").await?;
    let [friend] = friends.as_array().context("not a list")?.as_slice() else {
        anyhow::bail!("not exactly one friend: {friends}");
    };
    ensure!(id(friend, "user_id")? == other.id && friend["username"] == other.username.as_str(), "{friends}");
    Ok(())
}

async fn open_room(ann: &Person, bob: &Person) -> Result<i64> {
    let room = step("Ann opens a room with Bob", room_with(ann, bob)).await?;
    let same = step("Bob finds the same room", room_with(bob, ann)).await?;
    ensure!(room == same, "one pair has two rooms: {room} and {same}");
    Ok(room)
}

async fn room_with(one: &Person, other: &Person) -> Result<i64> {
    let room = one.get(&format!("/api/chat-rooms/check/{}", other.id)).await?;
    let participants = &room["participants"];
    ensure!(room["room_type"] == "direct", "{room}");
    ensure!(id(&participants[0], "id")? == one.id && id(&participants[1], "id")? == other.id, "{room}");
    ensure!(participants[1]["username"] == other.username.as_str(), "{room}");
    id(&room, "id")
}

async fn chat(ann: &Person, bob: &Person, room: i64) -> Result<()> {
    let mut stream = step("Bob opens the live stream", EventStream::open(bob, room)).await?;
    for (index, content) in CONTENTS.iter().enumerate() {
        let sent_at = Instant::now();
        let message = step(&format!("Ann sends: {}", content.replace('\n', " ")), send(ann, room, content)).await?;
        let event = stream.next("new_message").await?;
        print_elapsed(sent_at, "after Ann sent it, Bob receives it");
        ensure!(event["content"] == *content && event["id"] == message["id"], "not the message that was sent: {event}");
        ensure!(id(&event, "seq")? == index as i64 + 1, "out of order: {event}");
        ensure!(event["username"] == ann.username.as_str() && id(&event, "user_id")? == ann.id, "{event}");
    }
    Ok(())
}

async fn send(ann: &Person, room: i64, content: &str) -> Result<Value> {
    let message = ann.post(&format!("/api/messages/{room}"), &json!({"content": content}), StatusCode::CREATED).await?;
    ensure!(message["content"] == content && id(&message, "room_id")? == room, "{message}");
    ensure!(text(&message, "id")?.len() == 24 && message["message_type"] == "text", "{message}");
    ensure!(text(&message, "created_at")?.ends_with('Z'), "{message}");
    Ok(message)
}

async fn read(ann: &Person, bob: &Person, room: i64) -> Result<()> {
    step("Bob has as many unread messages", unread(bob, room, CONTENTS.len())).await?;
    step("Bob marks all messages as read", read_all(bob, room)).await?;
    step("Bob has no unread messages", unread(bob, room, 0)).await?;
    step("Ann lists the messages", async {
        let page = ann.get(&format!("/api/messages/{room}?limit=50")).await?;
        let messages = page["messages"].as_array().context("no messages")?;
        let contents: Vec<_> = messages.iter().map(|message| message["content"].as_str().unwrap_or_default()).collect();
        ensure!(contents == CONTENTS, "not the messages that were sent, oldest first: {page}");
        ensure!(page["total_count"] == CONTENTS.len() && page["has_more"] == false, "{page}");
        Ok(())
    })
    .await?;
    step("Bob lists his rooms", async {
        let rooms = bob.get("/api/chat-rooms").await?;
        let first = &rooms[0];
        ensure!(id(first, "id")? == room && first["unread_count"] == 0, "{rooms}");
        ensure!(first["last_message"]["content"] == CONTENTS[CONTENTS.len() - 1], "{rooms}");
        Ok(())
    })
    .await
}

async fn unread(bob: &Person, room: i64, count: usize) -> Result<()> {
    let response = bob.get(&format!("/api/messages/room/{room}/unread-count")).await?;
    ensure!(response["unread_count"] == count, "{response}");
    Ok(())
}

async fn read_all(bob: &Person, room: i64) -> Result<()> {
    let response = bob.post("/api/messages/read", &json!({"room_id": room}), StatusCode::OK).await?;
    let message = format!("{} messages marked as read", CONTENTS.len());
    ensure!(
        response["success"] == true && response["read_count"] == CONTENTS.len() && response["message"] == message,
        "{response}"
    );
    Ok(())
}
