//! The HTTP server and its graceful shutdown.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::{Listener, ListenerExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::shutdown::Shutdown;

/// The time for the last connections to be read before idle ones are closed: hyper drops a connection whose first
/// byte it has not read, although the request may have arrived.
const SETTLE: Duration = Duration::from_millis(200);

/// Serves until `shutdown` closes the listener, then completes every request that has begun.
///
/// # Errors
/// Returns an error if the listener has no address.
pub async fn serve(listener: TcpListener, app: Router, shutdown: &Shutdown) -> io::Result<()> {
    let last = CancellationToken::new();
    let listener = Draining {
        address: listener.local_addr()?,
        listener: Some(listener),
        backlog: VecDeque::new(),
        shutdown: shutdown.clone(),
        last: last.clone(),
    };
    // Small answers and events are sent at once, without Nagle's delay.
    let listener = listener.tap_io(|stream| {
        if let Err(e) = stream.set_nodelay(true) {
            tracing::debug!(error = %e, "TCP_NODELAY refused");
        }
    });
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).with_graceful_shutdown(last.cancelled_owned()).await
}

/// A listener that closes only when its backlog is empty: every connection that the kernel accepted is served.
struct Draining {
    address: SocketAddr,
    /// None after the shutdown.
    listener: Option<TcpListener>,
    /// The connections of the backlog at the shutdown.
    backlog: VecDeque<(TcpStream, SocketAddr)>,
    shutdown: Shutdown,
    /// Cancelled when the last of them was accepted.
    last: CancellationToken,
}

impl Listener for Draining {
    type Io = TcpStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (TcpStream, SocketAddr) {
        if let Some(listener) = &mut self.listener {
            tokio::select! {
                accepted = Listener::accept(listener) => return accepted,
                () = self.shutdown.closing() => self.drain(),
            }
        }
        if let Some(next) = self.backlog.pop_front() {
            return next;
        }
        tokio::time::sleep(SETTLE).await;
        self.last.cancel();
        std::future::pending().await
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }
}

impl Draining {
    /// Accepts the backlog and closes the listener. It bypasses the runtime, which may not know of all connections yet.
    fn drain(&mut self) {
        let Some(Ok(listener)) = self.listener.take().map(TcpListener::into_std) else { return };
        while let Ok((stream, address)) = listener.accept() {
            let ready = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            match ready {
                Ok(stream) => self.backlog.push_back((stream, address)),
                Err(e) => tracing::warn!(error = %e, "a connection cannot be accepted"),
            }
        }
    }
}
