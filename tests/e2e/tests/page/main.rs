//! The pages in a real browser. Two windows show the chat page, one in English and one in Korean, and each shows the
//! changes that the user of the other one makes.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test panics where it fails")]

mod account;
mod documents;
mod files;
mod focus;
mod history;
mod lists;
mod look;
mod people;
mod second_factor;
mod settings;
mod sign_up;
mod window;

use e2e::{PASSWORD, Person};
use serde_json::json;
use testkit::{FaultyLink, eventually};
use uuid::Uuid;
use window::{Browser, Window};

const BUBBLES: &str = ".bubble";

fn gateway() -> String {
    std::env::var("GATEWAY_URL").expect("GATEWAY_URL is not set: run the tests with `cargo stack test`")
}

/// Logs in through the page.
async fn log_in(window: &Window, person: &Person) {
    window.fill("email", &person.email).await;
    window.fill("password", PASSWORD).await;
    window.press("form .primary").await;
    window.wait_for_text(".top", &person.username).await;
}

/// Opens a conversation from the list of chats.
async fn open_chat(window: &Window, title: &str) {
    window.press("[data-act=tab][data-id=chats]").await;
    window.press_on(".rows a", title).await;
    window.wait_for_text(".bar h1", title).await;
}

/// Two friends with a direct room, each in a separate window. The second window opens the page at `second_url`.
async fn two_friends(browser: &Browser, second_url: &str) -> [(Person, Window); 2] {
    let (ann, bob) = (Person::sign_up("ann").await, Person::sign_up("bob").await);
    ann.befriend(&bob).await;
    let room = ann.room_with(&bob).await;
    let first_url = gateway();
    let (ann_window, bob_window) = tokio::join!(browser.open(&first_url, "en"), browser.open(second_url, "ko"));
    for (person, window) in [(&ann, &ann_window), (&bob, &bob_window)] {
        log_in(window, person).await;
        window.press(&format!("a[href='#room/{room}']")).await;
    }
    [(ann, ann_window), (bob, bob_window)]
}

#[tokio::test]
async fn two_users_register_become_friends_and_chat() {
    let Some(browser) = Browser::start().await else { return };
    let page = gateway();
    let (ann, bob) = tokio::join!(browser.open(&page, "en"), browser.open(&page, "ko"));
    let suffix = &Uuid::new_v4().simple().to_string()[..10];
    let names = [format!("ann_{suffix}"), format!("bob_{suffix}")];
    ann.wait_for_text("form", "Log in").await;
    bob.wait_for_text("form", "로그인").await;
    for (window, name) in [&ann, &bob].into_iter().zip(&names) {
        window.press("[data-act=otherForm]").await;
        window.fill("email", &format!("{name}@example.com")).await;
        window.fill("username", name).await;
        window.fill("password", PASSWORD).await;
        window.press("form .primary").await;
        window.wait_for_text(".top", name).await;
        window.press("[data-act=tab][data-id=people]").await;
    }

    // Ann finds Bob and sends a request. Bob's window shows it at once, and Bob accepts: then both have a room.
    ann.fill("query", &names[1]).await;
    ann.press_on("button", "Search").await;
    ann.press("[data-act=add_friend]").await;
    bob.wait_for_text("section .row", &names[0]).await;
    bob.press("[data-act=accept]").await;
    bob.wait_for_text(".bar h1", &names[0]).await;
    open_chat(&ann, &names[1]).await;

    ann.send_message("안녕하세요! 👋").await;
    bob.wait_for_exact_texts(BUBBLES, &["안녕하세요! 👋"]).await;
    bob.send_message("<b>Hello</b> & welcome").await;
    ann.wait_for_exact_texts(BUBBLES, &["안녕하세요! 👋", "<b>Hello</b> & welcome"]).await;
    bob.wait_for_exact_texts(BUBBLES, &["안녕하세요! 👋", "<b>Hello</b> & welcome"]).await;
    ann.wait_for_text("#announcer", "<b>Hello</b> & welcome").await;
    ann.wait_for_text(".read", "Read").await;

    // The language changes at once. The other window shows a logout at once.
    ann.wait_for_text("#about", "online").await;
    ann.press_on(".top button", "한국어").await;
    ann.wait_for_text("#about", "접속 중").await;
    bob.press("[data-act=logOut]").await;
    bob.wait_for_text("form", "로그인").await;
    ann.wait_for_no_text("#about", "접속 중").await;
}

#[tokio::test]
async fn each_window_shows_the_message_changes_of_the_other() {
    let Some(browser) = Browser::start().await else { return };
    let [(_, ann_window), (bob, bob_window)] = two_friends(&browser, &gateway()).await;

    ann_window.fill("content", "Half a tho").await;
    bob_window.wait_for_text("p.typing", "입력 중").await;
    ann_window.send_message("ught").await;
    bob_window.wait_for_exact_texts(BUBBLES, &["Half a thought"]).await;
    bob_window.wait_for_no_text("p.typing", "입력 중").await;

    bob_window.press(".message [data-act=menu]").await;
    bob_window.press(".menu [data-emoji='👍']").await;
    ann_window.wait_for_exact_texts(".reactions button", &["👍 1"]).await;
    ann_window.press(".reactions button").await;
    bob_window.wait_for_exact_texts(".reactions button", &["👍 2"]).await;
    bob_window.press(".reactions button").await;
    ann_window.wait_for_exact_texts(".reactions button", &["👍 1"]).await;

    ann_window.press(".message [data-act=menu]").await;
    ann_window.press(".menu [data-act=edit]").await;
    ann_window.send_message(", completed").await;
    bob_window.wait_for_exact_texts(BUBBLES, &["Half a thought, completed"]).await;
    bob_window.wait_for_text(".aside", "수정됨").await;

    bob_window.press(".message [data-act=menu]").await;
    bob_window.press(".menu [data-act=reply]").await;
    bob_window.send_message("Indeed").await;
    ann_window.wait_for_text(".quote", "Half a thought, completed").await;
    bob_window.press(".mine [data-act=menu]").await;
    bob_window.press(".menu [data-act=delete]").await;
    bob_window.wait_for_text(".menu .danger", "삭제할까요?").await;
    bob_window.press(".mine [data-act=menu]").await;

    ann_window.press(".mine [data-act=menu]").await;
    ann_window.press(".menu [data-act=delete]").await;
    ann_window.press_on(".menu [data-act=delete]", "Delete?").await;
    bob_window.wait_for_exact_texts(".text", &["Indeed"]).await;
    ann_window.wait_for_exact_texts(".text", &["Indeed"]).await;

    // Messages are unread while Bob's window shows another page, until it shows the room again.
    bob_window.press("[data-act=tab][data-id=people]").await;
    bob_window.go("#").await;
    ann_window.send_message("Are you there?").await;
    bob_window.wait_for_text(".tabs .badge", "1").await;
    eventually("the title shows the unread count", || async {
        bob_window.title().await.starts_with("(1) ").then_some(())
    })
    .await;
    open_chat(&bob_window, "테스트 유저").await;
    bob_window.wait_for_exact_texts(".tabs .badge", &[]).await;
    ann_window.wait_for_text(".read", "Read").await;
    let unread = bob.client.get("/api/chat-rooms").await.expect(200)[0]["unread_count"].clone();
    assert_eq!(unread, json!(0));
}

#[tokio::test]
async fn both_windows_show_a_group_and_its_changes() {
    let Some(browser) = Browser::start().await else { return };
    let [(ann, ann_window), (bob, bob_window)] = two_friends(&browser, &gateway()).await;
    let (carol, dave) = (Person::sign_up("carol").await, Person::sign_up("dave").await);
    for person in [&carol, &dave] {
        ann.befriend(person).await;
    }

    ann_window.press("[data-act=tab][data-id=people]").await;
    ann_window.wait_for_text("section .row", &dave.username).await;
    ann_window.press("[data-act=tab][data-id=chats]").await;
    ann_window.press(".wide").await;
    ann_window.fill("name", "Weekend").await;
    ann_window.press_on("fieldset label", &bob.username).await;
    ann_window.press_on("fieldset label", &carol.username).await;
    ann_window.press("form .primary").await;
    ann_window.wait_for_text(".bar", "3 members").await;
    open_chat(&bob_window, "Weekend").await;
    ann_window.send_message("Who is coming?").await;
    bob_window.wait_for_text(BUBBLES, "Who is coming?").await;

    ann_window.press(".bar a[href$=members]").await;
    ann_window.press_on("fieldset label", &dave.username).await;
    ann_window.press_on("form button", "Add").await;
    bob_window.wait_for_text(".bar", "멤버 4명").await;
    let room = carol.client.get("/api/chat-rooms").await.expect(200)[0]["id"].clone();
    let own_membership = format!("/api/chat-rooms/{room}/members/{}", carol.id);
    carol.client.delete(&own_membership).await.expect(200);
    ann_window.wait_for_text("h2", "3 members").await;
    let remove_dave = format!(".members [data-act=remove][data-id='{}']", dave.id);
    ann_window.press(&remove_dave).await;
    ann_window.press_on(&remove_dave, "Remove?").await;
    ann_window.wait_for_text("h2", "2 members").await;

    bob_window.press(".bar a[href$=members]").await;
    bob_window.press_on(".members button", "그룹 나가기").await;
    bob_window.press_on(".members button", "나갈까요?").await;
    bob_window.wait_for_no_text(".rows", "Weekend").await;
}

#[tokio::test]
async fn a_broken_stream_is_shown_and_resumed_without_loss_or_repeat() {
    let Some(browser) = Browser::start().await else { return };
    let address = gateway().trim_start_matches("http://").parse().unwrap();
    let link = FaultyLink::to(address, 1, 1).await;
    let [(_, ann_window), (_, bob_window)] = two_friends(&browser, &format!("http://{}", link.address)).await;
    ann_window.send_message("before").await;
    bob_window.wait_for_exact_texts(BUBBLES, &["before"]).await;

    // The link cuts the stream while it carries the first message. The second message is sent without a stream.
    link.set_faulty(true);
    ann_window.send_message("lost on the way").await;
    bob_window.wait_for_text(".banner", "연결이 끊겼어요").await;
    ann_window.send_message("said meanwhile").await;
    bob_window.send_message("not sent yet").await;
    bob_window.wait_for_text(".waiting", "전송 대기 중").await;
    ann_window.assert_texts_stay(BUBBLES, &["before", "lost on the way", "said meanwhile"]).await;

    link.set_faulty(false);
    let all = ["before", "lost on the way", "said meanwhile", "not sent yet"];
    bob_window.wait_for_exact_texts(".banner", &[]).await;
    bob_window.wait_for_exact_texts(BUBBLES, &all).await;
    ann_window.wait_for_exact_texts(BUBBLES, &all).await;
    bob_window.wait_for_exact_texts(".waiting", &[]).await;
    ann_window.send_message("after").await;
    let all = [&all[..], &["after"]].concat();
    for window in [&bob_window, &ann_window] {
        window.wait_for_exact_texts(BUBBLES, &all).await;
        window.assert_texts_stay(BUBBLES, &all).await;
    }
}
