//! The rotation of passwords as docs/operations.md describes it, on real engines. Probes need no password.

use std::process::Command;

use engines::{mongo, mysql};
use mongodb::bson::{Document, doc};
use uuid::Uuid;

use crate::support::{metrics, setting, until};
use crate::tls::engine::{Ground, free_port, program};
use crate::tls::mongodb::server;

/// Whether a login to MySQL works.
async fn can_log_in(url: &str) -> bool {
    let pool = mysql::pool(&url.into(), 1, &metrics()).unwrap();
    sqlx::query("SELECT 1").execute(&pool).await.is_ok()
}

/// The readiness probe of the manifests, at another port.
fn mysql_is_ready(port: &str) -> bool {
    let mut probe = Command::new(program(&["mariadb-admin", "mysqladmin"]));
    probe.args(["--no-defaults", "--protocol=tcp", "--host=127.0.0.1", "--port", port, "--user=probe", "ping"]);
    probe.output().unwrap().status.success()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_of_mysql_is_rotated_without_a_refused_login() {
    let admin = setting("MYSQL_ADMIN_URL");
    let (_, address) = admin.rsplit_once('@').unwrap();
    let (_, port) = address.split_once(':').unwrap();
    let admin = mysql::pool(&admin.as_str().into(), 1, &metrics()).unwrap();
    let version: String = sqlx::query_scalar("SELECT VERSION()").fetch_one(&admin).await.unwrap();
    let name = format!("r{}", &Uuid::new_v4().simple().to_string()[..12]);
    let account = format!("'{name}'@'127.0.0.1'");
    let execute = async |sql: String| {
        sqlx::raw_sql(sqlx::AssertSqlSafe(sql)).execute(&admin).await.unwrap();
    };
    let url = |password: &str| format!("mysql://{name}:{password}@{address}/");
    execute(format!("CREATE USER {account} IDENTIFIED BY 'old'")).await;
    let pods = mysql::pool(&url("old").as_str().into(), 1, &metrics()).unwrap();
    sqlx::query("SELECT 1").execute(&pods).await.unwrap();

    // MariaDB has no RETAIN CURRENT PASSWORD, but several ways to log in.
    let is_mariadb = version.contains("MariaDB");
    let retained = if is_mariadb {
        let way = |password: &str| format!("mysql_native_password USING PASSWORD('{password}')");
        format!("ALTER USER {account} IDENTIFIED VIA {} OR {}", way("new"), way("old"))
    } else {
        format!("ALTER USER {account} IDENTIFIED BY 'new' RETAIN CURRENT PASSWORD")
    };
    execute(retained).await;
    assert!(
        can_log_in(&url("old")).await && can_log_in(&url("new")).await,
        "pods of both kinds run during the rollout"
    );
    assert!(mysql_is_ready(port));

    let discarded = if is_mariadb { "IDENTIFIED BY 'new'" } else { "DISCARD OLD PASSWORD" };
    execute(format!("ALTER USER {account} {discarded}")).await;
    assert!(can_log_in(&url("new")).await && !can_log_in(&url("old")).await);
    assert!(mysql_is_ready(port), "the probe needs no password");
    sqlx::query("SELECT 1").execute(&pods).await.expect("an open connection goes on");
    execute(format!("DROP USER {account}")).await;
    assert!(!mysql_is_ready("1"), "nothing listens there");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_password_of_mongodb_is_rotated_without_a_refused_login() {
    let (ground, port) = (Ground::new(), free_port());
    std::fs::create_dir(ground.path("data")).unwrap();
    let (data, listen) = (ground.path("data"), port.to_string());
    let own = ["--bind_ip", "127.0.0.1", "--port", &listen, "--nounixsocket", "--dbpath", &data, "--auth"];
    let small = ["--wiredTigerCacheSizeGB", "0.25", "--setParameter", "diagnosticDataCollectionEnabled=false"];
    let _engine = ground.start(server().await, &[&own[..], &small].concat());
    let command = async |login: &str, command: Document| {
        let url = format!("mongodb://{login}127.0.0.1:{port}/?directConnection=true");
        let admin = mongo::database(&url.as_str().into(), "admin", "mongodb", &metrics()).await.unwrap();
        admin.run_command(command).await
    };
    // The readiness probe of the manifests asks this, and logs in nowhere.
    let is_ready = async || {
        command("", doc! {"hello": 1}).await.is_ok_and(|hello| hello.get_bool("isWritablePrimary").unwrap_or(false))
    };
    until("the server answers", is_ready).await;
    let user = |name: &str, role: &str| doc! {"createUser": name, "pwd": name, "roles": [role]};
    command("", user("root", "root")).await.unwrap();
    command("root:root@", user("chat", "clusterMonitor")).await.unwrap();
    let works = async |login: &str| command(login, doc! {"serverStatus": 1}).await.is_ok();
    assert!(works("chat:chat@").await && !works("").await);

    command("root:root@", user("chat-2", "clusterMonitor")).await.unwrap();
    assert!(works("chat:chat@").await && works("chat-2:chat-2@").await, "pods of both kinds run during the rollout");
    assert!(is_ready().await);

    command("root:root@", doc! {"updateUser": "chat", "pwd": "new"}).await.unwrap();
    assert!(works("chat-2:chat-2@").await && works("chat:new@").await, "pods of both kinds run during the way back");
    assert!(!works("chat:chat@").await);

    command("root:root@", doc! {"dropUser": "chat-2"}).await.unwrap();
    assert!(works("chat:new@").await && !works("chat-2:chat-2@").await);
    assert!(is_ready().await, "the probe needs no password");
}
