//! The addresses of the measured system.

use std::env;
use std::net::IpAddr;
use std::str::FromStr;

use anyhow::{Context, Error, Result, bail, ensure};
use reqwest::Url;
use serde::Serialize;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    User,
    Friend,
    Chat,
}

impl Service {
    pub const ALL: [Self; 3] = [Self::User, Self::Friend, Self::Chat];

    pub fn name(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Friend => "friend",
            Self::Chat => "chat",
        }
    }
}

/// `user=http://127.0.0.1:8005`
#[derive(Clone, Debug)]
pub struct ServiceUrl {
    service: Service,
    url: String,
}

impl FromStr for ServiceUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, url) = text.split_once('=').ok_or("the format is user=URL, friend=URL or chat=URL")?;
        let service = Service::ALL.into_iter().find(|service| service.name() == name);
        let service = service.ok_or_else(|| format!("`{name}` is not one of user, friend, chat"))?;
        Ok(Self { service, url: url.trim_end_matches('/').to_owned() })
    }
}

/// Base URLs of the replicas of each service, without a slash at the end. No list is empty.
#[derive(Clone, Debug, Serialize)]
pub struct Target {
    user: Vec<String>,
    friend: Vec<String>,
    chat: Vec<String>,
    /// The addresses are those of the running stack, whose processes are known.
    pub is_stack: bool,
}

impl Target {
    /// # Errors
    /// Fails without an address of each service, or if one is not a valid URL.
    pub fn choose(urls: &[ServiceUrl], gateway: Option<&Option<String>>) -> Result<Self> {
        let target = match gateway {
            Some(Some(url)) => Self::behind(url, false),
            Some(None) => Self::behind(&variable("GATEWAY_URL")?, true),
            None if urls.is_empty() => Self::of_stack()?,
            None => Self::of_services(urls)?,
        };
        target.all().try_for_each(|base| parse(base).map(drop))?;
        Ok(target)
    }

    fn behind(gateway: &str, is_stack: bool) -> Self {
        let base = vec![format!("{}/api", gateway.trim_end_matches('/'))];
        Self { user: base.clone(), friend: base.clone(), chat: base, is_stack }
    }

    fn of_stack() -> Result<Self> {
        let of = |name| Ok::<_, Error>(variable(name)?.split(',').map(str::to_owned).collect());
        Ok(Self { user: of("USER_URLS")?, friend: of("FRIEND_URLS")?, chat: of("CHAT_URLS")?, is_stack: true })
    }

    fn of_services(urls: &[ServiceUrl]) -> Result<Self> {
        let of = |service: Service| {
            let given = urls.iter().filter(|given| given.service == service).map(|given| given.url.clone());
            let given: Vec<_> = given.collect();
            ensure!(!given.is_empty(), "the address of the service is missing: --url {}=URL", service.name());
            Ok(given)
        };
        Ok(Self { user: of(Service::User)?, friend: of(Service::Friend)?, chat: of(Service::Chat)?, is_stack: false })
    }

    /// The replicas of a service, or the gateway alone.
    pub fn replicas(&self, service: Service) -> &[String] {
        match service {
            Service::User => &self.user,
            Service::Friend => &self.friend,
            Service::Chat => &self.chat,
        }
    }

    /// The replica that a client asks: the next client asks the next one.
    pub fn base(&self, service: Service, client: usize) -> &str {
        let replicas = self.replicas(service);
        &replicas[client % replicas.len()]
    }

    /// The addresses, each once, for a heading, and the number of replicas if a service has several.
    pub fn describe(&self) -> String {
        let mut bases: Vec<_> = self.all().collect();
        bases.dedup();
        let several = Service::ALL.into_iter().filter(|service| self.replicas(*service).len() > 1);
        let several =
            several.map(|service| format!("{} replicas of {}-service", self.replicas(service).len(), service.name()));
        let several: Vec<_> = several.collect();
        match several.is_empty() {
            true => bases.join(", "),
            false => format!("{} ({})", bases.join(", "), several.join(", ")),
        }
    }

    /// Whether all addresses are of this machine's loopback interface.
    pub fn is_local(&self) -> bool {
        self.all().all(|base| parse(base).is_ok_and(|url| is_local(&url)))
    }

    fn all(&self) -> impl Iterator<Item = &str> {
        Service::ALL.into_iter().flat_map(|service| self.replicas(service)).map(String::as_str)
    }
}

/// Whether an address is of this machine's loopback interface.
pub fn is_local(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost" || host.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

fn parse(base: &str) -> Result<Url> {
    let url = Url::parse(base).with_context(|| format!("`{base}` is not a URL"))?;
    ensure!(matches!(url.scheme(), "http" | "https"), "`{base}` does not begin with http:// or https://");
    ensure!(url.has_host(), "`{base}` has no host");
    Ok(url)
}

/// A variable that `cargo stack env` prints.
fn variable(name: &str) -> Result<String> {
    match env::var(name) {
        Ok(value) => Ok(value),
        Err(_) => bail!(
            "no stack is running; start it with `cargo stack up --release --detach`, or name a system by --gateway or --url"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn urls(given: &[&str]) -> Vec<ServiceUrl> {
        given.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn every_service_needs_an_address() {
        let error = Target::choose(&urls(&["user=http://a", "chat=http://b"]), None).unwrap_err();
        assert!(error.to_string().contains("--url friend=URL"), "{error}");
    }

    #[test]
    fn an_address_of_an_unknown_service_is_refused() {
        assert!("users=http://127.0.0.1:1".parse::<ServiceUrl>().is_err());
        assert!("http://127.0.0.1:1".parse::<ServiceUrl>().is_err());
    }

    #[test]
    fn only_loopback_addresses_are_local() {
        let is_local = |gateway: &str| Target::choose(&[], Some(&Some(gateway.into()))).unwrap().is_local();
        assert!(is_local("http://127.0.0.1:8000/"));
        assert!(is_local("http://localhost:8000"));
        assert!(is_local("http://[::1]:8000"));
        assert!(!is_local("https://chat.example.com"));
        assert!(!is_local("http://10.0.0.1"));
    }

    #[test]
    fn an_address_without_a_scheme_is_refused() {
        for gateway in ["chat.example.com", "ftp://127.0.0.1", "localhost:8000"] {
            assert!(Target::choose(&[], Some(&Some(gateway.into()))).is_err(), "{gateway}");
        }
    }

    #[test]
    fn a_gateway_has_the_api_below_a_prefix() {
        let target = Target::choose(&[], Some(&Some("http://127.0.0.1:8000/".into()))).unwrap();
        assert_eq!(target.replicas(Service::Chat), ["http://127.0.0.1:8000/api"]);
        assert_eq!(target.describe(), "http://127.0.0.1:8000/api");
    }

    #[test]
    fn clients_ask_the_replicas_in_turn() {
        let given = urls(&[
            "user=http://127.0.0.1:1",
            "friend=http://127.0.0.1:2",
            "chat=http://127.0.0.1:3",
            "chat=http://127.0.0.1:4/",
        ]);
        let target = Target::choose(&given, None).unwrap();
        let ports = [0, 1, 2].map(|client| target.base(Service::Chat, client).rsplit_once(':').unwrap().1);
        assert_eq!(ports, ["3", "4", "3"]);
        assert_eq!(target.base(Service::User, 1), "http://127.0.0.1:1");
        assert!(
            target.describe().ends_with("http://127.0.0.1:4 (2 replicas of chat-service)"),
            "{}",
            target.describe()
        );
    }
}
