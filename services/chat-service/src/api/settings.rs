//! The caller's settings for a room: pins and mutes.

use axum::Json;
use axum::extract::State;
use common::error::Result;
use common::id::RoomId;
use platform::http::Path;
use service::auth::CurrentUser;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use super::responses::{BudgetUsedUp, RoomErrors};
use crate::domain::{RoomSetting, RoomSettings};
use crate::state::AppState;
use crate::wire::{RoomSettingsBody, examples};

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(pin, unpin)).routes(routes!(mute, unmute))
}

/// Declares the operation that turns a setting on or off.
macro_rules! operation {
    ($method:ident $name:ident $path:literal $id:literal $summary:literal, $setting:expr => $on:literal) => {
        #[doc = $summary]
        #[doc = ""]
        #[doc = "The caller's all-rooms streams receive a change as `chat_room_settings`. A repeat changes nothing."]
        #[utoipa::path(
            $method,
            operation_id = $id,
            path = $path,
            tag = "rooms",
            security(("bearer" = [])),
            params(("room_id" = RoomId, Path)),
            responses(
                (status = 200, description = "The settings", body = RoomSettingsBody, example = json!(examples::settings($setting, $on))),
                BudgetUsedUp,
                RoomErrors,
            ),
        )]
        async fn $name(app: State<AppState>, me: CurrentUser, room: Path<RoomId>) -> Result<Json<RoomSettingsBody>> {
            set(app, me, room, $setting, $on).await
        }
    };
}

operation!(put pin "/chat-rooms/{room_id}/pin" "pinRoom" "Pin a room for the caller.", RoomSetting::Pinned => true);
operation!(delete unpin "/chat-rooms/{room_id}/pin" "unpinRoom" "Unpin a room.", RoomSetting::Pinned => false);
operation!(put mute "/chat-rooms/{room_id}/mute" "muteRoom" "Mute a room for the caller.", RoomSetting::Muted => true);
operation!(delete unmute "/chat-rooms/{room_id}/mute" "unmuteRoom" "Unmute a room.", RoomSetting::Muted => false);

async fn set(
    State(app): State<AppState>,
    me: CurrentUser,
    Path(room): Path<RoomId>,
    setting: RoomSetting,
    on: bool,
) -> Result<Json<RoomSettingsBody>> {
    app.budgets.changes.spend(me.id).await?;
    let room_id = app.rooms.for_member(room, me.id).await?.id;
    let RoomSettings { pinned, muted } = app.settings.set(me.id, room_id, setting, on).await?;
    Ok(Json(RoomSettingsBody { room_id, pinned, muted }))
}
