//! The prometheus.yml of production with the addresses of this stack.

use std::fs;

use anyhow::{Context, Result, bail};
use serde_yaml_ng::{Value, from_str, to_string, to_value};

use crate::plan::Plan;
use crate::ports::ObserverPorts;
use crate::service::Service;

use super::spec::configuration;

/// The gateway and the object store of `cargo stack` have no metrics.
const WITHOUT_METRICS: [&str; 2] = ["kong", "seaweedfs"];

pub fn config(plan: &Plan, with_kafka: bool) -> Result<String> {
    let folder = configuration(plan, "prometheus");
    let path = folder.join("prometheus.yml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut config: Value = from_str(&text)?;
    config["rule_files"] = to_value([folder.join("rules/*.yml").display().to_string()])?;
    let observers = plan.ports.observers.context("the stack has no observers")?;
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = addresses(&[observers.alertmanager])?;
    let jobs = config["scrape_configs"].as_sequence().context("no scrape_configs")?;
    let jobs = jobs.iter().filter_map(|job| local_job(plan, &observers, with_kafka, job).transpose());
    config["scrape_configs"] = to_value(jobs.collect::<Result<Vec<_>>>()?)?;
    Ok(to_string(&config)?)
}

/// A job with the ports of this stack; none if the stack has no such process.
fn local_job(plan: &Plan, observers: &ObserverPorts, with_kafka: bool, job: &Value) -> Result<Option<Value>> {
    let name = job["job_name"].as_str().context("a job without a name")?;
    let ports = match name {
        name if WITHOUT_METRICS.contains(&name) => return Ok(None),
        "kafka" if !with_kafka => return Ok(None),
        "prometheus" => vec![observers.prometheus],
        "mysql" => vec![observers.mysql],
        "mongodb" => vec![observers.mongodb],
        "redis" => vec![observers.redis],
        "kafka" => plan.ports.brokers.iter().filter_map(|broker| broker.metrics).collect(),
        name => match Service::ALL.into_iter().find(|service| service.name() == name) {
            Some(service) => plan.ports.of(service).to_vec(),
            None => bail!("prometheus.yml: the stack has no process for the job {name}"),
        },
    };
    let mut job = job.clone();
    job["static_configs"][0]["targets"] = addresses(&ports)?;
    Ok(Some(job))
}

fn addresses(ports: &[u16]) -> Result<Value> {
    Ok(to_value(ports.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>())?)
}
