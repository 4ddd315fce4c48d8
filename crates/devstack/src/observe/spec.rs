//! Shared by all observers: their processes have an HTTP probe, and their configuration is that of production.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::http_client;
use crate::plan::Plan;
use crate::process::Launch;
use crate::process_supervisor::ProcessSpec;

/// A process that is ready when `path` responds with a success.
pub fn http_process(plan: &Plan, name: &str, port: u16, launch: Launch, path: &str) -> ProcessSpec {
    let url = format!("http://127.0.0.1:{port}{path}");
    ProcessSpec {
        name: name.into(),
        port,
        launch,
        log: plan.dir.log(name),
        probe: Arc::new(move || Box::pin(responds(url.clone()))),
        grace: Duration::from_secs(10),
    }
}

async fn responds(url: String) -> Result<()> {
    let status = http_client::get(url).await?.status();
    if !status.is_success() {
        bail!("{status}");
    }
    Ok(())
}

pub fn configuration(plan: &Plan, name: &str) -> PathBuf {
    plan.dir.root.join("infrastructure/docker").join(name)
}
