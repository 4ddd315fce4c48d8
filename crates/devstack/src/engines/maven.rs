//! The repository that Maven is configured for, and whether it can be reached.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{env, fs};

use anyhow::{Context, Result, bail};
use regex::Regex;
use reqwest::Url;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Maven's default, Maven Central.
const DEFAULT_REPOSITORY: &str = "https://repo.maven.apache.org/maven2";
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The server to which Maven connects for Maven Central: a proxy, a mirror, or Maven Central itself.
#[derive(Debug, PartialEq, Eq)]
pub struct Repository {
    host: String,
    port: u16,
}

impl Repository {
    /// Reads Maven's system properties and settings: those of the user first, then those of the installation.
    pub fn configured(maven: &Path) -> Result<Self> {
        let options = ["MAVEN_OPTS", "MAVEN_ARGS", "JAVA_TOOL_OPTIONS"].map(|name| env::var(name).unwrap_or_default());
        let user = env::home_dir().map(|home| home.join(".m2/settings.xml"));
        // `mvn` is a link to the folder `bin` of the installation.
        let home = maven.canonicalize()?.parent().and_then(Path::parent).map(|home| home.join("conf/settings.xml"));
        let paths: Vec<PathBuf> = user.into_iter().chain(home).collect();
        let settings: Vec<_> = paths.iter().map(|path| fs::read_to_string(path).unwrap_or_default()).collect();
        Self::parse(&options.join(" "), &settings)
    }

    fn parse(options: &str, settings: &[String]) -> Result<Self> {
        if let Some(host) = property(options, "https.proxyHost") {
            let port = property(options, "https.proxyPort").and_then(|port| port.parse().ok()).unwrap_or(443);
            return Ok(Self { host, port });
        }
        let comment = Regex::new("(?s)<!--.*?-->")?;
        let settings: Vec<_> = settings.iter().map(|text| comment.replace_all(text, "").into_owned()).collect();
        let proxies = settings.iter().flat_map(|text| elements(text, "proxy"));
        if let Some(proxy) = proxies.into_iter().find(|proxy| element(proxy, "active").is_none_or(|on| on == "true")) {
            let port = element(&proxy, "port").and_then(|port| port.parse().ok()).unwrap_or(8080);
            return Ok(Self { host: element(&proxy, "host").context("a proxy of Maven has no host")?, port });
        }
        let mirrors = settings.iter().flat_map(|text| elements(text, "mirror"));
        let mirror =
            mirrors.into_iter().find(|mirror| element(mirror, "mirrorOf").is_some_and(|of| covers_central(&of)));
        let url = mirror.and_then(|mirror| element(&mirror, "url")).unwrap_or_else(|| DEFAULT_REPOSITORY.into());
        let url = Url::parse(&url).with_context(|| format!("Maven's repository {url}"))?;
        let port = url.port_or_known_default().unwrap_or(443);
        Ok(Self { host: url.host_str().context("Maven's repository has no host")?.into(), port })
    }

    /// Connects, which takes 2 s at most.
    pub async fn ensure_reachable(&self) -> Result<()> {
        let Self { host, port } = self;
        match timeout(CONNECT_TIMEOUT, TcpStream::connect((host.as_str(), *port))).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => bail!("Maven's repository {host}:{port} cannot be reached ({error})"),
            Err(_) => bail!("Maven's repository {host}:{port} did not answer within {} s", CONNECT_TIMEOUT.as_secs()),
        }
    }
}

/// The value of `-Dname=value`.
fn property(options: &str, name: &str) -> Option<String> {
    options.split_whitespace().find_map(|option| option.strip_prefix(&format!("-D{name}=")).map(str::to_owned))
}

/// The contents of all elements of a name that has no attributes.
fn elements(xml: &str, name: &str) -> Vec<String> {
    let (start, end) = (format!("<{name}>"), format!("</{name}>"));
    let contents = xml.split(start.as_str()).skip(1).filter_map(|rest| rest.split_once(end.as_str()));
    contents.map(|(content, _)| content.trim().to_owned()).collect()
}

fn element(xml: &str, name: &str) -> Option<String> {
    elements(xml, name).into_iter().next()
}

/// Whether a list such as `*,!internal` covers the repository `central`.
fn covers_central(mirror_of: &str) -> bool {
    let mut names = mirror_of.split(',').map(str::trim);
    names.clone().all(|name| name != "!central") && names.any(|name| ["*", "central", "external:*"].contains(&name))
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    fn repository(options: &str, settings: &str) -> (String, u16) {
        let Repository { host, port } = Repository::parse(options, &[settings.into(), String::new()]).unwrap();
        (host, port)
    }

    #[test]
    fn maven_central_is_the_default() {
        assert_eq!(repository("", "<settings/>"), ("repo.maven.apache.org".into(), 443));
    }

    #[test]
    fn a_mirror_of_central_replaces_it_and_other_mirrors_do_not() {
        let mirror =
            |of: &str| format!("<mirror><mirrorOf>{of}</mirrorOf><url>http://mirror.example:81/m</url></mirror>");
        for of in ["*", "central", "external:*", "*,!internal"] {
            assert_eq!(repository("", &mirror(of)), ("mirror.example".into(), 81), "{of}");
        }
        for of in ["external:http:*", "internal", "*,!central"] {
            assert_eq!(repository("", &mirror(of)).0, "repo.maven.apache.org", "{of}");
        }
        assert_eq!(repository("", &format!("<!-- {} -->", mirror("*"))).0, "repo.maven.apache.org");
    }

    #[test]
    fn a_proxy_comes_before_mirrors() {
        let proxy = "<proxy><active>true</active><host>proxy.example</host><port>3128</port></proxy>";
        assert_eq!(repository("", proxy), ("proxy.example".into(), 3128));
        assert_eq!(repository("", &proxy.replace("true", "false")).0, "repo.maven.apache.org");
        let options = "-Xmx1g -Dhttps.proxyHost=proxy.example -Dhttps.proxyPort=3128";
        assert_eq!(repository(options, ""), ("proxy.example".into(), 3128));
    }

    #[tokio::test]
    async fn a_port_that_nobody_listens_on_is_told_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let repository = Repository { host: "127.0.0.1".into(), port: listener.local_addr().unwrap().port() };
        repository.ensure_reachable().await.unwrap();
        drop(listener);
        let refused = repository.ensure_reachable().await.unwrap_err().to_string();
        assert!(refused.contains(&format!("127.0.0.1:{} cannot be reached", repository.port)), "{refused}");
    }
}
