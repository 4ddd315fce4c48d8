//! The client of HTTP.

use anyhow::Result;
use platform::http::CallTls;
use reqwest::{Client, IntoUrl, Response};

pub fn client() -> Result<Client> {
    Ok(CallTls::public()?.client().build()?)
}

/// The response to a GET request.
pub async fn get(url: impl IntoUrl) -> Result<Response> {
    Ok(client()?.get(url).send().await?)
}
