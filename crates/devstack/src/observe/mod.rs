//! `--observe`: Prometheus and Alertmanager with the rules of production, and an exporter for each engine.

mod exporters;
mod jmx;
mod mongodb_exporter;
mod scrape;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::install::{self, Needed};
use crate::keeper::Unit;
use crate::process::Launch;
use crate::stack::{Plan, Stack};

pub use jmx::Agent;

const PROMETHEUS: Needed = Needed { names: &["prometheus"], package: "prometheus" };
const ALERTMANAGER: Needed =
    Needed { names: &["prometheus-alertmanager", "alertmanager"], package: "prometheus-alertmanager" };

/// What observes, as `status` names it.
pub const NAMES: [&str; 5] = ["prometheus", "alertmanager", "mysql-exporter", "mongodb-exporter", "redis-exporter"];

const FOLDER: &str = "infrastructure/docker";

/// As long as production keeps it.
const RETENTION: &str = "15d";

/// Starts the observers of everything that runs already.
pub async fn start(stack: &Stack, with_kafka: bool) -> Result<()> {
    let Some(ports) = stack.plan.ports.observers else { return Ok(()) };
    install::all(&[PROMETHEUS, ALERTMANAGER, exporters::MYSQL, exporters::REDIS]).await?;
    let plan = &stack.plan;
    let mut units = exporters::units(plan, &ports, mongodb_exporter::program().await?)?;
    units.push(alertmanager(plan, ports.alertmanager)?);
    units.push(prometheus(plan, ports.prometheus, with_kafka)?);
    stack.start_all(units).await
}

fn prometheus(plan: &Plan, port: u16, with_kafka: bool) -> Result<Unit> {
    let data = plan.place.data("prometheus");
    std::fs::create_dir_all(&data)?;
    let config = data.join("prometheus.yml");
    std::fs::write(&config, scrape::config(plan, with_kafka)?)?;
    let launch = Launch::new(PROMETHEUS.path()?, &data)
        .arg(format!("--config.file={}", config.display()))
        .arg(format!("--storage.tsdb.path={}", data.join("tsdb").display()))
        .arg(format!("--storage.tsdb.retention.time={RETENTION}"))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .arg("--log.level=warn");
    Ok(unit(plan, "prometheus", port, launch, "/-/ready"))
}

fn alertmanager(plan: &Plan, port: u16) -> Result<Unit> {
    let data = plan.place.data("alertmanager");
    std::fs::create_dir_all(&data)?;
    let launch = Launch::new(ALERTMANAGER.path()?, &data)
        .arg(format!("--config.file={}", folder(plan).join("alertmanager/alertmanager.yml").display()))
        .arg(format!("--storage.path={}", data.display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        // Alone, so without a gossip port.
        .args(["--cluster.listen-address=", "--log.level=warn"]);
    Ok(unit(plan, "alertmanager", port, launch, "/-/ready"))
}

/// A process that is ready when it answers at `path`.
fn unit(plan: &Plan, name: &str, port: u16, launch: Launch, path: &str) -> Unit {
    let url = format!("http://127.0.0.1:{port}{path}");
    Unit {
        name: name.into(),
        port,
        launch,
        log: plan.place.log(name),
        probe: Arc::new(move || Box::pin(answers(url.clone()))),
        grace: Duration::from_secs(10),
    }
}

async fn answers(url: String) -> Result<()> {
    let status = reqwest::get(url).await?.status();
    if !status.is_success() {
        bail!("{status}");
    }
    Ok(())
}

fn folder(plan: &Plan) -> PathBuf {
    plan.place.root.join(FOLDER)
}
