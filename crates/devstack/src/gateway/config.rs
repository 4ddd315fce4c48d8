//! kong.yml as far as we know it. Whatever else stands in it is refused: a gateway that ignores what production obeys
//! shows nothing.

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
    /// Whether Kong completes shorthands such as `url`; ours are always completed.
    #[serde(rename = "_transform")]
    transform: bool,
    pub services: Vec<Service>,
    /// Routes without a service: they answer themselves.
    #[serde(default)]
    pub routes: Vec<BareRoute>,
    #[serde(default)]
    pub plugins: Vec<Plugin>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Service {
    pub name: String,
    pub url: String,
    /// Milliseconds, as in Kong. Our client has connect and write timeouts of its own.
    #[serde(rename = "connect_timeout")]
    _connect_timeout: u64,
    #[serde(rename = "write_timeout")]
    _write_timeout: u64,
    pub read_timeout: u64,
    pub routes: Vec<Route>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Route {
    pub name: String,
    pub paths: Vec<String>,
    /// Kong strips unless told otherwise, so it has to be said.
    pub strip_path: bool,
    /// Kong buffers unless told otherwise, and we never do.
    response_buffering: bool,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BareRoute {
    #[serde(rename = "name")]
    _name: String,
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
    RateLimiting(RateLimiting),
    FileLog(FileLog),
    Prometheus(#[expect(dead_code, reason = "it is read so that unknown fields are refused")] Prometheus),
}

/// Numbers that Kong shows on its status listener. We have no such listener, and nobody behind the gateway sees it.
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
    /// The only key and the only place of counting that we know.
    #[serde(rename = "limit_by")]
    _limit_by: LimitBy,
    #[serde(rename = "policy")]
    _policy: Policy,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum LimitBy {
    Ip,
}

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

/// What the log may be told to do with a field: we log the path only, so these hold already.
const LUA: [&str; 2] = ["return nil", "return kong.request.get_path()"];

impl Config {
    pub fn load(path: &Path) -> Result<Self> {
        let text = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Self::parse(&text).with_context(|| path.display().to_string())
    }

    fn parse(text: &str) -> Result<Self> {
        let config: Self = serde_yaml_ng::from_str(text)?;
        if config.format_version != "3.0" || !config.transform {
            bail!("_format_version must be 3.0 and _transform true");
        }
        config.services.iter().try_for_each(Service::check)?;
        config.plugins.iter().try_for_each(Plugin::check)?;
        Ok(config)
    }
}

impl Service {
    /// The name under which production finds it, and by which we find its replicas.
    pub fn host(&self) -> Result<String> {
        let uri: Uri = self.url.parse().with_context(|| format!("url of {}", self.name))?;
        if uri.scheme_str() != Some("http") || !matches!(uri.path(), "" | "/") {
            bail!("url of {}: only http://host:port is known", self.name);
        }
        Ok(uri.host().with_context(|| format!("url of {} names no host", self.name))?.to_owned())
    }

    fn check(&self) -> Result<()> {
        self.host()?;
        match self.routes.iter().find(|route| route.response_buffering) {
            Some(route) => bail!("response_buffering of {} must be false: it would hold back live events", route.name),
            None => Ok(()),
        }
    }
}

impl Plugin {
    fn check(&self) -> Result<()> {
        let Self::FileLog(log) = self else { return Ok(()) };
        if log.path != "/dev/stdout" {
            bail!("file-log: only /dev/stdout is known, not {}", log.path);
        }
        match log.custom_fields_by_lua.iter().find(|(_, lua)| !LUA.contains(&lua.as_str())) {
            Some((field, lua)) => bail!("file-log: `{lua}` for {field} is not known"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    pub const FILE: &str = include_str!("../../../../infrastructure/docker/kong/kong.yml");

    fn refusal(text: &str) -> String {
        format!("{:#}", Config::parse(text).unwrap_err())
    }

    #[test]
    fn the_file_of_production_is_understood() {
        let config = Config::parse(FILE).unwrap();
        let hosts: Vec<_> = config.services.iter().map(|service| service.host().unwrap()).collect();
        assert_eq!(hosts, ["user-service", "friend-service", "chat-service", "web"]);
        assert_eq!(config.plugins.len(), 5);
    }

    #[test]
    fn unknown_plugins_are_refused() {
        let text = FILE.replace("name: correlation-id", "name: bot-detection");
        assert!(refusal(&text).contains("bot-detection"), "{}", refusal(&text));
    }

    #[test]
    fn unknown_fields_are_refused_wherever_they_stand() {
        for (known, unknown) in [
            ("strip_path: false", "strip_path: false\n        preserve_host: true"),
            ("url: http://user-service:8005", "url: http://user-service:8005\n    retries: 3"),
            ("policy: local", "policy: local\n      fault_tolerant: true"),
            ("status_code: 404", "status_code: 404\n          body: x"),
            ("_transform: true", "_transform: true\nconsumers: []"),
            ("- name: cors", "- name: cors\n    enabled: false"),
        ] {
            let text = FILE.replacen(known, unknown, 1);
            assert_ne!(text, FILE, "{known}");
            let key = unknown.rsplit_once(':').unwrap().0.split_whitespace().last().unwrap();
            assert!(refusal(&text).contains(key), "{key}: {}", refusal(&text));
        }
    }

    #[test]
    fn what_kong_would_do_otherwise_than_we_is_refused() {
        for (ours, theirs, why) in [
            ("response_buffering: false", "response_buffering: true", "hold back"),
            ("        response_buffering: false\n", "", "response_buffering"),
            ("        strip_path: false\n", "", "strip_path"),
            ("policy: local", "policy: redis", "redis"),
            ("limit_by: ip", "limit_by: consumer", "consumer"),
            ("path: /dev/stdout", "path: /tmp/log", "/tmp/log"),
            ("request.url: return nil", "request.url: return 1", "return 1"),
            ("http://user-service:8005", "https://user-service:8005", "only http"),
            ("\"3.0\"", "\"2.1\"", "3.0"),
        ] {
            let text = FILE.replacen(ours, theirs, 1);
            assert_ne!(text, FILE, "{ours}");
            assert!(refusal(&text).contains(why), "{ours}: {}", refusal(&text));
        }
    }
}
