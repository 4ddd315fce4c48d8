//! The results of a run, as tables and as JSON.

mod growth;
mod median;
mod results;
mod table;

pub use results::{
    ActResult, Cost, Curve, Delivered, GrowthPoint, IdleCost, Latency, Load, Measured, Point, ProcessUse, Ratio,
    Reconnect, Report, Results, Spread, StreamCost, Total,
};
pub use table::{delivered, figure, heading, load, ratios, reconnect_lines, results, spread};
