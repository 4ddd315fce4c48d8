//! The identity of a service.

use common::error::Detail;

/// The names of a service, its port and the conventions of its clients.
#[derive(Clone, Copy, Debug)]
pub struct Service {
    /// The name in metrics and logs, such as `user-service`.
    pub name: &'static str,
    /// The name in /health and the API document, such as `User Service`.
    pub title: &'static str,
    /// The port, unless `PORT` has another.
    pub port: u16,
    /// The form of `detail` in error answers.
    pub refusals: Detail,
    /// Whether the service has the login, so that Swagger's Authorize button can use it.
    pub password_flow: bool,
}
