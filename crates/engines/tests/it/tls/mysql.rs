//! MySQL or MariaDB.

use std::fs;
use std::os::unix::fs::MetadataExt;

use engines::mysql;
use sqlx::Row;

use super::authority::Authority;
use super::engine::{Engine, Ground, free_port, program};
use crate::support::{metrics, until};

const ACCOUNTS: &str = "CREATE USER 'chat'@'127.0.0.1' IDENTIFIED BY 'password';
CREATE USER 'certified'@'127.0.0.1' IDENTIFIED BY 'password' REQUIRE X509;
";

fn start(ground: &Ground, port: u16) -> Engine {
    let (server, data, setup) = (program(&["mariadbd", "mysqld"]), ground.path("data"), ground.path("setup.sql"));
    fs::write(&setup, ACCOUNTS).unwrap();
    let mut own = vec!["--no-defaults".to_owned(), format!("--datadir={data}")];
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        own.push("--user=root".into());
    }
    let own: Vec<&str> = own.iter().map(String::as_str).collect();
    if server.ends_with("mariadbd") {
        let installer = program(&["mariadb-install-db"]);
        ground.run(installer, &[&own[..], &["--skip-test-db", "--auth-root-authentication-method=normal"]].concat());
    } else {
        ground.run(&server, &[&own[..], &["--initialize-insecure"]].concat());
    }
    let (port, socket) = (format!("--port={port}"), format!("--socket={}", ground.path("s")));
    let (pid, setup) = (format!("--pid-file={}", ground.path("pid")), format!("--init-file={setup}"));
    let ca = format!("--ssl-ca={}", ground.known.ca);
    let (certificate, key) =
        (format!("--ssl-cert={}", ground.known.certificate), format!("--ssl-key={}", ground.known.key));
    let settings = ["--bind-address=127.0.0.1", "--skip-name-resolve", "--skip-log-bin", "--loose-mysqlx=OFF"];
    let (tls, small) = ("--require-secure-transport=ON", "--innodb-buffer-pool-size=16M");
    let more = [&port, &socket, &pid, &setup, &ca, &certificate, &key, tls, small];
    ground.start(server, &[&own[..], &settings, &more].concat())
}

/// The version of TLS of a new connection.
async fn connect(url: &str) -> Result<String, String> {
    let pool = mysql::pool(&url.into(), 1, &metrics()).unwrap();
    let row = sqlx::query("SHOW SESSION STATUS LIKE 'Ssl_version'").fetch_one(&pool).await;
    row.map(|row| row.get::<String, _>(1)).map_err(|e| e.to_string())
}

#[tokio::test(flavor = "multi_thread")]
async fn mysql_is_reached_by_tls_with_its_authority_and_a_certificate_where_the_account_needs_one() {
    let (ground, port) = (Ground::new(), free_port());
    let _engine = start(&ground, port);
    let url = |user: &str, query: &str| format!("mysql://{user}:password@127.0.0.1:{port}/?{query}");
    let verified = |mode: &str, ca: &str| format!("ssl-mode={mode}&ssl-ca={ca}");
    let identity = verified("VERIFY_IDENTITY", &ground.known.ca);
    until("the server answers", async || connect(&url("chat", &identity)).await.is_ok()).await;

    for mode in ["VERIFY_CA", "VERIFY_IDENTITY"] {
        assert_eq!(connect(&url("chat", &verified(mode, &ground.known.ca))).await.unwrap(), "TLSv1.3", "{mode}");
        let refused = connect(&url("chat", &verified(mode, &ground.other.ca))).await.unwrap_err();
        assert!(refused.contains("UnknownIssuer") || refused.contains("invalid peer certificate"), "{refused}");
    }
    let plain = connect(&url("chat", "")).await.unwrap_err();
    // MySQL gives the reason, and MariaDB does not.
    assert!(["insecure transport", "Access denied"].iter().any(|reason| plain.contains(reason)), "{plain}");

    let certificate = |from: &Authority| format!("&ssl-cert={}&ssl-key={}", from.certificate, from.key);
    let certified = url("certified", &(identity.clone() + &certificate(&ground.known)));
    assert!(connect(&certified).await.is_ok());
    assert!(connect(&url("certified", &identity)).await.unwrap_err().contains("Access denied"));
    assert!(connect(&url("certified", &(identity.clone() + &certificate(&ground.other)))).await.is_err());
}
