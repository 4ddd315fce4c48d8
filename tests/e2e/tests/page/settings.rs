//! The settings of a user and of rooms on the page.

use e2e::Person;
use serde_json::json;
use testkit::eventually;

use crate::window::{Browser, Window};
use crate::{gateway, log_in, two_friends};

async fn wait_for_first_room(window: &Window, room: i64) {
    let first = || async {
        let href = window.attribute(".side .rows li:first-child a", "href").await;
        href.ends_with(&format!("#room/{room}")).then_some(())
    };
    eventually("the room is the first of the list", first).await;
}

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

#[tokio::test]
async fn pinned_rooms_come_first_and_muted_rooms_are_no_part_of_the_total_in_every_window() {
    let Some(browser) = Browser::start().await else { return };
    let [(ann, _), (bob, window)] = two_friends(&browser, &gateway()).await;
    let carol = Person::sign_up("carol").await;
    bob.befriend(&carol).await;
    let (with_ann, with_carol) = (ann.room_with(&bob).await, carol.room_with(&bob).await);
    let other = browser.open(&gateway(), "en").await;
    log_in(&other, &bob).await;
    carol.send_message(with_carol, "hello").await;
    wait_for_first_room(&window, with_carol).await;

    window.press(".bar [data-act=pin][title='채팅 고정']").await;
    for window in [&window, &other] {
        wait_for_first_room(window, with_ann).await;
    }
    other.go(&format!("#room/{with_carol}")).await;
    other.press(".bar [data-act=mute][title='Mute chat']").await;
    other.press(".bar [data-act=mute][title='Unmute chat']").await;
    other.press(".bar [data-act=mute][title='Mute chat']").await;
    other.wait_for_exact_texts(".side .badge", &[]).await;
    other.go("#").await;
    window.wait_for_text(".rows", "알림 꺼짐").await;

    carol.send_message(with_carol, "again").await;
    for window in [&window, &other] {
        window.wait_for_text(".rows .badge.silent", "1").await;
        window.wait_for_exact_texts(".tabs .badge", &[]).await;
        assert_eq!(window.title().await, "BigTech Chat");
        wait_for_first_room(window, with_ann).await;
    }
    window.press(".bar [data-act=pin][title='채팅 고정 해제']").await;
    for window in [&window, &other] {
        wait_for_first_room(window, with_carol).await;
    }
}
