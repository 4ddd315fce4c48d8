//! How the page looks: contrast, sizes of targets, the small screen, and the rules of axe, in light and dark mode and in
//! both languages. With `SCREENSHOTS` as a folder, the test keeps pictures of all of them.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use e2e::Person;
use serde_json::json;

use crate::files::{drop_file, orange_picture, send_file};
use crate::window::{Browser, Window};
use crate::{gateway, log_in, two_friends};

/// The smallest side of a target, in CSS pixels.
const TARGET_PX: u32 = 44;

/// The elements that can be pressed and are smaller than a target. Links within a text are exempt.
const SMALL_TARGETS: &str = "
    return [...document.querySelectorAll('button, a[href], input:not([type=checkbox], [type=hidden]), textarea, label.row')]
        .filter((element) => !element.matches('.text a') && element.checkVisibility({ opacityProperty: false }))
        .map((element) => [element, element.getBoundingClientRect()])
        .filter(([, { width, height }]) => Math.min(width, height) < argument - 0.5)
        .map(([element, { width, height }]) => `${element.outerHTML.slice(0, 120)} has ${width} x ${height}`)";

/// Text that is cut, and a page that is larger than the window. Only the sign-up form may be higher, in Firefox, which
/// leaves less of the window to the page. Inline text has no box, its container cuts it.
const OVERFLOW: &str = "
    const box = (one) => (getComputedStyle(one).display === 'inline' ? box(one.parentElement) : one);
    const { scrollWidth, scrollHeight } = document.documentElement;
    const mayScroll = navigator.userAgent.includes('Firefox') && document.querySelector('form[data-act=signUp]');
    const tall = !mayScroll && scrollHeight > innerHeight;
    const large = tall || scrollWidth > innerWidth ? [`the page has ${scrollWidth} x ${scrollHeight} px`] : [];
    const cut = [...document.querySelectorAll(argument)].map(box).filter((one) => one.scrollWidth > one.clientWidth + 1);
    return [...large, ...cut.map((one) => `cut: ${one.outerHTML.slice(0, 120)}`)]";

/// The lines whose elements stand below each other, or beyond the window.
const WRAPPED: &str = "
    const places = (line) => [...line.children].map((child) => child.getBoundingClientRect());
    return [...document.querySelectorAll(argument)]
        .filter((line) => new Set(places(line).map(({ top }) => Math.round(top))).size > 1
            || places(line).some(({ left, right }) => left < 0 || right > innerWidth))
        .map((line) => line.outerHTML.slice(0, 120))";

/// The contrast of the bubbles of others with the pane behind them, as WCAG computes it.
const BUBBLE_CONTRAST: &str = "
    const canvas = new OffscreenCanvas(1, 1).getContext('2d');
    const luminance = (element) => {
        canvas.fillStyle = getComputedStyle(element).backgroundColor;
        canvas.fillRect(0, 0, 1, 1);
        const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((part) => part / 255)
            .map((part) => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4);
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const [a, b] = [document.querySelector('.message:not(.mine) .bubble'), document.querySelector('.pane')].map(luminance);
    return (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05)";

/// The source of axe-core from npm, None where there is no npm.
fn axe() -> Option<String> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/page");
    let file = folder.join("node_modules/axe-core/axe.min.js");
    if !file.exists() {
        let installed = Command::new("npm").args(["ci", "--no-audit", "--no-fund"]).current_dir(&folder).status();
        let Ok(installed) = installed else {
            testkit::skip("no npm here, which installs axe-core");
            return None;
        };
        assert!(installed.success(), "npm ci fails in {}", folder.display());
    }
    Some(std::fs::read_to_string(file).unwrap())
}

/// Asserts that axe finds nothing serious.
async fn assert_accessible(window: &Window, axe: &str, what: &str) {
    let check = "
        if (!window.axe) (0, eval)(argument);
        const { violations } = await axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'],
            rules: { 'label-content-name-mismatch': { enabled: true } } });
        return violations.map(({ id, impact, nodes }) =>
            `${impact} ${id}: ${nodes.map(({ html, failureSummary }) => html + ' ' + failureSummary).join(' | ')}`)";
    assert_eq!(window.run(check, json!(axe)).await, json!([]), "{what}");
}

async fn assert_sizes(window: &Window, what: &str) {
    assert_eq!(window.run(SMALL_TARGETS, json!(TARGET_PX)).await, json!([]), "{what}");
    assert_eq!(window.run(OVERFLOW, json!(".presence, #about")).await, json!([]), "{what}");
    assert_eq!(window.run(WRAPPED, json!(".menu .line")).await, json!([]), "{what}");
}

/// Keeps a picture, if a folder is named.
async fn picture(window: &Window, name: &str) {
    if let Some(folder) = env::var_os("SCREENSHOTS").map(PathBuf::from) {
        window.screenshot(&folder.join(format!("{name}.png"))).await;
    }
}

/// A conversation with everything that a message can have.
async fn fill_room(ann: &Person, bob: &Person, room: i64) {
    let first = ann.send_message(room, "Shall we meet at https://example.com/cafe on Friday?").await;
    let reply =
        json!({"content": "금요일 좋아요! 몇 시에 볼까요? 저는 여섯 시 이후에 시간이 돼요.", "reply_to": first["id"]});
    let reply = bob.client.post(&format!("/api/messages/{room}"), reply).await.expect(201);
    for person in [ann, bob] {
        let path = format!("/api/messages/{}/reactions/%F0%9F%91%8D", reply["id"].as_str().unwrap());
        person.client.put(&path, json!({})).await.expect(200);
    }
    ann.send_message(room, "Half past six, then.").await;
}

/// Adds a file and a picture to the room.
async fn add_files(window: &Window, ann: &Person, bob: &Person, room: i64) {
    let picture = orange_picture(window, 1200, 900).await;
    send_file(bob, room, "금요일 저녁.png", "image/png", picture).await;
    send_file(
        ann,
        room,
        "a report with a very long name that does not fit on one line.pdf",
        "application/pdf",
        vec![0; 482_113],
    )
    .await;
}

/// Checks the files that wait to be sent, one of which is refused, and the full view of a picture.
async fn check_files(window: &Window, room: i64, axe: Option<&str>, name: &str) {
    window.go(&format!("#room/{room}")).await;
    window.wait_until("document.querySelector('.message .picture img')?.src.startsWith('blob:')").await;
    drop_file(window, "textFile('a text with a long name that does not fit on one line.txt', 100)").await;
    drop_file(window, "textFile('empty.txt', 0)").await;
    window.wait_for_text(".upload .error", "").await;
    check_view(window, axe, &format!("{name}-attached")).await;
    window.press(".picture").await;
    window.wait_for_text(".viewer", "금요일 저녁.png").await;
    check_view(window, axe, &format!("{name}-picture")).await;
    window.press(".viewer [data-act=closePicture]").await;
    for _ in 0..2 {
        window.press(".upload [data-act=cancelFile]").await;
    }
}

/// Walks through the views, and calls the checks in each, in light and dark mode.
async fn check_views(window: &Window, room: i64, axe: Option<&str>, name: &str) {
    let views: [(&str, &[&str], &str); 8] = [
        ("list", &["[data-act=tab][data-id=chats]"], "#"),
        ("people", &["[data-act=tab][data-id=people]", ".entry [data-act=menu]"], "#"),
        ("account", &["[data-act=tab][data-id=account]", "[data-act=accountForm]"], "#"),
        ("security", &["[data-act=tab][data-id=security]"], "#"),
        ("group", &["[data-act=tab][data-id=chats]", ".wide"], "#"),
        ("room", &["li.mine:nth-last-child(-n+2) [data-act=menu]"], &format!("#room/{room}")),
        ("details", &[], &format!("#room/{room}/members")),
        ("search", &[], &format!("#room/{room}/search")),
    ];
    for (view, presses, hash) in views {
        window.go(hash).await;
        for press in presses {
            window.press(press).await;
        }
        window.run("await new Promise((resolve) => setTimeout(resolve, 250))", json!(null)).await;
        check_view(window, axe, &format!("{name}-{view}")).await;
    }
}

/// Checks what the window shows, in light and dark mode.
async fn check_view(window: &Window, axe: Option<&str>, name: &str) {
    for dark in [false, true] {
        window.set_dark(dark).await;
        let what = format!("{name}-{}", if dark { "dark" } else { "light" });
        picture(window, &what).await;
        assert_sizes(window, &what).await;
        if let Some(axe) = axe {
            assert_accessible(window, axe, &what).await;
        }
    }
}

#[tokio::test]
async fn every_view_is_accessible_and_fits_a_wide_and_a_small_screen() {
    let Some(browser) = Browser::start().await else { return };
    let axe = axe();
    let [(ann, ann_window), (bob, bob_window)] = two_friends(&browser, &gateway()).await;
    let room = ann.room_with(&bob).await;
    fill_room(&ann, &bob, room).await;
    add_files(&ann_window, &ann, &bob, room).await;
    for (window, name) in [(&ann_window, "wide-en"), (&bob_window, "wide-ko")] {
        check_views(window, room, axe.as_deref(), name).await;
        check_files(window, room, axe.as_deref(), name).await;
    }
    drop((ann_window, bob_window));

    for (person, language) in [(&ann, "en"), (&bob, "ko")] {
        let phone = browser.open_phone(&gateway(), language).await;
        let name = format!("phone-{language}");
        check_view(&phone, axe.as_deref(), &format!("{name}-login")).await;
        phone.press("[data-act=otherForm]").await;
        check_view(&phone, axe.as_deref(), &format!("{name}-sign-up")).await;
        phone.press("[data-act=otherForm]").await;
        log_in(&phone, person).await;
        check_views(&phone, room, axe.as_deref(), &name).await;
        check_files(&phone, room, axe.as_deref(), &name).await;
    }
}

#[tokio::test]
async fn bubbles_stand_out_in_light_and_dark_mode() {
    let Some(browser) = Browser::start().await else { return };
    let [(_, ann), (_, bob)] = two_friends(&browser, &gateway()).await;
    ann.send_message("visible?").await;
    bob.wait_for_text(".bubble", "visible?").await;
    for dark in [false, true] {
        bob.set_dark(dark).await;
        let contrast = bob.run(BUBBLE_CONTRAST, json!(null)).await.as_f64().unwrap();
        assert!(contrast > 1.15, "dark: {dark}, contrast {contrast:.2}");
    }
}
