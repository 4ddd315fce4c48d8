//! Production's prometheus.yml with the addresses of this stack in it.

use std::fs;

use anyhow::{Context, Result, bail};
use serde_yaml_ng::{Value, from_str, to_string, to_value};

use crate::ports::Observers;
use crate::services::Service;
use crate::stack::Plan;

use super::folder;

/// The gateway of `cargo stack` obeys Kong's file but has no status listener.
const NOT_HERE: &str = "kong";

pub fn config(plan: &Plan, with_kafka: bool) -> Result<String> {
    let folder = folder(plan).join("prometheus");
    let path = folder.join("prometheus.yml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut config: Value = from_str(&text)?;
    config["rule_files"] = to_value([folder.join("rules/*.yml").display().to_string()])?;
    let observers = plan.ports.observers.context("nothing observes here")?;
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = local(&[observers.alertmanager])?;
    let jobs = config["scrape_configs"].as_sequence().context("no scrape_configs")?;
    let jobs = jobs.iter().filter_map(|job| here(plan, &observers, with_kafka, job).transpose());
    config["scrape_configs"] = to_value(jobs.collect::<Result<Vec<_>>>()?)?;
    Ok(to_string(&config)?)
}

/// A job as it is here, if it is.
fn here(plan: &Plan, observers: &Observers, with_kafka: bool, job: &Value) -> Result<Option<Value>> {
    let name = job["job_name"].as_str().context("a job without a name")?;
    let ports = match name {
        NOT_HERE => return Ok(None),
        "kafka" if !with_kafka => return Ok(None),
        "prometheus" => vec![observers.prometheus],
        "mysql" => vec![observers.mysql],
        "mongodb" => vec![observers.mongodb],
        "redis" => vec![observers.redis],
        "kafka" => plan.ports.brokers.iter().filter_map(|broker| broker.metrics).collect(),
        name => match Service::ALL.into_iter().find(|service| service.name() == name) {
            Some(service) => plan.ports.of(service).to_vec(),
            None => bail!("prometheus.yml: nobody here answers to the job {name}"),
        },
    };
    let mut job = job.clone();
    job["static_configs"][0]["targets"] = local(&ports)?;
    Ok(Some(job))
}

fn local(ports: &[u16]) -> Result<Value> {
    Ok(to_value(ports.iter().map(|port| format!("127.0.0.1:{port}")).collect::<Vec<_>>())?)
}
