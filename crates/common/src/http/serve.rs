//! Serving until told to stop, and stopping without breaking a promise.

use std::net::SocketAddr;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;

use crate::shutdown::Shutdown;

/// Serves until shutdown, then lets every request that has begun end.
pub async fn serve(listener: TcpListener, app: Router, shutdown: &Shutdown) -> std::io::Result<()> {
    // Small answers and events leave at once instead of waiting to be packed with others.
    let listener = listener.tap_io(|stream| {
        if let Err(e) = stream.set_nodelay(true) {
            tracing::debug!(error = %e, "TCP_NODELAY refused");
        }
    });
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    let closing = shutdown.clone();
    axum::serve(listener, app).with_graceful_shutdown(async move { closing.closing().await }).await
}
