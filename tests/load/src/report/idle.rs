//! The cost of processes without load.

use serde::Serialize;

/// The CPU time of an idle process, in hundredths of a core.
#[derive(Clone, Debug, Serialize)]
pub struct IdleCost {
    pub name: String,
    pub percent_of_core: f64,
}
