//! The real router of a service on a port of its own.

use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use common::platform::Platform;
use tokio::net::TcpListener;

use crate::{Client, eventually};

/// A running service; it ends with the test.
pub struct Server {
    pub url: String,
    platform: Platform,
}

impl Server {
    /// Serves and waits until the service is ready.
    pub async fn start(platform: Platform, app: Router) -> Self {
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shutdown = platform.shutdown.clone();
        tokio::spawn(async move { common::http::serve(listener, app, &shutdown).await.unwrap() });
        let server = Self { url, platform };
        let client = server.client("");
        eventually("the service is ready", || async { client.get("/health/ready").await.ok().then_some(()) }).await;
        server
    }

    /// A client with this token; none where it is empty.
    pub fn client(&self, token: &str) -> Client {
        Client::new(&self.url, token)
    }

    pub fn platform(&self) -> &Platform {
        &self.platform
    }

    /// Ends the service as SIGTERM would, without the time for balancers.
    pub async fn stop(&self) {
        self.platform.shutdown.stop(Duration::from_secs(10)).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let shutdown = self.platform.shutdown.clone();
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move { shutdown.stop(Duration::ZERO).await });
        }
    }
}
