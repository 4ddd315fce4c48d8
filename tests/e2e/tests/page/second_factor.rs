//! Two-step login on the page: enabling, logging in with codes, recovery codes, disabling.

use chrono::Utc;
use e2e::{PASSWORD, Person};
use fantoccini::key::Key;
use serde_json::json;
use totp_rs::{Builder, Secret};

use crate::window::{Browser, Window};
use crate::{gateway, log_in};

/// The code of an authenticator app, some seconds from now.
fn code(secret: &str, seconds: i64) -> String {
    let secret = Secret::try_from_base32(secret).unwrap();
    let totp = Builder::new().with_secret(secret.as_bytes().to_vec()).build_noncompliant();
    totp.generate((Utc::now().timestamp() + seconds).unsigned_abs()).to_string()
}

/// Types a text and Enter into a field of the form.
async fn enter(window: &Window, name: &str, text: &str) {
    window.fill(name, &format!("{text}{}", char::from(Key::Enter))).await;
}

/// Enables two-step login with the keyboard. Returns the secret and the recovery codes that the page shows.
async fn enable(window: &Window) -> (String, Vec<String>) {
    window.press("[data-act=tab][data-id=security]").await;
    enter(window, "current_password", "not the password").await;
    window.wait_for_text("[role=alert]", "The current password is incorrect.").await;
    window.clear("current_password").await;
    enter(window, "current_password", PASSWORD).await;
    window.wait_for_text(".security", "Add this secret").await;
    let secret = window.texts(".secret").await.remove(0).replace(' ', "");
    let link = window.attribute(".security a", "href").await;
    assert!(link.starts_with("otpauth://totp/") && link.contains(&secret), "{link}");

    enter(window, "code", "000000").await;
    window.wait_for_text("[role=alert]", "The code is wrong or was used before.").await;
    enter(window, "code", &code(&secret, 0)).await;
    window.wait_for_text(".security h3", "Recovery codes").await;
    (secret, window.texts(".codes li").await)
}

#[tokio::test]
async fn a_second_factor_is_enabled_used_and_disabled_on_the_page() {
    let Some(browser) = Browser::start().await else { return };
    let ann = Person::sign_up("ann").await;
    let window = browser.open(&gateway(), "en").await;
    log_in(&window, &ann).await;

    let (secret, recovery) = enable(&window).await;
    assert_eq!(recovery.len(), 10);
    window.press_on(".security button", "I have saved them").await;
    window.wait_for_text(".security", "Unused recovery codes: 10").await;
    window.wait_for_exact_texts(".codes li", &[]).await;
    assert_eq!(ann.client.get("/api/auth/mfa").await.expect(200)["enabled"], json!(true));

    // A login asks for a code after the right password.
    window.press("[data-act=logOut]").await;
    window.fill("email", &ann.email).await;
    enter(&window, "password", PASSWORD).await;
    window.wait_for_text("[role=alert]", "Enter a code to log in.").await;
    enter(&window, "mfa_code", "wrong-code").await;
    window.wait_for_text("[role=alert]", "The code is wrong or was used before.").await;
    enter(&window, "mfa_code", &recovery[0]).await;
    window.wait_for_text(".top", &ann.username).await;

    // New recovery codes replace the others, in Korean. They need a code of the app.
    window.press_on(".top button", "한국어").await;
    window.press("[data-act=tab][data-id=security]").await;
    window.wait_for_text(".security", "남은 복구 코드: 9개").await;
    window.press_on(".security button", "복구 코드 다시 만들기").await;
    window.fill("current_password", PASSWORD).await;
    enter(&window, "code", &recovery[1]).await;
    window.wait_for_text("[role=alert]", "코드가 올바르지 않거나 이미 사용되었어요.").await;
    enter(&window, "code", &code(&secret, 30)).await;
    window.wait_for_text(".security h3", "복구 코드").await;
    let renewed = window.texts(".codes li").await;
    assert!(renewed.len() == 10 && !renewed.contains(&recovery[2]), "{renewed:?}");
    window.press_on(".security button", "보관했어요").await;

    window.press_on(".security button", "사용 안 함").await;
    window.fill("current_password", PASSWORD).await;
    enter(&window, "mfa_code", &recovery[2]).await;
    window.wait_for_text("[role=alert]", "코드가 올바르지 않거나 이미 사용되었어요.").await;
    enter(&window, "mfa_code", &renewed[0]).await;
    window.wait_for_text(".security", "비밀번호를 입력한 뒤 인증 앱의 코드도").await;
    window.press("[data-act=logOut]").await;
    log_in(&window, &ann).await;
}
