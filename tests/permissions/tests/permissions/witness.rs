//! The witness: a user outside of the model, whose blocks show that an earlier block has reached the services.
//!
//! friend-service publishes the blocks of a pair under the smaller id, in order. The witness has the greatest id, so that a
//! block of the witness follows every earlier block of the same smaller id.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use proptest::prelude::*;
use serde_json::json;
use testkit::{Client, eventually};

use crate::act::Service;
use crate::case::settled;
use crate::model::{Model, Person, User};
use crate::services::Services;

const STATUS: &str = "the status of the witness";

pub struct Witness {
    id: i64,
    token: String,
    /// The direct rooms with all users.
    pub rooms: Vec<i64>,
    people: Vec<i64>,
    blocked: BTreeSet<User>,
}

impl Witness {
    pub async fn new(services: &Services, clients: &[Client; 3], person: Option<&Person>, model: &Model) -> Self {
        let person = person.expect("the last registered user");
        let token = services.space.token(person.id, &person.username);
        let people: Vec<i64> = model.people.iter().map(|person| person.id).collect();
        let chat = clients[Service::Chat as usize].with_token(&token);
        let rooms = people.iter().map(async |id| chat.get(&format!("/chat-rooms/check/{id}")).await.expect(200));
        let rooms = join_all(rooms).await.iter().map(|room| room["id"].as_i64().unwrap()).collect();
        let user = clients[Service::User as usize].with_token(&token);
        user.put("/profile/me", json!({"status_message": STATUS})).await.expect(200);
        Self { id: person.id, token, rooms, people, blocked: BTreeSet::new() }
    }

    /// Waits until the witness cannot bring a user into a group.
    pub async fn is_refused_by(&self, user: User, chat: &Client) {
        let chat = chat.with_token(&self.token);
        let members = [self.people[user], self.people[(user + 1) % self.people.len()]];
        eventually("chat-service knows that a user refuses strangers", || async {
            let answer = chat.post("/chat-rooms", json!({"participant_ids": members})).await;
            if answer.status == 403 {
                return Some(());
            }
            let room = answer.expect(201)["id"].take();
            for member in members {
                chat.delete(&format!("/chat-rooms/{room}/members/{member}")).await.expect(200);
            }
            // Each group counts against the budget of the witness.
            tokio::time::sleep(Duration::from_millis(250)).await;
            None
        })
        .await;
    }

    /// Blocks or unblocks a user, and waits until chat-service and, if `viewer` is their client, user-service know.
    pub async fn follow(
        &mut self,
        user: User,
        clients: &[Client; 3],
        viewer: Option<Client>,
    ) -> Result<(), TestCaseError> {
        let [chat, friend, _] = clients.each_ref().map(|client| client.with_token(&self.token));
        let path = format!("/friends/block/{}", self.people[user]);
        let blocked = self.blocked.insert(user);
        let answer = if blocked {
            friend.post(&path, json!({})).await
        } else {
            self.blocked.remove(&user);
            friend.delete(&path).await
        };
        answer.expect(200);
        // No client may send this type, which is checked after the blocks.
        let (path, message) =
            (format!("/messages/{}", self.rooms[user]), json!({"content": "?", "message_type": "system"}));
        let known = async || chat.post(&path, message.clone()).await.status == if blocked { 403 } else { 400 };
        settled("chat-service knows a block", known).await?;
        let Some(viewer) = viewer else { return Ok(()) };
        let path = format!("/users/{}", self.id);
        let known = async || viewer.get(&path).await.body["status_message"].is_null() == blocked;
        settled("user-service knows a block", known).await
    }
}
