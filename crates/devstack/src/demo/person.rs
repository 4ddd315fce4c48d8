//! A person of the demo: an account and its requests.

use anyhow::{Result, ensure};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::response::{expect, id, text};
use crate::http_client;

const PASSWORD: &str = "Ta11-tulips!";

pub struct Person {
    pub email: String,
    pub username: String,
    pub id: i64,
    token: String,
    gateway: String,
    client: Client,
}

impl Person {
    /// A person with a random name, so that the demo can be repeated.
    pub fn new(gateway: &str, name: &str) -> Result<Self> {
        let username = format!("{name}-{}", &Uuid::new_v4().simple().to_string()[..10]);
        Ok(Self {
            email: format!("{username}@example.com"),
            username,
            id: 0,
            token: String::new(),
            gateway: gateway.into(),
            client: http_client::client()?,
        })
    }

    pub async fn register(&mut self) -> Result<()> {
        let body = json!({"email": self.email, "username": self.username, "password": PASSWORD});
        let user = self.post("/api/auth/register", &body, StatusCode::CREATED).await?;
        ensure!(user["username"] == self.username.as_str() && user["email"] == self.email.as_str(), "{user}");
        ensure!(text(&user, "created_at")?.ends_with('Z'), "not UTC: {user}");
        self.id = id(&user, "id")?;
        Ok(())
    }

    pub async fn log_in_by_form(&mut self) -> Result<()> {
        let form = [("username", self.email.as_str()), ("password", PASSWORD)];
        let request = self.request(Method::POST, "/api/auth/login").form(&form);
        let token = expect(StatusCode::OK, request).await?;
        self.set_token(&token)
    }

    pub async fn log_in_by_json(&mut self) -> Result<()> {
        let body = json!({"email": self.email, "password": PASSWORD});
        let token = self.post("/api/auth/login/json", &body, StatusCode::OK).await?;
        self.set_token(&token)
    }

    fn set_token(&mut self, token: &Value) -> Result<()> {
        ensure!(token["token_type"] == "bearer" && id(token, "expires_in")? > 0, "{token}");
        self.token = text(token, "access_token")?.into();
        Ok(())
    }

    pub async fn is_rejected_without_token(&self) -> Result<()> {
        let request = self.client.get(format!("{}/api/profile/me", self.gateway));
        let forged = request.header("x-user-id", self.id.to_string()).header("x-user-email", &self.email);
        let error = expect(StatusCode::UNAUTHORIZED, forged).await?;
        ensure!(error["error"] == "authentication_error" && error["status_code"] == 401, "{error}");
        Ok(())
    }

    pub async fn get(&self, path: &str) -> Result<Value> {
        expect(StatusCode::OK, self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value, status: StatusCode) -> Result<Value> {
        expect(status, self.request(Method::POST, path).json(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Result<Value> {
        expect(StatusCode::OK, self.request(Method::PUT, path).json(body)).await
    }

    /// A response whose body is a stream.
    pub async fn open(&self, path: &str) -> Result<Response> {
        let response = self.request(Method::GET, path).send().await?;
        ensure!(
            response.status() == StatusCode::OK,
            "{path} responded {}: {}",
            response.status(),
            response.text().await?
        );
        Ok(response)
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.gateway));
        if self.token.is_empty() { request } else { request.bearer_auth(&self.token) }
    }
}
