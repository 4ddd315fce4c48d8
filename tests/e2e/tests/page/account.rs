//! The profile, the password and the sessions.

use e2e::{PASSWORD, Person};
use serde_json::json;

use crate::window::{Browser, Window};
use crate::{gateway, log_in};

const NEW_PASSWORD: &str = "Another5678!@";

async fn log_in_with(window: &Window, person: &Person, password: &str) {
    window.fill("email", &person.email).await;
    window.fill("password", password).await;
    window.press("form .primary").await;
    window.wait_for_text(".top", &person.username).await;
}

#[tokio::test]
async fn a_user_changes_the_profile_and_the_password_and_ends_a_session() {
    let Some(browser) = Browser::start().await else { return };
    let ann = Person::sign_up("ann").await;
    let (window, other) = (browser.open(&gateway(), "en").await, browser.open(&gateway(), "ko").await);
    log_in(&window, &ann).await;
    log_in(&other, &ann).await;

    window.press("[data-act=tab][data-id=account]").await;
    window.clear("display_name").await;
    window.fill("display_name", "Ann Archer").await;
    window.fill("status_message", "at work").await;
    window.press("[data-act=saveProfile] .primary").await;
    window.wait_for_text("[role=alert]", "Saved").await;
    window.wait_for_text(".top", "Ann Archer").await;
    let profile = ann.client.get("/api/profile/me").await.expect(200);
    assert_eq!((&profile["display_name"], &profile["status_message"]), (&json!("Ann Archer"), &json!("at work")));

    // The sessions: of the two windows, and of the test itself.
    window.wait_until("document.querySelectorAll('[data-key=sessions] .entry').length === 3").await;
    window.wait_for_text("[data-key=sessions] .entry", "this device").await;
    window.press("[data-key=sessions] [data-act=endSession]").await;
    window.wait_until("document.querySelectorAll('[data-key=sessions] .entry').length === 2").await;

    window.press("[data-act=accountForm]").await;
    window.fill("current_password", "not the password").await;
    window.fill("new_password", NEW_PASSWORD).await;
    window.press("[data-act=changePassword] .primary").await;
    window.wait_for_text("#current_password-error", "The current password is incorrect.").await;
    window.clear("current_password").await;
    window.fill("current_password", PASSWORD).await;
    window.clear("new_password").await;
    window.fill("new_password", "Letters!").await;
    window.press("[data-act=changePassword] .primary").await;
    window.wait_for_text("#new_password-error", "Add at least one digit.").await;
    window.clear("new_password").await;
    window.fill("new_password", NEW_PASSWORD).await;
    window.press("[data-act=changePassword] .primary").await;
    window.wait_for_text("[role=alert]", "The password was changed.").await;
    window.wait_until("document.querySelectorAll('[data-key=sessions] .entry').length === 1").await;

    // The change has ended the other session.
    other.wait_for_text("form", "로그인").await;
    log_in_with(&other, &ann, NEW_PASSWORD).await;
}
