//! The rules of relationships: plain types and functions, no I/O.

mod limits;
mod pair;
pub mod refusal;
mod relationship;

pub use limits::{RelationLimits, RequestLimits, SentRequests};
pub use pair::Pair;
pub use relationship::{Relation, Relationship, Status};
