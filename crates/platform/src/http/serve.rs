//! The HTTP server and its graceful shutdown.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::header;
use axum::response::Response;
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tower::ServiceExt;

use crate::http::layers::MAX_HEADER_BYTES;
use crate::platform::Platform;
use crate::shutdown::Shutdown;

/// The time for the last connections to be read before idle ones are closed: hyper drops a connection whose first
/// byte it has not read, although the request may have arrived.
const SETTLE: Duration = Duration::from_millis(200);

/// The time after the listener closed in which the last bytes of a stream are read. Streams end before the listener closes,
/// so only a client that has stopped reading needs longer.
const STREAM_SETTLE: Duration = Duration::from_secs(1);

/// The buffer of a connection for a request's header. hyper answers a larger header with 431 and no body.
const HEADER_BUFFER_BYTES: usize = 2 * MAX_HEADER_BYTES;

/// Serves HTTP/1.1 until the shutdown closes the listener, then completes every request that has begun.
pub async fn serve(listener: TcpListener, app: Router, platform: &Platform) {
    let limits = platform.config.connections;
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header).max_buf_size(HEADER_BUFFER_BYTES);
    let (slots, graceful) = (Arc::new(Semaphore::new(limits.open)), GracefulShutdown::new());
    let mut listener =
        Draining { listener: Some(listener), backlog: VecDeque::new(), shutdown: platform.shutdown.clone() };
    while let Some((stream, peer)) = listener.accept().await {
        let Ok(slot) = slots.clone().try_acquire_owned() else {
            platform.metrics.connection_refused();
            continue;
        };
        // Small answers and events are sent at once, without Nagle's delay.
        if let Err(e) = stream.set_nodelay(true) {
            tracing::debug!(error = %e, "TCP_NODELAY refused");
        }
        // A peer that vanished acknowledges nothing, while what was written fits the buffers of the kernel.
        #[cfg(target_os = "linux")]
        if let Err(e) = socket2::SockRef::from(&stream).set_tcp_user_timeout(Some(limits.write)) {
            tracing::debug!(error = %e, "TCP_USER_TIMEOUT refused");
        }
        let mut stream = TimeoutStream::new(stream);
        stream.set_write_timeout(Some(limits.write));
        let streams = Arc::new(AtomicBool::new(false));
        let (requested, answered) = (streams.clone(), streams.clone());
        let app = app
            .clone()
            .map_request(move |mut request: Request<Incoming>| {
                // The connection may have had a stream before.
                requested.store(false, Ordering::Relaxed);
                request.extensions_mut().insert(ConnectInfo(peer));
                request.map(Body::new)
            })
            .map_response(move |response: Response| {
                answered.store(is_stream(&response), Ordering::Relaxed);
                response
            });
        let served =
            graceful.watch(http.serve_connection(TokioIo::new(Box::pin(stream)), TowerToHyperService::new(app)));
        let shutdown = platform.shutdown.clone();
        tokio::spawn(async move {
            tokio::select! {
                ended = served => if let Err(e) = ended {
                    tracing::trace!(error = %e, "connection ended");
                },
                () = is_stalled(&shutdown, &streams) => tracing::debug!("a stream that is not read was closed"),
            }
            drop(slot);
        });
    }
    graceful.shutdown().await;
}

/// Whether a response is a stream of events, which ends with the shutdown.
fn is_stream(response: &Response) -> bool {
    response.headers().get(header::CONTENT_TYPE).is_some_and(|kind| kind.as_bytes() == b"text/event-stream")
}

/// Resolves when the shutdown finds a stream that its client has stopped reading. Requests that are not streams are completed.
async fn is_stalled(shutdown: &Shutdown, streams: &AtomicBool) {
    shutdown.closing().await;
    tokio::time::sleep(STREAM_SETTLE).await;
    if !streams.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

/// A listener that closes only when its backlog is empty: every connection that the kernel accepted is served.
struct Draining {
    /// None after the shutdown.
    listener: Option<TcpListener>,
    /// The connections of the backlog at the shutdown.
    backlog: VecDeque<(TcpStream, SocketAddr)>,
    shutdown: Shutdown,
}

impl Draining {
    /// The next connection; none after the last one.
    async fn accept(&mut self) -> Option<(TcpStream, SocketAddr)> {
        if let Some(listener) = &mut self.listener {
            tokio::select! {
                accepted = Listener::accept(listener) => return Some(accepted),
                () = self.shutdown.closing() => self.drain(),
            }
        }
        let next = self.backlog.pop_front();
        if next.is_none() {
            tokio::time::sleep(SETTLE).await;
        }
        next
    }

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
