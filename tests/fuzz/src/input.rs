//! Bodies and queries.

use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::{FromRequest, FromRequestParts};
use axum::http::{Request, header};
use axum::response::IntoResponse;
use common::error::Error;
use common::id::UserId;
use common::input::{Input, Int, Invalid, Text};
use deserr::Deserr;
use futures_util::FutureExt;
use platform::http::{FormOrJson, Query, Valid};
use tokio::runtime::{Builder, Runtime};

/// The timer of the deadline for a body, which none of these bodies reaches.
static TIMER: LazyLock<Runtime> = LazyLock::new(|| Builder::new_current_thread().enable_time().build().unwrap());

/// A field of each kind that the services read.
#[derive(Deserr)]
#[deserr(error = Invalid)]
struct Sample {
    name: Text<1, 5>,
    #[deserr(default)]
    ids: Vec<UserId>,
    #[deserr(default = Int(1))]
    limit: Int<1, 100>,
    #[deserr(default)]
    note: Option<Text<0, 3>>,
}

impl Input for Sample {
    const ALIASES: &'static [(&'static str, &'static str)] = &[("nick", "name")];
}

const TYPES: [Option<&str>; 4] =
    [None, Some("application/json"), Some("application/x-www-form-urlencoded"), Some("text/plain")];

/// Every input is either within the bounds of its type or refused as the client's fault. The first byte chooses the
/// content type, the rest is the body and the query.
pub fn input(bytes: &[u8]) {
    let Some((choice, content)) = bytes.split_first() else { return };
    let _timer = TIMER.enter();
    let request = |body: Vec<u8>| {
        let kind = TYPES[usize::from(*choice) % TYPES.len()];
        let request =
            kind.into_iter().fold(Request::builder(), |request, kind| request.header(header::CONTENT_TYPE, kind));
        request.body(Body::from(body)).unwrap()
    };
    let form_or_json = FormOrJson::from_request(request(content.to_vec()), &()).now_or_never().unwrap();
    check(form_or_json.map(|FormOrJson(sample)| sample));
    let json = Valid::from_request(request(content.to_vec()), &()).now_or_never().unwrap();
    check(json.map(|Valid(sample)| sample));
    let Ok(uri) = format!("/?{}", String::from_utf8_lossy(content)).parse() else { return };
    let (mut parts, ()) = Request::new(()).into_parts();
    parts.uri = uri;
    let query = Query::from_request_parts(&mut parts, &()).now_or_never().unwrap();
    check(query.map(|Query(sample)| sample));
}

fn check(read: Result<Sample, Error>) {
    match read {
        Ok(Sample { name, ids, limit, note }) => {
            assert!((1..=5).contains(&name.0.chars().count()) && (1..=100).contains(&limit.0));
            assert!(ids.iter().all(|id| id.0 > 0) && note.is_none_or(|note| note.0.chars().count() <= 3));
        }
        Err(refused) => assert!(refused.into_response().status().is_client_error()),
    }
}
