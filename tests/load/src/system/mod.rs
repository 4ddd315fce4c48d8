//! The machine, and the CPU time and memory of the measured processes.

mod descriptors;
mod machine;
mod processes;

pub use descriptors::raise_limit;
pub use machine::Machine;
pub use processes::{ProcessChoice, Processes, Reading};
