//! The limits that clients obey.

use std::borrow::Cow;

use axum::Json;
use axum::extract::State;
use common::input::Text;
use serde::Serialize;
use service::auth::CurrentUser;
use utoipa::openapi::{OpenApi, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::domain::{MAX_MEMBERS, MessageLimit};
use crate::state::AppState;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(limits))
}

/// The content of a message in a request. The document has the configured limit; the handlers check it.
pub(super) type Content = Text<1, { MessageLimit::GREATEST }>;

/// The limits of this deployment.
#[derive(Debug, Serialize, ToSchema)]
struct Limits {
    /// The greatest number of code points in a message.
    #[schema(minimum = 1, maximum = 10_000, example = 300)]
    message_max_chars: usize,
    /// The greatest number of members of a group.
    #[schema(example = 500)]
    group_max_members: usize,
    /// The greatest size of a GIF, JPEG, PNG or WebP image in bytes. The four limits on files are null if the deployment has no store
    /// for them.
    #[schema(required, example = 25_000_000)]
    image_max_bytes: Option<u64>,
    /// The greatest size of another file in bytes.
    #[schema(required, example = 100_000_000)]
    file_max_bytes: Option<u64>,
    /// The greatest size of all files of a user in bytes.
    #[schema(required, example = 1_000_000_000)]
    file_quota_bytes: Option<u64>,
    /// The media types that a file can have: `image/png`, or `image/*` for all of a kind.
    #[schema(required, example = json!(["image/*", "application/pdf"]))]
    file_types: Option<Vec<String>>,
}

/// Get the limits that clients obey.
#[utoipa::path(
    get,
    operation_id = "getLimits",
    path = "/chat-rooms/limits",
    tag = "rooms",
    security(("bearer" = [])),
    responses((status = 200, description = "The limits of this deployment", body = Limits)),
)]
async fn limits(State(app): State<AppState>, _: CurrentUser) -> Json<Limits> {
    let files = app.attachments.limits();
    Json(Limits {
        message_max_chars: app.message_limit.0,
        group_max_members: MAX_MEMBERS,
        image_max_bytes: files.map(|files| files.image_bytes),
        file_max_bytes: files.map(|files| files.file_bytes),
        file_quota_bytes: files.map(|files| files.quota_bytes),
        file_types: files.map(|files| files.types.clone()),
    })
}

/// Puts the configured limit into the schema of contents.
pub(super) fn describe(document: &mut OpenApi, limit: MessageLimit) {
    let name: Cow<'static, str> = Content::name();
    let RefOr::T(Schema::Object(mut content)) = Content::schema() else { return };
    content.max_length = Some(limit.0);
    content.description =
        Some("At most `message_max_chars` code points; `GET /chat-rooms/limits` tells it.".to_owned());
    if let Some(components) = &mut document.components {
        components.schemas.insert(name.into_owned(), Schema::Object(content).into());
    }
}
