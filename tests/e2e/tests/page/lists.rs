//! Long lists: every chat can be reached, and the page stays fast.

use e2e::Person;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::history::send_many;
use crate::window::Browser;
use crate::{gateway, log_in};

/// The median of a draw after a keystroke, and after an event. Other processes slow the machine of a test down, so the test
/// allows the threefold.
const KEYSTROKE_MS: f64 = 16.0;
const EVENT_MS: f64 = 50.0;
const SLACK: f64 = 3.0;

/// The groups into which one creator brings a user.
const GROUPS_OF_CREATOR: usize = 500;

/// Groups of three users, named by their numbers.
async fn create_groups(ann: &Person, count: usize) {
    let mut pairs = Vec::new();
    for _ in 0..count.div_ceil(GROUPS_OF_CREATOR) {
        pairs.push([Person::sign_up("carol").await.id, Person::sign_up("dan").await.id]);
    }
    let pairs = &pairs;
    stream::iter(0..count)
        .for_each_concurrent(16, |number| async move {
            let others = pairs[number / GROUPS_OF_CREATOR];
            let group = json!({"name": format!("group {number:04}"), "participant_ids": others});
            ann.client.post("/api/chat-rooms", group).await.expect(201);
        })
        .await;
}

#[tokio::test]
async fn every_one_of_250_chats_can_be_reached_and_found() {
    let Some(browser) = Browser::start().await else { return };
    let (ann, bob) = (Person::sign_up("ann").await, Person::sign_up("bob").await);
    let first = ann.room_with(&bob).await;
    create_groups(&ann, 249).await;
    let window = browser.open(&gateway(), "en").await;
    log_in(&window, &ann).await;

    window.wait_until("document.querySelector('.rooms li')?.getAttribute('aria-setsize') === '250'").await;
    window.wait_until("document.querySelectorAll('.rooms li').length < 60").await;
    window
        .run(
            "const list = document.querySelector('[data-list=chats]'); list.scrollTop = list.scrollHeight",
            json!(null),
        )
        .await;
    window.wait_until("document.querySelector('.rooms li:last-child').getAttribute('aria-posinset') === '250'").await;
    window.press(&format!(".rooms a[href='#room/{first}']")).await;
    window.wait_for_text(".bar h1", "테스트 유저").await;

    window.fill("filter", "GROUP 0000").await;
    window.wait_until("document.querySelectorAll('.rooms li').length === 1").await;
    window.press_on(".rooms a", "group 0000").await;
    window.wait_for_text(".bar h1", "group 0000").await;
    window.fill("filter", "!").await;
    window.wait_for_text(".side .hint", "No chat has this name.").await;
}

/// Types 60 letters and returns the milliseconds that each took with its layout.
const KEYSTROKES: &str = "
    const field = document.querySelector('.composer textarea');
    const times = [];
    for (let at = 0; at < 60; at++) {
        // Browsers delay nested timeouts. The task of a message is not nested.
        await new Promise((resolve) => {
            const { port1, port2 } = new MessageChannel();
            port1.onmessage = resolve;
            port2.postMessage(null);
        });
        const start = performance.now();
        field.value += 'x';
        field.dispatchEvent(new InputEvent('input', { bubbles: true }));
        await new Promise((resolve) => setTimeout(resolve));
        document.body.getBoundingClientRect();
        times.push(performance.now() - start);
    }
    return times;";

/// Puts 40 messages of the stream into the page and returns the milliseconds until each was laid out.
const EVENTS: &str = "
    const { user, sender, room, from } = argument;
    const channel = new BroadcastChannel(`stream-${user}`);
    const times = [];
    for (let at = 0; at < 40; at++) {
        const content = `event ${at}`;
        const data = { id: (0xfff000 + at).toString(16).padStart(24, '0'), user_id: sender, username: 'bob', room_id: room, content,
            message_type: 'text', created_at: new Date().toISOString(), is_deleted: false, seq: from + at, reply_to: null };
        const shown = new Promise((resolve) => {
            new MutationObserver((_, observer) => {
                if ([...document.querySelectorAll('.messages .text')].at(-1).textContent !== content) return;
                observer.disconnect();
                resolve();
            }).observe(document.getElementById('app'), { subtree: true, childList: true, characterData: true });
        });
        const start = performance.now();
        channel.postMessage({ event: { name: 'new_message', data, id: '' } });
        await shown;
        document.body.getBoundingClientRect();
        times.push(performance.now() - start);
    }
    channel.close();
    return times;";

/// Prints the distribution of times, and returns their median.
#[allow(clippy::print_stdout, reason = "the figures of the test")]
fn report(what: &str, times: &Value) -> f64 {
    let mut times: Vec<f64> =
        times.as_array().unwrap_or_else(|| panic!("{times}")).iter().map(|time| time.as_f64().unwrap()).collect();
    times.sort_by(f64::total_cmp);
    let at = |share: f64| times[((times.len() - 1) as f64 * share) as usize];
    println!("{what}: median {:.1} ms, 95 % {:.1} ms, longest {:.1} ms", at(0.5), at(0.95), at(1.0));
    at(0.5)
}

#[tokio::test]
async fn a_keystroke_and_an_event_are_fast_with_1000_chats_and_10000_messages() {
    let Some(browser) = Browser::start().await else { return };
    let (ann, bob) = (Person::sign_up("ann").await, Person::sign_up("bob").await);
    let room = ann.room_with(&bob).await;
    tokio::join!(create_groups(&ann, 999), send_many(&bob, room, 10_000));
    ann.client.post("/api/messages/read", json!({"room_id": room})).await.expect(200);
    let window = browser.open(&gateway(), "en").await;
    log_in(&window, &ann).await;
    window.go(&format!("#room/{room}")).await;
    window.wait_until("document.querySelector('.rooms li')?.getAttribute('aria-setsize') === '1000'").await;
    let at_end = (report("keystroke, newest messages", &window.run(KEYSTROKES, json!(null)).await), "keystroke");

    // Goes up to the first message, so that all 10,000 are loaded, and comes back.
    let is_first = "!document.querySelector('[data-act=older]') && document.querySelector('.messages .day')";
    for _ in 0..60 {
        let up = format!(
            "const end = performance.now() + 15_000;
             while (performance.now() < end) {{
                 document.querySelector('.messages').scrollTop = -1e9;
                 await new Promise((resolve) => setTimeout(resolve, 20));
                 if ({is_first} && document.querySelector('.messages').innerText.includes('Today')) return true;
             }}
             return false"
        );
        if window.run(&up, json!(null)).await == json!(true) {
            break;
        }
    }
    window.wait_until(&format!("Boolean({is_first})")).await;
    window.wait_until("document.querySelectorAll('.messages li').length < 200").await;
    let above =
        (report("keystroke, oldest of 10,000 messages", &window.run(KEYSTROKES, json!(null)).await), "keystroke");
    window.press("[data-act=jumpToEnd]").await;
    window.wait_for_exact_texts(".floating.below", &[]).await;
    let loaded =
        (report("keystroke, newest of 10,000 messages", &window.run(KEYSTROKES, json!(null)).await), "keystroke");
    let arguments = json!({"user": ann.id, "sender": bob.id, "room": room, "from": 20_000});
    let events = (report("event", &window.run(EVENTS, arguments).await), "event");

    for (time, what) in [at_end, above, loaded, events] {
        let limit = SLACK * if what == "event" { EVENT_MS } else { KEYSTROKE_MS };
        assert!(time < limit, "a {what} takes {time:.1} ms, more than {limit} ms");
    }
}
