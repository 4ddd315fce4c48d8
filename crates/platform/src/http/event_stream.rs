//! Event streams leave hyper when their header is written: an idle connection of hyper holds two buffers of 8 KB, and a replica
//! holds thousands of idle streams.
//!
//! hyper writes the header of the answer and then waits for a body that never comes. Its connection is taken apart, and the
//! events are written to the socket as chunks. The connection closes with the stream, as its header says.

use std::convert::Infallible;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::{FutureExt, StreamExt, stream};
use parking_lot::Mutex;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};

const EVENT_STREAM: HeaderValue = HeaderValue::from_static("text/event-stream");

/// Limit on the events that one write collects. They are ready already, so a write never waits for them.
const BATCH_BYTES: usize = 16 * 1024;

const LAST_CHUNK: &[u8] = b"0\r\n\r\n";

/// The events of a connection's answer, until they leave hyper.
#[derive(Clone, Default)]
pub struct Handover(Arc<State>);

#[derive(Default)]
struct State {
    events: Mutex<Option<Body>>,
    /// Whether all bytes that hyper has written are in the socket.
    flushed: AtomicBool,
}

impl Handover {
    /// Keeps the body of an event stream back, and leaves hyper one that never ends. Other answers stay as they are.
    pub fn keep_events(&self, response: Response) -> Response {
        if response.headers().get(header::CONTENT_TYPE) != Some(&EVENT_STREAM) {
            return response;
        }
        let (mut parts, events) = response.into_parts();
        parts.headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        *self.0.events.lock() = Some(events);
        Response::from_parts(parts, Body::from_stream(stream::pending::<Result<Bytes, Infallible>>()))
    }

    /// The events, as soon as the header of their answer is in the socket.
    pub fn take_events(&self) -> Option<Body> {
        self.0.flushed.load(Ordering::Relaxed).then(|| self.0.events.lock().take()).flatten()
    }

    /// A socket that tells when it has everything that hyper writes.
    pub fn watch<S>(&self, socket: S) -> Watched<S> {
        Watched { socket, handover: self.clone() }
    }
}

/// The socket of a connection in hyper. hyper flushes it when no byte is left to be written.
pub struct Watched<S> {
    pub socket: S,
    handover: Handover,
}

impl<S> Watched<S> {
    fn set_flushed(&self, flushed: bool) {
        self.handover.0.flushed.store(flushed, Ordering::Relaxed);
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.set_flushed(false);
        Pin::new(&mut self.socket).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.set_flushed(false);
        Pin::new(&mut self.socket).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.socket).poll_flush(cx);
        self.set_flushed(matches!(flushed, Poll::Ready(Ok(()))));
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// Writes events as chunks until they end or the client closes the connection.
///
/// # Errors
/// Returns the error of the socket, or of the events.
pub async fn write(mut socket: impl AsyncRead + AsyncWrite + Unpin, events: Body) -> io::Result<()> {
    let mut events = events.into_data_stream();
    loop {
        let mut ignored = [0; 64];
        let mut next = tokio::select! {
            event = events.next() => Some(event),
            read = socket.read(&mut ignored) => match read? {
                0 => return Ok(()),
                _ => continue,
            },
        };
        let (mut batch, mut ended) = (Vec::new(), false);
        while let Some(event) = next {
            match event {
                Some(event) => push_chunk(&mut batch, &event.map_err(io::Error::other)?),
                None => ended = true,
            }
            let may_grow = !ended && batch.len() < BATCH_BYTES;
            next = if may_grow { events.next().now_or_never() } else { None };
        }
        if ended {
            batch.extend_from_slice(LAST_CHUNK);
        }
        socket.write_all(&batch).await?;
        // TLS keeps what the socket does not take at once.
        socket.flush().await?;
        if ended {
            return socket.shutdown().await;
        }
    }
}

/// Appends a chunk. An empty one would end the answer.
fn push_chunk(batch: &mut Vec<u8>, data: &[u8]) {
    if !data.is_empty() {
        batch.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
        batch.extend_from_slice(data);
        batch.extend_from_slice(b"\r\n");
    }
}
