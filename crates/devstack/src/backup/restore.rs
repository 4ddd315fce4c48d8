//! `cargo stack restore`.

use std::collections::BTreeMap;
use std::fs::{self, File};

use anyhow::{Context, Result, bail};
use flate2::read::GzDecoder;
use futures_util::future::try_join_all;
use tokio::process::Command;
use tokio::time::Instant;

use super::manifest::Manifest;
use super::seal::{Passphrase, unseal};
use super::{MONGODB_FILE, MYSQL_FILE, Stores, mongodb, mysql, variable};
use crate::control::{self, Request};
use crate::install::last_line;
use crate::options::RestoreOptions;
use crate::service::Service;
use crate::stack_dir::StackDir;
use crate::state::StateFile;
use crate::terminal::{print, print_about, print_step};

/// The dumps, open and compared with the manifest.
struct Dumps {
    mysql: File,
    mongodb: File,
}

/// Replaces the data of the running stack by a backup.
pub async fn restore(dir: StackDir, options: RestoreOptions) -> Result<()> {
    let dir = if options.test_stack { dir.for_tests() } else { dir };
    let passphrase = options.passphrase_file.as_deref().map(Passphrase::of_file).transpose()?;
    let passphrase = passphrase.as_ref();
    let manifest = Manifest::read(&options.backup, passphrase)?;
    let dumps = Dumps {
        mysql: manifest.mysql.open(&options.backup, MYSQL_FILE, passphrase)?,
        mongodb: manifest.mongodb.open(&options.backup, MONGODB_FILE, passphrase)?,
    };
    let env = StateFile::read_ready(&dir)?.env;
    let services = services(&dir).await?;
    let stores = Stores::of(&env).await?;
    print(&format!("The backup is complete and unchanged. It has the data of {}.", manifest.at));
    if !options.yes {
        bail!("the restore replaces all data of the running stack: repeat the command with --yes");
    }

    fs::write(dir.restoring(), "")?;
    let replaced = replace(&dir, &stores, &env, dumps, passphrase, &services).await;
    replaced.context("the stores are incomplete and the services stopped; remove the cause and repeat the restore")?;
    fs::remove_file(dir.restoring())?;
    start(&dir, &services).await?;
    print("The data is restored. Every stream that resumes is told `resync`.");
    Ok(())
}

/// The names of the replicas.
async fn services(dir: &StackDir) -> Result<Vec<String>> {
    let processes = control::processes(dir).await.into_iter().map(|process| process.name);
    let replicas: Vec<_> = processes
        .filter(|name| Service::ALL.iter().any(|service| name.starts_with(&format!("{}-", service.name()))))
        .collect();
    if replicas.is_empty() {
        bail!("the stack has no services (--only engines), and one of them completes a restore");
    }
    Ok(replicas)
}

async fn replace(
    dir: &StackDir,
    stores: &Stores,
    env: &BTreeMap<String, String>,
    dumps: Dumps,
    passphrase: Option<&Passphrase>,
    services: &[String],
) -> Result<()> {
    let stopping = services.iter().map(|name| control::request(dir, Request::Stop { name: name.clone() }));
    try_join_all(stopping).await?;
    print_about("services", "stopped");
    let started = Instant::now();
    mysql::load(&stores.mysql, GzDecoder::new(unseal(dumps.mysql, passphrase)?)).await?;
    mysql::skip_lost_ids(&stores.mysql).await?;
    print_step("mysql", "restored", started);
    let started = Instant::now();
    let documents = mongodb::load(&stores.mongodb, GzDecoder::new(unseal(dumps.mongodb, passphrase)?)).await?;
    print_step("mongodb", &format!("restored {documents} documents"), started);
    // Presence, caches and tickets are of the time after the backup. Ended sessions are written again from MySQL.
    let mut redis = redis::Client::open(variable(env, "REDIS_URL")?)?.get_multiplexed_async_connection().await?;
    redis::cmd("FLUSHALL").query_async::<()>(&mut redis).await?;
    let epoch = begin_epoch(dir, env).await?;
    print_about("chat-service", &format!("begins the epoch {epoch}"));
    Ok(())
}

/// Runs `chat-service epoch --new`.
async fn begin_epoch(dir: &StackDir, env: &BTreeMap<String, String>) -> Result<String> {
    let output = Command::new(dir.programs().join(Service::Chat.name()))
        .args(["epoch", "--new"])
        .envs(env)
        .env("MYSQL_URL", variable(env, "CHAT_MYSQL_URL")?)
        .kill_on_drop(true)
        .output()
        .await?;
    if !output.status.success() {
        bail!("chat-service epoch --new failed: {}", last_line(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

async fn start(dir: &StackDir, services: &[String]) -> Result<()> {
    let started = Instant::now();
    let starting = services.iter().map(|name| control::request(dir, Request::Start { name: name.clone() }));
    try_join_all(starting).await?;
    print_step("services", "started", started);
    Ok(())
}
