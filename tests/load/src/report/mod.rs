//! The results of a run, as tables and as JSON.

mod growth;
mod median;
mod results;
mod table;

pub use results::{
    ActResult, Cost, IdleCost, Load, Measured, Point, ProcessUse, Ratio, Report, Results, Spread, StreamCost, Total,
};
pub use table::{figure, heading, load, ratios, results, spread};
