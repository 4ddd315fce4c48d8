//! The file server of the chat page, which is the upstream of the gateway's `/`.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use axum::http::{HeaderName, HeaderValue, header};
use tokio::net::TcpListener;
use tower_http::services::ServeDir;
use tower_http::set_header::SetResponseHeaderLayer;

use crate::build::{Binaries, DEVSTACK};
use crate::engines::object_store;
use crate::layer::WEB;
use crate::options::WebOptions;
use crate::process::{Launch, listens};
use crate::process_supervisor::ProcessSpec;
use crate::stack::Stack;

const FOLDER: &str = "infrastructure/docker/web";

/// The modules of the TypeScript client, which the page imports from `/sdk`. infrastructure/docker/Dockerfile copies them.
const SDK: &str = "clients/typescript/src";

/// The policy of the page, in which nginx replaces the variable by the origin of the object store. The `<meta>` element of the page
/// has the same policy but for two parts: it is a file, which cannot name the store, and `frame-ancestors` is valid in a header only.
const PAGE_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; \
    img-src 'self' blob: data: ${FILE_STORE_ORIGIN}; connect-src 'self' ${FILE_STORE_ORIGIN}; base-uri 'none'; \
    form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'; frame-ancestors 'none'";

/// The headers that infrastructure/docker/nginx/web.conf adds to every response, besides the policy.
const HEADERS: [(HeaderName, &str); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    // A browser revalidates every file, so that all files of the page are of one version.
    (header::CACHE_CONTROL, "no-cache"),
];

/// The policy of `/docs`, where ReDoc writes styles into the page and searches in a worker.
const DOCUMENTS_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; connect-src 'self'; worker-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Starts the file server as a process of the stack.
pub async fn start(stack: &Stack, binaries: &Binaries) -> Result<()> {
    let plan = &stack.plan;
    let port = plan.ports.web;
    let program = binaries.get(DEVSTACK).context("devstack was not built")?;
    let folders = ["web", "--folder", FOLDER, "--sdk", SDK];
    let addresses = ["--port", &port.to_string(), "--file-store", &object_store::url(plan)];
    let launch = Launch::new(program, &plan.dir.root).args(folders).args(addresses);
    let spec = ProcessSpec {
        name: WEB.into(),
        port,
        launch,
        log: plan.dir.log(WEB),
        probe: Arc::new(move || Box::pin(listens(port))),
        grace: Duration::from_secs(1),
    };
    stack.start(spec).await
}

/// Runs the file server.
pub async fn serve(options: WebOptions) -> Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, options.port)).await?;
    axum::serve(listener, router(&options)?).await?;
    Ok(())
}

/// # Errors
/// Returns an error if the origin of the store cannot be part of a header.
fn router(WebOptions { folder, sdk, file_store, .. }: &WebOptions) -> Result<Router> {
    let documents = Router::new().fallback_service(ServeDir::new(folder.join("docs")));
    let page = Router::new().nest_service("/sdk", ServeDir::new(sdk)).fallback_service(ServeDir::new(folder));
    let page_policy = HeaderValue::try_from(PAGE_POLICY.replace("${FILE_STORE_ORIGIN}", file_store))?;
    Ok(Router::new()
        .nest_service("/docs", with_headers(documents, HeaderValue::from_static(DOCUMENTS_POLICY)))
        .merge(with_headers(page, page_policy)))
}

/// Adds the headers, with this policy.
fn with_headers(files: Router, policy: HeaderValue) -> Router {
    let headers = HEADERS.map(|(name, value)| (name, HeaderValue::from_static(value)));
    headers
        .into_iter()
        .chain([(header::CONTENT_SECURITY_POLICY, policy)])
        .fold(files, |files, (name, value)| files.layer(SetResponseHeaderLayer::overriding(name, value)))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use axum::body::{Body, to_bytes};
    use axum::http::{Method, Request, StatusCode};
    use axum::response::Response;
    use tower::ServiceExt;

    use super::*;

    async fn request(method: Method, path: &str) -> Response {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let (folder, sdk) = (root.join(FOLDER), root.join(SDK));
        let options = WebOptions { port: 0, folder, sdk, file_store: "http://127.0.0.1:9000".into() };
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        router(&options).unwrap().oneshot(request).await.unwrap()
    }

    async fn page() -> String {
        let body = request(Method::GET, "/").await.into_body();
        String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().into()).unwrap()
    }

    #[tokio::test]
    async fn the_files_of_the_page_have_the_headers_and_their_types() {
        let modules = ["/app.js", "/sdk/index.js"].map(|path| (path, "text/javascript"));
        for (path, kind) in [("/", "text/html"), ("/style.css", "text/css")].into_iter().chain(modules) {
            let response = request(Method::GET, path).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            for (name, value) in HEADERS {
                assert_eq!(response.headers()[&name], value, "{path}");
            }
            assert!(response.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with(kind), "{path}");
            let policy = response.headers()[header::CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.contains("; connect-src 'self' http://127.0.0.1:9000; "), "{path}: {policy}");
        }
    }

    #[tokio::test]
    async fn the_api_document_is_shown_without_the_internet() {
        for (path, kind) in
            [("/docs", "text/html"), ("/docs/", "text/html"), ("/docs/redoc.standalone.js", "text/javascript")]
        {
            let response = request(Method::GET, path).await;
            assert_eq!(response.status(), StatusCode::OK, "{path}");
            assert_eq!(response.headers()[header::CONTENT_SECURITY_POLICY], DOCUMENTS_POLICY, "{path}");
            assert!(response.headers()[header::CONTENT_TYPE].to_str().unwrap().starts_with(kind), "{path}");
        }
        let document = request(Method::GET, "/openapi.json").await;
        assert_eq!(document.headers()[header::CONTENT_TYPE], "application/json");
        let nginx = include_str!("../../../infrastructure/docker/nginx/web.conf");
        assert!(nginx.contains(&format!("add_header Content-Security-Policy \"{DOCUMENTS_POLICY}\" always;")));
    }

    #[tokio::test]
    async fn other_paths_are_not_found_and_other_methods_are_rejected() {
        assert_eq!(request(Method::GET, "/metrics").await.status(), StatusCode::NOT_FOUND);
        assert_eq!(request(Method::GET, "/sdk/../package.json").await.status(), StatusCode::NOT_FOUND);
        assert_eq!(request(Method::GET, "/../kong/kong.yml").await.status(), StatusCode::NOT_FOUND);
        assert_eq!(request(Method::POST, "/app.js").await.status(), StatusCode::METHOD_NOT_ALLOWED);
    }

    #[tokio::test]
    async fn the_page_and_nginx_have_the_same_policy() {
        let nginx = include_str!("../../../infrastructure/docker/nginx/web.conf");
        for (name, value) in HEADERS.into_iter().chain([(header::CONTENT_SECURITY_POLICY, PAGE_POLICY)]) {
            let line = format!("add_header {name} \"{value}\" always;").to_lowercase();
            assert!(nginx.to_lowercase().contains(&line), "{line}");
        }
        let in_page = PAGE_POLICY.strip_suffix("; frame-ancestors 'none'").unwrap();
        let in_page = in_page.replace("'self' blob: data: ${FILE_STORE_ORIGIN}", "* blob: data:");
        let in_page = in_page.replace("'self' ${FILE_STORE_ORIGIN}", "*");
        assert!(page().await.contains(&format!("http-equiv=\"Content-Security-Policy\" content=\"{in_page}\"")));
    }
}
