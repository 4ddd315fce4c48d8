//! A file that one friend sends and the other one downloads.

use std::collections::BTreeMap;

use reqwest::header::LOCATION;
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::json;

use crate::api::fetch;
use crate::http::{Failure, exchange, refused};
use crate::load::Recorder;
use crate::story::step;
use crate::target::Service;
use crate::world::{Pair, World};

/// The row of whole files.
pub const FILE: &str = "file";

/// The size of a file. Larger ones measure the object store.
const BYTES: usize = 16 << 10;

#[derive(Deserialize)]
struct Upload {
    upload_id: String,
    url: String,
    headers: BTreeMap<String, String>,
}

/// Sends a file and downloads it. Each request is recorded in a row of its own; those of storing and loading go to the object store.
///
/// # Errors
/// Fails with the first request that fails.
pub async fn pass_on(world: &World, index: u64, recorder: &Recorder) -> Result<(), Failure> {
    let pair = world.pair(index);
    let upload = step(recorder, "file: upload", request(world, pair)).await?;
    let mut store = world.api.foreign(Method::PUT, &parse(&upload.url)?)?.body(vec![b'x'; BYTES]);
    for (name, value) in upload.headers {
        store = store.header(name, value);
    }
    step(recorder, "file: store", exchange(store)).await?;
    let path = step(recorder, "file: send", send(world, pair, upload.upload_id)).await?;
    let location = step(recorder, "file: redirect", locate(world, pair, &path)).await?;
    let file = step(recorder, "file: load", exchange(world.api.foreign(Method::GET, &location)?)).await?;
    if file.len() == BYTES { Ok(()) } else { Err(Failure::Content("whole file")) }
}

async fn request(world: &World, Pair { ann, room, .. }: &Pair) -> Result<Upload, Failure> {
    let file = json!({"file_name": "file.bin", "file_size": BYTES, "file_type": "application/octet-stream"});
    fetch(world.api.post(Service::Chat, &format!("/messages/{room}/uploads"), ann, &file), "url").await
}

/// Returns the path of the file below the base of the API.
async fn send(world: &World, Pair { ann, room, .. }: &Pair, upload_id: String) -> Result<String, Failure> {
    #[derive(Deserialize)]
    struct Sent {
        id: String,
    }
    let message = json!({"message_type": "file", "upload_id": upload_id});
    let request = world.api.post(Service::Chat, &format!("/messages/{room}"), ann, &message);
    let Sent { id } = fetch(request, "id").await?;
    Ok(format!("/messages/{id}/file"))
}

async fn locate(world: &World, Pair { bob, .. }: &Pair, path: &str) -> Result<Url, Failure> {
    let answer = world.api.get(Service::Chat, path, bob).send().await?;
    if !answer.status().is_redirection() {
        return Err(refused(answer).await);
    }
    parse(answer.headers().get(LOCATION).and_then(|url| url.to_str().ok()).unwrap_or_default())
}

fn parse(url: &str) -> Result<Url, Failure> {
    url.parse().map_err(|_| Failure::Content("valid address"))
}
