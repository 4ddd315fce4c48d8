//! The chat page as a process of the stack: the static file server that stands behind the gateway's `/` in production.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use tokio::net::TcpListener;
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::build::{DEVSTACK, Programs};
use crate::keeper::Unit;
use crate::process::{Launch, listens};
use crate::stack::Stack;

/// The process, and the host of its upstream in kong.yml.
pub const NAME: &str = "web";

const FOLDER: &str = "infrastructure/docker/web";

/// What infrastructure/docker/nginx/web.conf adds to every answer. The page's own `<meta>` says the same policy, but for
/// `frame-ancestors`, which only a header can say.
const HEADERS: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'; \
         frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    // Asked for again each time, and answered by 304: its parts are of one version.
    (header::CACHE_CONTROL, "no-cache"),
];

#[derive(clap::Args)]
pub struct WebOptions {
    #[arg(long)]
    port: u16,
    #[arg(long)]
    folder: PathBuf,
}

pub async fn start(stack: &Stack, programs: &Programs) -> Result<()> {
    let plan = &stack.plan;
    let port = plan.ports.web;
    let program = programs.get(DEVSTACK).context("no program for the page")?;
    let launch = Launch::new(program, &plan.place.root).args(["web", "--folder", FOLDER, "--port", &port.to_string()]);
    let unit = Unit {
        name: NAME.into(),
        port,
        launch,
        log: plan.place.log(NAME),
        probe: Arc::new(move || Box::pin(listens(port))),
        grace: Duration::from_secs(1),
    };
    stack.start(unit).await
}

/// The server itself.
pub async fn serve(options: WebOptions) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
    axum::serve(listener, router(options.folder)).await?;
    Ok(())
}

fn router(folder: PathBuf) -> Router {
    let files = Router::new().fallback_service(ServeDir::new(folder));
    HEADERS.into_iter().fold(files, |files, (name, value)| {
        files.layer(SetResponseHeaderLayer::overriding(name, HeaderValue::from_static(value)))
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use axum::body::{Body, to_bytes};
    use axum::http::{Method, Request, StatusCode};
    use axum::response::Response;
    use tower::ServiceExt;

    use super::*;

    async fn ask(method: Method, path: &str) -> Response {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(FOLDER);
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        router(folder).oneshot(request).await.unwrap()
    }

    async fn page() -> String {
        let body = ask(Method::GET, "/").await.into_body();
        String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().into()).unwrap()
    }

    #[tokio::test]
    async fn the_page_and_its_parts_are_served_under_the_policy() {
        for (path, kind) in [("/", "text/html"), ("/app.js", "text/javascript"), ("/style.css", "text/css")] {
            let answer = ask(Method::GET, path).await;
            assert_eq!(answer.status(), StatusCode::OK, "{path}");
            for (name, value) in HEADERS {
                assert_eq!(answer.headers()[&name], value, "{path}");
            }
            assert!(answer.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with(kind), "{path}");
        }
    }

    #[tokio::test]
    async fn what_is_no_file_is_not_found_and_nothing_is_written() {
        assert_eq!(ask(Method::GET, "/metrics").await.status(), StatusCode::NOT_FOUND);
        assert_eq!(ask(Method::GET, "/../kong/kong.yml").await.status(), StatusCode::NOT_FOUND);
        assert_eq!(ask(Method::POST, "/app.js").await.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[tokio::test]
    async fn the_page_itself_and_production_say_the_same_policy() {
        let nginx = include_str!("../../../infrastructure/docker/nginx/web.conf");
        for (name, value) in HEADERS {
            let line = format!("add_header {name} \"{value}\" always;").to_lowercase();
            assert!(nginx.to_lowercase().contains(&line), "{line}");
        }
        let (_, policy) = &HEADERS[0];
        let in_page = policy.strip_suffix("; frame-ancestors 'none'").unwrap();
        assert!(page().await.contains(&format!("http-equiv=\"Content-Security-Policy\" content=\"{in_page}\"")));
    }
}
