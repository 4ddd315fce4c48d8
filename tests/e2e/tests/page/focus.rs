//! The focus stays where the user types, whatever the page draws.

use e2e::Person;
use serde_json::json;

use crate::window::{Browser, Window};
use crate::{BUBBLES, gateway, log_in, open_chat, two_friends};

async fn wait_for_draft(window: &Window, text: &str) {
    window.wait_until(&format!("document.querySelector('.composer textarea').value === '{text}'")).await;
}

#[tokio::test]
async fn typing_goes_on_after_a_reply_an_edit_and_a_press_of_send() {
    let Some(browser) = Browser::start().await else { return };
    let [(_, ann), (_, bob)] = two_friends(&browser, &gateway()).await;
    ann.send_message("a question").await;

    bob.wait_for_exact_texts(BUBBLES, &["a question"]).await;
    bob.press(".message [data-act=menu]").await;
    bob.press(".menu [data-act=reply]").await;
    bob.send_message("a reply").await;
    ann.wait_for_text(BUBBLES, "a reply").await;
    bob.type_on("and on").await;
    wait_for_draft(&bob, "and on").await;

    bob.press(".composer button.primary").await;
    ann.wait_for_text(BUBBLES, "and on").await;
    bob.type_on("further").await;
    wait_for_draft(&bob, "further").await;

    bob.send_message("!").await;
    ann.wait_for_text(BUBBLES, "further!").await;
    bob.press(".mine [data-act=menu]").await;
    bob.press(".menu [data-act=edit]").await;
    bob.send_message(", changed").await;
    ann.wait_for_text(BUBBLES, ", changed").await;
    bob.type_on("after the edit").await;
    wait_for_draft(&bob, "after the edit").await;
}

#[tokio::test]
async fn the_focus_stays_on_a_chat_that_moves_in_the_list() {
    let Some(browser) = Browser::start().await else { return };
    let [(ann, _), (bob, window)] = two_friends(&browser, &gateway()).await;
    let carol = Person::sign_up("carol").await;
    carol.befriend(&bob).await;
    let (with_ann, with_carol) = (ann.room_with(&bob).await, carol.room_with(&bob).await);
    carol.send_message(with_carol, "first").await;
    window.wait_for_text(".rows li:first-child", "first").await;

    let link = format!(".rows a[href='#room/{with_ann}']");
    window.run("document.querySelector(argument).focus()", json!(link)).await;
    ann.send_message(with_ann, "now on top").await;
    window.wait_for_text(".rows li:first-child", "now on top").await;
    carol.send_message(with_carol, "on top again").await;
    window.wait_for_text(".rows li:first-child", "on top again").await;
    window.wait_until(&format!("document.activeElement === document.querySelector(`{link}`)")).await;
}

#[tokio::test]
async fn drafts_stay_in_their_chats_and_the_limit_is_told_before_it_is_reached() {
    let Some(browser) = Browser::start().await else { return };
    let ann = Person::sign_up("ann").await;
    let (bob, carol) = (Person::sign_up("bob").await, Person::sign_up("carol").await);
    let (with_bob, with_carol) = (ann.room_with(&bob).await, ann.room_with(&carol).await);
    let window = browser.open(&format!("{}#room/{with_bob}", gateway()), "en").await;
    log_in(&window, &ann).await;
    window.go(&format!("#room/{with_bob}")).await;
    window.fill("content", "for bob").await;
    window.go(&format!("#room/{with_carol}")).await;
    window.wait_until("document.querySelector('.composer textarea').value === ''").await;
    open_chat(&window, "테스트 유저").await;
    window.go(&format!("#room/{with_bob}")).await;
    wait_for_draft(&window, "for bob").await;

    // An emoji is one code point of two UTF-16 units. The drivers type it no more than a person does.
    window.run("document.querySelector('.composer textarea').setRangeText('😀', 7, 7, 'end')", json!(null)).await;
    window.fill("content", &"x".repeat(300 - 7 - 1 - 20)).await;
    window.wait_for_exact_texts(".counter", &["20 left"]).await;
    window.fill("content", &"x".repeat(21)).await;
    window.wait_for_exact_texts(".counter", &["1 character too long"]).await;
    window.wait_until("document.querySelector('.composer button.primary').disabled").await;
}

#[tokio::test]
async fn the_longest_message_is_the_one_that_the_deployment_sets() {
    let Some(browser) = Browser::start().await else { return };
    let (ann, bob) = (Person::sign_up("ann").await, Person::sign_up("bob").await);
    let room = ann.room_with(&bob).await;
    let window = browser.open(&gateway(), "en").await;
    let answer = "const send = fetch;
        window.fetch = (url, request) =>
            `${url}`.endsWith('/chat-rooms/limits') ? Response.json({ message_max_chars: 30 }) : send(url, request);";
    window.run(answer, json!(null)).await;
    log_in(&window, &ann).await;
    window.go(&format!("#room/{room}")).await;
    window.fill("content", &"x".repeat(25)).await;
    window.wait_for_exact_texts(".counter", &["5 left"]).await;
}
