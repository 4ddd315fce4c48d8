//! The exporters, which query an engine's state and export it as metrics.

use std::path::PathBuf;

use anyhow::Result;

use crate::engines::{mongodb, mysql, redis};
use crate::install::Dependency;
use crate::plan::Plan;
use crate::ports::ObserverPorts;
use crate::process::Launch;
use crate::process_supervisor::ProcessSpec;

use super::spec::http_process;

pub const MYSQL: Dependency =
    Dependency { names: &["prometheus-mysqld-exporter", "mysqld_exporter"], package: "prometheus-mysqld-exporter" };
pub const REDIS: Dependency =
    Dependency { names: &["prometheus-redis-exporter", "redis_exporter"], package: "prometheus-redis-exporter" };

/// The exporters of MySQL, MongoDB and Redis. Each broker of Kafka exports its own metrics with an agent.
pub fn specs(plan: &Plan, ports: &ObserverPorts, mongodb_program: PathBuf) -> Result<Vec<ProcessSpec>> {
    Ok(vec![
        mysql_exporter(plan, ports.mysql)?,
        mongodb_exporter(plan, ports.mongodb, mongodb_program),
        redis_exporter(plan, ports.redis)?,
    ])
}

fn mysql_exporter(plan: &Plan, port: u16) -> Result<ProcessSpec> {
    let options = plan.dir.data("mysql-exporter.cnf");
    std::fs::write(&options, mysql::client_settings(plan))?;
    let launch = Launch::new(MYSQL.path()?, "/")
        .arg(format!("--config.my-cnf={}", options.display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"));
    Ok(http_process(plan, "mysql-exporter", port, launch, "/metrics"))
}

fn mongodb_exporter(plan: &Plan, port: u16, program: PathBuf) -> ProcessSpec {
    let launch = Launch::new(program, "/")
        .arg(format!("--mongodb.uri={}", mongodb::url(plan)))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .args(["--collector.diagnosticdata", "--collector.replicasetstatus"]);
    http_process(plan, "mongodb-exporter", port, launch, "/metrics")
}

fn redis_exporter(plan: &Plan, port: u16) -> Result<ProcessSpec> {
    let launch = Launch::new(REDIS.path()?, "/")
        .args(["-redis.addr".to_owned(), redis::url(plan)])
        .args(["-web.listen-address".to_owned(), format!("127.0.0.1:{port}")]);
    Ok(http_process(plan, "redis-exporter", port, launch, "/metrics"))
}
