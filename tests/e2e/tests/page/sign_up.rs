//! Forms say at each field what is wrong with it, and one login and one stream serve all tabs.

use e2e::{PASSWORD, Person};
use futures_util::future::join_all;
use serde_json::json;
use testkit::{Client, eventually};
use uuid::Uuid;

use crate::window::{Browser, Window};
use crate::{gateway, log_in, open_chat, two_friends};

async fn fill_all(window: &Window, fields: &[(&str, &str)]) {
    for (name, text) in fields {
        window.clear(name).await;
        window.fill(name, text).await;
    }
    window.press("form .primary").await;
}

#[tokio::test]
async fn a_sign_up_says_at_the_field_what_is_wrong() {
    let Some(browser) = Browser::start().await else { return };
    let taken = Person::sign_up("taken").await;
    let name = format!("new_{}", &Uuid::new_v4().simple().to_string()[..10]);
    let email = format!("{name}@example.com");
    for (language, digit, start, is_taken) in [
        ("en", "Add at least one digit.", "begin with a letter or digit", "This email is already registered."),
        ("ko", "숫자를 하나 이상 넣어 주세요.", "영문자나 숫자로 시작하는", "이미 가입된 이메일이에요."),
    ] {
        let window = browser.open(&gateway(), language).await;
        window.press("[data-act=otherForm]").await;
        fill_all(&window, &[("email", &email), ("username", "_bad name"), ("password", "Onlyletters!")]).await;
        window.wait_for_text("#username-error", start).await;
        window.wait_for_text("#password-error", digit).await;
        window.wait_for_exact_texts("#email-error", &[]).await;
        window.wait_until("document.activeElement.name === 'username'").await;
        let described = window.attribute("[name=password]", "aria-describedby").await;
        assert_eq!(described, "password-error password-hint");

        fill_all(&window, &[("email", &taken.email), ("username", &name), ("password", PASSWORD)]).await;
        window.wait_for_text("#email-error", is_taken).await;
        window.wait_for_exact_texts("#password-error", &[]).await;
        window.wait_until("document.querySelector('[name=email]').getAttribute('aria-invalid') === 'true'").await;
        fill_all(&window, &[("email", &email), ("username", &taken.username), ("password", PASSWORD)]).await;
        window.wait_until("document.querySelector('#username-error') !== null").await;
    }
}

#[tokio::test]
async fn a_new_tab_needs_no_login_and_a_logout_ends_all_tabs() {
    let Some(browser) = Browser::start().await else { return };
    let [(ann, window), (_, bob)] = two_friends(&browser, &gateway()).await;
    window.open_tab(&gateway()).await;
    window.wait_for_text(".top", &ann.username).await;
    open_chat(&window, "테스트 유저").await;
    bob.send_message("for both tabs").await;
    window.wait_for_text(".text", "for both tabs").await;
    window.turn_to_tab(0).await;
    window.wait_for_text(".text", "for both tabs").await;
    // One tab holds the stream for both.
    let locks = "const { held, pending } = await navigator.locks.query(); return [held.length, pending.length]";
    assert_eq!(window.run(locks, json!(null)).await, json!([1, 1]));

    window.press("[data-act=logOut]").await;
    window.wait_for_text("form", "Log in").await;
    window.turn_to_tab(1).await;
    window.wait_for_text("form", "Log in").await;
    let stored = window.run("return [localStorage.getItem('session'), sessionStorage.length]", json!(null)).await;
    assert_eq!(stored, json!([null, 0]));
    log_in(&window, &ann).await;
    window.turn_to_tab(0).await;
    window.wait_for_text(".top", &ann.username).await;
}

/// The number of open streams of all replicas of chat-service.
async fn open_streams() -> u32 {
    let replicas = std::env::var("CHAT_URLS").or_else(|_| std::env::var("CHAT_URL"));
    let replicas = replicas.expect("CHAT_URLS is not set: run the tests with `cargo stack test`");
    let of_replica = async |url| {
        let metrics = Client::new(url, "").get("/metrics").await.text;
        let gauge = metrics.lines().find(|line| line.starts_with("active_sse_connections{")).unwrap();
        gauge.rsplit(' ').next().unwrap().parse::<u32>().unwrap()
    };
    join_all(replicas.split(',').map(of_replica)).await.into_iter().sum()
}

#[tokio::test]
async fn a_seventh_tab_sends_and_receives_over_http_1() {
    let Some(browser) = Browser::start().await else { return };
    // Those of an earlier test end first.
    eventually("no stream is open", || async { (open_streams().await == 0).then_some(()) }).await;
    let [(ann, window), (_, bob)] = two_friends(&browser, &gateway()).await;
    // A browser opens six connections to a server: with a stream for each tab, the seventh one would load nothing.
    for _ in 2..=7 {
        window.open_tab(&gateway()).await;
        window.wait_for_text(".top", &ann.username).await;
    }

    open_chat(&window, "테스트 유저").await;
    window.send_message("from the seventh tab").await;
    bob.wait_for_text(".text", "from the seventh tab").await;
    bob.send_message("to the seventh tab").await;
    window.wait_for_text(".text", "to the seventh tab").await;

    assert_eq!(open_streams().await, 2, "one for all tabs, and that of Bob");
}
