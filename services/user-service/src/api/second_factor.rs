//! The caller's second factor: an authenticator app, with recovery codes for its loss.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use common::error::{Error, ErrorBody, Result};
use common::input::{Input, Invalid};
use deserr::Deserr;
use platform::http::Valid;
use serde::Serialize;
use service::auth::CurrentUser;
use utoipa::ToSchema;
use utoipa_axum::{router::OpenApiRouter, routes};

use super::caller::ExistingUser;
use super::factors::{GivenCode, GivenPassword, require_password, with_code};
use super::responses::{CallerErrors, CodeUnavailable, HashingUnavailable, InvalidInput, RateLimited, WrongFactor};
use crate::domain::{EnteredCode, RecoveryCode};
use crate::state::AppState;
use crate::store::ClientInfo;

pub fn router() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(status))
        .routes(routes!(enroll))
        .routes(routes!(confirm))
        .routes(routes!(renew_recovery_codes))
        .routes(routes!(disable))
}

#[derive(Deserr, ToSchema)]
#[deserr(error = Invalid)]
struct Enrollment {
    #[schema(value_type = String, min_length = 1, max_length = 1024, example = "Ta11-tulips!")]
    current_password: GivenPassword,
}

impl Input for Enrollment {}

#[derive(Deserr, ToSchema)]
#[deserr(error = Invalid)]
struct Confirmation {
    #[schema(value_type = String, min_length = 1, max_length = 64, example = "123456")]
    code: GivenCode,
}

impl Input for Confirmation {}

/// A change of the second factor needs both factors.
#[derive(Deserr, ToSchema)]
#[deserr(error = Invalid)]
struct BothFactors {
    #[schema(value_type = String, min_length = 1, max_length = 1024, example = "Ta11-tulips!")]
    current_password: GivenPassword,
    /// A code of the authenticator app, or a recovery code.
    #[schema(value_type = String, min_length = 1, max_length = 64, example = "123456")]
    code: GivenCode,
}

impl Input for BothFactors {}

#[derive(Serialize, ToSchema)]
struct SecondFactorStatus {
    /// Whether logins need a code.
    #[schema(example = true)]
    enabled: bool,
    #[schema(example = 1)]
    recovery_codes_left: i64,
}

#[derive(Serialize, ToSchema)]
struct NewSecret {
    /// The secret to type into an authenticator app, in base32.
    #[schema(example = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP")]
    secret: String,
    /// The same as a link, which an app opens or reads as a QR code.
    #[schema(
        example = "otpauth://totp/BigTech%20Chat:kim_minjun?secret=JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP&issuer=BigTech%20Chat"
    )]
    otpauth_url: String,
}

#[derive(Serialize, ToSchema)]
struct RecoveryCodes {
    /// Each replaces one code of the app. They are not shown again.
    #[schema(example = json!(["0a1b-2c3d-4e5f-6071-8293-a4b5-c6d7-e8f9"]))]
    recovery_codes: Vec<String>,
}

#[derive(Serialize, ToSchema)]
struct Disabled {
    #[schema(example = "The second factor is disabled")]
    message: &'static str,
}

/// Show whether the caller's logins need a second factor.
#[utoipa::path(
    get,
    operation_id = "getSecondFactor",
    path = "/auth/mfa",
    tag = "auth",
    security(("bearer" = []), ("password" = [])),
    responses((status = 200, description = "The state of the second factor", body = SecondFactorStatus), CallerErrors),
)]
async fn status(State(app): State<AppState>, me: ExistingUser) -> Result<Json<SecondFactorStatus>> {
    let status = app.second_factors.status(me.id).await?;
    Ok(Json(SecondFactorStatus { enabled: status.enabled, recovery_codes_left: status.recovery_codes_left }))
}

/// Create a secret for an authenticator app. Logins need a code only after the confirmation with a first code.
#[utoipa::path(
    post,
    operation_id = "enrollSecondFactor",
    path = "/auth/mfa",
    tag = "auth",
    security(("bearer" = []), ("password" = [])),
    request_body = Enrollment,
    responses(
        (status = 201, description = "The secret. It replaces one that was not confirmed", body = NewSecret),
        (status = 400, description = "The current password is wrong", body = ErrorBody),
        (status = 403, description = "`MFA_UNAVAILABLE`: the system has no key for second factors", body = ErrorBody),
        (status = 409, description = "A second factor is already enabled", body = ErrorBody),
        CallerErrors,
        InvalidInput,
        RateLimited,
        HashingUnavailable,
    ),
)]
async fn enroll(
    State(app): State<AppState>,
    me: CurrentUser,
    Valid(Enrollment { current_password }): Valid<Enrollment>,
) -> Result<(StatusCode, Json<NewSecret>)> {
    let enrolled = async {
        let account = require_password(&app, &me, &current_password).await?;
        let secret = app.second_factors.enroll(me.id).await?;
        let otpauth_url = secret.url(&app.issuer, &account.username).map_err(Error::internal)?;
        Ok(NewSecret { secret: secret.to_base32(), otpauth_url })
    };
    let enrolled = enrolled.await;
    app.audit.record("second_factor_enroll", Some(me.id), "", &enrolled);
    Ok((StatusCode::CREATED, Json(enrolled?)))
}

/// Enable the second factor with a first code of the authenticator app.
#[utoipa::path(
    post,
    operation_id = "confirmSecondFactor",
    path = "/auth/mfa/confirm",
    tag = "auth",
    security(("bearer" = []), ("password" = [])),
    request_body = Confirmation,
    responses(
        (status = 200, description = "The second factor is enabled", body = RecoveryCodes),
        (status = 400, description = "`MFA_INVALID`: the code is wrong or was used before", body = ErrorBody),
        CodeUnavailable,
        (status = 409, description = "A second factor is already enabled", body = ErrorBody),
        CallerErrors,
        InvalidInput,
        RateLimited,
    ),
)]
async fn confirm(
    State(app): State<AppState>,
    me: CurrentUser,
    client: ClientInfo,
    Valid(Confirmation { code }): Valid<Confirmation>,
) -> Result<Json<RecoveryCodes>> {
    let code = EnteredCode::read(&code.0);
    let origin = client.origin(me.sid);
    let confirmed = with_code(app.second_factors.confirm(me.id, &code, &origin)).await;
    app.audit.record("second_factor_enable", Some(me.id), "", &confirmed);
    Ok(shown(confirmed?))
}

/// Replace the recovery codes.
///
/// The code has to be one of the authenticator app. If the answer is lost, a later code replaces them again.
#[utoipa::path(
    post,
    operation_id = "renewRecoveryCodes",
    path = "/auth/mfa/recovery-codes",
    tag = "auth",
    security(("bearer" = []), ("password" = [])),
    request_body = BothFactors,
    responses(
        (status = 200, description = "The new codes; the others are void", body = RecoveryCodes),
        WrongFactor,
        CodeUnavailable,
        CallerErrors,
        InvalidInput,
        RateLimited,
        HashingUnavailable,
    ),
)]
async fn renew_recovery_codes(
    State(app): State<AppState>,
    me: CurrentUser,
    client: ClientInfo,
    Valid(BothFactors { current_password, code }): Valid<BothFactors>,
) -> Result<Json<RecoveryCodes>> {
    let code = EnteredCode::read(&code.0);
    let origin = client.origin(me.sid);
    let renew = app.second_factors.renew_recovery_codes(me.id, &code, &origin);
    let renewed = with_both_factors(&app, &me, &current_password, renew).await;
    app.audit.record("recovery_codes_renew", Some(me.id), "", &renewed);
    Ok(shown(renewed?))
}

/// Disable the second factor.
#[utoipa::path(
    post,
    operation_id = "disableSecondFactor",
    path = "/auth/mfa/disable",
    tag = "auth",
    security(("bearer" = []), ("password" = [])),
    request_body = BothFactors,
    responses(
        (status = 200, description = "Logins no longer need a code", body = Disabled),
        WrongFactor,
        CodeUnavailable,
        CallerErrors,
        InvalidInput,
        RateLimited,
        HashingUnavailable,
    ),
)]
async fn disable(
    State(app): State<AppState>,
    me: CurrentUser,
    client: ClientInfo,
    Valid(BothFactors { current_password, code }): Valid<BothFactors>,
) -> Result<Json<Disabled>> {
    let code = EnteredCode::read(&code.0);
    let origin = client.origin(me.sid);
    let disable = app.second_factors.disable(me.id, &code, &origin);
    let disabled = with_both_factors(&app, &me, &current_password, disable).await;
    app.audit.record("second_factor_disable", Some(me.id), "", &disabled);
    disabled.map(|()| Json(Disabled { message: "The second factor is disabled" }))
}

/// Checks the password, then does what [`with_code`] does.
async fn with_both_factors<T>(
    app: &AppState,
    me: &CurrentUser,
    password: &GivenPassword,
    used: impl Future<Output = engines::error::Result<Option<T>>>,
) -> Result<T> {
    require_password(app, me, password).await?;
    with_code(used).await
}

fn shown(codes: Vec<RecoveryCode>) -> Json<RecoveryCodes> {
    Json(RecoveryCodes { recovery_codes: codes.into_iter().map(RecoveryCode::into_string).collect() })
}
