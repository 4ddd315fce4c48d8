//! HTTP as all services speak it: routes, documents, extractors, errors and the server.

mod app;
mod body;
mod document;
mod envelope;
mod event_stream;
mod extract;
mod layers;
mod serve;

pub use app::app;
pub use extract::{FormOrJson, Path, Query, Valid};
pub use layers::ClientAddress;
pub use serve::serve;

#[cfg(test)]
mod body_tests;
#[cfg(test)]
mod connection_tests;
#[cfg(test)]
mod tests;
