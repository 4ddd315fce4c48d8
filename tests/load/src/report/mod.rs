//! The results of a run, as tables and as JSON.

mod growth;
mod idle;
mod median;
mod results;
mod streams;
mod table;

pub use idle::IdleCost;
pub use results::{
    ActResult, Cost, Curve, GrowthPoint, Latency, Load, Measured, Point, ProcessUse, Ratio, Report, Results, Spread,
    Total,
};
pub use streams::{Delivered, Reconnect, StreamCost};
pub use table::{delivered, figure, heading, load, ratios, reconnect_lines, results, spread};
