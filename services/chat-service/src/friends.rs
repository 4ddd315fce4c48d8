//! Friends, who alone can bring some users into a group.

use std::collections::HashSet;
use std::time::Duration;

use axum::http::HeaderMap;
use common::error::{BoxError, Error, Result};
use common::id::UserId;
use platform::config::CallConfig;
use platform::http::cause;
use platform::telemetry::{Trace, trace};
use reqwest::redirect::Policy;
use serde::Deserialize;

/// The page size, which is friend-service's limit. A friend-service of the original answers with the whole list.
const PAGE: i64 = 100;

/// The header with the cursor of the next page.
const NEXT: &str = "x-next-cursor";

/// The access to the friends of a caller, with the token of that caller.
#[derive(Clone)]
pub struct Friends {
    http: reqwest::Client,
    url: String,
    timeout: Duration,
}

#[derive(Deserialize)]
struct Friend {
    user_id: UserId,
}

impl Friends {
    /// The timeout bounds a look-up with all its pages.
    ///
    /// # Errors
    /// Returns an error if the HTTP client cannot be built.
    pub fn new(friend_service_url: &str, calls: &CallConfig) -> Result<Self, BoxError> {
        let http = calls.tls.client().redirect(Policy::none()).build()?;
        Ok(Self { http, url: format!("{friend_service_url}/api/friends/list"), timeout: calls.timeout })
    }

    /// Those of the users who are friends of the user whose access token this is.
    ///
    /// # Errors
    /// Returns an unavailable error if friend-service does not answer in time, or answers with an error.
    pub async fn among(&self, users: &[UserId], token: &str) -> Result<HashSet<UserId>> {
        let found = tokio::time::timeout(self.timeout, self.find(users, token)).await;
        found
            .map_err(|late| Error::unavailable("friend-service", late))?
            .map_err(|failed| Error::unavailable("friend-service", cause(&failed.without_url())))
    }

    async fn find(&self, users: &[UserId], token: &str) -> reqwest::Result<HashSet<UserId>> {
        let (mut found, mut cursor) = (HashSet::new(), 0);
        loop {
            let (friends, next) = self.page(cursor, token).await?;
            found.extend(friends.into_iter().map(|friend| friend.user_id).filter(|friend| users.contains(friend)));
            match next.filter(|next| *next > cursor && found.len() < users.len()) {
                Some(next) => cursor = next,
                None => return Ok(found),
            }
        }
    }

    /// The friends after a cursor, and the cursor of the next page if there is one.
    async fn page(&self, cursor: i64, token: &str) -> reqwest::Result<(Vec<Friend>, Option<i64>)> {
        let Trace { request_id, traceparent, .. } = Trace::current();
        let mut request = self.http.get(&self.url).query(&[("limit", PAGE), ("cursor", cursor)]).bearer_auth(token);
        for (name, value) in [("x-request-id", request_id), (trace::TRACEPARENT, traceparent)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let response = request.send().await?.error_for_status()?;
        let next = next_cursor(response.headers());
        Ok((response.json().await?, next))
    }
}

fn next_cursor(headers: &HeaderMap) -> Option<i64> {
    headers.get(NEXT)?.to_str().ok()?.parse().ok()
}
