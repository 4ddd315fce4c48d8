//! A server for the router of a service, on a port of its own.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use platform::{Platform, http};
use tokio::net::TcpListener;

use crate::{Client, eventually};

/// A running service. It ends when it is dropped.
pub struct Server {
    /// The base URL, without a trailing slash.
    pub url: String,
    platform: Platform,
}

impl Server {
    /// Starts a server and waits until the service is ready.
    pub async fn start(platform: Platform, app: Router) -> Self {
        Self::start_on(free_port().await, platform, app).await
    }

    /// Starts a server on a port whose address other services already know, and waits until the service is ready.
    pub async fn start_on(listener: TcpListener, platform: Platform, app: Router) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let serving = platform.clone();
        tokio::spawn(async move { http::serve(listener, app, &serving).await });
        let server = Self { url, platform };
        let client = server.client("");
        eventually("the service is ready", || async { client.get("/health/ready").await.ok().then_some(()) }).await;
        server
    }

    /// A client with this token; anonymous if it is empty.
    pub fn client(&self, token: &str) -> Client {
        Client::new(&self.url, token)
    }

    /// The platform of the service.
    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Ends the service as SIGTERM does, without the time for load balancers.
    pub async fn stop(&self) {
        self.platform.shutdown.stop(Duration::from_secs(10)).await;
    }
}

/// A port of this machine that no one else uses.
pub async fn free_port() -> TcpListener {
    TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap()
}

impl Drop for Server {
    fn drop(&mut self) {
        let shutdown = self.platform.shutdown.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { shutdown.stop(Duration::ZERO).await });
        }
    }
}
