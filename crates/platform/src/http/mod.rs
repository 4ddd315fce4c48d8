//! HTTP as all services speak it: routes, documents, extractors, errors, the server and the clients.

mod app;
mod body;
mod call;
mod certificate;
mod document;
mod envelope;
mod event_stream;
mod example;
mod extract;
mod layers;
mod probe;
mod serve;

pub use app::app;
pub use call::{CallTls, cause};
pub use certificate::ServerCertificate;
pub use extract::{FormOrJson, Path, Query, Valid};
pub use layers::ClientAddress;
pub use probe::probe;
pub use serve::serve;

#[cfg(test)]
mod body_tests;
#[cfg(test)]
mod call_tests;
#[cfg(test)]
mod connection_tests;
#[cfg(test)]
pub(crate) mod tests;
#[cfg(test)]
pub(crate) mod tls_tests;
