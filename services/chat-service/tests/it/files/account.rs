//! `chat-service files check`: the comparison of the bucket with the database.

use std::collections::{BTreeMap, HashMap};
use std::process::Output;
use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::{Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, TimeDelta, Utc};
use mongodb::Database;
use mongodb::bson::oid::ObjectId;
use mongodb::bson::{Document, doc};
use parking_lot::Mutex;
use testkit::{Space, eventually};
use tokio::process::Command;

use super::store::{Store, URL, key_of_message, sends, uploads};
use crate::app::{TestApp, mongo_database};
use crate::fakes::serve;
use crate::process::BINARY;

/// The sizes and times of the objects of a bucket, by their keys.
type Objects = Arc<Mutex<BTreeMap<String, (u64, DateTime<Utc>)>>>;

/// The key of the object that names the database of a bucket.
const MARK: &str = "deployment";

/// A store that lists two objects in a page, because a page may have fewer than were asked for.
#[derive(Clone, Default)]
struct Bucket {
    objects: Objects,
    mark: Arc<Mutex<Option<Bytes>>>,
    is_in_disorder: bool,
}

impl Bucket {
    async fn serve(&self) -> String {
        serve(Router::new().fallback(answer).with_state(self.clone())).await
    }

    fn put(&self, key: &str, bytes: u64, age: TimeDelta) {
        self.objects.lock().insert(key.to_owned(), (bytes, Utc::now() - age));
    }

    /// Gives the bucket the mark of a database.
    async fn mark_for(&self, mongo: &Database) {
        let mark = ObjectId::new();
        mongo.collection::<Document>("bucket_mark").insert_one(doc! {"_id": 1, "mark": mark}).await.unwrap();
        *self.mark.lock() = Some(mark.to_hex().into());
    }

    fn keys(&self) -> Vec<String> {
        self.objects.lock().keys().cloned().collect()
    }

    fn list(&self, query: &HashMap<String, String>) -> String {
        let (prefix, after) = (&query["prefix"], query.get("continuation-token"));
        let objects = self.objects.lock();
        let listed =
            objects.iter().filter(|(key, _)| key.starts_with(prefix) && after.is_none_or(|after| *key > after));
        let mut page: Vec<_> = listed.take(3).collect();
        let next = (page.len() == 3).then(|| page[1].0);
        page.truncate(2);
        if self.is_in_disorder {
            page.reverse();
        }
        let object = |(key, (bytes, at)): &(&String, &(u64, DateTime<Utc>))| {
            format!(
                "<Contents><Key>{key}</Key><LastModified>{}</LastModified><Size>{bytes}</Size></Contents>",
                at.to_rfc3339()
            )
        };
        let objects: String = page.iter().map(object).collect();
        let next = next.map(|next| format!("<NextContinuationToken>{next}</NextContinuationToken>"));
        let (is_truncated, next) = (next.is_some(), next.unwrap_or_default());
        format!(
            "<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Name>bigtech-chat</Name>\
             <IsTruncated>{is_truncated}</IsTruncated>{objects}{next}</ListBucketResult>"
        )
    }
}

async fn answer(
    State(bucket): State<Bucket>,
    method: Method,
    path: Uri,
    Query(query): Query<HashMap<String, String>>,
    body: Bytes,
) -> Response {
    let key = path.path().trim_start_matches("/bigtech-chat/");
    match method {
        Method::GET if key.is_empty() => bucket.list(&query).into_response(),
        Method::GET if key == MARK => match bucket.mark.lock().clone() {
            Some(mark) => mark.into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        },
        Method::PUT if key == MARK => {
            *bucket.mark.lock() = Some(body);
            StatusCode::OK.into_response()
        }
        Method::HEAD if bucket.objects.lock().contains_key(key) => StatusCode::OK.into_response(),
        Method::DELETE => {
            bucket.objects.lock().remove(key);
            StatusCode::NO_CONTENT.into_response()
        }
        _ => StatusCode::NOT_FOUND.into_response(),
    }
}

/// Executes the command.
async fn checks(environment: &[(&'static str, String)], args: &[&str]) -> Output {
    let mut command = Command::new(BINARY);
    command.args(["files", "check"]).args(args).env_clear().envs(environment.iter().cloned());
    command.output().await.unwrap()
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap()
}

/// The lines of an output, without the findings.
fn counts(output: &Output) -> Vec<&str> {
    text(&output.stdout).lines().filter(|line| line.contains(": ") && !line.starts_with("removed ")).collect()
}

#[tokio::test]
async fn an_account_finds_what_lacks_its_counterpart_and_removes_what_has_had_no_owner_for_a_day() {
    let (space, bucket) = (Space::new(), Bucket::default());
    let mut environment = space.env("mysql://nobody@127.0.0.1:1/none");
    environment.push((URL, bucket.serve().await));
    let mongo = mongo_database(&space).await;
    let (all_uploads, messages) = (mongo.collection::<Document>("uploads"), mongo.collection::<Document>("messages"));
    bucket.mark_for(&mongo).await;
    let (old, young) = (TimeDelta::hours(25), TimeDelta::hours(23));
    // In rising order, so that every kind is at the end of a page and in the middle of one.
    let [sent, without_object, deleted, kept, copy, orphan, young_orphan, stored, not_stored, gone] =
        [(); 10].map(|()| ObjectId::new());
    let documents = [
        doc! {"_id": ObjectId::new(), "state": "sent", "message": sent},
        doc! {"_id": ObjectId::new(), "state": "sent", "message": without_object},
        doc! {"_id": ObjectId::new(), "state": "discarded", "message": deleted},
        doc! {"_id": stored, "state": "pending", "copies": [copy], "due": mongodb::bson::DateTime::now()},
        doc! {"_id": not_stored, "state": "pending"},
    ];
    all_uploads.insert_many(documents).await.unwrap();
    let of_messages = [
        doc! {"_id": kept, "upload_id": ObjectId::new(), "is_deleted": false},
        doc! {"_id": orphan, "upload_id": ObjectId::new(), "is_deleted": true},
        doc! {"_id": young_orphan, "is_deleted": false},
    ];
    messages.insert_many(of_messages).await.unwrap();
    for (message, bytes) in [(sent, 1), (deleted, 10), (kept, 100), (copy, 1_000), (orphan, 10_000)] {
        bucket.put(&format!("files/{message}"), bytes, old);
    }
    for side in [320, 1_280] {
        bucket.put(&format!("files/{sent}.{side}"), 2, old);
        bucket.put(&format!("files/{orphan}.{side}"), 20_000, old);
    }
    bucket.put(&format!("files/{young_orphan}"), 7, young);
    bucket.put("files/notes.txt", 5, old);
    bucket.put(&format!("uploads/{stored}"), 3, young);
    bucket.put(&format!("uploads/{gone}"), 30, old);
    bucket.put("elsewhere", 1, old);

    let output = checks(&environment, &[]).await;

    assert_eq!(
        counts(&output),
        [
            "objects of messages: 6 (1115 bytes)",
            "objects of uploads: 1 (3 bytes)",
            "objects without an owner: 5 (50037 bytes)",
            "objects without an owner, removed: 0 (0 bytes)",
            "objects with other keys: 1 (5 bytes)",
            "pending uploads without an object: 1",
            "messages without their object: 1",
        ]
    );
    assert!(text(&output.stdout).contains(&format!("message {without_object} has no object\n")), "{output:?}");
    assert!(text(&output.stdout).contains(&format!("uploads/{gone} has no owner\n")), "{output:?}");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(text(&output.stderr), "chat-service: 1 messages lack their object\n");

    let removed: Vec<String> = ["", ".320", ".1280"]
        .iter()
        .map(|end| format!("files/{orphan}{end}"))
        .chain([format!("uploads/{gone}")])
        .collect();
    let left: Vec<String> = bucket.keys().into_iter().filter(|key| !removed.contains(key)).collect();
    all_uploads.delete_one(doc! {"message": without_object}).await.unwrap();

    let output = checks(&environment, &["--remove"]).await;

    assert_eq!(bucket.keys(), left);
    assert_eq!(
        counts(&output)[2..4],
        ["objects without an owner: 1 (7 bytes)", "objects without an owner, removed: 4 (50030 bytes)",]
    );
    assert_eq!((output.status.code(), text(&output.stderr)), (Some(0), ""));
}

#[tokio::test]
async fn nothing_is_removed_from_the_bucket_of_another_database_or_a_store_without_order() {
    let (space, bucket) = (Space::new(), Bucket { is_in_disorder: true, ..Bucket::default() });
    let mut environment = space.env("mysql://nobody@127.0.0.1:1/none");
    environment.push((URL, bucket.serve().await));
    let ids = [(); 2].map(|()| format!("files/{}", ObjectId::new()));
    ids.iter().for_each(|key| bucket.put(key, 1, TimeDelta::days(2)));

    let refused = async |args: &[&str]| {
        let output = checks(&environment, args).await;
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        text(&output.stderr).to_owned()
    };
    assert!(refused(&["--remove"]).await.contains("the bucket has not the mark of this database"));
    *bucket.mark.lock() = Some(ObjectId::new().to_hex().into());
    assert!(refused(&["--remove"]).await.contains("the bucket has not the mark of this database"));
    let mongo = mongo_database(&space).await;
    mongo.collection::<Document>("bucket_mark").delete_many(doc! {}).await.unwrap();
    bucket.mark_for(&mongo).await;
    assert!(refused(&["--remove"]).await.contains("does not list keys in their order"));
    assert!(refused(&["--delete"]).await.starts_with("chat-service: files check compares"));
    assert_eq!(bucket.keys(), ids);
}

#[tokio::test]
async fn a_service_marks_a_bucket_that_has_no_mark() {
    let bucket = Bucket::default();
    let url = bucket.serve().await;
    let marked_by = async || {
        let app = TestApp::start_with(&[(URL, url.clone())]).await;
        let marks = mongo_database(&app.space).await.collection::<Document>("bucket_mark");
        eventually("the service has looked at the mark", || async {
            Some(marks.find_one(doc! {}).await.unwrap()?.get_object_id("mark").unwrap().to_hex())
        })
        .await
    };

    let first = marked_by().await;
    let mark = || async { bucket.mark.lock().clone() };
    assert_eq!(eventually("the bucket is marked", mark).await, first);
    assert_ne!(marked_by().await, first, "another database has another mark");
    assert_eq!(mark().await.unwrap(), first, "the first one stays");
}

#[tokio::test]
async fn an_account_of_a_running_service_tells_of_a_lost_object() {
    let app = TestApp::start().await;
    let (ann, _, room) = app.direct_room().await;
    let store = Store::new();
    let [kept, lost] = [b"kept", b"lost"];
    let kept = sends(&ann, room, &uploads(&ann, room, &store, kept).await, None).await.expect(201);
    let lost = sends(&ann, room, &uploads(&ann, room, &store, lost).await, None).await.expect(201);
    let environment = app.environment();
    let output = checks(&environment, &[]).await;
    assert!(output.status.success(), "{output:?}");
    // Other tests use the bucket, too.
    assert!(counts(&output).contains(&"objects of messages: 2 (8 bytes)"), "{output:?}");

    store.all.delete(&key_of_message(&lost)).await.unwrap();

    let output = checks(&environment, &[]).await;
    assert_eq!(output.status.code(), Some(1));
    let finding = |message: &serde_json::Value| format!("message {} has no object\n", message["id"].as_str().unwrap());
    assert!(text(&output.stdout).contains(&finding(&lost)) && !text(&output.stdout).contains(&finding(&kept)));
}
