//! The report as one HTML file: styles and plots are in it, and it loads nothing and runs no script.

mod axis;
mod bars;
mod curves;
mod escape;
mod lines;
mod page;
mod table;

pub use page::page;
