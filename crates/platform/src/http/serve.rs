//! The HTTP server and its graceful shutdown.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{ConnectInfo, Request};
use axum::http::{Method, Version};
use axum::serve::Listener;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_io_timeout::TimeoutStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::either::Either;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

use crate::http::event_stream::{self, Handover};
use crate::http::layers::MAX_HEADER_BYTES;
use crate::platform::Platform;
use crate::shutdown::Shutdown;

/// The time for the last connections to be read before idle ones are closed: hyper drops a connection whose first
/// byte it has not read, although the request may have arrived.
const SETTLE: Duration = Duration::from_millis(200);

/// The time after the listener closed in which the last bytes of event streams are read. Streams end before the listener closes,
/// so only a client that has stopped reading needs longer.
const STREAM_SETTLE: Duration = Duration::from_secs(1);

/// The buffer of a connection for a request's header. hyper answers a larger header with 431 and no body.
const HEADER_BUFFER_BYTES: usize = 2 * MAX_HEADER_BYTES;

/// Serves HTTP/1.1, within TLS if the configuration has a certificate, until the shutdown closes the listener, then completes
/// every request and event stream that has begun.
///
/// # Errors
/// Returns an error if TLS cannot be set up, which is a defect.
pub async fn serve(listener: TcpListener, app: Router, platform: &Platform) -> Result<(), rustls::Error> {
    let limits = platform.config.connections;
    let tls = platform.config.tls.as_ref().map(|certificate| {
        certificate.watch(&platform.metrics, &platform.shutdown);
        certificate.acceptor()
    });
    let tls = tls.transpose()?;
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(limits.header).max_buf_size(HEADER_BUFFER_BYTES);
    let slots = Arc::new(Semaphore::new(limits.open));
    let (connections, streams) = (TaskTracker::new(), TaskTracker::new());
    let (closing, cut) = (CancellationToken::new(), CancellationToken::new());
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
        let (stream, tls, closing) = (Box::pin(stream), tls.clone(), closing.clone());
        let (http, app, streams, cut) = (http.clone(), app.clone(), streams.clone(), cut.clone());
        connections.spawn(async move {
            let socket = match shake_hands(stream, tls, limits.header, &closing).await {
                Ok(socket) => socket,
                Err(e) => return tracing::trace!(error = %e, "no handshake"),
            };
            match (Connection { socket, peer, closing }).serve(&http, app).await {
                // A task of its own, which is smaller than this one.
                Ok(Some((socket, events))) => {
                    streams.spawn(async move {
                        tokio::select! {
                            ended = event_stream::write(socket, events) => if let Err(e) = ended {
                                tracing::trace!(error = %e, "event stream ended");
                            },
                            () = cut.cancelled() => tracing::debug!("a stream that is not read was closed"),
                        }
                        drop(slot);
                    });
                }
                Ok(None) => {}
                Err(e) => tracing::trace!(error = %e, "connection ended"),
            }
        });
    }
    closing.cancel();
    connections.close();
    streams.close();
    let cut_stalled = async {
        if tokio::time::timeout(STREAM_SETTLE, streams.wait()).await.is_err() {
            cut.cancel();
            streams.wait().await;
        }
    };
    tokio::join!(connections.wait(), cut_stalled);
    Ok(())
}

/// A connection with a limit on the time of a write.
type Plain = Pin<Box<TimeoutStream<TcpStream>>>;

/// A connection, within TLS where the server has a certificate.
type Socket = Either<Plain, Box<TlsStream<Plain>>>;

/// Begins TLS within the time for a header. A handshake that the end of the server finds has a second.
async fn shake_hands(
    stream: Plain,
    tls: Option<TlsAcceptor>,
    within: Duration,
    closing: &CancellationToken,
) -> io::Result<Socket> {
    let Some(tls) = tls else { return Ok(Either::Left(stream)) };
    let late = async {
        closing.cancelled().await;
        tokio::time::sleep(STREAM_SETTLE).await;
    };
    tokio::select! {
        accepted = tokio::time::timeout(within, tls.accept(stream)) => Ok(Either::Right(Box::new(accepted??))),
        () = late => Err(io::ErrorKind::TimedOut.into()),
    }
}

struct Connection {
    socket: Socket,
    peer: SocketAddr,
    /// Cancelled when the connection has to end after its current request.
    closing: CancellationToken,
}

impl Connection {
    /// Serves requests until the connection ends, or one is answered with an event stream, which is returned.
    async fn serve(self, http: &http1::Builder, app: Router) -> hyper::Result<Option<(Socket, Body)>> {
        let (peer, handover) = (self.peer, Handover::default());
        let socket = TokioIo::new(handover.watch(self.socket));
        let service = service_fn(|mut request: Request<Incoming>| {
            request.extensions_mut().insert(ConnectInfo(peer));
            let streams = request.method() == Method::GET && request.version() == Version::HTTP_11;
            let answered = app.clone().oneshot(request.map(Body::new));
            let handover = handover.clone();
            async move {
                let response = answered.await?;
                Ok::<_, Infallible>(if streams { handover.keep_events(response) } else { response })
            }
        });
        let mut connection = http.serve_connection(socket, service);
        let (mut closing, mut closes) = (pin!(self.closing.cancelled()), false);
        let events = poll_fn(|cx| {
            let mut polled = Pin::new(&mut connection).poll(cx);
            // Last, so that a request that has arrived is read first: hyper closes a connection that seems idle.
            if polled.is_pending() && !closes && closing.as_mut().poll(cx).is_ready() {
                closes = true;
                Pin::new(&mut connection).graceful_shutdown();
                polled = Pin::new(&mut connection).poll(cx);
            }
            match polled {
                Poll::Ready(ended) => Poll::Ready(ended.map(|()| None)),
                Poll::Pending => handover.take_events().map_or(Poll::Pending, |events| Poll::Ready(Ok(Some(events)))),
            }
        });
        let events = events.await?;
        Ok(events.map(|events| (connection.into_parts().io.into_inner().socket, events)))
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
