//! Serving until told to stop, and stopping without breaking a promise.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::serve::{Listener, ListenerExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use crate::shutdown::Shutdown;

/// The last connections get so long to be read from before idle ones are closed: hyper drops a connection whose first
/// byte it has not seen yet, and the request on it may have arrived already.
const SETTLE: Duration = Duration::from_millis(200);

/// Serves until shutdown, then lets every request that has begun end.
pub async fn serve(listener: TcpListener, app: Router, shutdown: &Shutdown) -> io::Result<()> {
    let last = CancellationToken::new();
    let listener = Draining {
        address: listener.local_addr()?,
        listener: Some(listener),
        waiting: VecDeque::new(),
        shutdown: shutdown.clone(),
        last: last.clone(),
    };
    // Small answers and events leave at once instead of waiting to be packed with others.
    let listener = listener.tap_io(|stream| {
        if let Err(e) = stream.set_nodelay(true) {
            tracing::debug!(error = %e, "TCP_NODELAY refused");
        }
    });
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    axum::serve(listener, app).with_graceful_shutdown(last.cancelled_owned()).await
}

/// A listener that is closed only when nobody waits at it: whom the kernel has let in is served.
struct Draining {
    address: SocketAddr,
    /// None after the end.
    listener: Option<TcpListener>,
    /// Those who had come before it.
    waiting: VecDeque<(TcpStream, SocketAddr)>,
    shutdown: Shutdown,
    /// Cancelled when the last of them has been taken.
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
        if let Some(next) = self.waiting.pop_front() {
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
    /// Takes everyone who waits, and closes. Not by way of the runtime, which may not have heard of them yet.
    fn drain(&mut self) {
        let Some(Ok(listener)) = self.listener.take().map(TcpListener::into_std) else { return };
        while let Ok((stream, address)) = listener.accept() {
            let ready = stream.set_nonblocking(true).and_then(|()| TcpStream::from_std(stream));
            match ready {
                Ok(stream) => self.waiting.push_back((stream, address)),
                Err(e) => tracing::warn!(error = %e, "a connection cannot be taken"),
            }
        }
    }
}
