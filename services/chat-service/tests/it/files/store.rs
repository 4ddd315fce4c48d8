//! The object store as a client and as an operator reach it, and the requests that most tests send.

use std::time::Duration;

use common::config::Env;
use engines::object_store::{Object, ObjectStore, ObjectStoreConfig};
use futures_util::future::join_all;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use mongodb::{Collection, bson};
use platform::http::CallTls;
use platform::telemetry::Metrics;
use reqwest::redirect::Policy;
use reqwest::{Client, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use testkit::{Answer, eventually};

use crate::app::{TestApp, mongo_database};
use crate::person::Person;

/// The variable with the address of the store.
pub const URL: &str = "FILE_STORE_URL";

pub struct Store {
    http: Client,
    /// The store as an operator reaches it, with its account.
    pub all: ObjectStore,
}

impl Store {
    pub fn new() -> Self {
        let http = CallTls::public().unwrap().client().redirect(Policy::none()).build().unwrap();
        let config = ObjectStoreConfig::read(&Env::of(std::env::vars())).unwrap();
        let config = config.expect("FILE_STORE_URL is not set: run the tests with `cargo stack test`");
        Self { http, all: ObjectStore::new(config, &Metrics::new("tests", "").unwrap()).unwrap() }
    }

    /// Stores bytes with the request of an upload. The error is the status of the store.
    pub async fn put(&self, upload: &Value, bytes: Vec<u8>) -> Result<(), u16> {
        let mut request = self.http.put(upload["url"].as_str().unwrap()).body(bytes);
        for (name, value) in upload["headers"].as_object().unwrap() {
            request = request.header(name, value.as_str().unwrap());
        }
        let status = request.send().await.unwrap().status();
        if status.is_success() { Ok(()) } else { Err(status.as_u16()) }
    }

    /// Stores the parts of an upload. Returns their tags.
    pub async fn put_parts(&self, upload: &Value, bytes: &[u8]) -> Vec<String> {
        let size = upload["parts"]["size"].as_u64().unwrap() as usize;
        let urls = upload["parts"]["urls"].as_array().unwrap();
        assert_eq!(urls.len(), bytes.len().div_ceil(size));
        let parts = urls.iter().zip(bytes.chunks(size));
        let parts = parts.map(async |(url, part)| self.put_part(url.as_str().unwrap(), part.to_vec()).await.unwrap());
        join_all(parts).await
    }

    /// Stores a part and returns its tag. The error is the status of the store.
    pub async fn put_part(&self, url: &str, bytes: impl Into<reqwest::Body>) -> Result<String, u16> {
        let answer = self.http.put(url).body(bytes).send().await.unwrap();
        let tag = answer.headers().get("etag").map(|tag| tag.to_str().unwrap().to_owned());
        if answer.status().is_success() { Ok(tag.unwrap()) } else { Err(answer.status().as_u16()) }
    }

    /// Replaces an object, as a client can while the request of its upload is valid.
    pub async fn replace(&self, key: &str, content_type: &str, bytes: Vec<u8>) {
        let object =
            Object { bytes: bytes.len() as u64, content_type: Some(content_type.into()), sha256: None, encoding: None };
        let presigned = self.all.presign_upload(key, &object, Duration::from_secs(60));
        let request = self.http.put(presigned.url).header("content-type", content_type).body(bytes);
        request.send().await.unwrap().error_for_status().unwrap();
    }

    /// The answer of the store to a download, after the redirect of the service.
    pub async fn follow(&self, person: &Person, message: &Value) -> Response {
        let path = message["file_url"].as_str().unwrap();
        let answer =
            self.http.execute(person.client.request(reqwest::Method::GET, path).build().unwrap()).await.unwrap();
        assert_eq!(answer.status(), 302, "{path}");
        for (name, value) in [("cache-control", "no-store"), ("x-content-type-options", "nosniff")] {
            assert_eq!(answer.headers()[name], value);
        }
        let location = answer.headers()["location"].to_str().unwrap();
        self.http.get(location).send().await.unwrap().error_for_status().unwrap()
    }

    pub async fn exists(&self, key: &str) -> bool {
        self.all.head(key).await.unwrap().is_some()
    }

    /// Waits until an object is removed.
    pub async fn gone(&self, key: &str) {
        // The store of the local stack may answer 500 while it removes an object.
        eventually("the object is removed", || async { matches!(self.all.head(key).await, Ok(None)).then_some(()) })
            .await;
    }
}

/// Bytes of a file, without a pattern of a power of two.
pub fn file(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 251) as u8).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Asks for an upload of a text file with these bytes.
pub async fn requests(person: &Person, room: i64, bytes: &[u8]) -> Value {
    let wanted = json!({"file_name": "a.txt", "file_size": bytes.len(), "file_type": "text/plain"});
    person.client.post(&format!("/messages/{room}/uploads"), wanted).await.expect(201)
}

/// Asks for an upload and stores its object.
pub async fn uploads(person: &Person, room: i64, store: &Store, bytes: &[u8]) -> Value {
    let upload = requests(person, room, bytes).await;
    store.put(&upload, bytes.to_vec()).await.unwrap();
    upload
}

/// Sends an upload as a file.
pub async fn sends(person: &Person, room: i64, upload: &Value, client_message_id: Option<&str>) -> Answer {
    let body = json!({
        "message_type": "file", "upload_id": upload["upload_id"], "client_message_id": client_message_id
    });
    person.client.post(&format!("/messages/{room}"), body).await
}

pub fn key_of_upload(upload: &Value) -> String {
    format!("uploads/{}", upload["upload_id"].as_str().unwrap())
}

pub fn key_of_message(message: &Value) -> String {
    format!("files/{}", message["id"].as_str().unwrap())
}

pub async fn collection(app: &TestApp) -> Collection<Document> {
    mongo_database(&app.space).await.collection("uploads")
}

/// An upload as MongoDB has it; none if it is deleted.
pub async fn stored(app: &TestApp, upload: &Value) -> Option<Document> {
    collection(app).await.find_one(by_id(upload)).await.unwrap()
}

/// Makes an upload a day older, and due for the sweep.
pub async fn age(app: &TestApp, upload: &Value) {
    let aged = doc! {"$subtract": ["$created_at", 25 * 3_600_000_i64]};
    let aged = vec![doc! {"$set": {"created_at": aged, "due": bson::DateTime::from_millis(1)}}];
    collection(app).await.update_one(by_id(upload), aged).await.unwrap();
}

/// The bytes that count for a user.
pub async fn counted(app: &TestApp, user: i64) -> i64 {
    let quotas = mongo_database(&app.space).await.collection::<Document>("upload_quotas");
    quotas.find_one(doc! {"_id": user}).await.unwrap().map_or(0, |quota| quota.get_i64("bytes").unwrap())
}

/// Waits until all bytes of a user are given back, as soon as the requests of the uploads that are discarded have ended.
pub async fn given_back(app: &TestApp, user: i64) {
    let hour_ago = doc! {"$subtract": ["$$NOW", 3_600_000_i64]};
    let ended = vec![doc! {"$set": {"created_at": hour_ago, "due": bson::DateTime::from_millis(1)}}];
    eventually("the bytes count no longer", || async {
        collection(app).await.update_many(doc! {"state": "discarded"}, ended.clone()).await.unwrap();
        (counted(app, user).await == 0).then_some(())
    })
    .await;
}

/// Lets a replica take up the check of an upload now.
pub async fn check_now(app: &TestApp, upload: &Value) {
    let now = doc! {"$set": {"check_at": bson::DateTime::from_millis(1)}};
    collection(app).await.update_one(by_id(upload), now).await.unwrap();
}

pub fn by_id(upload: &Value) -> Document {
    doc! {"_id": ObjectId::parse_str(upload["upload_id"].as_str().unwrap()).unwrap()}
}
