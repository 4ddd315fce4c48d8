//! The services and the environment variables that they read.

use std::collections::BTreeSet;

use common::config::{ConfigError, Env};
use platform::Service;
use platform::config::Base;

use crate::Variables;

/// The program of one of the three services.
#[derive(Clone, Copy)]
pub struct Program {
    pub service: Service,
    read: fn(&Env) -> Result<(), ConfigError>,
}

impl Program {
    pub const ALL: [Self; 3] = [
        Self { service: user_service::SERVICE, read: |env| user_service::Config::read(env).map(drop) },
        Self { service: friend_service::SERVICE, read: |env| friend_service::Config::read(env).map(drop) },
        Self { service: chat_service::SERVICE, read: |env| chat_service::Config::read(env).map(drop) },
    ];

    pub fn name(&self) -> &'static str {
        self.service.name
    }

    /// Reads the configuration as the program does when it starts.
    pub fn configure(&self, variables: &Variables) -> Result<Base, ConfigError> {
        self.read_from(&Env::of(variables.clone()))
    }

    fn read_from(&self, env: &Env) -> Result<Base, ConfigError> {
        let base = Base::read(env, self.service.name, self.service.port)?;
        (self.read)(env)?;
        Ok(base)
    }

    /// Every variable that the program may read. It reads whole URLs first, and their parts only if the URLs are not set.
    pub fn reads(&self) -> BTreeSet<String> {
        let whole = [("MYSQL_URL", "mysql://a@b/c"), ("MONGO_URL", "mongodb://b")];
        let parts = [("MYSQL_HOST", "b"), ("MONGODB_HOST", "b")];
        let mut reads = BTreeSet::new();
        for stores in [whole, parts] {
            let env = [("SECRET_KEY", "s")].into_iter().chain(stores);
            let env = Env::of(env.map(|(name, value)| (name, value.to_owned())));
            self.read_from(&env).unwrap();
            reads.extend(env.variables_read());
        }
        reads
    }
}
