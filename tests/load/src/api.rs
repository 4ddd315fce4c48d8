//! The public API, as far as the benchmark calls it.

use std::sync::atomic::{AtomicU32, Ordering};

use parking_lot::RwLock;
use reqwest::header::{AUTHORIZATION, HeaderValue};
use reqwest::{Client, Method, RequestBuilder, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::http::{Failure, bearer, exchange};
use crate::load::client;
use crate::target::{Service, Target, is_local};

/// A password that the rules of the original (8 to 16 characters) and those of this system allow.
const PASSWORD: &str = "Test1234!@";

/// Characters of the random part of a username.
const RANDOM_CHARS: usize = 12;

pub struct Api {
    http: Client,
    target: Target,
    /// Accounts that the run may still register.
    accounts: AtomicU32,
}

/// An account of the benchmark.
pub struct Person {
    pub id: i64,
    pub username: String,
    pub email: String,
    /// Of the last login.
    token: RwLock<HeaderValue>,
}

impl Person {
    fn token(&self) -> HeaderValue {
        self.token.read().clone()
    }
}

#[derive(Deserialize)]
struct WithId {
    id: i64,
}

#[derive(Deserialize)]
struct Tokens {
    access_token: String,
}

impl Api {
    pub fn new(http: Client, target: Target, accounts: u32) -> Self {
        Self { http, target, accounts: AtomicU32::new(accounts) }
    }

    /// A request to the replica of this task's client.
    pub fn anonymous(&self, method: Method, service: Service, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.target.base(service, client())))
    }

    /// A request to an address that the system has given, such as one of the object store.
    ///
    /// # Errors
    /// Refuses an address of another machine if the system is on this one.
    pub fn foreign(&self, method: Method, url: &Url) -> Result<RequestBuilder, Failure> {
        if self.target.is_local() && !is_local(url) {
            return Err(Failure::Content("address of this machine"));
        }
        Ok(self.http.request(method, url.clone()))
    }

    pub fn get(&self, service: Service, path: &str, person: &Person) -> RequestBuilder {
        self.anonymous(Method::GET, service, path).header(AUTHORIZATION, person.token())
    }

    pub fn post(&self, service: Service, path: &str, person: &Person, body: &Value) -> RequestBuilder {
        self.anonymous(Method::POST, service, path).header(AUTHORIZATION, person.token()).json(body)
    }

    pub fn put(&self, service: Service, path: &str, person: &Person, body: &Value) -> RequestBuilder {
        self.anonymous(Method::PUT, service, path).header(AUTHORIZATION, person.token()).json(body)
    }

    /// Registers an account under a unique username that begins with `name`. It has no token yet.
    ///
    /// # Errors
    /// Fails if the system refuses it, or if the run has registered all accounts that it may.
    pub async fn register(&self, name: &str) -> Result<Person, Failure> {
        let take_one = |left: u32| left.checked_sub(1);
        self.accounts.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take_one).map_err(|_| Failure::Accounts)?;
        let username = format!("{name}_{}", &Uuid::new_v4().simple().to_string()[..RANDOM_CHARS]);
        let email = format!("{username}@example.com");
        let account =
            json!({"email": email, "username": username, "password": PASSWORD, "display_name": "테스트 유저"});
        let request = self.anonymous(Method::POST, Service::User, "/auth/register").json(&account);
        let WithId { id } = fetch(request, "id").await?;
        Ok(Person { id, username, email, token: RwLock::new(HeaderValue::from_static("")) })
    }

    pub fn login_request(&self, person: &Person) -> RequestBuilder {
        let login = json!({"email": person.email, "password": PASSWORD});
        self.anonymous(Method::POST, Service::User, "/auth/login/json").json(&login)
    }

    /// Logs in and keeps the token.
    pub async fn log_in(&self, person: &Person) -> Result<(), Failure> {
        let Tokens { access_token } = fetch(self.login_request(person), "access_token").await?;
        *person.token.write() = bearer(&access_token)?;
        Ok(())
    }

    pub async fn sign_up(&self, name: &str) -> Result<Person, Failure> {
        let person = self.register(name).await?;
        self.log_in(&person).await?;
        Ok(person)
    }

    pub fn search_request(&self, person: &Person, query: &str) -> RequestBuilder {
        self.get(Service::User, &format!("/users/search?query={query}"), person)
    }

    pub async fn request_friendship(&self, from: &Person, to: &Person) -> Result<(), Failure> {
        let body = json!({"user_id_2": to.id, "message": "안녕하세요"});
        exchange(self.post(Service::Friend, "/friends/request", from, &body)).await.map(drop)
    }

    pub async fn accept_friendship(&self, person: &Person, from: &Person) -> Result<(), Failure> {
        let body = json!({"action": "accept"});
        exchange(self.put(Service::Friend, &format!("/friends/status/{}", from.id), person, &body)).await.map(drop)
    }

    /// The id of the direct room of two people, which is created if it does not exist.
    pub async fn room(&self, person: &Person, other: &Person) -> Result<i64, Failure> {
        let request = self.get(Service::Chat, &format!("/chat-rooms/check/{}", other.id), person);
        Ok(fetch::<WithId>(request, "id").await?.id)
    }

    /// Creates a group and returns its id.
    pub async fn group(&self, creator: &Person, others: &[&Person]) -> Result<i64, Failure> {
        let others: Vec<_> = others.iter().map(|person| person.id).collect();
        let group = json!({"name": "bench", "participant_ids": others});
        Ok(fetch::<WithId>(self.post(Service::Chat, "/chat-rooms", creator, &group), "id").await?.id)
    }

    pub fn send_request(&self, person: &Person, room: i64, content: &str) -> RequestBuilder {
        self.post(Service::Chat, &format!("/messages/{room}"), person, &json!({"content": content}))
    }

    pub fn list_request(&self, person: &Person, room: i64, limit: u32) -> RequestBuilder {
        self.get(Service::Chat, &format!("/messages/{room}?limit={limit}"), person)
    }
}

/// The JSON body of an answer, of which `needed` is a field.
pub async fn fetch<T: DeserializeOwned>(request: RequestBuilder, needed: &'static str) -> Result<T, Failure> {
    serde_json::from_slice(&exchange(request).await?).map_err(|_| Failure::Content(needed))
}
