//! The settings of a user on the page.

use e2e::Person;
use serde_json::json;

use crate::window::Browser;
use crate::{gateway, log_in};

#[tokio::test]
async fn a_user_refuses_groups_of_strangers_on_the_page() {
    let Some(browser) = Browser::start().await else { return };
    let ann = Person::sign_up("ann").await;
    let window = browser.open(&gateway(), "en").await;
    log_in(&window, &ann).await;
    let refuses = async || ann.client.get("/api/profile/me").await.expect(200)["refuse_stranger_groups"].take();

    window.press("[data-act=tab][data-id=security]").await;
    window.wait_for_text("#groups-state", "Anyone can add you to a group.").await;
    window.press("[role=switch][aria-checked=false]").await;
    window.wait_for_text("#groups-state", "Only your friends can add you to a group.").await;
    assert_eq!(refuses().await, json!(true));

    window.press_on(".top button", "한국어").await;
    window.wait_for_text("#groups-state", "친구만 나를 그룹에 초대할 수 있어요.").await;
    window.press("[role=switch][aria-checked=true]").await;
    window.wait_for_text("#groups-state", "누구나 나를 그룹에 초대할 수 있어요.").await;
    assert_eq!(refuses().await, json!(false));
}
