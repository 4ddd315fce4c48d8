//! The rules of how two people may come to relate. No I/O.

mod pair;
pub mod refusal;
mod standing;

pub use pair::Pair;
pub use standing::{Relation, Standing, Status};
