//! The dump of MySQL's schemas, written and read by the clients of the server's own package.

use std::io::{ErrorKind, Read, Write};
use std::process::{Output, Stdio};

use anyhow::{Context, Result, anyhow, bail};
use reqwest::Url;
use sqlx::{AssertSqlSafe, Connection, MySqlConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

use crate::install::{Dependency, last_line};
use crate::service::Service;

const DUMP: Dependency = Dependency { names: &["mariadb-dump", "mysqldump"], package: "mariadb-client" };
const CLIENT: Dependency = Dependency { names: &["mariadb", "mysql"], package: "mariadb-client" };

/// All schemas at one moment. A change of a table's columns meanwhile makes the dump fail.
const OPTIONS: [&str; 8] = [
    "--single-transaction",
    "--quick",
    "--skip-lock-tables",
    "--routines",
    "--triggers",
    "--hex-blob",
    "--add-drop-database",
    "--databases",
];

/// More rows than any table gets between two backups.
const LOST_IDS: u64 = 1_000_000;

const CHUNK: usize = 64 * 1024;

pub async fn version(admin: &str) -> Result<String> {
    let mut connection = MySqlConnection::connect(admin).await?;
    Ok(sqlx::query_scalar("SELECT VERSION()").fetch_one(&mut connection).await?)
}

/// Writes the statements that create the schemas and fill them.
pub async fn dump(admin: &str, to: &mut impl Write) -> Result<()> {
    let mut dump = command(&DUMP, admin)?;
    dump.args(OPTIONS).args(Service::ALL.map(Service::schema)).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut dump = dump.spawn().context("cannot start the dump of MySQL")?;
    let mut output = dump.stdout.take().context("the dump has no output")?;
    let mut chunk = vec![0; CHUNK];
    loop {
        match output.read(&mut chunk).await? {
            0 => break,
            length => to.write_all(&chunk[..length])?,
        }
    }
    succeeded("the dump of MySQL", &dump.wait_with_output().await?)
}

/// Executes the statements of a dump, which replace the schemas.
pub async fn load(admin: &str, mut from: impl Read) -> Result<()> {
    let mut client = command(&CLIENT, admin)?;
    let mut client = client.arg("--binary-mode").stdin(Stdio::piped()).stdout(Stdio::null()).spawn()?;
    let mut input = client.stdin.take().context("the client has no input")?;
    let mut chunk = vec![0; CHUNK];
    loop {
        let length = from.read(&mut chunk)?;
        if length == 0 {
            break;
        }
        match input.write_all(&chunk[..length]).await {
            // The client has ended, and tells why.
            Err(error) if error.kind() == ErrorKind::BrokenPipe => break,
            written => written?,
        }
    }
    drop(input);
    succeeded("the client of MySQL", &client.wait_with_output().await?)
}

/// Leaves out the ids that were assigned after the backup. Otherwise a new account would get the id that is in the tokens of a lost
/// one, a new room the id of a lost one, and an event a version that consumers have seen already.
pub async fn skip_lost_ids(admin: &str) -> Result<()> {
    let mut connection = MySqlConnection::connect(admin).await?;
    let schemas = Service::ALL.map(|service| format!("'{}'", service.schema())).join(", ");
    // MySQL has these names in upper case.
    let tables: Vec<(String, String, u64)> = sqlx::query_as(AssertSqlSafe(format!(
        "SELECT t.TABLE_SCHEMA, t.TABLE_NAME, CAST(COALESCE(t.AUTO_INCREMENT, 1) AS UNSIGNED)
         FROM information_schema.TABLES t JOIN information_schema.COLUMNS c USING (TABLE_SCHEMA, TABLE_NAME)
         WHERE t.TABLE_SCHEMA IN ({schemas}) AND c.EXTRA LIKE '%auto_increment%'"
    )))
    .fetch_all(&mut connection)
    .await?;
    for (schema, table, next) in tables {
        let next = next + LOST_IDS;
        let skip = format!("ALTER TABLE `{schema}`.`{table}` AUTO_INCREMENT = {next}");
        sqlx::query(AssertSqlSafe(skip)).execute(&mut connection).await?;
    }
    Ok(())
}

/// A client that connects as the account of the URL, with the settings of no configuration file.
fn command(client: &Dependency, admin: &str) -> Result<Command> {
    let url = Url::parse(admin).context("the address of MySQL is no URL")?;
    let (Some(host), Some(port)) = (url.host_str(), url.port()) else { bail!("{admin} has no host and port") };
    let mut command = Command::new(client.path()?);
    command
        .args(["--no-defaults", "--protocol=tcp", "--default-character-set=utf8mb4"])
        .args(["--host", host, "--port", &port.to_string(), "--user", url.username()])
        .env("MYSQL_PWD", url.password().unwrap_or_default())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    Ok(command)
}

fn succeeded(what: &str, output: &Output) -> Result<()> {
    if output.status.success() {
        return Ok(());
    }
    Err(anyhow!("{what} failed: {}", last_line(&output.stderr)))
}
