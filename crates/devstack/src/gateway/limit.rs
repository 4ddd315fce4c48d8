//! The rate-limiting plugin: so many requests a minute and an hour for each address.

use std::net::IpAddr;
use std::num::NonZeroU32;
use std::time::Duration;

use axum::http::header::RETRY_AFTER;
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use governor::clock::{Clock, DefaultClock};
use governor::middleware::StateInformationMiddleware;
use governor::state::keyed::DefaultKeyedStateStore;
use governor::{Quota, RateLimiter};

pub struct Limits {
    windows: Vec<Window>,
}

/// A limit that refills steadily, where Kong counts by the calendar's minutes and hours: never more than Kong lets
/// through in its worst case.
struct Window {
    limit: NonZeroU32,
    limit_header: HeaderName,
    remaining_header: HeaderName,
    limiter: RateLimiter<IpAddr, DefaultKeyedStateStore<IpAddr>, DefaultClock, StateInformationMiddleware>,
}

/// What the client is told, let through or not.
pub struct Verdict {
    pub allowed: bool,
    pub headers: HeaderMap,
}

impl Limits {
    pub fn new(minute: Option<NonZeroU32>, hour: Option<NonZeroU32>) -> Self {
        let windows = [
            minute.map(|limit| {
                let names = ("x-ratelimit-limit-minute", "x-ratelimit-remaining-minute");
                Window::new(limit, Quota::per_minute(limit), names)
            }),
            hour.map(|limit| {
                let names = ("x-ratelimit-limit-hour", "x-ratelimit-remaining-hour");
                Window::new(limit, Quota::per_hour(limit), names)
            }),
        ];
        Self { windows: windows.into_iter().flatten().collect() }
    }

    pub fn check(&self, client: IpAddr) -> Verdict {
        let mut verdict = Verdict { allowed: true, headers: HeaderMap::new() };
        let mut tightest = u32::MAX;
        for window in &self.windows {
            let (remaining, wait) = window.take(client);
            let headers = &mut verdict.headers;
            headers.insert(window.limit_header.clone(), window.limit.get().into());
            headers.insert(window.remaining_header.clone(), remaining.into());
            if remaining < tightest {
                tightest = remaining;
                headers.insert("ratelimit-limit", window.limit.get().into());
                headers.insert("ratelimit-remaining", remaining.into());
            }
            if let Some(wait) = wait {
                verdict.allowed = false;
                headers.insert(RETRY_AFTER, seconds(wait));
                headers.insert("ratelimit-reset", seconds(wait));
            }
        }
        verdict
    }
}

impl Window {
    fn new(limit: NonZeroU32, quota: Quota, names: (&'static str, &'static str)) -> Self {
        Self {
            limit,
            limit_header: HeaderName::from_static(names.0),
            remaining_header: HeaderName::from_static(names.1),
            limiter: RateLimiter::keyed(quota).with_middleware(),
        }
    }

    /// How many are left, and how long to wait if there were none.
    fn take(&self, client: IpAddr) -> (u32, Option<Duration>) {
        match self.limiter.check_key(&client) {
            Ok(state) => (state.remaining_burst_capacity(), None),
            Err(refused) => (0, Some(refused.wait_time_from(DefaultClock::default().now()))),
        }
    }
}

/// Whole seconds, never early.
fn seconds(wait: Duration) -> HeaderValue {
    (wait.as_secs() + 1).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn limits(minute: u32, hour: u32) -> Limits {
        Limits::new(NonZeroU32::new(minute), NonZeroU32::new(hour))
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
    fn who_is_let_through_is_told_what_is_left_of_the_tightest_limit() {
        let headers = limits(5, 100).check(ANN).headers;
        assert_eq!(headers["x-ratelimit-limit-minute"], "5");
        assert_eq!(headers["x-ratelimit-remaining-minute"], "4");
        assert_eq!(headers["x-ratelimit-remaining-hour"], "99");
        assert_eq!(headers["ratelimit-remaining"], "4");
        assert!(!headers.contains_key(RETRY_AFTER));
    }

    #[test]
    fn who_is_refused_is_told_when_to_come_again() {
        let limits = limits(60, 0);
        for _ in 0..60 {
            limits.check(ANN);
        }
        let verdict = limits.check(ANN);
        assert!(!verdict.allowed);
        assert_eq!(verdict.headers[RETRY_AFTER], "1");
    }
}
