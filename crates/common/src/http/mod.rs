//! The HTTP side that is the same in all three services.

mod app;
pub mod context;
mod document;
mod extract;
mod layers;
mod serve;

pub use app::{Detail, Service, app};
pub use extract::{FormOrJson, Path, Query, Valid};
pub use layers::ClientAddress;
pub use serve::serve;

#[cfg(test)]
mod tests;
