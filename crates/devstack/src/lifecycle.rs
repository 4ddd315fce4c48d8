//! Brings a stack up and takes it down.

use anyhow::Result;
use futures_util::future::{join_all, try_join};
use tokio::time::Instant;

use crate::handle::Handle;
use crate::layer::Layer;
use crate::options::Component;
use crate::stack::Stack;
use crate::terminal::print_step;
use crate::{build, engines, environment, gateway, link, observe, previous, replicas, web};

/// Starts every process after the processes that it uses.
pub async fn bring_up(stack: &Stack) -> Result<()> {
    let started = Instant::now();
    let plan = &stack.plan;
    if plan.options.only == Some(Component::Engines) {
        let kafka = engines::start(stack).await?;
        stack.set_env(environment::client_variables(plan, &kafka));
    } else {
        // Today's programs are built last, so that they are those in the target folder.
        let builds = async { Ok((previous::binaries(plan).await?, build::binaries(plan).await?)) };
        let (kafka, (previous, binaries)) = try_join(engines::start(stack), builds).await?;
        stack.set_env(environment::client_variables(plan, &kafka));
        link::start(stack, &binaries).await?;
        replicas::start(stack, &binaries, previous.as_ref(), &kafka).await?;
        web::start(stack, &binaries).await?;
        gateway::start(stack, &binaries).await?;
        observe::start(stack, kafka.exports_metrics).await?;
    }
    print_step("all", "ready", started);
    stack.set_ready();
    Ok(())
}

pub async fn take_down(stack: &Stack) {
    let handles = stack.handles();
    for layer in Layer::STOP_ORDER {
        let stopping = handles.iter().filter(|handle| Layer::of(&handle.name) == layer);
        join_all(stopping.map(Handle::stop)).await;
    }
}
