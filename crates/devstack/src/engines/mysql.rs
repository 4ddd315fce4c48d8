//! MySQL or MariaDB: one server with a schema and an account for each service.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use sqlx::{Connection, MySqlConnection};
use tokio::process::Command;

use super::full_disk;
use crate::install::{self, Dependency, MYSQL};
use crate::plan::Plan;
use crate::process::Launch;
use crate::process_supervisor::ProcessSpec;
use crate::service::Service;
use crate::stack::Stack;

const ROOT_PASSWORD: &str = "rootpassword";
const SERVICE_PASSWORD: &str = "chatpassword";

const INSTALLER: Dependency =
    Dependency { names: &["mariadb-install-db", "mysql_install_db"], package: "mariadb-server" };

/// As in production, a commit is on disk before anybody sees it: InnoDB without a binary log shows it earlier.
const SETTINGS: [&str; 16] = [
    "--bind-address=127.0.0.1",
    "--skip-name-resolve",
    "--log-bin=binlog",
    "--binlog-format=ROW",
    "--sync-binlog=1",
    "--binlog-expire-logs-seconds=3600",
    // A file is removed at the change to the next one.
    "--max-binlog-size=64M",
    "--character-set-server=utf8mb4",
    "--innodb-flush-log-at-trx-commit=1",
    "--innodb-buffer-pool-size=256M",
    "--innodb-log-file-size=64M",
    // A start would wait for the buffer pool, which is too small to be worth it.
    "--innodb-buffer-pool-load-at-startup=OFF",
    "--innodb-buffer-pool-dump-at-shutdown=OFF",
    // Replicas and tests have connection pools of their own.
    "--max-connections=1000",
    "--default-time-zone=+00:00",
    // MySQL's second protocol would need another port; MariaDB does not have it.
    "--loose-mysqlx=OFF",
];

pub async fn start(stack: &Stack) -> Result<()> {
    let plan = &stack.plan;
    let server = MYSQL.path()?;
    let data = plan.dir.data("mysql");
    let log = plan.dir.log("mysql");
    if !data.exists() {
        create_data(&server, &data, &log).await?;
    }
    let setup = plan.dir.data("mysql-setup.sql");
    fs::write(&setup, accounts())?;
    let launch = server_command(&server, &data)
        .arg(format!("--port={}", plan.ports.mysql))
        .arg(format!("--socket={}", plan.dir.socket("mysql").display()))
        .arg(format!("--pid-file={}", data.join("server.pid").display()))
        .arg(format!("--init-file={}", setup.display()))
        .args(SETTINGS)
        // A full disk is felt by the C library's writes only.
        .args(plan.options.breakable.then_some("--innodb-use-native-aio=OFF"));
    let url = admin_url(plan);
    let spec = ProcessSpec {
        name: "mysql".into(),
        port: plan.ports.mysql,
        launch: full_disk::apply(plan, launch, "mysql"),
        log,
        probe: Arc::new(move || Box::pin(ping(url.clone()))),
        grace: Duration::from_secs(30),
    };
    stack.start(spec).await
}

/// Without the configuration files of the machine, which are for its own server. A server runs as root only with the option.
fn server_command(server: &Path, data: &Path) -> Launch {
    Launch::new(server, "/")
        .arg("--no-defaults")
        .arg(format!("--datadir={}", data.display()))
        .args(is_root().then_some("--user=root"))
}

/// Creates a data folder under a temporary name and renames it, so that an interrupted start leaves no incomplete folder.
async fn create_data(server: &Path, data: &Path, log: &Path) -> Result<()> {
    let draft = data.with_extension("new");
    let _ = fs::remove_dir_all(&draft);
    initialize(server, &draft, log).await?;
    fs::rename(&draft, data)?;
    Ok(())
}

async fn initialize(server: &Path, data: &Path, log: &Path) -> Result<()> {
    if is_mariadb(server).await? {
        let install = Launch::new(INSTALLER.path()?, "/")
            .arg("--no-defaults")
            .arg(format!("--datadir={}", data.display()))
            .args(["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"])
            .args(is_root().then_some("--user=root"));
        return install.run(log).await;
    }
    server_command(server, data).arg("--initialize-insecure").run(log).await
}

async fn is_mariadb(server: &Path) -> Result<bool> {
    let version = Command::new(server).arg("--version").output().await?.stdout;
    Ok(String::from_utf8_lossy(&version).contains("MariaDB"))
}

fn is_root() -> bool {
    install::is_root().unwrap_or(false)
}

/// The script that the server runs at each start before it accepts connections. The server reads one statement a line.
fn accounts() -> String {
    let mut sql = String::new();
    let mut account = |name: &str, password: &str, on: &str, more: &str| {
        for host in ["127.0.0.1", "localhost"] {
            sql += &format!("CREATE USER IF NOT EXISTS '{name}'@'{host}';\n");
            sql += &format!("ALTER USER '{name}'@'{host}' IDENTIFIED BY '{password}';\n");
            sql += &format!("GRANT ALL PRIVILEGES ON {on} TO '{name}'@'{host}'{more};\n");
        }
    };
    account("root", ROOT_PASSWORD, "*.*", " WITH GRANT OPTION");
    for service in Service::ALL {
        account(service.schema(), SERVICE_PASSWORD, &format!("{}.*", service.schema()), "");
    }
    for service in Service::ALL {
        sql += &format!("CREATE DATABASE IF NOT EXISTS {} CHARACTER SET utf8mb4;\n", service.schema());
    }
    sql
}

/// The root account without a schema, with which tests create schemas.
pub fn admin_url(plan: &Plan) -> String {
    format!("mysql://root:{ROOT_PASSWORD}@127.0.0.1:{}", plan.ports.mysql)
}

/// The same account as an option file for clients.
pub fn client_settings(plan: &Plan) -> String {
    format!("[client]\nhost=127.0.0.1\nport={}\nuser=root\npassword={ROOT_PASSWORD}\n", plan.ports.mysql)
}

pub fn url(plan: &Plan, service: Service) -> String {
    let schema = service.schema();
    format!("mysql://{schema}:{SERVICE_PASSWORD}@127.0.0.1:{}/{schema}", plan.ports.mysql)
}

async fn ping(url: String) -> Result<()> {
    let mut connection = MySqlConnection::connect(&url).await?;
    connection.ping().await?;
    connection.close().await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_account_of_a_service_reaches_only_its_schema() {
        let sql = accounts();
        assert!(sql.contains("GRANT ALL PRIVILEGES ON bigtech_chat.* TO 'bigtech_chat'@'127.0.0.1';"));
        assert_eq!(sql.matches("ON *.*").count(), 2, "root on two hosts");
    }
}
