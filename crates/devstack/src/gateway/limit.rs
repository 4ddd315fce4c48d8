//! The plugin rate-limiting: limits per minute and per hour for each network of clients.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use common::network::network_of;
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

pub struct RateLimits {
    limits: Vec<RateLimit>,
}

/// A limit that refills steadily. Kong counts by calendar minutes and hours instead. No minute or hour has more requests
/// under this limit than Kong may allow.
struct RateLimit {
    limit: NonZeroU32,
    limit_header: HeaderName,
    remaining_header: HeaderName,
    limiter: RateLimiter<IpAddr, DefaultKeyedStateStore<IpAddr>, DefaultClock, StateInformationMiddleware>,
}

/// Whether a request is allowed, and the headers of its response.
pub struct Decision {
    pub allowed: bool,
    pub headers: HeaderMap,
}

impl RateLimits {
    pub fn new(minute: Option<NonZeroU32>, hour: Option<NonZeroU32>) -> Self {
        let limits = [
            minute.map(|limit| {
                let names = ("x-ratelimit-limit-minute", "x-ratelimit-remaining-minute");
                RateLimit::new(limit, Quota::per_minute(limit), names)
            }),
            hour.map(|limit| {
                let names = ("x-ratelimit-limit-hour", "x-ratelimit-remaining-hour");
                RateLimit::new(limit, Quota::per_hour(limit), names)
            }),
        ];
        Self { limits: limits.into_iter().flatten().collect() }
    }

    pub fn check(&self, client: IpAddr) -> Decision {
        let mut decision = Decision { allowed: true, headers: HeaderMap::new() };
        let mut tightest = u32::MAX;
        let network = network_of(client);
        for rate in &self.limits {
            let (remaining, wait) = rate.take(network);
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
    fn take(&self, network: IpAddr) -> (u32, Option<Duration>) {
        match self.limiter.check_key(&network) {
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

    fn limits(minute: u32, hour: u32) -> RateLimits {
        RateLimits::new(NonZeroU32::new(minute), NonZeroU32::new(hour))
    }

    const ANN: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 1));
    const BOB: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 0, 2));

    #[test]
    fn each_address_has_its_own_limit() {
        let limits = limits(2, 100);
        assert!(limits.check(ANN).allowed);
        assert!(limits.check(ANN).allowed);
        assert!(!limits.check(ANN).allowed);
        assert!(limits.check(BOB).allowed);
    }

    #[test]
    fn the_addresses_of_an_ipv6_network_share_a_limit() {
        let limits = limits(2, 100);
        let check = |address: &str| limits.check(address.parse().unwrap()).allowed;
        assert!(check("2001:db8::1") && check("2001:db8::2"));
        assert!(!check("2001:db8::3"));
        assert!(check("2001:db8:0:1::1"));
    }

    #[test]
    fn an_allowed_request_learns_what_remains_of_the_tightest_limit() {
        let headers = limits(5, 100).check(ANN).headers;
        assert_eq!(headers["x-ratelimit-limit-minute"], "5");
        assert_eq!(headers["x-ratelimit-remaining-minute"], "4");
        assert_eq!(headers["x-ratelimit-remaining-hour"], "99");
        assert_eq!(headers["ratelimit-remaining"], "4");
        assert!(!headers.contains_key(RETRY_AFTER));
    }

    #[test]
    fn a_rejected_request_learns_when_to_retry() {
        let limits = limits(60, 0);
        for _ in 0..60 {
            limits.check(ANN);
        }
        let decision = limits.check(ANN);
        assert!(!decision.allowed);
        assert_eq!(decision.headers[RETRY_AFTER], "1");
    }
}
