//! `--observe`: Prometheus and Alertmanager with the rules of production, and an exporter for each engine.

mod exporters;
mod jmx;
mod mongodb_exporter;
mod scrape;
mod spec;

use anyhow::Result;

use crate::install::{self, Dependency};
use crate::plan::Plan;
use crate::process::Launch;
use crate::process_supervisor::ProcessSpec;
use crate::stack::Stack;

use spec::{configuration, http_process};

pub use jmx::JmxAgent;

const PROMETHEUS: Dependency = Dependency { names: &["prometheus"], package: "prometheus" };
const ALERTMANAGER: Dependency =
    Dependency { names: &["prometheus-alertmanager", "alertmanager"], package: "prometheus-alertmanager" };

/// As in production.
const RETENTION: &str = "31d";

/// Starts Prometheus, Alertmanager and the exporters, if `--observe` is set.
pub async fn start(stack: &Stack, with_kafka: bool) -> Result<()> {
    let Some(ports) = stack.plan.ports.observers else { return Ok(()) };
    install::ensure(&[PROMETHEUS, ALERTMANAGER, exporters::MYSQL, exporters::REDIS]).await?;
    let plan = &stack.plan;
    let mut specs = exporters::specs(plan, &ports, mongodb_exporter::program().await?)?;
    specs.push(alertmanager(plan, ports.alertmanager)?);
    specs.push(prometheus(plan, ports.prometheus, with_kafka)?);
    stack.start_all(specs).await
}

fn prometheus(plan: &Plan, port: u16, with_kafka: bool) -> Result<ProcessSpec> {
    let data = plan.dir.data("prometheus");
    std::fs::create_dir_all(&data)?;
    let config = data.join("prometheus.yml");
    std::fs::write(&config, scrape::config(plan, with_kafka)?)?;
    let launch = Launch::new(PROMETHEUS.path()?, &data)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", data.join("tsdb").display()))
        .arg(format!("--storage.tsdb.retention.time={RETENTION}"))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--log.level=warn");
    Ok(http_process(plan, "prometheus", port, launch, "/-/ready"))
}

fn alertmanager(plan: &Plan, port: u16) -> Result<ProcessSpec> {
    let data = plan.dir.data("alertmanager");
    std::fs::create_dir_all(&data)?;
    let launch = Launch::new(ALERTMANAGER.path()?, &data)
        .arg(format!("--config.file={}", configuration(plan, "alertmanager/alertmanager.yml").display()))
        .arg(format!("--storage.path={}", data.display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        // A single instance needs no gossip port.
        .args(["--cluster.listen-address=", "--log.level=warn"]);
    Ok(http_process(plan, "alertmanager", port, launch, "/-/ready"))
}
