//! Names, presence, groups, and the end of friendships.

use e2e::Person;
use serde_json::json;
use testkit::{FaultyLink, eventually};

use crate::window::Browser;
use crate::{gateway, log_in, two_friends};

#[tokio::test]
async fn members_who_are_no_friends_have_their_names_and_presence() {
    let Some(browser) = Browser::start().await else { return };
    let (ann, bob, carol) =
        (Person::sign_up("ann").await, Person::sign_up("bob").await, Person::sign_up("carol").await);
    for (person, name) in [(&bob, "Bobby Brown"), (&carol, "Carol Clark")] {
        person.client.put("/api/profile/me", json!({"display_name": name})).await.expect(200);
    }
    let group = json!({"participant_ids": [bob.id, ann.id]});
    let room = carol.client.post("/api/chat-rooms", group).await.expect(201)["id"].as_i64().unwrap();
    bob.send_message(room, "hello").await;
    ann.client.post("/api/friends/request", json!({"user_id_2": carol.id})).await.expect(201);

    let window = browser.open(&gateway(), "en").await;
    log_in(&window, &ann).await;
    window.wait_for_text(".rooms strong", "Carol Clark, Bobby Brown").await;
    window.go(&format!("#room/{room}")).await;
    window.wait_for_exact_texts(".messages .name", &["Bobby Brown"]).await;
    window.press(".bar a[href$=members]").await;
    window.wait_for_text(".members .row", &format!("Bobby Brown @{} online", bob.username)).await;
    window.press("[data-act=tab][data-id=people]").await;
    window.wait_for_text("section .row", "Carol Clark").await;
}

#[tokio::test]
async fn a_group_with_one_friend_is_not_made_and_keeps_its_name() {
    let Some(browser) = Browser::start().await else { return };
    let [(ann, window), (bob, _)] = two_friends(&browser, &gateway()).await;
    let carol = Person::sign_up("carol").await;
    ann.befriend(&carol).await;
    window.press("[data-act=tab][data-id=people]").await;
    window.wait_for_text("section .row", &carol.username).await;
    window.press("[data-act=tab][data-id=chats]").await;
    window.press(".wide").await;
    window.fill("name", "The two of us").await;
    window.press_on("fieldset label", &bob.username).await;
    window.wait_for_text("#size-hint", "Choose at least two friends").await;
    window.wait_until("document.querySelector('form.group .primary').disabled").await;
    window.press_on("fieldset label", &carol.username).await;
    window.wait_for_exact_texts("#size-hint", &[""]).await;
    window.press("form.group .primary").await;
    window.wait_for_text(".bar h1", "The two of us").await;
}

#[tokio::test]
async fn a_friend_is_removed_blocked_and_unblocked() {
    let Some(browser) = Browser::start().await else { return };
    let [(ann, window), (bob, bob_window)] = two_friends(&browser, &gateway()).await;
    let friends = async || ann.client.get("/api/friends/list").await.expect(200).as_array().unwrap().len();
    window.press("[data-act=tab][data-id=people]").await;
    window.press(".entry [data-act=menu]").await;
    window.press("[data-act=unfriend]").await;
    window.press_on("[data-act=unfriend]", "Unfriend?").await;
    window.wait_for_text(".hint", "No friends yet.").await;
    assert_eq!(friends().await, 0);

    // The room stays, and from its details Bob is blocked.
    window.press(".bar a[href$=members]").await;
    window.wait_for_text(".members .card", &bob.username).await;
    window.press("[data-act=block]").await;
    window.press_on("[data-act=block]", "Block?").await;
    window.wait_for_text("section .row", &bob.username).await;
    window.wait_for_text(".side h2", "Blocked").await;
    eventually("the block reaches the chat", || async {
        let room = ann.client.get("/api/chat-rooms").await.expect(200)[0]["id"].clone();
        let sent = bob.client.post(&format!("/api/messages/{room}"), json!({"content": "?"})).await;
        (sent.status == 403).then_some(())
    })
    .await;
    bob_window.send_message("are you there?").await;
    bob_window.wait_for_text(".waiting", "전송 실패").await;

    window.press(".side [data-act=unblock]").await;
    window.wait_for_no_text(".side h2", "Blocked").await;
    assert_eq!(ann.client.get("/api/friends/blocked").await.expect(200), json!([]));
}

#[tokio::test]
async fn nobody_is_online_while_the_page_is_offline() {
    let Some(browser) = Browser::start().await else { return };
    let address = gateway().trim_start_matches("http://").parse().unwrap();
    let link = FaultyLink::to(address, 1, 1).await;
    let [(_, ann), (_, bob)] = two_friends(&browser, &format!("http://{}", link.address)).await;
    bob.wait_for_text("#about", "접속 중").await;
    bob.wait_until("document.querySelectorAll('.dot').length > 1").await;

    link.set_faulty(true);
    ann.send_message("the last one").await;
    bob.wait_for_text(".banner", "연결이 끊겼어요").await;
    bob.wait_for_no_text("#about", "접속 중").await;
    bob.wait_until("document.querySelectorAll('.dot').length === 0").await;
    link.set_faulty(false);
    bob.wait_for_text("#about", "접속 중").await;
}
