//! The gateway's configuration.

#[path = "../../../crates/devstack/src/gateway/config.rs"]
#[allow(dead_code, unreachable_pub, reason = "the gateway uses the rest")]
mod config;
#[path = "../../../crates/devstack/src/gateway/route.rs"]
#[allow(dead_code, unreachable_pub, reason = "the gateway uses the rest")]
mod route;

use config::Config;
use route::Routes;

/// A file is refused, or every service of it has a host and its routes match without exceeding the path.
pub fn kong(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    let Ok(config) = Config::parse(text) else { return };
    assert!(config.services.iter().all(|service| service.host().is_ok()));
    let paths = config.services.iter().flat_map(|service| &service.routes).flat_map(|route| route.paths.clone());
    let Ok(routes) = Routes::new(paths.map(|path| (path, ()))) else { return };
    for path in ["/", "/api/messages/stream/1", "//", "/api/users/1/exists"] {
        assert!(routes.find(path, |()| true).is_none_or(|found| found.matched <= path.len()));
    }
}
