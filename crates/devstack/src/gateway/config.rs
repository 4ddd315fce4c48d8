//! The subset of kong.yml that this gateway supports. Any other setting is an error: a gateway that ignores a setting
//! that Kong applies would differ from production.

use std::collections::BTreeMap;
use std::num::NonZeroU32;
use std::path::Path;

use anyhow::{Context, Result, bail};
use axum::http::Uri;
use serde::Deserialize;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    #[serde(rename = "_format_version")]
    format_version: String,
    /// Whether Kong expands shorthands such as `url`. This gateway always does.
    #[serde(rename = "_transform")]
    transform: bool,
    pub services: Vec<KongService>,
    /// Routes without a service, which answer requests themselves.
    #[serde(default)]
    pub routes: Vec<BareRoute>,
    #[serde(default)]
    pub plugins: Vec<Plugin>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KongService {
    pub name: String,
    pub url: String,
    /// Milliseconds. The client of this gateway has connect and write timeouts of its own.
    #[serde(rename = "connect_timeout")]
    _connect_timeout: u64,
    #[serde(rename = "write_timeout")]
    _write_timeout: u64,
    /// Milliseconds.
    pub read_timeout: u64,
    pub routes: Vec<Route>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub name: String,
    /// Required, because Kong tries routes with methods before all routes without.
    pub methods: Vec<String>,
    pub paths: Vec<String>,
    /// Required, because Kong's default is true.
    pub strip_path: bool,
    /// Required to be false, because Kong's default is true and this gateway never buffers.
    response_buffering: bool,
    /// A limit of the route's own, which replaces the limit of all routes.
    #[serde(default)]
    pub plugins: Vec<OwnLimit>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "name", content = "config", rename_all = "kebab-case", deny_unknown_fields)]
pub enum OwnLimit {
    RateLimiting(RateLimiting),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BareRoute {
    #[serde(rename = "name")]
    _name: String,
    /// Required, as in [`Route`].
    pub methods: Vec<String>,
    pub paths: Vec<String>,
    pub plugins: Vec<RoutePlugin>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "name", content = "config", rename_all = "kebab-case", deny_unknown_fields)]
pub enum RoutePlugin {
    RequestTermination(Termination),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Termination {
    pub status_code: u16,
    pub message: String,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "name", content = "config", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Plugin {
    CorrelationId(CorrelationId),
    Cors(Cors),
    PreFunction(PreFunction),
    RateLimiting(RateLimiting),
    FileLog(FileLog),
    Prometheus(#[expect(dead_code, reason = "read to reject unknown fields")] Prometheus),
}

/// Metrics on Kong's status listener. This gateway has no such listener, and no service reads it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Prometheus {
    #[serde(rename = "status_code_metrics")]
    _status_code_metrics: bool,
    #[serde(rename = "latency_metrics")]
    _latency_metrics: bool,
    #[serde(rename = "bandwidth_metrics")]
    _bandwidth_metrics: bool,
    #[serde(rename = "upstream_health_metrics")]
    _upstream_health_metrics: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CorrelationId {
    pub header_name: String,
    #[serde(rename = "generator")]
    _generator: Generator,
    pub echo_downstream: bool,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Generator {
    Uuid,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cors {
    pub origins: Vec<String>,
    pub methods: Vec<String>,
    pub headers: Vec<String>,
    pub exposed_headers: Vec<String>,
    pub credentials: bool,
    pub max_age: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RateLimiting {
    pub minute: Option<NonZeroU32>,
    pub hour: Option<NonZeroU32>,
    /// The only supported key and store of counters: a header that the function sets.
    #[serde(rename = "limit_by")]
    _limit_by: LimitBy,
    #[serde(rename = "header_name")]
    pub counted: Counted,
    #[serde(rename = "policy")]
    _policy: Policy,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LimitBy {
    Header,
}

/// The header whose value is counted.
#[derive(Clone, Copy, Debug, Deserialize)]
pub enum Counted {
    #[serde(rename = "X-Client-Network")]
    Network,
    #[serde(rename = "X-Rate-Limit-Key")]
    Key,
}

/// The function that sets the headers that are counted and removes unsafe ids of requests. This gateway has it in Rust; a
/// test of the deployment files runs the one in Lua.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PreFunction {
    access: [String; 1],
}

/// The first line of the only supported function: the headers that it sets.
const FUNCTION: &str = "-- X-Client-Network, X-Rate-Limit-Key, X-Request-ID\n";

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Policy {
    Local,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileLog {
    path: String,
    #[serde(default)]
    custom_fields_by_lua: BTreeMap<String, String>,
}

/// The supported expressions for fields of the log. They leave out the query, which this gateway never logs.
const LUA_EXPRESSIONS: [&str; 2] = ["return nil", "return kong.request.get_path()"];

/// The file, from the root of the workspace.
pub const PATH: &str = "infrastructure/docker/kong/kong.yml";

impl Config {
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    pub fn parse(text: &str) -> Result<Self> {
        let config: Self = serde_yaml_ng::from_str(text)?;
        if config.format_version != "3.0" || !config.transform {
            bail!("_format_version must be 3.0 and _transform true");
        }
        config.services.iter().try_for_each(KongService::check)?;
        config.plugins.iter().try_for_each(Plugin::check)?;
        Ok(config)
    }
}

impl KongService {
    /// The host in `url`, which identifies the replicas.
    pub fn host(&self) -> Result<String> {
        let uri: Uri = self.url.parse().with_context(|| format!("url of {}", self.name))?;
        if uri.scheme_str() != Some("http") || !matches!(uri.path(), "" | "/") {
            bail!("url of {}: only http://host:port is supported", self.name);
        }
        Ok(uri.host().with_context(|| format!("url of {} has no host", self.name))?.to_owned())
    }

    fn check(&self) -> Result<()> {
        self.host()?;
        match self.routes.iter().find(|route| route.response_buffering) {
            Some(route) => {
                bail!("response_buffering of {} must be false: buffering would delay live events", route.name)
            }
            None => Ok(()),
        }
    }
}

impl Plugin {
    fn check(&self) -> Result<()> {
        match self {
            Self::FileLog(log) => log.check(),
            Self::PreFunction(function) if !function.access[0].starts_with(FUNCTION) => {
                bail!("pre-function: only the function that begins with `{}` is supported", FUNCTION.trim_end())
            }
            _ => Ok(()),
        }
    }
}

impl FileLog {
    fn check(&self) -> Result<()> {
        if self.path != "/dev/stdout" {
            bail!("file-log: only /dev/stdout is supported, not {}", self.path);
        }
        match self.custom_fields_by_lua.iter().find(|(_, lua)| !LUA_EXPRESSIONS.contains(&lua.as_str())) {
            Some((field, lua)) => bail!("file-log: `{lua}` for {field} is not supported"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = include_str!("../../../../infrastructure/docker/kong/kong.yml");

    fn error(text: &str) -> String {
        format!("{:#}", Config::parse(text).unwrap_err())
    }

    #[test]
    fn the_file_of_production_is_supported() {
        let config = Config::parse(FILE).unwrap();
        let hosts: Vec<_> = config.services.iter().map(|service| service.host().unwrap()).collect();
        assert_eq!(hosts, ["user-service", "friend-service", "chat-service", "web"]);
        assert_eq!(config.plugins.len(), 6);
    }

    #[test]
    fn unknown_plugins_are_rejected() {
        let text = FILE.replace("name: correlation-id", "name: bot-detection");
        assert!(error(&text).contains("bot-detection"), "{}", error(&text));
    }

    #[test]
    fn unknown_fields_are_rejected_at_every_level() {
        for (known, unknown) in [
            ("strip_path: false", "strip_path: false\n        preserve_host: true"),
            ("url: http://user-service:8005", "url: http://user-service:8005\n    retries: 3"),
            ("policy: local", "policy: local\n              fault_tolerant: true"),
            ("\n      header_name: X-Rate-Limit-Key", "\n      header_name: X-Rate-Limit-Key\n      sync_rate: 1"),
            ("status_code: 404", "status_code: 404\n          body: x"),
            ("_transform: true", "_transform: true\nconsumers: []"),
            ("- name: cors", "- name: cors\n    enabled: false"),
        ] {
            let text = FILE.replacen(known, unknown, 1);
            assert_ne!(text, FILE, "{known}");
            let key = unknown.rsplit_once(':').unwrap().0.split_whitespace().last().unwrap();
            assert!(error(&text).contains(key), "{key}: {}", error(&text));
        }
    }

    #[test]
    fn settings_that_kong_would_apply_differently_are_rejected() {
        for (supported, unsupported, reason) in [
            ("response_buffering: false", "response_buffering: true", "delay live events"),
            ("        response_buffering: false\n", "", "response_buffering"),
            ("        strip_path: false\n", "", "strip_path"),
            ("policy: local", "policy: redis", "redis"),
            ("limit_by: header", "limit_by: consumer", "consumer"),
            ("header_name: X-Client-Network", "header_name: X-Other", "X-Other"),
            ("header_name: X-Rate-Limit-Key", "header_name: X-Another", "X-Another"),
            ("-- X-Client-Network", "-- x", "only the function"),
            ("        methods: [GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS]\n", "", "methods"),
            ("path: /dev/stdout", "path: /tmp/log", "/tmp/log"),
            ("request.url: return nil", "request.url: return 1", "return 1"),
            ("http://user-service:8005", "https://user-service:8005", "only http"),
            ("\"3.0\"", "\"2.1\"", "3.0"),
        ] {
            let text = FILE.replacen(supported, unsupported, 1);
            assert_ne!(text, FILE, "{supported}");
            assert!(error(&text).contains(reason), "{supported}: {}", error(&text));
        }
    }
}
