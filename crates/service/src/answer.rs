//! Answers of other services, which are read into memory.

use reqwest::Response;

/// The body of an answer; `None` if it is longer than `max_bytes`, of which no more are read.
///
/// # Errors
/// Returns an error if the connection ends or times out first.
pub(crate) async fn body(mut response: Response, max_bytes: usize) -> Result<Option<Vec<u8>>, reqwest::Error> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await? {
        if body.len() + chunk.len() > max_bytes {
            return Ok(None);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Some(body))
}
