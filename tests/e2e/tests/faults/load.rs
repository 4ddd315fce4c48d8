//! The load: people who chat, befriend each other, change their profiles and sign up, until they are told to stop.

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

use crate::ledger::{Book, Kind, Newcomer, Sent};

/// Between two acts of one person: some 50 messages a second altogether, for two cores and a debug build.
const PAUSE: Duration = Duration::from_millis(60);

const ROOMS: usize = 4;

/// Every so many messages one is edited, and one deleted.
const EDIT_EVERY: usize = 7;
const DELETE_EVERY: usize = 11;

/// Two people and their room.
pub struct Room {
    pub id: i64,
    pub people: [Person; 2],
}

/// People at work.
pub struct Load {
    pub rooms: Arc<Vec<Room>>,
    pub book: Book,
    stop: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
}

impl Load {
    pub async fn start() -> Self {
        let rooms = Arc::new(join_all((0..ROOMS).map(|_| open_room())).await);
        let mut load = Self { rooms, book: Book::default(), stop: CancellationToken::new(), tasks: Vec::new() };
        for room in load.rooms.clone().iter() {
            for person in &room.people {
                load.spawn(write(load.book.clone(), person.client.clone(), room.id, load.stop.clone()));
                load.spawn(change_profile(load.book.clone(), person.client.clone(), person.id, load.stop.clone()));
            }
            let [(a, one), (b, other)] = room.people.each_ref().map(|person| (person.id, person.client.clone()));
            load.spawn(look(load.book.clone(), room.people[0].client.clone(), room.id, load.stop.clone()));
            load.spawn(befriend_and_part(load.book.clone(), (a, one), (b, other), load.stop.clone()));
        }
        load.spawn(arrive(load.book.clone(), load.rooms[0].people[0].id, load.stop.clone()));
        load
    }

    fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.push(tokio::spawn(task));
    }

    /// Ends it when what everyone has begun is done, and fails where someone failed.
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

/// Whether to go on, after a pause.
async fn goes_on(stop: &CancellationToken, pause: Duration) -> bool {
    tokio::time::timeout(pause, stop.cancelled()).await.is_err()
}

async fn write(book: Book, me: Client, room: i64, stop: CancellationToken) {
    let mut own: Vec<String> = Vec::new();
    while goes_on(&stop, PAUSE).await {
        let n = own.len();
        own.push(send(&book, &me, room, n).await);
        if n % EDIT_EVERY == EDIT_EVERY - 1 {
            edit(&book, &me, &own[n - 2], n).await;
        }
        if n % DELETE_EVERY == DELETE_EVERY - 1 {
            delete(&book, &me, &own[n - 4]).await;
        }
    }
}

async fn send(book: &Book, me: &Client, room: i64, n: usize) -> String {
    let content = format!("{n} 안녕하세요");
    let message = json!({"content": content, "client_message_id": Uuid::new_v4()});
    let path = format!("/api/messages/{room}");
    let reply = book.insist(Kind::Message, || me.request(Method::POST, &path).json(&message)).await;
    let is_new = reply.status == 201 || (reply.again && reply.status == 200);
    assert!(is_new, "send: {} {}", reply.status, reply.body);
    let id = reply.body["id"].as_str().unwrap().to_owned();
    let sent = Sent { room, content, deleted: false, at: Instant::now() };
    assert!(book.open().messages.insert(id.clone(), sent).is_none(), "{id} was given twice");
    book.note(Kind::Message);
    id
}

/// What was acknowledged is there for whoever asks then, at whichever replica.
async fn look(book: Book, me: Client, room: i64, stop: CancellationToken) {
    while goes_on(&stop, 4 * PAUSE).await {
        let newest = book.open().newest_of(room);
        let path = format!("/api/messages/{room}?limit=100");
        let page = book.insist(Kind::Reading, || me.request(Method::GET, &path)).await;
        let listed = page.body["messages"].as_array().unwrap_or_else(|| panic!("list: {} {}", page.status, page.body));
        if let Some(id) = newest.filter(|id| !book.open().messages[id].deleted) {
            assert!(listed.iter().any(|message| message["id"] == *id), "{id} was acknowledged and is not listed");
        }
        book.note(Kind::Reading);
    }
}

/// May be made twice, and then takes two positions.
async fn edit(book: &Book, me: &Client, id: &str, n: usize) {
    if book.open().messages[id].deleted {
        return;
    }
    let content = format!("{n} edited");
    let (path, new) = (format!("/api/messages/{id}"), json!({"content": content}));
    let reply = book.insist(Kind::Message, || me.request(Method::PUT, &path).json(&new)).await;
    assert_eq!(reply.status, 200, "edit: {}", reply.body);
    book.open().messages.get_mut(id).unwrap().content = content;
}

async fn delete(book: &Book, me: &Client, id: &str) {
    let path = format!("/api/messages/{id}");
    book.insist_once(Kind::Message, 400, || me.request(Method::DELETE, &path)).await;
    book.open().messages.get_mut(id).unwrap().deleted = true;
}

async fn befriend_and_part(book: Book, (a, one): (i64, Client), (b, other): (i64, Client), stop: CancellationToken) {
    for step in 0.. {
        if !goes_on(&stop, PAUSE).await {
            break;
        }
        let (ask, accept) = (json!({"user_id_2": b}), json!({"action": "accept"}));
        let (answer, part) = (format!("/api/friends/status/{a}"), format!("/api/friends/{b}"));
        match step % 3 {
            0 => {
                let request = || one.request(Method::POST, "/api/friends/request").json(&ask);
                book.insist_once(Kind::Friendship, 400, request).await
            }
            1 => {
                let request = || other.request(Method::PUT, &answer).json(&accept);
                book.insist_once(Kind::Friendship, 400, request).await
            }
            _ => book.insist_once(Kind::Friendship, 404, || one.request(Method::DELETE, &part)).await,
        };
        book.open().friendships.insert((a, b), step + 1);
    }
}

async fn change_profile(book: Book, me: Client, id: i64, stop: CancellationToken) {
    for n in 1.. {
        if !goes_on(&stop, 4 * PAUSE).await {
            break;
        }
        let new = json!({"display_name": n.to_string()});
        let reply = book.insist(Kind::Profile, || me.request(Method::PUT, "/api/profile/me").json(&new)).await;
        assert_eq!(reply.status, 200, "profile: {}", reply.body);
        book.note(Kind::Profile);
        book.open().profiles.insert(id, n);
    }
}

/// Signs up again and again as someone new, who opens a room with `host`.
async fn arrive(book: Book, host: i64, stop: CancellationToken) {
    while goes_on(&stop, 8 * PAUSE).await {
        let username = format!("new_{}", &Uuid::new_v4().simple().to_string()[..12]);
        let email = format!("{username}@example.com");
        let account = json!({"email": email, "username": username, "password": PASSWORD});
        let register = || gateway().request(Method::POST, "/api/auth/register").json(&account);
        book.insist_once(Kind::Newcomer, 409, register).await;
        let login = json!({"email": email, "password": PASSWORD});
        let token =
            book.insist(Kind::Newcomer, || gateway().request(Method::POST, "/api/auth/login/json").json(&login));
        let token = token.await.body;
        let me = gateway().with_token(token["access_token"].as_str().expect("they may log in"));
        let path = format!("/api/chat-rooms/check/{host}");
        let room = book.insist_once(Kind::Newcomer, 200, || me.request(Method::GET, &path)).await.body;
        let (id, room) = (token["user_id"].as_i64().unwrap(), room["id"].as_i64().unwrap());
        book.open().newcomers.push(Newcomer { id, username, room });
    }
}
