//! The body of error answers.

use axum::body::Body;
use axum::http::header::CONTENT_LENGTH;
use axum::response::{IntoResponse, Response};
use common::error::{Detail, Error, ErrorBody, ErrorExtension};

/// Writes the envelope into a response that was made from an [`Error`], and logs a failure that is not the client's.
pub(super) fn write(mut response: Response, form: Detail, request_id: &str) -> Response {
    let Some(ErrorExtension(error)) = response.extensions_mut().remove() else { return response };
    match &*error {
        Error::Unavailable { dependency, source } => {
            tracing::warn!(dependency, error = %source, "dependency unavailable");
        }
        Error::Internal(source) => tracing::error!(error = %source, "internal error"),
        _ => {}
    }
    match serde_json::to_vec(&ErrorBody::new(&error, form, Some(request_id.to_owned()))) {
        Ok(body) => {
            // The length is of the empty body before.
            response.headers_mut().remove(CONTENT_LENGTH);
            response.map(|_| Body::from(body))
        }
        Err(_) => error.status().into_response(),
    }
}
