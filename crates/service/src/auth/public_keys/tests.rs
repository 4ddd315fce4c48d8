use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::StatusCode;
use axum::http::header::LOCATION;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use common::config::Env;
use common::error::Detail;
use common::id::UserId;
use common::jwt::{AccessTokens, Algorithm, PrivateKey};
use engines::presence::Presence;
use engines::redis::Redis;
use parking_lot::Mutex;
use platform::Service;
use platform::config::Base;
use tokio::net::TcpListener;
use uuid::Uuid;

use super::*;
use crate::auth::{Auth, TokenRole};

const LIFETIME: Duration = Duration::from_secs(7200);

/// A user-service that publishes keys, or fails with a status.
#[derive(Clone)]
struct Publisher {
    answer: Arc<Mutex<Result<PublicKeys, StatusCode>>>,
    asked: Arc<AtomicUsize>,
}

impl Publisher {
    async fn start(answer: Result<PublicKeys, StatusCode>) -> (Self, String) {
        let publisher = Self { answer: Arc::new(Mutex::new(answer)), asked: Arc::default() };
        let router = Router::new().route(PATH, get(publish)).with_state(publisher.clone());
        let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        (publisher, url)
    }

    fn set(&self, answer: Result<PublicKeys, StatusCode>) {
        *self.answer.lock() = answer;
    }

    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }
}

async fn publish(State(publisher): State<Publisher>) -> Response {
    publisher.asked.fetch_add(1, Ordering::Relaxed);
    match &*publisher.answer.lock() {
        Ok(keys) => axum::Json(keys).into_response(),
        // A redirection leads to the same path.
        Err(status) => (*status, [(LOCATION, "/elsewhere")]).into_response(),
    }
}

fn private_key(seed: u8) -> PrivateKey {
    PrivateKey::from_pem(&testkit::private_key(seed)).unwrap()
}

fn published(keys: &[u8]) -> Result<PublicKeys, StatusCode> {
    Ok(keys.iter().fold(PublicKeys::default(), |all, seed| all.with(&private_key(*seed))))
}

fn token(seed: u8) -> String {
    let tokens = AccessTokens::accepting_none(LIFETIME).sign_with(&private_key(seed));
    tokens.issue(UserId(7), "a@b.c", "ann", Uuid::new_v4()).unwrap()
}

fn loader(url: &str) -> PublicKeyLoader {
    PublicKeyLoader::new(url, KeyRing::new(Algorithm::EdDsa), &platform(&[]).config.calls).unwrap()
}

fn platform(settings: &[(&'static str, &str)]) -> Platform {
    let env = [("SECRET_KEY", "a-secret-of-our-own-with-32-bytes!"), ("MYSQL_HOST", "none"), ("ALGORITHM", "EdDSA")];
    let env = env.iter().chain(settings).map(|(name, value)| (*name, (*value).to_owned()));
    let base = Base::read(&Env::of(env), "friend-service", 0).unwrap();
    let service = Service { name: "friend-service", title: "", port: 0, refusals: Detail::Text, password_flow: false };
    Platform::new(service, base).unwrap()
}

/// The authentication of a service whose Redis is unavailable, so that tokens alone decide.
fn auth(url: &str, settings: &[(&'static str, &str)]) -> Auth {
    let platform = platform(settings);
    let redis = Redis::new(&"redis://127.0.0.1:1".into(), &platform.config.redis_tls, "", &platform.metrics).unwrap();
    let role = TokenRole::Verifier { user_service_url: url.to_owned() };
    Auth::new(&platform, &redis, Presence::new(redis.clone(), LIFETIME), role).unwrap()
}

async fn status(auth: &Auth, token: &str) -> u16 {
    auth.user_of_token(token).await.map_or_else(|e| e.status().as_u16(), |_| 200)
}

#[tokio::test]
async fn a_service_that_has_no_keys_yet_answers_503_and_keeps_its_keys_once_it_has_them() {
    let (publisher, url) = Publisher::start(Err(StatusCode::SERVICE_UNAVAILABLE)).await;
    let auth = auth(&url, &[]);
    assert_eq!([status(&auth, &token(1)).await, status(&auth, "x.y.z").await], [503, 401]);

    publisher.set(published(&[1]));
    while status(&auth, &token(1)).await != 200 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }

    publisher.set(Err(StatusCode::INTERNAL_SERVER_ERROR));
    assert_eq!([status(&auth, &token(1)).await, status(&auth, &token(2)).await], [200, 401]);
}

#[tokio::test]
async fn tokens_of_the_secret_are_refused_unless_the_setting_allows_them() {
    let (_publisher, url) = Publisher::start(published(&[1])).await;
    let secret = "a-secret-of-our-own-with-32-bytes!".into();
    let token = AccessTokens::new(&secret, None, LIFETIME).issue(UserId(7), "a@b.c", "ann", Uuid::new_v4()).unwrap();

    assert_eq!(status(&auth(&url, &[]), &token).await, 401);
    assert_eq!(status(&auth(&url, &[("ALLOW_SECRET_KEY_TOKENS", "true")]), &token).await, 200);
}

#[tokio::test]
async fn a_token_with_a_new_key_causes_a_load() {
    let (publisher, url) = Publisher::start(published(&[1])).await;
    let loader = loader(&url);
    loader.load().await.unwrap();
    publisher.set(published(&[1, 2]));

    loader.look_for(private_key(2).id()).await.unwrap();

    assert!(loader.ring.contains(private_key(2).id()) && loader.ring.contains(private_key(1).id()));
    assert_eq!(publisher.asked(), 2);
}

#[tokio::test]
async fn unknown_keys_cause_one_load_in_ten_seconds() {
    let (publisher, url) = Publisher::start(published(&[1])).await;
    let loader = loader(&url);
    let look = || async {
        let keys: Vec<String> = (0..100).map(|n| format!("unknown-{n}")).collect();
        futures_util::future::join_all(keys.iter().map(|key| loader.look_for(key))).await
    };

    assert!(look().await.iter().all(Result::is_ok));
    assert_eq!(publisher.asked(), 1);
    *loader.last.lock().await = Instant::now().checked_sub(UNKNOWN_KEY_PAUSE);
    look().await;
    look().await;
    assert_eq!(publisher.asked(), 2);
}

#[tokio::test]
async fn a_withdrawn_key_verifies_no_token_after_the_next_load() {
    let (publisher, url) = Publisher::start(published(&[1, 2])).await;
    let loader = loader(&url);
    loader.load().await.unwrap();
    publisher.set(published(&[2]));

    loader.load().await.unwrap();

    assert!(!loader.ring.contains(private_key(1).id()));
}

#[tokio::test]
async fn redirections_and_long_answers_are_rejected() {
    let (publisher, url) = Publisher::start(Err(StatusCode::FOUND)).await;
    let loader = loader(&url);
    assert!(loader.load().await.is_err());

    let long = Router::new().route(PATH, get(|| async { format!("{{\"keys\":[]{}}}", " ".repeat(MAX_ANSWER_BYTES)) }));
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, long).await.unwrap() });
    let error = self::loader(&url).load().await.unwrap_err().to_string();
    assert!(error.contains("too long"), "{error}");
    assert_eq!(publisher.asked(), 1);
    assert!(loader.ring.current().is_none());
}

#[tokio::test]
async fn keys_of_a_file_need_no_user_service() {
    let path = std::env::temp_dir().join(format!("jwks-{}.json", Uuid::new_v4()));
    std::fs::write(&path, serde_json::to_vec(&published(&[1]).unwrap()).unwrap()).unwrap();
    let auth = auth("http://127.0.0.1:1", &[("JWT_PUBLIC_KEYS_FILE", path.to_str().unwrap())]);
    std::fs::remove_file(&path).unwrap();

    assert_eq!([status(&auth, &token(1)).await, status(&auth, &token(2)).await], [200, 401]);
}
