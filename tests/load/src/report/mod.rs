//! The results of a run, as tables and as JSON.

mod growth;
mod results;
mod table;

pub use results::{ActResult, Cost, IdleCost, Load, Measured, Point, ProcessUse, Report, StreamCost};
pub use table::{costs, figure, heading, load, measured, streams};
