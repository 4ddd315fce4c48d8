//! The pages, in a real browser. The chat page in two windows, one in English and one in Korean: what each shows of what
//! the other does.

#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on should say where")]

mod documents;
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

/// Logs in by the page as someone who has signed up.
async fn log_in(window: &Window, person: &Person) {
    window.fill("email", &person.email).await;
    window.fill("password", PASSWORD).await;
    window.press("form .primary").await;
    window.shows(".top", &person.username).await;
}

/// Opens a conversation from the list of chats.
async fn open_chat(window: &Window, title: &str) {
    window.press("[data-act=tab][data-id=chats]").await;
    window.press_on(".rows a", title).await;
    window.shows(".bar h1", title).await;
}

/// Two friends with a room, each at a window of their own; `their_way` leads the second one's requests.
async fn two_friends(browser: &Browser, their_way: &str) -> [(Person, Window); 2] {
    let (ann, bob) = (Person::sign_up("ann").await, Person::sign_up("bob").await);
    ann.befriend(&bob).await;
    let room = ann.room_with(&bob).await;
    let our_way = gateway();
    let (at_ann, at_bob) = tokio::join!(browser.open(&our_way, "en"), browser.open(their_way, "ko"));
    for (person, window) in [(&ann, &at_ann), (&bob, &at_bob)] {
        log_in(window, person).await;
        window.press(&format!("a[href='#room/{room}']")).await;
    }
    [(ann, at_ann), (bob, at_bob)]
}

#[tokio::test]
async fn two_people_sign_up_become_friends_and_chat() {
    let Some(browser) = Browser::start().await else { return };
    let page = gateway();
    let (ann, bob) = tokio::join!(browser.open(&page, "en"), browser.open(&page, "ko"));
    let suffix = &Uuid::new_v4().simple().to_string()[..10];
    let names = [format!("ann_{suffix}"), format!("bob_{suffix}")];
    ann.shows("form", "Log in").await;
    bob.shows("form", "로그인").await;
    for (window, name) in [&ann, &bob].into_iter().zip(&names) {
        window.press("[data-act=otherForm]").await;
        window.fill("email", &format!("{name}@example.com")).await;
        window.fill("username", name).await;
        window.fill("password", PASSWORD).await;
        window.press("form .primary").await;
        window.shows(".top", name).await;
        window.press("[data-act=tab][data-id=people]").await;
    }

    // Found, asked, and known at once at the other window, which accepts: then both have a room.
    ann.fill("query", &names[1]).await;
    ann.press_on("button", "Search").await;
    ann.press("[data-act=add_friend]").await;
    bob.shows("section .row", &names[0]).await;
    bob.press("[data-act=accept]").await;
    bob.shows(".bar h1", &names[0]).await;
    open_chat(&ann, &names[1]).await;

    ann.says("안녕하세요! 👋").await;
    bob.shows_exactly(BUBBLES, &["안녕하세요! 👋"]).await;
    bob.says("<b>Hello</b> & welcome").await;
    ann.shows_exactly(BUBBLES, &["안녕하세요! 👋", "<b>Hello</b> & welcome"]).await;
    bob.shows_exactly(BUBBLES, &["안녕하세요! 👋", "<b>Hello</b> & welcome"]).await;
    ann.shows("#announcer", "<b>Hello</b> & welcome").await;
    ann.shows(".read", "Read").await;

    // The language is chosen at once; who logs out is gone at once.
    ann.shows("#about", "online").await;
    ann.press_on(".top button", "한국어").await;
    ann.shows("#about", "접속 중").await;
    bob.press("[data-act=logOut]").await;
    bob.shows("form", "로그인").await;
    ann.hides("#about", "접속 중").await;
}

#[tokio::test]
async fn what_one_does_to_messages_the_other_sees() {
    let Some(browser) = Browser::start().await else { return };
    let [(_, at_ann), (bob, at_bob)] = two_friends(&browser, &gateway()).await;

    at_ann.fill("content", "Half a tho").await;
    at_bob.shows("p.typing", "입력 중").await;
    at_ann.says("ught").await;
    at_bob.shows_exactly(BUBBLES, &["Half a thought"]).await;
    at_bob.hides("p.typing", "입력 중").await;

    at_bob.press(".message [data-act=menu]").await;
    at_bob.press(".menu [data-emoji='👍']").await;
    at_ann.shows_exactly(".reactions button", &["👍 1"]).await;
    at_ann.press(".reactions button").await;
    at_bob.shows_exactly(".reactions button", &["👍 2"]).await;
    at_bob.press(".reactions button").await;
    at_ann.shows_exactly(".reactions button", &["👍 1"]).await;

    at_ann.press(".message [data-act=menu]").await;
    at_ann.press(".menu [data-act=edit]").await;
    at_ann.says(", completed").await;
    at_bob.shows_exactly(BUBBLES, &["Half a thought, completed"]).await;
    at_bob.shows(".aside", "수정됨").await;

    at_bob.press(".message [data-act=menu]").await;
    at_bob.press(".menu [data-act=reply]").await;
    at_bob.says("Indeed").await;
    at_ann.shows(".quote", "Half a thought, completed").await;

    at_ann.press(".mine [data-act=menu]").await;
    at_ann.press(".menu [data-act=delete]").await;
    at_ann.press_on(".menu [data-act=delete]", "Really?").await;
    at_bob.shows_exactly(".text", &["Indeed"]).await;
    at_ann.shows_exactly(".text", &["Indeed"]).await;

    // Who looks elsewhere has something to read, until he looks again.
    at_bob.press("[data-act=tab][data-id=people]").await;
    at_bob.go("#").await;
    at_ann.says("Are you there?").await;
    at_bob.shows(".tabs .badge", "1").await;
    eventually("the title counts", || async { at_bob.title().await.starts_with("(1) ").then_some(()) }).await;
    open_chat(&at_bob, "테스트 유저").await;
    at_bob.shows_exactly(".tabs .badge", &[]).await;
    at_ann.shows(".read", "Read").await;
    let unread = bob.client.get("/api/chat-rooms").await.expect(200)[0]["unread_count"].clone();
    assert_eq!(unread, json!(0));
}

#[tokio::test]
async fn a_group_is_made_left_and_told_of() {
    let Some(browser) = Browser::start().await else { return };
    let [(ann, at_ann), (bob, at_bob)] = two_friends(&browser, &gateway()).await;
    let (carol, dave) = (Person::sign_up("carol").await, Person::sign_up("dave").await);
    for person in [&carol, &dave] {
        ann.befriend(person).await;
    }

    at_ann.press("[data-act=tab][data-id=people]").await;
    at_ann.shows("section .row", &dave.username).await;
    at_ann.press("[data-act=tab][data-id=chats]").await;
    at_ann.press(".wide").await;
    at_ann.fill("name", "Weekend").await;
    at_ann.press_on("fieldset label", &bob.username).await;
    at_ann.press_on("fieldset label", &carol.username).await;
    at_ann.press("form .primary").await;
    at_ann.shows(".bar", "3 members").await;
    open_chat(&at_bob, "Weekend").await;
    at_ann.says("Who is coming?").await;
    at_bob.shows(BUBBLES, "Who is coming?").await;

    at_ann.press(".bar a[href$=members]").await;
    at_ann.press_on("fieldset label", &dave.username).await;
    at_ann.press_on("form button", "Add").await;
    at_bob.shows(".bar", "멤버 4명").await;
    let room = carol.client.get("/api/chat-rooms").await.expect(200)[0]["id"].clone();
    let leaves = format!("/api/chat-rooms/{room}/members/{}", carol.id);
    carol.client.delete(&leaves).await.expect(200);
    at_ann.shows("h2", "3 members").await;
    let removes = format!(".members [data-act=remove][data-id='{}']", dave.id);
    at_ann.press(&removes).await;
    at_ann.press_on(&removes, "Really?").await;
    at_ann.shows("h2", "2 members").await;

    at_bob.press(".bar a[href$=members]").await;
    at_bob.press_on(".members button", "그룹 나가기").await;
    at_bob.press_on(".members button", "정말요?").await;
    at_bob.hides(".rows", "Weekend").await;
}

#[tokio::test]
async fn a_broken_stream_is_shown_and_resumed_without_loss_or_repeat() {
    let Some(browser) = Browser::start().await else { return };
    let address = gateway().trim_start_matches("http://").parse().unwrap();
    let wire = FaultyLink::to(address, 1, 1).await;
    let [(_, at_ann), (_, at_bob)] = two_friends(&browser, &format!("http://{}", wire.address)).await;
    at_ann.says("before").await;
    at_bob.shows_exactly(BUBBLES, &["before"]).await;

    // The first message dies on the wire, and the stream with it; of the second the stream was never told.
    wire.set_faulty(true);
    at_ann.says("lost on the way").await;
    at_bob.shows(".banner", "연결이 끊겼어요").await;
    at_ann.says("said meanwhile").await;
    at_bob.says("not sent yet").await;
    at_bob.shows(".waiting", "전송 대기 중").await;
    at_ann.keeps_showing(BUBBLES, &["before", "lost on the way", "said meanwhile"]).await;

    wire.set_faulty(false);
    let all = ["before", "lost on the way", "said meanwhile", "not sent yet"];
    at_bob.shows_exactly(".banner", &[]).await;
    at_bob.shows_exactly(BUBBLES, &all).await;
    at_ann.shows_exactly(BUBBLES, &all).await;
    at_bob.shows_exactly(".waiting", &[]).await;
    at_ann.says("after").await;
    let all = [&all[..], &["after"]].concat();
    for window in [&at_bob, &at_ann] {
        window.shows_exactly(BUBBLES, &all).await;
        window.keeps_showing(BUBBLES, &all).await;
    }
}
