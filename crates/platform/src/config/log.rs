//! The log.

use common::config::{ConfigError, Env, error};

/// The log.
#[derive(Clone, Debug)]
pub struct LogConfig {
    /// `LOG_LEVEL`: the directives of the log, by default `info`.
    pub level: String,
    /// `LOG_FORMAT`: one JSON object per line, or readable lines, as by default with `DEBUG`.
    pub json: bool,
}

impl LogConfig {
    /// Reads the variables of the log.
    ///
    /// # Errors
    /// Returns an error for a format or a `DEBUG` that does not exist.
    pub fn read(env: &Env) -> Result<Self, ConfigError> {
        let json = log_json(env, !env.flag("DEBUG", false)?)?;
        Ok(Self { level: env.text("LOG_LEVEL", "info").to_lowercase(), json })
    }
}

fn log_json(env: &Env, default: bool) -> Result<bool, ConfigError> {
    match env.get("LOG_FORMAT") {
        None => Ok(default),
        Some("json") => Ok(true),
        Some("text") => Ok(false),
        Some(other) => Err(error("LOG_FORMAT", format!("{other:?} is neither json nor text"))),
    }
}
