//! The pages of the API documents: Swagger, used to log in and to call an endpoint, and ReDoc. The client for browsers in
//! the guide to streams.

use e2e::{PASSWORD, Person};
use serde_json::json;
use testkit::{FaultyLink, eventually};

use crate::gateway;
use crate::window::Browser;

const GUIDE: &str = include_str!("../../../../docs/streaming.md");

#[tokio::test]
async fn authorize_logs_in_and_execute_calls_the_api_as_this_user() {
    let Some(browser) = Browser::start().await else { return };
    let ann = Person::sign_up("ann").await;
    let service = std::env::var("USER_URL").expect("USER_URL is not set: run the tests with `cargo stack test`");
    let page = browser.open(&format!("{service}/docs"), "en").await;

    page.press(".auth-wrapper .authorize").await;
    page.type_into("#oauth_username", &ann.email).await;
    page.type_into("#oauth_password", PASSWORD).await;
    page.press(".auth-container:has(#oauth_username) .authorize").await;
    page.press_on(".auth-btn-wrapper button", "Close").await;

    page.press("#operations-profile-getOwnProfile .opblock-summary-control").await;
    page.press("#operations-profile-getOwnProfile .try-out__btn").await;
    page.press("#operations-profile-getOwnProfile .execute").await;
    page.wait_for_text(".live-responses-table .response-col_status", "200").await;
    page.wait_for_text(".live-responses-table .response-col_description", &ann.email).await;
}

#[tokio::test]
async fn the_reference_of_the_api_is_shown_by_the_gateway_and_by_a_service() {
    let Some(browser) = Browser::start().await else { return };
    let service = std::env::var("CHAT_URL").expect("CHAT_URL is not set: run the tests with `cargo stack test`");
    for page in [format!("{}/docs", gateway()), format!("{service}/redoc")] {
        let window = browser.open(&page, "en").await;
        window.wait_for_text("[role=menu]", "Send a message to a room").await;
    }
}

#[tokio::test]
async fn the_client_of_the_guide_resumes_with_another_ticket() {
    let Some(browser) = Browser::start().await else { return };
    let (ann, bob) = (Person::sign_up("ann").await, Person::sign_up("bob").await);
    ann.befriend(&bob).await;
    let room = ann.room_with(&bob).await;
    let link = FaultyLink::to(gateway().trim_start_matches("http://").parse().unwrap(), 1, 1).await;
    let window = browser.open(&format!("http://{}", link.address), "en").await;
    let client = GUIDE.split("```js\n").nth(1).unwrap().split("```").next().unwrap();
    let handler = "const token = argument;
        window.seen = [];
        const handle = (name, { content }) => window.seen.push(content ?? name);";
    window.run(&format!("{handler} {client} await open()"), json!(bob.client.token())).await;
    window.wait_until("String(seen) === 'connected'").await;

    ann.send_message(room, "before").await;
    window.wait_until("String(seen) === 'connected,before'").await;
    link.set_faulty(true);
    ann.send_message(room, "lost on the way").await;
    eventually("the link is cut", || async { (link.cuts() > 0).then_some(()) }).await;
    link.set_faulty(false);
    window.wait_until("String(seen) === 'connected,before,connected,lost on the way'").await;
}
