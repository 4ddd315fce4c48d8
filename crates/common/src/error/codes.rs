//! The codes of error answers. docs/errors.md is their table.

use std::borrow::Cow;

use utoipa::openapi::RefOr;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};
use utoipa::{PartialSchema, ToSchema};

/// A machine-readable code, the statuses with which it is sent, and its meaning for the client.
pub(super) struct Code(pub &'static str, pub &'static [u16], pub &'static str);

/// All codes, those of all operations first.
pub(super) const CODES: [Code; 42] = [
    Code("business_logic_error", &[400], "A rule refuses the request; `message` says which"),
    Code(
        "authentication_error",
        &[401],
        "There is no valid access token, ticket or refresh token, or the login is wrong",
    ),
    Code(
        "authorization_error",
        &[403],
        "The caller may not do this: the caller is not a member of the room, is not the author, or has a deactivated account",
    ),
    Code("resource_not_found", &[404], "The path, or the resource that it names, does not exist"),
    Code("method_not_allowed", &[405], "The path exists, but not for this method"),
    Code("request_timeout", &[408], "The body did not arrive in time"),
    Code("resource_conflict", &[409], "The request conflicts with existing data, such as a username that is taken"),
    Code("payload_too_large", &[413], "The body is too large"),
    Code("uri_too_long", &[414], "The path and the query are too long"),
    Code("unsupported_media_type", &[415], "The body has a `Content-Encoding`, which the services do not accept"),
    Code("validation_error", &[422], "Fields are invalid; `validation_errors` has one entry for each of them"),
    Code("rate_limit_exceeded", &[429], "Too many requests; `Retry-After` has the seconds to wait"),
    Code("request_header_fields_too_large", &[431], "The header is too large"),
    Code("internal_server_error", &[500], "A defect of the system; the answer contains no internal detail"),
    Code(
        "service_unavailable",
        &[503],
        "A dependency is unavailable; `Retry-After` has the seconds to wait. A change that a store did not confirm may have been made",
    ),
    Code("INVALID_INPUT", &[400, 422], "The input breaks a rule of messages, rooms or reads; `message` says which"),
    Code("MESSAGE_ALREADY_DELETED", &[400], "The message is already deleted"),
    Code("ATTACHMENTS_DISABLED", &[501], "This deployment has no store for files; everything else works"),
    Code("FILE_TYPE_NOT_ALLOWED", &[400], "This deployment does not accept files of this type"),
    Code(
        "FILE_TOO_LARGE",
        &[400],
        "The file is larger than this deployment accepts; `GET /chat-rooms/limits` has the limits",
    ),
    Code(
        "FILE_QUOTA_EXCEEDED",
        &[403],
        "The files of the caller would take more bytes than a user has; deleting messages with files makes room, half an hour after their uploads",
    ),
    Code("UPLOAD_NOT_FOUND", &[404], "The caller has no such upload"),
    Code("UPLOAD_OF_OTHER_ROOM", &[400], "The upload was requested for another room"),
    Code(
        "UPLOAD_EXPIRED",
        &[410],
        "The upload is older than a day, or was tried too often; the client asks for another one",
    ),
    Code("UPLOAD_INCOMPLETE", &[409], "The file is not stored yet; the client stores it and sends the message again"),
    Code("UPLOAD_CHANGED", &[409], "The stored file has another size, type or checksum than the upload"),
    Code(
        "IMAGE_NOT_VALID",
        &[400],
        "The file is not an image of the type that the upload names, or has too many pixels",
    ),
    Code("FILE_NOT_READY", &[409], "The file is being checked; `message_edited` announces the end of the check"),
    Code("FILE_REJECTED", &[403], "The file did not pass the check of this deployment, and its bytes are removed"),
    Code("UPLOAD_ALREADY_SENT", &[409], "The upload is part of another message"),
    Code("CANNOT_CHAT_SELF", &[422], "A direct room needs another user"),
    Code("BLOCKED", &[403], "One of the two users has blocked the other"),
    Code("FRIENDS_ONLY", &[403], "Only friends can bring one of the users into a group"),
    Code("LEFT_GROUP", &[403], "One of the users has left the group and cannot be added again for some days"),
    Code("TOO_MANY_ROOMS", &[403], "The caller, or one of the users, has reached the limit of rooms"),
    Code("TOO_MANY_PENDING", &[403], "The caller has reached the limit of unanswered friend requests"),
    Code("TOO_MANY_FRIENDS", &[403], "The caller or the requester has reached the limit of friends"),
    Code("TOO_MANY_BLOCKED", &[403], "The caller has reached the limit of blocked users"),
    Code("MFA_REQUIRED", &[401, 403], "The account has a second factor, and its code is missing"),
    Code("MFA_INVALID", &[400, 401], "The code of the second factor is wrong or was used before"),
    Code(
        "MFA_UNAVAILABLE",
        &[403],
        "The system has no key for second factors; where a recovery code is accepted, it still works",
    ),
    Code(
        "REAUTHENTICATION_REQUIRED",
        &[403],
        "The login is too long ago for this operation, and the current password is missing",
    ),
];

/// Whether the code is in the table with this status.
pub(super) fn is_documented(code: &str, status: u16) -> bool {
    CODES.iter().any(|Code(known, statuses, _)| *known == code && statuses.contains(&status))
}

/// The codes as an enumeration, for the API document.
pub(super) struct ErrorCode;

impl PartialSchema for ErrorCode {
    fn schema() -> RefOr<Schema> {
        let meanings: String = CODES.iter().map(|Code(code, _, meaning)| format!("\n- `{code}`: {meaning}")).collect();
        let schema = ObjectBuilder::new().schema_type(Type::String).enum_values(Some(CODES.map(|Code(code, ..)| code)));
        schema.description(Some(format!("The machine-readable code.\n{meanings}"))).build().into()
    }
}

impl ToSchema for ErrorCode {
    fn name() -> Cow<'static, str> {
        "ErrorCode".into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DOCUMENT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/errors.md");

    const BEGINNING: &str = "# Errors

Every error answer of a service has the same body, but for a request that is not HTTP (400) and for a target or headers that are too
long (414, 431), which may have none. The API document describes the body as `ErrorBody`: `error` is one of the codes below, `message` a
text for people, `status_code` the status, `request_id` the id by which an operator finds the request in the logs, and `detail` the error
in the form that clients of the original read.
A client decides by the status, and by the code if it can react to it: for example, it asks for a code of the second factor after
`MFA_REQUIRED`, and marks the fields of `validation_errors`.

The gateway answers some requests itself: 404 for an unknown path, 429 beyond a limit of requests, 413, and 502 to 504 if a service does not
answer. These answers have a body of the gateway's own, such as `{\"message\": \"…\"}`, so a client decides by their status alone. The gateway
allows a token 100 requests in a minute and 1,000 in an hour, unless the operator sets other limits; its 429 has `Retry-After`. Requests
without a token count for their network, and streams and tickets are counted apart.

After 500, 502, 503, 504 and a broken connection, the outcome of a change is unknown. Repeat a message with its `client_message_id`, and a
refresh with the same token within 30 s ([how](streaming.md#sending)). A repeat of another change leaves the same state, but is refused (400, 403,
404 or 409, and 401 after a logout) if the change was made and cannot be made twice; an edit is announced twice.
A login, a secret, recovery codes and a group are made anew each time: list the rooms before you repeat the creation of a group.

A test of `crates/common` writes this file from the code with `INSTA_UPDATE=always`, and compares it otherwise.

| code | status | meaning |
|---|---|---|
";

    #[test]
    fn the_document_has_every_code() {
        let row = |Code(code, statuses, meaning): &Code| {
            let statuses = statuses.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
            format!("| `{code}` | {statuses} | {meaning} |\n")
        };
        let text = BEGINNING.to_owned() + &CODES.iter().map(row).collect::<String>();
        if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
            std::fs::write(DOCUMENT, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(DOCUMENT).unwrap(), text, "run the test with INSTA_UPDATE=always");
    }

    #[test]
    fn a_code_is_known_with_its_statuses_only() {
        assert!(is_documented("BLOCKED", 403) && is_documented("INVALID_INPUT", 422));
        assert!(!is_documented("BLOCKED", 400) && !is_documented("UNHEARD_OF", 403));
    }
}
