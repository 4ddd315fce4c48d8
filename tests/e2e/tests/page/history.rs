//! The history of a room: the place in it, what is read, jumps and the search.

use e2e::Person;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use testkit::eventually;

use crate::window::{Browser, Window};
use crate::{gateway, log_in, two_friends};

/// The top of the first visible message and its key.
const FIRST_VISIBLE: &str = "
    const list = document.querySelector('.messages');
    const { top } = list.getBoundingClientRect();
    const row = [...list.querySelectorAll('li.message')].find((one) => one.getBoundingClientRect().top >= top);
    return { key: row.dataset.key, top: row.getBoundingClientRect().top };";

/// Hides the tab or shows it, as far as the page knows: the windows of a driver are always visible.
const SET_VISIBILITY: &str = "
    Object.defineProperty(document, 'visibilityState', { value: argument, configurable: true });
    document.dispatchEvent(new Event('visibilitychange', { bubbles: true }));";

/// Sends numbered messages, one after another.
async fn send_numbered(person: &Person, room: i64, count: usize) {
    for number in 1..=count {
        person.send_message(room, &format!("message {number}")).await;
    }
}

/// A window of Bob that shows a room, in which Ann has sent messages before.
async fn window_on_history(browser: &Browser, count: usize) -> (Person, Person, i64, Window) {
    let (ann, bob) = (Person::sign_up("ann").await, Person::sign_up("bob").await);
    ann.befriend(&bob).await;
    let room = ann.room_with(&bob).await;
    send_numbered(&ann, room, count).await;
    let window = browser.open(&gateway(), "en").await;
    log_in(&window, &bob).await;
    (ann, bob, room, window)
}

async fn unread(person: &Person, room: i64) -> i64 {
    let count = person.client.get(&format!("/api/messages/room/{room}/unread-count")).await.expect(200);
    count["unread_count"].as_i64().unwrap()
}

async fn scroll(window: &Window, by: i64) {
    window.run("document.querySelector('.messages').scrollTop += argument", json!(by)).await;
}

fn is_visible(text: &str) -> String {
    format!(
        "[...document.querySelectorAll('.messages li')].some((row) => {{
            const [inner, outer] = [row, row.closest('.messages')].map((one) => one.getBoundingClientRect());
            return row.querySelector('.text')?.innerText === '{text}' && inner.bottom > outer.top && inner.top < outer.bottom;
        }})"
    )
}

#[tokio::test]
async fn earlier_messages_come_by_scrolling_and_keep_the_place() {
    let Some(browser) = Browser::start().await else { return };
    let (_, bob, room, window) = window_on_history(&browser, 230).await;
    bob.client.post("/api/messages/read", json!({"room_id": room})).await.expect(200);
    window.go(&format!("#room/{room}")).await;
    window.wait_until(&is_visible("message 230")).await;

    // Steps of a part of the view: at each, the message on the screen stays where it is while others are added.
    let mut steps = 0;
    while window.run(&format!("return {}", is_visible("message 1")), json!(null)).await != json!(true) {
        scroll(&window, -300).await;
        let before = window.run(FIRST_VISIBLE, json!(null)).await;
        window.run("await new Promise((resolve) => setTimeout(resolve, 60))", json!(null)).await;
        let after = window
            .run(
                "
            const row = document.querySelector(`.messages [data-key='${argument}']`);
            return row && row.getBoundingClientRect().top",
                before["key"].clone(),
            )
            .await;
        let moved = after.as_f64().unwrap() - before["top"].as_f64().unwrap();
        assert!(moved.abs() <= 2.0, "the message moved by {moved} px");
        steps += 1;
        assert!(steps < 200, "the first message is never reached");
    }
    window.wait_until("document.querySelectorAll('.messages li').length < 150").await;

    window.press("[data-act=jumpToEnd]").await;
    window.wait_until(&is_visible("message 230")).await;
}

#[tokio::test]
async fn only_messages_that_were_on_the_screen_are_read() {
    let Some(browser) = Browser::start().await else { return };
    let (ann, bob, room, window) = window_on_history(&browser, 60).await;
    window.wait_for_text(".rows .badge", "60").await;

    // The room opens at the first unread message; those below the view stay unread until the user scrolls.
    window.go(&format!("#room/{room}")).await;
    window.wait_until(&is_visible("message 1")).await;
    window.wait_for_text(".messages .new", "New messages").await;
    eventually("some messages are read", || async { (unread(&bob, room).await < 60).then_some(()) }).await;
    let left = unread(&bob, room).await;
    assert!(left > 30, "{left} of 60 messages are unread, although a view shows a dozen");
    window.wait_for_text(".floating.below", &format!("New messages: {left}")).await;
    window.wait_for_text(".rows .badge", &left.to_string()).await;

    // A new message does not move the view, and is counted.
    let before = window.run(FIRST_VISIBLE, json!(null)).await;
    ann.send_message(room, "one more").await;
    window.wait_for_text(".floating.below", &format!("New messages: {}", left + 1)).await;
    assert_eq!(window.run(FIRST_VISIBLE, json!(null)).await, before);
    window.press("[data-act=jumpToEnd]").await;
    window.wait_until(&is_visible("one more")).await;
    window.wait_for_exact_texts(".floating.below", &[]).await;

    // What was passed over is unread, until the user goes there or says that it is read.
    window.wait_for_text(".floating.above", "unread").await;
    assert!(unread(&bob, room).await > 10);
    window.press("[data-act=markAllRead]").await;
    window.wait_for_exact_texts(".floating.above", &[]).await;
    window.wait_for_exact_texts(".rows .badge", &[]).await;
    assert_eq!(unread(&bob, room).await, 0);
}

#[tokio::test]
async fn a_hidden_tab_reads_nothing_until_it_is_shown() {
    let Some(browser) = Browser::start().await else { return };
    let [(_, ann), (_, bob)] = two_friends(&browser, &gateway()).await;
    bob.run(SET_VISIBILITY, json!("hidden")).await;

    ann.send_message("unseen").await;
    bob.wait_for_text(".text", "unseen").await;
    bob.wait_for_text(".tabs .badge", "1").await;
    ann.assert_texts_stay(".read", &[]).await;

    bob.run(SET_VISIBILITY, json!("visible")).await;
    bob.wait_for_exact_texts(".tabs .badge", &[]).await;
    ann.wait_for_text(".read", "Read").await;
}

#[tokio::test]
async fn quotes_and_hits_of_the_search_jump_to_messages_that_are_not_loaded() {
    let Some(browser) = Browser::start().await else { return };
    let (ann, bob) = (Person::sign_up("ann").await, Person::sign_up("bob").await);
    ann.befriend(&bob).await;
    let room = ann.room_with(&bob).await;
    let original = ann.send_message(room, "the Needle in the haystack").await;
    send_numbered(&ann, room, 240).await;
    let reply = json!({"content": "an answer", "reply_to": original["id"]});
    bob.client.post(&format!("/api/messages/{room}"), reply).await.expect(201);
    bob.client.post("/api/messages/read", json!({"room_id": room})).await.expect(200);
    let window = browser.open(&gateway(), "en").await;
    log_in(&window, &bob).await;

    window.go(&format!("#room/{room}")).await;
    window.press(".quote").await;
    window.wait_until(&is_visible("the Needle in the haystack")).await;
    window.wait_for_text(".hit", "the Needle").await;
    window.press("[data-act=jumpToEnd]").await;
    window.wait_until(&is_visible("an answer")).await;

    window.press(".bar a[href$=search]").await;
    window.type_on("message 100").await;
    window.press(".pane form .primary").await;
    window.press_on(".results a", "message 100").await;
    window.wait_until(&is_visible("message 100")).await;
    window.wait_for_text(".hit", "message 100").await;
    // A message that arrives meanwhile does not follow the gap.
    ann.send_message(room, "at the end").await;
    window.wait_for_text(".rows", "at the end").await;
    window.wait_for_no_text(".messages", "at the end").await;
    window.press("[data-act=jumpToEnd]").await;
    window.wait_until(&is_visible("at the end")).await;

    window.go("#").await;
    window.fill("filter", "needle").await;
    window.press_on(".side button", "In messages").await;
    window.press_on(".side .results a", "the Needle").await;
    window.wait_until(&is_visible("the Needle in the haystack")).await;
}

#[tokio::test]
async fn addresses_in_messages_are_links_and_nothing_else_is() {
    let Some(browser) = Browser::start().await else { return };
    let (ann, bob, room, window) = window_on_history(&browser, 0).await;
    let text = "see https://example.com/a?b=c#d, (https://example.org) and javascript:alert(1)";
    ann.send_message(room, text).await;
    window.go(&format!("#room/{room}")).await;
    window.wait_for_exact_texts(".text", &[text]).await;
    let links = "return [...document.querySelectorAll('.text a')].map((a) => [a.href, a.target, a.rel])";
    let attributes = ["_blank", "noopener noreferrer"].map(Value::from);
    let expected =
        ["https://example.com/a?b=c#d", "https://example.org/"].map(|href| [&[json!(href)], &attributes[..]].concat());
    assert_eq!(window.run(links, json!(null)).await, json!(expected));
    drop(bob);
}

/// Sends messages in parallel, so that many take little time.
pub async fn send_many(person: &Person, room: i64, count: usize) {
    stream::iter(0..count)
        .for_each_concurrent(32, |number| async move {
            person.send_message(room, &format!("message {number} of a long history")).await;
        })
        .await;
}
