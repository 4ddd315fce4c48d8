//! Links, through which the services reach the replicas of another service, and the engines of a drill. A link connects to the
//! replicas in turn, to those that accept the connection. For faults of the network, `SIGUSR1` makes it slow, `SIGUSR2` fast
//! again, and nothing passes while it is stopped by `SIGSTOP`.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::sleep;

use crate::build::{Binaries, DEVSTACK};
use crate::options::LinkOptions;
use crate::ports::Link;
use crate::process::{Launch, listens};
use crate::process_supervisor::ProcessSpec;
use crate::stack::Stack;

/// The delay of each piece while the link is slow: the round trip to another continent.
const DELAY: Duration = Duration::from_millis(75);
/// The size of a piece. A slow link passes about 200 KB a second in each direction.
const PIECE: usize = 16 * 1024;

/// Starts the links of the plan.
pub async fn start(stack: &Stack, binaries: &Binaries) -> Result<()> {
    let plan = &stack.plan;
    let program = binaries.get(DEVSTACK).context("devstack was not built")?;
    let specs = plan.ports.links.iter().map(|&Link { ref server, ref to, port }| {
        let name = format!("link-{server}");
        let to: Vec<_> = to.iter().map(u16::to_string).collect();
        let (port_arg, to) = (format!("--port={port}"), format!("--to={}", to.join(",")));
        ProcessSpec {
            log: plan.dir.log(&name),
            name,
            port,
            launch: Launch::new(program, &plan.dir.root).args(["link".to_owned(), port_arg, to]),
            probe: Arc::new(move || Box::pin(listens(port))),
            grace: Duration::from_secs(1),
        }
    });
    stack.start_all(specs).await
}

/// Serves a link until the process ends.
pub async fn serve(LinkOptions { port, to }: LinkOptions) -> Result<()> {
    let slow = Arc::new(AtomicBool::new(false));
    tokio::spawn(switch(Arc::clone(&slow))?);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await?;
    for first in (0..to.len()).cycle() {
        let (client, _) = listener.accept().await?;
        let mut replicas = to.clone();
        replicas.rotate_left(first);
        tokio::spawn(join(client, replicas, Arc::clone(&slow)));
    }
    Ok(())
}

fn switch(slow: Arc<AtomicBool>) -> Result<impl Future<Output = ()>> {
    let (mut on, mut off) = (signal(SignalKind::user_defined1())?, signal(SignalKind::user_defined2())?);
    Ok(async move {
        loop {
            let is_slow = tokio::select! {
                _ = on.recv() => true,
                _ = off.recv() => false,
            };
            slow.store(is_slow, Ordering::Relaxed);
        }
    })
}

/// Passes the traffic of one connection on to the first replica that accepts it. The end of one direction ends both, as the end of
/// a process does.
async fn join(client: TcpStream, replicas: Vec<u16>, slow: Arc<AtomicBool>) {
    let addresses: Vec<SocketAddr> = replicas.into_iter().map(|port| (Ipv4Addr::LOCALHOST, port).into()).collect();
    let Ok(server) = TcpStream::connect(&*addresses).await else { return };
    for side in [&client, &server] {
        // Without it, small answers wait for acknowledgements. The only failure is that the connection has ended.
        let _ = side.set_nodelay(true);
    }
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    tokio::select! {
        () = pass(from_client, to_server, &slow) => {}
        () = pass(from_server, to_client, &slow) => {}
    }
}

async fn pass(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, slow: &AtomicBool) {
    let mut piece = vec![0; PIECE];
    while let Ok(length @ 1..) = from.read(&mut piece).await {
        if slow.load(Ordering::Relaxed) {
            sleep(DELAY).await;
        }
        if to.write_all(&piece[..length]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[tokio::test]
    async fn a_slow_link_delays_each_direction_and_passes_over_a_replica_that_is_down() {
        let engine = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let link = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let (to, port) = (engine.local_addr().unwrap().port(), link.local_addr().unwrap().port());
        let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap().local_addr().unwrap().port();
        let slow = Arc::new(AtomicBool::new(true));
        tokio::spawn(async move { join(link.accept().await.unwrap().0, vec![unused, to], slow).await });
        let mut client = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        let (mut server, _) = engine.accept().await.unwrap();

        let started = Instant::now();
        client.write_all(b"?").await.unwrap();
        assert_eq!(server.read_u8().await.unwrap(), b'?');
        server.write_all(b"!").await.unwrap();
        assert_eq!(client.read_u8().await.unwrap(), b'!');
        assert!(started.elapsed() >= 2 * DELAY);

        drop(server);
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0, "the end of the engine is the end of the connection");
    }
}
