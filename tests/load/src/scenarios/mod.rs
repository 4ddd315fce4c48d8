//! The scenarios: which acts run, with which load.

mod acts;
mod cost;
mod files;
mod fleet;
mod growth;
mod mixed;
mod reconnect;
mod run;
mod story;
mod streams;

pub use acts::act;
pub use cost::costs;
pub use files::files;
pub use growth::growth;
pub use mixed::mixed;
pub use reconnect::reconnect;
pub use run::Run;
pub use story::stories;
pub use streams::streams;
