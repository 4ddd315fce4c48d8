//! The object store of a stack: an S3 API over a folder, by the crate `s3s-fs`, in a process of its own. It checks signatures,
//! signed headers and checksums, and needs no account elsewhere. The chat page may use it, as the bucket of a production store allows
//! by CORS rules.

use std::collections::HashMap;
use std::fs;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::error_handling::HandleError;
use axum::extract::{Query, Request};
use axum::http::{HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use s3s::HttpError;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tower_http::cors::CorsLayer;

use crate::options::ObjectStoreOptions;
use crate::plan::Plan;
use crate::process::{Launch, listens};
use crate::process_supervisor::ProcessSpec;
use crate::stack::Stack;

const NAME: &str = "object-store";

pub const BUCKET: &str = "bigtech-chat";
/// Public values: the store listens on loopback only.
pub const ACCESS_KEY: &str = "bigtech";
pub const SECRET_KEY: &str = "dev-only-file-store-secret-do-not-use-in-production";

/// The headers of presigned requests that a browser asks for.
const ALLOWED_HEADERS: [HeaderName; 2] = [header::CONTENT_TYPE, HeaderName::from_static("x-amz-checksum-sha256")];

/// How long a browser remembers what the store allows.
const PREFLIGHT_LIFETIME: Duration = Duration::from_secs(3_000);

/// Starts the store as a process of the stack.
pub async fn start(stack: &Stack) -> Result<()> {
    let plan = &stack.plan;
    let (data, port) = (plan.dir.data(NAME), plan.ports.object_store);
    // The API calls a folder a bucket.
    fs::create_dir_all(data.join(BUCKET))?;
    let this_program = std::env::current_exe().context("the path of this program is unknown")?;
    let program = plan.dir.copy_program(&this_program, NAME)?;
    let port_arg = format!("--port={port}");
    let origins = page_origins(plan).map(|origin| format!("--origin={origin}"));
    let launch = Launch::new(program, &plan.dir.root).args([NAME, &port_arg]).args(origins).arg("--folder").arg(&data);
    let spec = ProcessSpec {
        name: NAME.into(),
        port,
        launch,
        log: plan.dir.log(NAME),
        probe: Arc::new(move || Box::pin(listens(port))),
        grace: Duration::from_secs(2),
    };
    stack.start(spec).await
}

pub fn url(plan: &Plan) -> String {
    format!("http://127.0.0.1:{}", plan.ports.object_store)
}

/// The addresses of the chat page.
fn page_origins(plan: &Plan) -> [String; 2] {
    ["127.0.0.1", "localhost"].map(|host| format!("http://{host}:{}", plan.ports.gateway))
}

/// Runs the store.
pub async fn serve(options: ObjectStoreOptions) -> Result<()> {
    let folder = FileSystem::new(&options.folder).map_err(|e| anyhow::anyhow!("{e:?}"))?;
    let mut service = S3ServiceBuilder::new(folder);
    service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let failed = |_: HttpError| async { StatusCode::INTERNAL_SERVER_ERROR };
    let store = Router::new().fallback_service(HandleError::new(service.build(), failed));
    let router = store.layer(middleware::from_fn(refuse_unsigned)).layer(allow_pages(options.origin));
    axum::serve(TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?, router).await?;
    Ok(())
}

/// Refuses a presigned request with a further `x-amz-` header, as other stores do. With one of them, a client could copy the object of a
/// message that it cannot read.
async fn refuse_unsigned(request: Request, next: Next) -> Response {
    let query = Query::<HashMap<String, String>>::try_from_uri(request.uri()).unwrap_or_default();
    let signed = query.get("X-Amz-SignedHeaders");
    let is_unsigned = |name: &HeaderName, signed: &str| {
        name.as_str().starts_with("x-amz-") && !signed.split(';').any(|signed| signed == name.as_str())
    };
    if signed.is_some_and(|signed| request.headers().keys().any(|name| is_unsigned(name, signed))) {
        return StatusCode::FORBIDDEN.into_response();
    }
    next.run(request).await
}

/// Lets scripts of these pages make presigned requests and read the answers.
fn allow_pages(origins: Vec<HeaderValue>) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(origins)
        .allow_methods([Method::GET, Method::HEAD, Method::PUT])
        .allow_headers(ALLOWED_HEADERS)
        .expose_headers([header::ETAG])
        .max_age(PREFLIGHT_LIFETIME)
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use axum::http::Request;
    use tower::ServiceExt;

    use super::*;

    /// The origin and the methods that the store allows a page.
    async fn allowed(origin: &str) -> [Option<String>; 2] {
        let page = HeaderValue::from_static("http://127.0.0.1:8000");
        let router = Router::new().layer(allow_pages(vec![page]));
        let preflight = Request::options("/bucket/key")
            .header(header::ORIGIN, origin)
            .header(header::ACCESS_CONTROL_REQUEST_METHOD, "PUT")
            .header(header::ACCESS_CONTROL_REQUEST_HEADERS, "content-type")
            .body(Body::empty())
            .unwrap();
        let answer = router.oneshot(preflight).await.unwrap();
        [header::ACCESS_CONTROL_ALLOW_ORIGIN, header::ACCESS_CONTROL_ALLOW_METHODS]
            .map(|name| answer.headers().get(name).map(|value| value.to_str().unwrap().to_owned()))
    }

    #[tokio::test]
    async fn scripts_of_the_page_may_use_the_store_and_others_may_not() {
        assert_eq!(
            allowed("http://127.0.0.1:8000").await,
            [Some("http://127.0.0.1:8000".into()), Some("GET,HEAD,PUT".into())]
        );
        assert_eq!(allowed("http://127.0.0.1:8001").await[0], None);
        assert_eq!(allowed("null").await[0], None);
    }
}
