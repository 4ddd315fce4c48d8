//! Redis, which writes its data to disk.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::full_disk;
use crate::install::REDIS;
use crate::plan::Plan;
use crate::process::Launch;
use crate::process_supervisor::ProcessSpec;
use crate::stack::Stack;

pub async fn start(stack: &Stack) -> Result<()> {
    let plan = &stack.plan;
    let data = plan.dir.data("redis");
    std::fs::create_dir_all(&data)?;
    let port = plan.ports.redis;
    let launch = Launch::new(REDIS.path()?, &data).args(["--bind", "127.0.0.1", "--port", &port.to_string()]).args([
        "--appendonly",
        "yes",
        "--save",
        "",
        "--daemonize",
        "no",
    ]);
    let url = url(plan);
    let spec = ProcessSpec {
        name: "redis".into(),
        port,
        launch: full_disk::apply(plan, launch, "redis"),
        log: plan.dir.log("redis"),
        probe: Arc::new(move || Box::pin(ping(url.clone()))),
        grace: Duration::from_secs(10),
    };
    stack.start(spec).await
}

pub fn url(plan: &Plan) -> String {
    format!("redis://127.0.0.1:{}/0", plan.ports.redis)
}

/// Fails while Redis loads its file, too.
async fn ping(url: String) -> Result<()> {
    let mut connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
    redis::cmd("PING").query_async::<()>(&mut connection).await?;
    Ok(())
}
