//! Files and pictures: how they are attached, sent, seen and saved.

use std::path::PathBuf;

use e2e::Person;
use fantoccini::key::Key;
use reqwest::Method;
use reqwest::header::{HeaderName, HeaderValue};
use serde_json::{Value, json};
use testkit::Client;
use uuid::Uuid;

use crate::window::{Browser, Window};
use crate::{gateway, log_in, two_friends};

const WAITING: &str = ".upload";
const PICTURE: &str = ".message .picture img";

/// Makes files in the page: of text, and pictures of one colour.
const FILES: &str = "
    const textFile = (name, length) => new File(['x'.repeat(length)], name, { type: 'text/plain' });
    const pictureFile = async (name, width, height, colour) => {
        const canvas = new OffscreenCanvas(width, height);
        const context = canvas.getContext('2d');
        context.fillStyle = colour;
        context.fillRect(0, 0, width, height);
        return new File([await canvas.convertToBlob({ type: 'image/png' })], name, { type: 'image/png' });
    };
    const transfer = (files) => {
        const data = new DataTransfer();
        for (const file of files) data.items.add(file);
        return data;
    };
    const drag = (data, ...types) => {
        for (const type of types) {
            const event = new DragEvent(type, { bubbles: true, cancelable: true, dataTransfer: data });
            document.querySelector('.messages').dispatchEvent(event);
        }
    };";

/// The colour in the middle of a picture of the page.
const COLOUR: &str = "
    const picture = document.querySelector(argument);
    await picture.decode();
    const canvas = new OffscreenCanvas(1, 1).getContext('2d');
    canvas.drawImage(picture, 0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data].slice(0, 3)";

/// A colour that no theme of the page has.
const ORANGE: [u8; 3] = [255, 128, 0];

async fn in_page(window: &Window, script: &str, argument: Value) -> Value {
    let result = window.run(&format!("{FILES} {script}"), argument).await;
    assert!(!result.as_str().is_some_and(|text| text.starts_with("failed: ")), "{result}");
    result
}

/// Drops a file on the conversation, which the script makes.
pub async fn drop_file(window: &Window, file: &str) {
    in_page(window, &format!("drag(transfer([await {file}]), 'dragenter', 'dragover', 'drop')"), json!(null)).await;
}

/// The bytes of an orange picture.
pub async fn orange_picture(window: &Window, width: u32, height: u32) -> Vec<u8> {
    let script = "const file = await pictureFile('', ...argument, 'rgb(255, 128, 0)');
        return [...new Uint8Array(await file.arrayBuffer())]";
    serde_json::from_value(in_page(window, script, json!([width, height])).await).unwrap()
}

/// A folder of this test, removed with its files.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        let folder = std::env::temp_dir().join(format!("page-files-{}", Uuid::new_v4()));
        std::fs::create_dir(&folder).unwrap();
        Self(folder)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let file = self.0.join(name);
        std::fs::write(&file, bytes).unwrap();
        file
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Sends a file without the page.
pub async fn send_file(person: &Person, room: i64, name: &str, file_type: &str, bytes: Vec<u8>) -> Value {
    let wanted = json!({"file_name": name, "file_size": bytes.len(), "file_type": file_type});
    let upload = person.client.post(&format!("/api/messages/{room}/uploads"), wanted).await.expect(201);
    let headers = upload["headers"].as_object().unwrap().iter().map(|(name, value)| {
        (HeaderName::try_from(name).unwrap(), HeaderValue::try_from(value.as_str().unwrap()).unwrap())
    });
    let store = Client::new(upload["url"].as_str().unwrap(), "");
    let put = store.request(Method::PUT, "").headers(headers.collect()).body(bytes);
    put.send().await.unwrap().error_for_status().unwrap();
    let message_type = if file_type.starts_with("image/") { "image" } else { "file" };
    let body = json!({"message_type": message_type, "upload_id": upload["upload_id"]});
    person.client.post(&format!("/api/messages/{room}"), body).await.expect(201)
}

async fn messages(person: &Person, room: i64) -> Vec<Value> {
    let page = person.client.get(&format!("/api/messages/{room}")).await.expect(200);
    page["messages"].as_array().unwrap().clone()
}

/// Waits for the thumbnail of a picture in place of its preview, and checks its colour.
async fn wait_for_orange(window: &Window, css: &str) {
    window.wait_until(&format!("document.querySelector('{css}')?.src.startsWith('blob:')")).await;
    let colour: [u8; 3] = serde_json::from_value(window.run(COLOUR, json!(css)).await).unwrap();
    assert!(colour.iter().zip(ORANGE).all(|(is, expected)| is.abs_diff(expected) < 12), "{colour:?}");
}

#[tokio::test]
async fn a_picture_is_chosen_sent_seen_in_full_and_deleted() {
    let Some(browser) = Browser::start().await else { return };
    let [(_, ann), (_, bob)] = two_friends(&browser, &gateway()).await;
    let folder = Folder::new();
    let file = folder.write("휴가 사진.png", &orange_picture(&ann, 1600, 400).await);

    ann.choose("#pick-files", &[&file]).await;
    ann.wait_for_text(WAITING, "휴가 사진.png").await;
    ann.send_message("at the sea").await;
    bob.wait_for_text(".text", "at the sea").await;
    for window in [&ann, &bob] {
        wait_for_orange(window, PICTURE).await;
        assert_eq!(window.attribute(PICTURE, "alt").await, "휴가 사진.png");
    }
    ann.wait_for_exact_texts(WAITING, &[]).await;
    let shape =
        "const { width, height } = document.querySelector('.picture').getBoundingClientRect(); return width / height";
    let shape = bob.run(shape, json!(null)).await.as_f64().unwrap();
    assert!((shape - 4.0).abs() < 0.05, "the space has the form of the picture, not {shape}");

    // The full view takes the focus and returns it.
    bob.press(".picture").await;
    wait_for_orange(&bob, ".viewer img").await;
    bob.wait_until("document.activeElement.matches('.viewer [data-act=closePicture]')").await;
    bob.type_on(&char::from(Key::Escape).to_string()).await;
    bob.wait_until("!document.querySelector('.viewer') && document.activeElement.matches('.picture')").await;
    bob.type_on(&char::from(Key::Enter).to_string()).await;
    bob.press(".viewer [data-act=closePicture]").await;
    bob.wait_until("!document.querySelector('.viewer')").await;

    // It is deleted while Bob looks at it, in one tab in full and in another one as it was sent.
    bob.press(".picture").await;
    bob.press_on(".viewer button", "원본").await;
    bob.turn_to_tab(1).await;
    bob.wait_until("document.contentType === 'image/png' && document.images[0].naturalWidth === 1600").await;
    bob.wait_until("window.opener === null").await;
    bob.turn_to_tab(0).await;
    let url = bob.attribute(PICTURE, "src").await;
    ann.press(".mine [data-act=menu]").await;
    ann.press(".menu [data-act=delete]").await;
    ann.press_on(".menu [data-act=delete]", "Delete?").await;
    bob.wait_until("!document.querySelector('.picture, .viewer')").await;
    let is_revoked = "return fetch(argument).then(() => false, () => true)";
    assert_eq!(bob.run(is_revoked, json!(url)).await, json!(true));
}

#[tokio::test]
async fn files_are_dropped_and_pasted_and_keep_their_order() {
    let Some(browser) = Browser::start().await else { return };
    let [(_, ann), (_, bob)] = two_friends(&browser, &gateway()).await;

    in_page(&ann, "drag(transfer([textFile('a.txt', 1)]), 'dragenter', 'dragover')", json!(null)).await;
    ann.wait_for_text(".drop-target", "Drop files here").await;
    drop_file(&ann, "textFile('first.txt', 2_000_000)").await;
    ann.wait_for_exact_texts(".drop-target", &[]).await;
    let paste = "const clipboardData = transfer([await pictureFile('second.png', 40, 40, 'rgb(255, 128, 0)'), textFile('third.txt', 3)]);
        const event = new ClipboardEvent('paste', { bubbles: true, cancelable: true, clipboardData });
        document.querySelector('.composer textarea').dispatchEvent(event);
        return event.defaultPrevented";
    assert_eq!(in_page(&ann, paste, json!(null)).await, json!(true));
    ann.wait_for_exact_texts(&format!("{WAITING} strong"), &["first.txt", "second.png", "third.txt"]).await;
    ann.wait_for_exact_texts(&format!("{WAITING}:first-child"), &["first.txt 2 MB"]).await;
    ann.press(".composer .primary").await;

    bob.wait_until("document.querySelectorAll('.message').length === 3").await;
    wait_for_orange(&bob, PICTURE).await;
    let names = "return [...document.querySelectorAll('.message')].map((one) => one.querySelector('.file-name')?.innerText ?? one.querySelector('img').alt)";
    assert_eq!(bob.run(names, json!(null)).await, json!(["first.txt", "second.png", "third.txt"]));
    bob.wait_for_text(".rooms", "third.txt").await;
}

/// Holds the transfers of a page until `window.release()`.
const HOLD_TRANSFERS: &str = "
    const request = fetch;
    window.cancellations = [];
    window.fetch = async (url, options) => {
        const answer = await request(url, options);
        if (options?.method === 'DELETE') window.cancellations.push(answer.status);
        return answer;
    };
    const send = XMLHttpRequest.prototype.send;
    const held = [];
    XMLHttpRequest.prototype.send = function hold(body) { held.push(() => send.call(this, body)); };
    window.release = () => {
        XMLHttpRequest.prototype.send = send;
        for (const go of held) go();
    };";

#[tokio::test]
async fn a_cancelled_file_is_not_sent_and_its_text_is_a_draft_again() {
    let Some(browser) = Browser::start().await else { return };
    let [(ann, window), (bob, bob_window)] = two_friends(&browser, &gateway()).await;
    let room = ann.room_with(&bob).await;
    window.run(HOLD_TRANSFERS, json!(null)).await;
    drop_file(&window, "textFile('secret.txt', 10)").await;
    drop_file(&window, "textFile('public.txt', 20)").await;
    window.send_message("with a text").await;
    window.wait_for_exact_texts(WAITING, &["secret.txt 0 bytes of 10 bytes", "public.txt 0 bytes of 20 bytes"]).await;
    window.wait_until("document.querySelectorAll('.upload progress').length === 2").await;

    window.press("[data-act=cancelFile][title='Remove secret.txt']").await;
    window.wait_for_exact_texts(WAITING, &["public.txt 0 bytes of 20 bytes"]).await;
    window.wait_until("document.querySelector('.composer textarea').value === 'with a text'").await;
    window.wait_until("String(window.cancellations) === '204'").await;
    window.run("window.release()", json!(null)).await;
    bob_window.wait_for_text(".file", "public.txt").await;
    window.wait_for_exact_texts(WAITING, &[]).await;
    let sent = messages(&ann, room).await;
    assert_eq!(sent.len(), 1, "{sent:?}");
}

#[tokio::test]
async fn a_transfer_that_failed_is_sent_again() {
    let Some(browser) = Browser::start().await else { return };
    let [(ann, window), (bob, bob_window)] = two_friends(&browser, &gateway()).await;
    let room = ann.room_with(&bob).await;
    let fail = "
        const send = XMLHttpRequest.prototype.send;
        window.attempts = 0;
        XMLHttpRequest.prototype.send = function fail() {
            window.attempts++;
            setTimeout(() => this.dispatchEvent(new ProgressEvent('error')));
        };
        window.repair = () => { XMLHttpRequest.prototype.send = send; };";
    window.run(fail, json!(null)).await;
    drop_file(&window, "textFile('a.txt', 10)").await;
    window.send_message("").await;
    window.wait_for_text(WAITING, "The server cannot be reached.").await;
    window.wait_for_text("#announcer", "a.txt was not sent.").await;
    assert_eq!(window.run("return window.attempts", json!(null)).await, json!(3));

    window.run("window.repair()", json!(null)).await;
    window.press("[data-act=retryFile]").await;
    bob_window.wait_for_text(".file", "a.txt").await;
    window.wait_for_exact_texts(WAITING, &[]).await;
    assert_eq!(messages(&ann, room).await.len(), 1);
}

/// Answers the request for an upload with parts of ten bytes. The page stores them at addresses that are their numbers, of which 1 is
/// broken until `window.repair()`; the end of the upload stores the file as a whole.
const STORE_IN_PARTS: &str = "
    const [send, open, put] = [fetch, XMLHttpRequest.prototype.open, XMLHttpRequest.prototype.send];
    const stored = [];
    let upload;
    let isBroken = true;
    window.log = [];
    window.repair = () => { isBroken = false; };
    XMLHttpRequest.prototype.open = function record(method, url) { this.part = Number(url); };
    XMLHttpRequest.prototype.send = function store(blob) {
        const status = isBroken && this.part === 1 ? 503 : 200;
        window.log.push(this.part);
        if (status === 200) stored[this.part] = blob;
        Object.defineProperty(this, 'status', { value: status });
        setTimeout(() => this.dispatchEvent(new ProgressEvent('load')));
    };
    const storeWhole = () => new Promise((resolve, reject) => {
        const request = new XMLHttpRequest();
        open.call(request, 'PUT', upload.url);
        for (const [name, value] of Object.entries(upload.headers)) request.setRequestHeader(name, value);
        request.onload = () => resolve(new Response(null, { status: 204 }));
        request.onerror = reject;
        put.call(request, new Blob(stored));
    });
    window.fetch = async (url, request) => {
        if (`${url}`.endsWith('/complete')) return storeWhole();
        const answer = await send(url, request);
        if (!`${url}`.endsWith('/uploads')) return answer;
        upload = await answer.json();
        const parts = { size: 10, urls: ['0', '1', '2'] };
        return Response.json({ ...upload, url: null, headers: {}, parts }, { status: 201 });
    };";

#[tokio::test]
async fn a_part_that_failed_is_sent_again_alone() {
    let Some(browser) = Browser::start().await else { return };
    let [(_, ann), (_, bob)] = two_friends(&browser, &gateway()).await;
    ann.run(STORE_IN_PARTS, json!(null)).await;
    drop_file(&ann, "new File(['one part, ', 'two parts,', ' end'], 'parts.txt', { type: 'text/plain' })").await;
    ann.send_message("").await;
    ann.wait_for_text(WAITING, "Try again").await;
    assert_eq!(ann.run("return window.log", json!(null)).await, json!([0, 1, 1, 1]));

    ann.run("window.repair()", json!(null)).await;
    ann.press("[data-act=retryFile]").await;
    bob.press("[data-act=openFile]").await;
    assert_eq!(bob.saved_file("parts.txt").await, b"one part, two parts, end");
    assert_eq!(ann.run("return window.log", json!(null)).await, json!([0, 1, 1, 1, 1, 2]));
    ann.wait_for_exact_texts(WAITING, &[]).await;
}

#[tokio::test]
async fn a_message_whose_answers_are_lost_is_stored_once() {
    let Some(browser) = Browser::start().await else { return };
    let [(ann, window), (bob, _)] = two_friends(&browser, &gateway()).await;
    let room = ann.room_with(&bob).await;
    let lose = "
        const send = fetch;
        window.sends = 0;
        window.fetch = async (url, request) => {
            const answer = await send(url, request);
            if (request?.method !== 'POST' || !/messages\\/\\d+$/.test(url)) return answer;
            window.sends++;
            throw new TypeError('lost');
        };
        window.repair = () => { window.fetch = send; };";
    window.run(lose, json!(null)).await;
    drop_file(&window, "textFile('a.txt', 10)").await;
    window.send_message("once").await;
    window.wait_for_text(WAITING, "The server cannot be reached.").await;
    window.run("window.repair()", json!(null)).await;
    window.press("[data-act=retryFile]").await;
    window.wait_for_exact_texts(WAITING, &[]).await;
    window.wait_for_exact_texts(".text", &["once"]).await;
    assert!(window.run("return window.sends", json!(null)).await.as_i64().unwrap() > 1);
    assert_eq!(messages(&ann, room).await.len(), 1);
}

/// Replaces the limits of the deployment before the login, and counts the requests for uploads.
async fn open_with_limits(browser: &Browser, person: &Person, room: i64, limits: Value) -> Window {
    let window = browser.open(&gateway(), "en").await;
    let replace = "
        const send = fetch;
        window.uploads = 0;
        window.fetch = (url, request) => {
            if (`${url}`.endsWith('/uploads')) window.uploads++;
            return `${url}`.endsWith('/chat-rooms/limits') ? Response.json(argument) : send(url, request);
        };";
    window.run(replace, limits).await;
    log_in(&window, person).await;
    window.go(&format!("#room/{room}")).await;
    window.wait_for_text(".bar h1", "테스트 유저").await;
    window
}

#[tokio::test]
async fn files_that_break_a_limit_are_refused_before_anything_is_sent() {
    let Some(browser) = Browser::start().await else { return };
    let (ann, bob) = (Person::sign_up("ann").await, Person::sign_up("bob").await);
    let room = ann.room_with(&bob).await;
    let limits = json!({
        "message_max_chars": 300, "image_max_bytes": 100, "file_max_bytes": 2_000, "file_quota_bytes": 1_000_000,
        "file_types": ["text/*", "image/png"]
    });
    let window = open_with_limits(&browser, &ann, room, limits).await;

    drop_file(&window, "pictureFile('big.png', 300, 300, 'red')").await;
    window.wait_for_text(WAITING, "big.png Files of this type have at most 100 bytes.").await;
    drop_file(&window, "textFile('long.txt', 2_001)").await;
    window.wait_for_text(WAITING, "long.txt Files of this type have at most 2 kB.").await;
    drop_file(&window, "textFile('empty.txt', 0)").await;
    window.wait_for_text(WAITING, "empty.txt This file is empty.").await;
    drop_file(&window, "new File(['x'], 'a.jar', { type: 'application/java-archive' })").await;
    window.wait_for_text(WAITING, "a.jar Files of this type cannot be sent here.").await;
    window.send_message("").await;
    window.press_on(".top button", "한국어").await;
    window.wait_for_text(WAITING, "empty.txt 빈 파일이에요.").await;
    assert_eq!(window.run("return window.uploads", json!(null)).await, json!(0));
    assert_eq!(window.texts("[data-act=retryFile]").await.len(), 0);
    assert!(messages(&ann, room).await.is_empty());

    // A file within the limits is sent beside them.
    drop_file(&window, "textFile('good.txt', 2_000)").await;
    window.send_message("").await;
    window.wait_for_text(".file", "good.txt").await;
    window.wait_until("document.querySelectorAll('.upload').length === 4").await;
}

#[tokio::test]
async fn a_deployment_without_a_store_has_no_way_to_attach_files() {
    let Some(browser) = Browser::start().await else { return };
    let (ann, bob) = (Person::sign_up("ann").await, Person::sign_up("bob").await);
    let room = ann.room_with(&bob).await;
    let limits = json!({
        "message_max_chars": 30, "image_max_bytes": null, "file_max_bytes": null, "file_quota_bytes": null,
        "file_types": null
    });
    let window = open_with_limits(&browser, &ann, room, limits).await;
    window.fill("content", &"x".repeat(25)).await;
    window.wait_for_exact_texts(".counter", &["5 left"]).await;
    assert_eq!(window.texts("[data-act=pick]").await.len(), 0);
    drop_file(&window, "textFile('a.txt', 10)").await;
    window.assert_texts_stay(WAITING, &[]).await;
}

#[tokio::test]
async fn a_file_is_saved_byte_for_byte_under_its_name() {
    let Some(browser) = Browser::start().await else { return };
    let [(ann, _), (bob, window)] = two_friends(&browser, &gateway()).await;
    let room = ann.room_with(&bob).await;
    let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    send_file(&ann, room, "보고서 1.pdf", "application/pdf", bytes.clone()).await;
    window.wait_for_text(".file", "보고서 1.pdf 300kB").await;
    window.press("[data-act=openFile]").await;
    assert_eq!(window.saved_file("보고서 1.pdf").await, bytes);
}

#[tokio::test]
async fn a_large_file_is_sent_in_parts() {
    let Some(browser) = Browser::start().await else { return };
    let [(_, ann), (_, bob)] = two_friends(&browser, &gateway()).await;
    let large = 17 * 1024 * 1024;
    drop_file(&ann, &format!("new File([new Uint8Array({large}).map((_, n) => n % 251)], 'large.bin')")).await;
    ann.send_message("").await;
    bob.wait_for_text(".file", "large.bin 17.8MB").await;
    bob.press("[data-act=openFile]").await;
    let expected: Vec<u8> = (0..large).map(|n: u32| (n % 251) as u8).collect();
    assert!(bob.saved_file("large.bin").await == expected, "the bytes are others");
}

#[tokio::test]
async fn a_file_shows_that_it_is_checked_and_what_the_check_found() {
    let Some(browser) = Browser::start().await else { return };
    let [(ann, _), (bob, _)] = two_friends(&browser, &gateway()).await;
    let room = ann.room_with(&bob).await;
    send_file(&ann, room, "report.pdf", "application/pdf", b"ten bytes.".to_vec()).await;
    let window = browser.open(&gateway(), "en").await;
    let states = "
        const send = fetch;
        window.state = 'pending';
        window.fetch = async (url, request) => {
            const answer = await send(url, request);
            if (request?.method !== 'GET' || !/messages\\/\\d+\\?/.test(url)) return answer;
            const page = await answer.json();
            for (const message of page.messages) message.file_state = window.state;
            return Response.json(page);
        };";
    window.run(states, json!(null)).await;
    log_in(&window, &bob).await;
    for (state, text) in [
        ("pending", "report.pdf being checked"),
        ("rejected", "report.pdf did not pass the check"),
        ("ready", "report.pdf 10 bytes"),
    ] {
        window.run("window.state = argument", json!(state)).await;
        window.go("#").await;
        window.run("const store = await import('/store.js'); store.forgetMessages()", json!(null)).await;
        window.go(&format!("#room/{room}")).await;
        window.wait_for_text(".message .file", text).await;
        assert_eq!(window.texts(".message button.file").await.len(), usize::from(state == "ready"), "{state}");
    }
}

#[tokio::test]
async fn a_picture_that_is_none_is_sent_as_a_file() {
    let Some(browser) = Browser::start().await else { return };
    let [(_, ann), (_, bob)] = two_friends(&browser, &gateway()).await;
    drop_file(&ann, "new File(['no picture'], 'fake.png', { type: 'image/png' })").await;
    ann.send_message("").await;
    bob.wait_for_text("button.file", "fake.png 10바이트").await;
    ann.wait_for_exact_texts(WAITING, &[]).await;
}

#[tokio::test]
async fn a_phone_sends_and_shows_pictures() {
    let Some(browser) = Browser::start().await else { return };
    let (ann, bob) = (Person::sign_up("ann").await, Person::sign_up("bob").await);
    ann.befriend(&bob).await;
    let room = ann.room_with(&bob).await;
    let phone = browser.open_phone(&gateway(), "ko").await;
    log_in(&phone, &ann).await;
    phone.go(&format!("#room/{room}")).await;
    phone.wait_until("document.querySelector('[data-act=pick][data-id=pick-pictures]')?.checkVisibility()").await;
    assert_eq!(phone.attribute("#pick-pictures", "accept").await, "image/*");

    let folder = Folder::new();
    let file = folder.write("wide.png", &orange_picture(&phone, 3000, 1000).await);
    phone.choose("#pick-pictures", &[&file]).await;
    phone.wait_for_text(WAITING, "wide.png").await;
    phone.press(".composer .primary").await;
    wait_for_orange(&phone, PICTURE).await;
    let fits = "(({ left, right }) => left >= 0 && right <= innerWidth)(document.querySelector('.picture').getBoundingClientRect())
        && document.documentElement.scrollWidth <= innerWidth";
    phone.wait_until(fits).await;
    phone.press(".picture").await;
    wait_for_orange(&phone, ".viewer img").await;
    phone.press(".viewer [data-act=closePicture]").await;
    phone.wait_until("!document.querySelector('.viewer')").await;
}
