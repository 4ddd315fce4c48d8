//! The router of a service: its API and the routes and layers that all services have.

use axum::extract::State;
use axum::http::{HeaderValue, Method, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use common::error::{Error, METHOD_NOT_ALLOWED, PATH_NOT_FOUND};
use serde::Serialize;
use tower::util::MapRequestLayer;
use tower::{Layer, ServiceBuilder};
use tower_http::catch_panic::CatchPanicLayer;
use tower_http::cors::{AllowHeaders, AllowOrigin, CorsLayer};
use tower_http::request_id::{MakeRequestUuid, PropagateRequestIdLayer, SetRequestIdLayer};
use utoipa_axum::router::OpenApiRouter;
use utoipa_redoc::{Redoc, Servable};
use utoipa_swagger_ui::SwaggerUi;

use crate::http::{document, layers};
use crate::platform::Platform;
use crate::telemetry::panics;

/// The page of ReDoc, whose script the service has itself: nothing is loaded from elsewhere.
const REDOC_PAGE: &str = include_str!("redoc.html");

/// ReDoc 2.5.4, as the npm package `redoc` has it.
const REDOC: &str = include_str!("../../../../infrastructure/docker/web/docs/redoc.standalone.js");

/// Mounts the API with and without `/api`, and adds documents, health, metrics, error answers, CORS and logs.
pub fn app<S>(platform: &Platform, state: S, api: OpenApiRouter<S>) -> Router
where
    S: Clone + Send + Sync + 'static,
{
    let (routes, document) = api.split_for_parts();
    let document = document::described(document, platform);

    let inside = Router::new()
        .merge(routes.with_state(state))
        .merge(operations(platform))
        .merge(SwaggerUi::new("/docs").external_url_unchecked("/openapi.json", document.clone()))
        .merge(Redoc::with_url("/redoc", document).custom_html(REDOC_PAGE))
        .route("/redoc.standalone.js", get(redoc))
        .fallback(|| async { Error::not_found(PATH_NOT_FOUND) })
        .method_not_allowed_fallback(|| async {
            Error::refused(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", METHOD_NOT_ALLOWED)
        })
        // As one layer, outermost first: the router boxes the service once for each call of `layer`.
        .layer(
            ServiceBuilder::new()
                .layer(cors(&platform.config.cors_origins))
                .layer(axum::middleware::from_fn(layers::complete))
                .layer(MapRequestLayer::new(layers::remove_unsafe_request_id))
                .layer(SetRequestIdLayer::x_request_id(MakeRequestUuid))
                .layer(PropagateRequestIdLayer::x_request_id())
                .layer(axum::middleware::from_fn_with_state(platform.clone(), layers::observe))
                .layer(CatchPanicLayer::custom(panicked)),
        );

    // The path is rewritten before routing, so that each route, series and document entry exists once.
    let normalized = MapRequestLayer::new(layers::normalize_path).layer(inside);
    Router::new().fallback_service(normalized)
}

fn operations(platform: &Platform) -> Router {
    Router::new()
        .route("/", get(identity))
        .route("/health", get(alive))
        .route("/health/ready", get(ready))
        .route("/metrics", get(metrics))
        .with_state(platform.clone())
}

#[derive(Serialize)]
struct Identity {
    service: &'static str,
    version: String,
    status: &'static str,
}

async fn identity(State(platform): State<Platform>) -> Json<Identity> {
    let (service, version) = (platform.service.title, platform.config.version.clone());
    Json(Identity { service, version, status: "running" })
}

#[derive(Serialize)]
struct Alive {
    status: &'static str,
    service: &'static str,
}

async fn alive(State(platform): State<Platform>) -> Json<Alive> {
    Json(Alive { status: "healthy", service: platform.service.title })
}

async fn ready(State(platform): State<Platform>) -> Response {
    let report = platform.health.report();
    let status = if report.ready() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(report)).into_response()
}

async fn metrics(State(platform): State<Platform>) -> Response {
    match platform.metrics.render() {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus::TEXT_FORMAT)], text).into_response(),
        Err(e) => Error::internal(e).into_response(),
    }
}

async fn redoc() -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), (header::CACHE_CONTROL, "max-age=3600")], REDOC)
}

fn panicked(panic: Box<dyn std::any::Any + Send>) -> Response {
    Error::internal(format!("panic: {}", panics::text(&*panic))).into_response()
}

fn cors(origins: &[HeaderValue]) -> CorsLayer {
    CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins.to_vec()))
        .allow_credentials(true)
        .allow_methods([
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::OPTIONS,
            Method::HEAD,
        ])
        .allow_headers(AllowHeaders::mirror_request())
        .expose_headers(["x-request-id", "retry-after", "x-next-cursor"].map(header::HeaderName::from_static))
}
