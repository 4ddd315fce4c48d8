//! The log.

use common::config::{ConfigError, Env, error};
use tracing_subscriber::filter::{Directive, LevelFilter};

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
    /// Returns an error for a level, a format or a `DEBUG` that does not exist.
    pub fn read(env: &Env) -> Result<Self, ConfigError> {
        let json = log_json(env, !env.flag("DEBUG", false)?)?;
        Ok(Self { level: log_level(env)?, json })
    }
}

/// A word that is no level would be the name of a module, and the log of everything else would be off.
fn log_level(env: &Env) -> Result<String, ConfigError> {
    let level = env.text("LOG_LEVEL", "info").to_lowercase().replace(' ', "");
    let is_valid = |directive: &str| match directive.contains('=') {
        true => directive.parse::<Directive>().is_ok(),
        false => directive.parse::<LevelFilter>().is_ok(),
    };
    match level.split(',').find(|directive| !is_valid(directive)) {
        None => Ok(level),
        Some(directive) => Err(error(
            "LOG_LEVEL",
            format!(
                "{directive:?} is neither off, error, warn, info, debug or trace nor a filter such as engines=debug"
            ),
        )),
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
