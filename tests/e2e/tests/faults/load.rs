//! The load: users who chat, change friendships and profiles, and register, until they are stopped.

use std::sync::Arc;
use std::time::{Duration, Instant};

use e2e::{PASSWORD, Person, gateway};
use futures_util::future::join_all;
use reqwest::Method;
use serde_json::json;
use testkit::Client;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::history::{Newcomer, Operation, Recorder, SentMessage};

/// The pause between two operations of one user. It makes about 50 messages a second, for a debug build on two cores.
const PAUSE: Duration = Duration::from_millis(60);

const ROOMS: usize = 4;

/// One of so many messages is edited, and one of so many is deleted.
const EDIT_EVERY: usize = 7;
const DELETE_EVERY: usize = 11;

/// A direct room and its members.
pub struct Room {
    pub id: i64,
    pub people: [Person; 2],
}

/// A running load.
pub struct Load {
    pub rooms: Arc<Vec<Room>>,
    pub recorder: Recorder,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    pub async fn start() -> Self {
        let rooms = Arc::new(join_all((0..ROOMS).map(|_| open_room())).await);
        let mut load = Self { rooms, recorder: Recorder::default(), stop: CancellationToken::new(), tasks: Vec::new() };
        let (recorder, stop) = (load.recorder.clone(), load.stop.clone());
        for room in load.rooms.clone().iter() {
            for person in &room.people {
                load.spawn(write(recorder.clone(), person.client.clone(), room.id, stop.clone()));
                load.spawn(change_profile(recorder.clone(), person.client.clone(), person.id, stop.clone()));
            }
            let [a, b] = room.people.each_ref().map(|person| (person.id, person.client.clone()));
            load.spawn(read(recorder.clone(), room.people[0].client.clone(), room.id, stop.clone()));
            load.spawn(change_friendship(recorder.clone(), a, b, stop.clone()));
        }
        load.spawn(register(recorder, load.rooms[0].people[0].id, stop));
        load
    }

    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(tokio::spawn(task));
    }

    /// Stops the load after the operations in progress. Panics if a task of the load panicked.
    pub async fn stop(&mut self) {
        self.stop.cancel();
        for task in join_all(self.tasks.drain(..)).await {
            if let Err(failed) = task {
                std::panic::resume_unwind(failed.into_panic());
            }
        }
    }
}

async fn open_room() -> Room {
    let people = [Person::sign_up("ann").await, Person::sign_up("bob").await];
    Room { id: people[0].room_with(&people[1]).await, people }
}

/// Waits, and returns whether the load continues.
async fn continues_after(pause: Duration, stop: &CancellationToken) -> bool {
    tokio::time::timeout(pause, stop.cancelled()).await.is_err()
}

async fn write(recorder: Recorder, me: Client, room: i64, stop: CancellationToken) {
    let mut own: Vec<String> = Vec::new();
    while continues_after(PAUSE, &stop).await {
        let n = own.len();
        own.push(send(&recorder, &me, room, n).await);
        if n % EDIT_EVERY == EDIT_EVERY - 1 {
            edit(&recorder, &me, &own[n - 2], n).await;
        }
        if n % DELETE_EVERY == DELETE_EVERY - 1 {
            delete(&recorder, &me, &own[n - 4]).await;
        }
    }
}

async fn send(recorder: &Recorder, me: &Client, room: i64, n: usize) -> String {
    let content = format!("{n} 안녕하세요");
    let message = json!({"content": content, "client_message_id": Uuid::new_v4()});
    let path = format!("/api/messages/{room}");
    let reply = recorder.retry(Operation::WriteMessage, || me.request(Method::POST, &path).json(&message)).await;
    let is_new = reply.status == 201 || (reply.retried && reply.status == 200);
    assert!(is_new, "send: {} {}", reply.status, reply.body);
    let id = reply.body["id"].as_str().unwrap().to_owned();
    let sent = SentMessage { room, content, deleted: false, at: Instant::now() };
    assert!(recorder.history().messages.insert(id.clone(), sent).is_none(), "{id} is the id of two messages");
    recorder.completed(Operation::WriteMessage);
    id
}

/// Reads the room again and again: every reader sees an acknowledged message at every replica.
async fn read(recorder: Recorder, me: Client, room: i64, stop: CancellationToken) {
    while continues_after(4 * PAUSE, &stop).await {
        let newest = recorder.history().newest_message_in(room);
        let path = format!("/api/messages/{room}?limit=100");
        let page = recorder.retry(Operation::ReadMessages, || me.request(Method::GET, &path)).await;
        let listed = page.body["messages"].as_array().unwrap_or_else(|| panic!("list: {} {}", page.status, page.body));
        if let Some(id) = newest.filter(|id| !recorder.history().messages[id].deleted) {
            assert!(listed.iter().any(|message| message["id"] == *id), "{id} was acknowledged and is not listed");
        }
        recorder.completed(Operation::ReadMessages);
    }
}

/// An edit whose request is repeated may be executed twice. Then it takes two positions.
async fn edit(recorder: &Recorder, me: &Client, id: &str, n: usize) {
    if recorder.history().messages[id].deleted {
        return;
    }
    let content = format!("{n} edited");
    let (path, new) = (format!("/api/messages/{id}"), json!({"content": content}));
    let reply = recorder.retry(Operation::WriteMessage, || me.request(Method::PUT, &path).json(&new)).await;
    assert_eq!(reply.status, 200, "edit: {}", reply.body);
    let mut history = recorder.history();
    history.messages.get_mut(id).unwrap().content = content;
    assert!(history.edits.insert(id.to_owned(), reply.retried).is_none(), "{id} is edited once");
}

async fn delete(recorder: &Recorder, me: &Client, id: &str) {
    let path = format!("/api/messages/{id}");
    recorder.retry_once_only(Operation::WriteMessage, 400, || me.request(Method::DELETE, &path)).await;
    recorder.history().messages.get_mut(id).unwrap().deleted = true;
}

/// Repeats a request of `a`, its acceptance by `b`, and the end of the friendship.
async fn change_friendship(
    recorder: Recorder,
    (a, a_client): (i64, Client),
    (b, b_client): (i64, Client),
    stop: CancellationToken,
) {
    const OPERATION: Operation = Operation::ChangeFriendship;
    for step in 0.. {
        if !continues_after(PAUSE, &stop).await {
            break;
        }
        let (request, accept) = (json!({"user_id_2": b}), json!({"action": "accept"}));
        let (answer, friend) = (format!("/api/friends/status/{a}"), format!("/api/friends/{b}"));
        match step % 3 {
            0 => {
                let send = || a_client.request(Method::POST, "/api/friends/request").json(&request);
                recorder.retry_once_only(OPERATION, 400, send).await
            }
            1 => {
                let send = || b_client.request(Method::PUT, &answer).json(&accept);
                recorder.retry_once_only(OPERATION, 400, send).await
            }
            _ => recorder.retry_once_only(OPERATION, 404, || a_client.request(Method::DELETE, &friend)).await,
        };
        recorder.history().friendships.insert((a, b), step + 1);
    }
}

async fn change_profile(recorder: Recorder, me: Client, id: i64, stop: CancellationToken) {
    for n in 1.. {
        if !continues_after(4 * PAUSE, &stop).await {
            break;
        }
        let new = json!({"display_name": n.to_string()});
        let change = || me.request(Method::PUT, "/api/profile/me").json(&new);
        let reply = recorder.retry(Operation::ChangeProfile, change).await;
        assert_eq!(reply.status, 200, "profile: {}", reply.body);
        recorder.completed(Operation::ChangeProfile);
        let mut history = recorder.history();
        history.profiles.insert(id, n);
        if reply.retried {
            history.repeated_profiles.insert((id, n));
        }
    }
}

/// Registers new users, each of whom opens a room with `host`.
async fn register(recorder: Recorder, host: i64, stop: CancellationToken) {
    while continues_after(8 * PAUSE, &stop).await {
        let username = format!("new_{}", &Uuid::new_v4().simple().to_string()[..12]);
        let email = format!("{username}@example.com");
        let account = json!({"email": email, "username": username, "password": PASSWORD});
        let register = || gateway().request(Method::POST, "/api/auth/register").json(&account);
        recorder.retry_once_only(Operation::Register, 409, register).await;
        let login = json!({"email": email, "password": PASSWORD});
        let log_in = || gateway().request(Method::POST, "/api/auth/login/json").json(&login);
        let token = recorder.retry(Operation::Register, log_in).await.body;
        let me = gateway().with_token(token["access_token"].as_str().expect("a new user can log in"));
        let path = format!("/api/chat-rooms/check/{host}");
        let open = || me.request(Method::GET, &path);
        let room = recorder.retry_once_only(Operation::Register, 200, open).await.body;
        let (id, room) = (token["user_id"].as_i64().unwrap(), room["id"].as_i64().unwrap());
        recorder.history().newcomers.push(Newcomer { id, username, room });
    }
}
