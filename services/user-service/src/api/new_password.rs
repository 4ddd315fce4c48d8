//! The checks of a new password, at a registration and at a change.

use common::error::{Error, Rejected, Result};
use common::input::{Broken, Invalid, Step};
use platform::http::Valid;
use serde_json::Value;

use crate::domain::{NewPassword, Rule};
use crate::passwords::Weakness;
use crate::state::AppState;

const TOO_LONG_FOR_BCRYPT: &str = "password has more than 72 bytes";
const COMMON: &str = "Password is too easy to guess; choose one that is not based on a common password, a keyboard \
                      pattern or your name";
const BREACHED: &str = "Password is known from a data breach; choose another one";

/// The body of a request, if its new password satisfies the configured rule. A breach of the rule is reported together
/// with the other broken fields.
pub(super) fn by_rule<T>(
    app: &AppState,
    body: Result<Valid<T>>,
    field: &'static str,
    password: impl Fn(&T) -> &NewPassword,
) -> Result<T> {
    let rule = app.passwords.rule();
    match body {
        Ok(Valid(input)) => match rule.breach(password(&input)) {
            None if !app.passwords.can_hash(password(&input)) => {
                Err(refused(broken("value_error", field, TOO_LONG_FOR_BCRYPT)))
            }
            None => Ok(input),
            Some(breach) => Err(refused(broken("value_error", field, &breach))),
        },
        Err(Error::Invalid(mut rejected)) => {
            let is_readable = !rejected.invalid.0.iter().any(|broken| broken.path == [Step::Key(field.to_owned())]);
            let sent = rejected.sent.get(field).and_then(Value::as_str).filter(|_| is_readable);
            let password = sent.and_then(|text| NewPassword::parse(text.to_owned()).ok());
            if let Some(breach) = password.and_then(|password| rule.breach(&password)) {
                rejected.invalid.0.push(broken("value_error", field, &breach));
            }
            Err(Error::Invalid(rejected))
        }
        Err(e) => Err(e),
    }
}

/// The hash of a new password.
///
/// # Errors
/// Returns a validation error for a common or breached password, and an unavailable error if it cannot be checked.
pub(super) async fn hash(
    app: &AppState,
    password: &NewPassword,
    field: &'static str,
    username: &str,
    email: &str,
) -> Result<String> {
    let local_part = email.split('@').next().unwrap_or_default();
    let about = [username, local_part].into_iter().chain(app.issuer.split_whitespace()).map(str::to_owned).collect();
    match app.passwords.weakness(password, about).await? {
        None => app.passwords.hash(password.as_str()).await,
        Some(Weakness::Common) => Err(refused(broken("password_too_common", field, COMMON))),
        Some(Weakness::Breached) => Err(refused(broken("password_breached", field, BREACHED))),
    }
}

fn broken(kind: &'static str, field: &str, problem: &str) -> Broken {
    Broken { kind, path: vec![Step::Key(field.to_owned())], message: format!("Value error, {problem}") }
}

fn refused(broken: Broken) -> Error {
    Error::Invalid(Rejected { source: "body", invalid: Invalid(vec![broken]), sent: Value::Null })
}
