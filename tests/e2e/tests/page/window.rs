//! Browser windows: Chromium without a screen, one for each person, driven by chromedriver.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use fantoccini::elements::Element;
use fantoccini::key::Key;
use fantoccini::{Client, ClientBuilder, Locator};
use hyper_util::client::legacy::connect::HttpConnector;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};
use testkit::{PATIENCE, eventually};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, MutexGuard};
use tokio::time::{Instant, sleep};

/// Root has no sandbox in Chromium; the rest keeps it from talking to anybody but the page's server.
const FLAGS: [&str; 9] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
];

const LOOK_EVERY: Duration = Duration::from_millis(50);

/// One test at a time: more browsers would only make each other slow.
static TURN: Mutex<()> = Mutex::const_new(());

/// chromedriver, and whose turn it is.
pub struct Browser {
    url: String,
    driver: Child,
    _turn: MutexGuard<'static, ()>,
}

/// The driver leaves its browsers behind when it ends, but they are of its process group.
impl Drop for Browser {
    fn drop(&mut self) {
        if let Some(pid) = self.driver.id() {
            let _ = killpg(Pid::from_raw(pid as i32), Signal::SIGKILL);
        }
    }
}

impl Browser {
    /// Starts the driver; says so and is nothing where there is none.
    pub async fn start() -> Option<Self> {
        let turn = TURN.lock().await;
        let driver = Command::new("chromedriver").arg("--port=0").process_group(0).stdout(Stdio::piped()).spawn();
        let Ok(mut driver) = driver else {
            // Past the capture of the test's output: a test that was skipped says so.
            std::io::stderr().write_all(b"skipped: no chromedriver here (Debian: chromium-driver)\n").unwrap();
            return None;
        };
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = loop {
            let line = lines.next_line().await.unwrap().expect("chromedriver ends at once");
            if let Some((_, port)) = line.split_once("started successfully on port ") {
                break port.trim_end_matches('.').to_owned();
            }
        };
        // Read on: a full pipe would stop it.
        tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
        Some(Self { url: format!("http://127.0.0.1:{port}"), driver, _turn: turn })
    }

    /// Opens the page for someone whose browser speaks `language`.
    pub async fn open(&self, page: &str, language: &str) -> Window {
        let flags: Vec<_> = FLAGS.map(str::to_owned).into_iter().chain([format!("--accept-lang={language}")]).collect();
        let options = json!({"goog:chromeOptions": {"args": flags}});
        let Value::Object(options) = options else { unreachable!() };
        let client = ClientBuilder::new(HttpConnector::new()).capabilities(options).connect(&self.url).await.unwrap();
        client.set_window_size(1100, 760).await.unwrap();
        client.goto(page).await.unwrap();
        Window { client }
    }
}

pub struct Window {
    client: Client,
}

impl Window {
    /// Presses what `css` names, as soon as it is there.
    pub async fn press(&self, css: &str) {
        eventually(&format!("{css} can be pressed"), || async { self.found(css).await?.click().await.ok() }).await;
    }

    /// Presses the first of `css` that shows `text`.
    pub async fn press_on(&self, css: &str, text: &str) {
        eventually(&format!("{css} with `{text}` can be pressed"), || async {
            for element in self.client.find_all(Locator::Css(css)).await.ok()? {
                if element.text().await.ok()?.contains(text) {
                    return element.click().await.ok();
                }
            }
            None
        })
        .await;
    }

    /// Types into a field, and leaves it so.
    pub async fn fill(&self, name: &str, text: &str) {
        self.type_into(&format!("[name={name}]"), text).await;
    }

    /// Types into what `css` names, as soon as it is there.
    pub async fn type_into(&self, css: &str, text: &str) {
        eventually(&format!("{css} takes text"), || async { self.found(css).await?.send_keys(text).await.ok() }).await;
    }

    /// Writes a message and sends it with Enter.
    pub async fn says(&self, text: &str) {
        self.fill("content", text).await;
        self.fill("content", &char::from(Key::Enter).to_string()).await;
    }

    async fn found(&self, css: &str) -> Option<Element> {
        self.client.find(Locator::Css(css)).await.ok()
    }

    /// The texts of all that `css` names, as they are shown, on one line each.
    pub async fn texts(&self, css: &str) -> Vec<String> {
        let script = r"return [...document.querySelectorAll(arguments[0])]
            .map((found) => found.innerText.replace(/\s+/g, ' ').trim())";
        let texts = self.client.execute(script, vec![json!(css)]).await.unwrap();
        serde_json::from_value(texts).unwrap()
    }

    /// Waits until one of `css` shows `text`.
    pub async fn shows(&self, css: &str, text: &str) {
        self.until(css, &format!("shows `{text}`"), |texts| texts.iter().any(|one| one.contains(text))).await;
    }

    /// Waits until none of `css` shows `text`.
    pub async fn hides(&self, css: &str, text: &str) {
        self.until(css, &format!("hides `{text}`"), |texts| !texts.iter().any(|one| one.contains(text))).await;
    }

    /// Waits until the texts of `css` are these.
    pub async fn shows_exactly(&self, css: &str, expected: &[&str]) {
        self.until(css, &format!("shows exactly {expected:?}"), |texts| texts == expected).await;
    }

    /// Looks for a while whether the texts of `css` stay these: what comes twice comes late.
    pub async fn keeps_showing(&self, css: &str, expected: &[&str]) {
        for _ in 0..10 {
            assert_eq!(self.texts(css).await, expected);
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn until(&self, css: &str, what: &str, fits: impl Fn(&[String]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let texts = self.texts(css).await;
            if fits(&texts) {
                return;
            }
            assert!(Instant::now() < deadline, "{css} never {what}: it shows {texts:?}");
            sleep(LOOK_EVERY).await;
        }
    }

    /// Goes to a place on the page.
    pub async fn go(&self, hash: &str) {
        self.client.execute("location.hash = arguments[0]", vec![json!(hash)]).await.unwrap();
    }

    pub async fn title(&self) -> String {
        self.client.title().await.unwrap()
    }
}
