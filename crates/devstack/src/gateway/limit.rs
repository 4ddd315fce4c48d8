//! The plugin rate-limiting: limits per minute and per hour for each network of clients, or for each key in it.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::http::header::{AUTHORIZATION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use common::network::network_of;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

use super::config::{Counted, RateLimiting};

/// The number of keys of a network for requests with a token. The limit of a key times this number is the limit of all
/// requests with tokens from one network, whatever tokens they invent.
const KEYS: u32 = 1024;

/// The bytes of a signature that choose the key. Signatures are random, so a few suffice.
const SIGNATURE_BYTES: usize = 16;

/// The beginnings of the paths of the services.
const OF_SERVICES: [&str; 6] =
    ["/api/auth/", "/api/profile/", "/api/users", "/api/friends", "/api/chat-rooms", "/api/messages"];

/// Among them, those of operations that verify no token, and of streams, which a ticket opens.
const WITHOUT_TOKEN: [&str; 4] = ["/api/auth/login", "/api/auth/register", "/api/auth/refresh", "/api/messages/stream"];

pub struct RateLimits {
    counted: Counted,
    limits: Vec<RateLimit>,
}

/// The clients that share a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LimitKey {
    network: IpAddr,
    /// One of [`KEYS`] for a request with a token.
    key: Option<u32>,
}

/// A limit that refills steadily. Kong counts by calendar minutes and hours instead. No minute or hour has more requests
/// under this limit than Kong may allow.
struct RateLimit {
    limit: NonZeroU32,
    limit_header: HeaderName,
    remaining_header: HeaderName,
    limiter: RateLimiter<LimitKey, DefaultKeyedStateStore<LimitKey>, DefaultClock, StateInformationMiddleware>,
}

/// Whether a request is allowed, and the headers of its response.
pub struct Decision {
    pub allowed: bool,
    pub headers: HeaderMap,
}

impl LimitKey {
    /// The key of a request by this client. The function in kong.yml computes the same.
    ///
    /// A token is not verified here, so its claims choose nothing: an attacker could count requests for another user. The
    /// signature is known to nobody but the user, and an invented one gets one of the same [`KEYS`] of its network. A request
    /// whose token no service verifies counts for the network.
    pub fn of(client: IpAddr, path: &str, headers: &HeaderMap) -> Self {
        let signature = headers.get(AUTHORIZATION).and_then(|it| signature_of(it.as_bytes()));
        let is_under = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
        let signature = signature.filter(|_| is_under(&OF_SERVICES) && !is_under(&WITHOUT_TOKEN));
        let key = |signature: &[u8]| {
            let bytes = signature.iter().take(SIGNATURE_BYTES);
            bytes.fold(0, |key, byte| (key * 31 + u32::from(*byte)) % KEYS)
        };
        Self { network: network_of(client), key: signature.map(key) }
    }
}

/// The signature of a bearer token in the form of a JWT.
fn signature_of(authorization: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = authorization.split_at_checked("bearer ".len())?;
    let parts: Vec<&[u8]> = token.split(|b| *b == b'.').collect();
    let [_, _, signature] = parts[..] else { return None };
    let is_base64 =
        |part: &&[u8]| !part.is_empty() && part.iter().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(b));
    (scheme.eq_ignore_ascii_case(b"bearer ") && parts.iter().all(is_base64)).then_some(signature)
}

impl RateLimits {
    pub fn new(plugin: &RateLimiting) -> Self {
        let limits = [
            plugin.minute.map(|limit| {
                let names = ("x-ratelimit-limit-minute", "x-ratelimit-remaining-minute");
                RateLimit::new(limit, Quota::per_minute(limit), names)
            }),
            plugin.hour.map(|limit| {
                let names = ("x-ratelimit-limit-hour", "x-ratelimit-remaining-hour");
                RateLimit::new(limit, Quota::per_hour(limit), names)
            }),
        ];
        Self { counted: plugin.counted, limits: limits.into_iter().flatten().collect() }
    }

    pub fn check(&self, key: LimitKey) -> Decision {
        let mut decision = Decision { allowed: true, headers: HeaderMap::new() };
        let mut tightest = u32::MAX;
        let key = match self.counted {
            Counted::Network => LimitKey { key: None, ..key },
            Counted::Key => key,
        };
        for rate in &self.limits {
            let (remaining, wait) = rate.take(key);
            let headers = &mut decision.headers;
            headers.insert(rate.limit_header.clone(), rate.limit.get().into());
            headers.insert(rate.remaining_header.clone(), remaining.into());
            if remaining < tightest {
                tightest = remaining;
                headers.insert("ratelimit-limit", rate.limit.get().into());
                headers.insert("ratelimit-remaining", remaining.into());
            }
            if let Some(wait) = wait {
                decision.allowed = false;
                headers.insert(RETRY_AFTER, seconds(wait));
                headers.insert("ratelimit-reset", seconds(wait));
            }
        }
        decision
    }
}

impl RateLimit {
    fn new(limit: NonZeroU32, quota: Quota, names: (&'static str, &'static str)) -> Self {
        Self {
            limit,
            limit_header: HeaderName::from_static(names.0),
            remaining_header: HeaderName::from_static(names.1),
            limiter: RateLimiter::keyed(quota).with_middleware(),
        }
    }

    /// The number of remaining requests, and the time until the next one if there is none.
    fn take(&self, key: LimitKey) -> (u32, Option<Duration>) {
        match self.limiter.check_key(&key) {
            Ok(state) => (state.remaining_burst_capacity(), None),
            Err(refused) => (0, Some(refused.wait_time_from(DefaultClock::default().now()))),
        }
    }
}

/// Whole seconds, rounded up.
fn seconds(wait: Duration) -> HeaderValue {
    (wait.as_secs() + 1).into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn limits(minute: u32, hour: u32) -> RateLimits {
        let plugin = json!({
            "minute": minute, "hour": hour, "limit_by": "header", "header_name": "X-Rate-Limit-Key", "policy": "local",
        });
        RateLimits::new(&serde_json::from_value(plugin).unwrap())
    }

    fn key(address: &str, path: &str, authorization: &str) -> LimitKey {
        let headers = HeaderMap::from_iter([(AUTHORIZATION, authorization.parse().unwrap())]);
        LimitKey::of(address.parse().unwrap(), path, &headers)
    }

    fn at(address: &str) -> LimitKey {
        key(address, "/api/users/1", "")
    }

    const ANN: &str = "10.0.0.1";
    const BOB: &str = "10.0.0.2";

    #[test]
    fn each_address_has_its_own_limit() {
        let limits = limits(2, 100);
        assert!(limits.check(at(ANN)).allowed);
        assert!(limits.check(at(ANN)).allowed);
        assert!(!limits.check(at(ANN)).allowed);
        assert!(limits.check(at(BOB)).allowed);
    }

    #[test]
    fn the_addresses_of_an_ipv6_network_share_a_limit() {
        let limits = limits(2, 100);
        let check = |address: &str| limits.check(at(address)).allowed;
        assert!(check("2001:db8::1") && check("2001:db8::2"));
        assert!(!check("2001:db8::3"));
        assert!(check("2001:db8:0:1::1"));
    }

    /// A test of the deployment files computes the same with the function in kong.yml.
    #[test]
    fn a_token_has_a_key_of_its_network_by_its_signature() {
        for (authorization, expected) in [
            ("Bearer a.b.c", Some(99)),
            ("bearer x-_.y.c", Some(99)),
            ("BEARER eyJhbGciOiJIUzI1NiJ9.e30.X6ZDZWSDP3Gj-6YJ4Q_kwQfN3cnPs3vlvKq2ZgLW0uM", Some(118)),
            ("Bearer a.b.c.d", None),
            ("Bearer a.b.", None),
            ("Bearer  a.b.c", None),
            ("Bearer a.b.c=", None),
            ("Bearer abc", None),
            ("Basic a.b.c", None),
            ("", None),
        ] {
            assert_eq!(key(ANN, "/api/users/1", authorization).key, expected, "{authorization}");
        }
        assert_ne!(key(ANN, "/api/users/1", "Bearer a.b.c"), key(BOB, "/api/users/1", "Bearer a.b.c"));
    }

    /// A test of the deployment files expects the same of the function in kong.yml.
    #[test]
    fn requests_that_verify_no_token_are_counted_by_network() {
        for path in [
            "/",
            "/app.js",
            "/docs",
            "/health",
            "/.well-known/jwks.json",
            "/api",
            "/api/nothing",
            "/api/auth/login",
            "/api/auth/login/",
            "/api/auth/login/json",
            "/api/auth/register",
            "/api/auth/refresh",
            "/api/messages/stream",
            "/api/messages/stream/7",
        ] {
            assert_eq!(key(ANN, path, "Bearer a.b.c"), at(ANN), "{path}");
        }
        for path in ["/api/auth/logout", "/api/profile/me", "/api/users", "/api/friends", "/api/messages/7"] {
            assert_ne!(key(ANN, path, "Bearer a.b.c"), at(ANN), "{path}");
        }
    }

    #[test]
    fn users_of_one_network_have_limits_of_their_own_and_invented_tokens_a_common_bound() {
        let limits = limits(1, 100);
        let check =
            |signature: &str| limits.check(key(ANN, "/api/users/1", &format!("Bearer a.b.{signature}"))).allowed;
        assert!(limits.check(at(ANN)).allowed && check("ann") && check("bob"));
        assert!(!limits.check(at(ANN)).allowed && !check("ann"));
        let allowed = (0..20_000).filter(|n| check(&format!("{n:x}"))).count();
        assert!((KEYS as usize - 100..=KEYS as usize).contains(&allowed), "{allowed}");
    }

    #[test]
    fn an_allowed_request_learns_what_remains_of_the_tightest_limit() {
        let headers = limits(5, 100).check(at(ANN)).headers;
        assert_eq!(headers["x-ratelimit-limit-minute"], "5");
        assert_eq!(headers["x-ratelimit-remaining-minute"], "4");
        assert_eq!(headers["x-ratelimit-remaining-hour"], "99");
        assert_eq!(headers["ratelimit-remaining"], "4");
        assert!(!headers.contains_key(RETRY_AFTER));
    }

    #[test]
    fn a_rejected_request_learns_when_to_retry() {
        let limits = limits(60, 1000);
        for _ in 0..60 {
            limits.check(at(ANN));
        }
        let decision = limits.check(at(ANN));
        assert!(!decision.allowed);
        assert_eq!(decision.headers[RETRY_AFTER], "1");
    }
}
