//! The exporters: they ask an engine how it is, in its own words, and tell it as metrics.

use std::path::PathBuf;

use anyhow::Result;

use crate::engines::{mongodb, mysql, redis};
use crate::install::Needed;
use crate::keeper::Unit;
use crate::ports::Observers;
use crate::process::Launch;
use crate::stack::Plan;

use super::unit;

pub const MYSQL: Needed =
    Needed { names: &["prometheus-mysqld-exporter", "mysqld_exporter"], package: "prometheus-mysqld-exporter" };
pub const REDIS: Needed =
    Needed { names: &["prometheus-redis-exporter", "redis_exporter"], package: "prometheus-redis-exporter" };

/// Those of MySQL, MongoDB and Redis. Kafka tells its own metrics, by an agent in each broker.
pub fn units(plan: &Plan, ports: &Observers, mongodb_exporter: PathBuf) -> Result<Vec<Unit>> {
    Ok(vec![
        of_mysql(plan, ports.mysql)?,
        of_mongodb(plan, ports.mongodb, mongodb_exporter),
        of_redis(plan, ports.redis)?,
    ])
}

fn of_mysql(plan: &Plan, port: u16) -> Result<Unit> {
    let login = plan.place.data("mysql-exporter.cnf");
    std::fs::write(&login, mysql::client_settings(plan))?;
    let launch = Launch::new(MYSQL.path()?, "/")
        .arg(format!("--config.my-cnf={}", login.display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"));
    Ok(unit(plan, "mysql-exporter", port, launch, "/metrics"))
}

fn of_mongodb(plan: &Plan, port: u16, program: PathBuf) -> Unit {
    let launch = Launch::new(program, "/")
        .arg(format!("--mongodb.uri={}", mongodb::url(plan)))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .args(["--collector.diagnosticdata", "--collector.replicasetstatus"]);
    unit(plan, "mongodb-exporter", port, launch, "/metrics")
}

fn of_redis(plan: &Plan, port: u16) -> Result<Unit> {
    let launch = Launch::new(REDIS.path()?, "/")
        .args(["-redis.addr".to_owned(), redis::url(plan)])
        .args(["-web.listen-address".to_owned(), format!("127.0.0.1:{port}")]);
    Ok(unit(plan, "redis-exporter", port, launch, "/metrics"))
}
