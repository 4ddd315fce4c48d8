//! Browser windows: headless Chromium, or Firefox with `PAGE_BROWSER=firefox`, one window for each user, each controlled through a
//! driver of its own.

use std::path::{Path, PathBuf};
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
use uuid::Uuid;

/// Chromium has no sandbox for root. The other flags prevent requests to other servers than that of the page.
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

/// The width and height of the window of a phone.
const PHONE: [u32; 2] = [360, 740];

const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Lets one test run at a time, because concurrent browsers slow each other down.
static RUNNING: Mutex<()> = Mutex::const_new(());

/// The browsers of the tests, which run one at a time.
pub struct Browser {
    kind: Kind,
    _running: MutexGuard<'static, ()>,
}

#[derive(Clone, Copy)]
enum Kind {
    Chromium,
    Firefox,
}

impl Kind {
    /// The driver, and the Debian package or the crate that contains it.
    fn driver(self) -> [&'static str; 2] {
        match self {
            Self::Chromium => ["chromedriver", "Debian: chromium-driver"],
            Self::Firefox => ["geckodriver", "cargo install geckodriver"],
        }
    }

    /// The capabilities of a browser with this preferred language, which saves files in the folder.
    fn capabilities(self, language: &str, phone: bool, downloads: &Path) -> Value {
        match self {
            Self::Chromium => {
                let language = format!("--accept-lang={language}");
                let preferences = json!({"download.default_directory": downloads});
                let mut options = json!({
                    "args": FLAGS.into_iter().chain([&*language]).collect::<Vec<_>>(), "prefs": preferences
                });
                if phone {
                    let [width, height] = PHONE;
                    let metrics = json!({"width": width, "height": height, "pixelRatio": 1, "touch": true});
                    options["mobileEmulation"] = json!({"deviceMetrics": metrics});
                }
                json!({"goog:chromeOptions": options})
            }
            Self::Firefox => {
                let preferences = json!({
                    "intl.accept_languages": language, "intl.locale.requested": language,
                    "browser.download.folderList": 2, "browser.download.dir": downloads
                });
                json!({"moz:firefoxOptions": {"args": ["-headless"], "prefs": preferences}})
            }
        }
    }
}

impl Browser {
    /// Prints that the test is skipped and returns `None` if no driver is installed.
    pub async fn start() -> Option<Self> {
        let running = RUNNING.lock().await;
        let firefox = std::env::var("PAGE_BROWSER").is_ok_and(|browser| browser == "firefox");
        let kind = if firefox { Kind::Firefox } else { Kind::Chromium };
        let [driver, source] = kind.driver();
        if Command::new(driver).arg("--version").stdout(Stdio::null()).status().await.is_err() {
            testkit::skip(&format!("no {driver} here ({source})"));
            return None;
        }
        Some(Self { kind, _running: running })
    }

    /// Opens the page in a browser with this preferred language.
    pub async fn open(&self, page: &str, language: &str) -> Window {
        self.window(page, language, false, [1100, 760]).await
    }

    /// Opens the page on a phone of [`PHONE`] pixels. The windows of Firefox are at least 450 pixels wide.
    pub async fn open_phone(&self, page: &str, language: &str) -> Window {
        self.window(page, language, true, PHONE).await
    }

    async fn window(&self, page: &str, language: &str, phone: bool, [width, height]: [u32; 2]) -> Window {
        let (driver, url) = start_driver(self.kind).await;
        let downloads = std::env::temp_dir().join(format!("page-downloads-{}", Uuid::new_v4()));
        std::fs::create_dir(&downloads).unwrap();
        let Value::Object(capabilities) = self.kind.capabilities(language, phone, &downloads) else { unreachable!() };
        let mut builder = ClientBuilder::new(HttpConnector::new());
        let client = builder.capabilities(capabilities).connect(&url).await.unwrap();
        client.set_window_size(width, height).await.unwrap();
        client.goto(page).await.unwrap();
        Window { client, driver, downloads }
    }
}

/// Starts a driver. Returns it with its URL.
async fn start_driver(kind: Kind) -> (Child, String) {
    let mut driver = Command::new(kind.driver()[0]);
    let mut driver = driver.arg("--port=0").process_group(0).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let port = loop {
        let line = lines.next_line().await.unwrap().expect("the driver ends at once");
        if line.contains("started successfully on port ") || line.contains("Listening on ") {
            break line.trim_end_matches('.').rsplit([' ', ':']).next().unwrap().to_owned();
        }
    };
    // Reads the rest of the output, because a full pipe would block the driver.
    tokio::spawn(async move { while let Ok(Some(_)) = lines.next_line().await {} });
    (driver, format!("http://127.0.0.1:{port}"))
}

pub struct Window {
    client: Client,
    driver: Child,
    /// The folder of saved files.
    downloads: PathBuf,
}

/// Kills the process group, because the driver does not end its browser. Removes the saved files.
impl Drop for Window {
    fn drop(&mut self) {
        if let Some(pid) = self.driver.id() {
            let _ = killpg(Pid::from_raw(pid as i32), Signal::SIGKILL);
        }
        let _ = std::fs::remove_dir_all(&self.downloads);
    }
}

impl Window {
    /// Clicks the element that `css` selects, as soon as it exists.
    pub async fn press(&self, css: &str) {
        eventually(&format!("{css} can be pressed"), || async { self.find(css).await?.click().await.ok() }).await;
    }

    /// Clicks the first element of `css` that contains `text`.
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

    /// Types into the form field with this name.
    pub async fn fill(&self, name: &str, text: &str) {
        self.type_into(&format!("[name={name}]"), text).await;
    }

    /// Types into the element that `css` selects, as soon as it exists.
    pub async fn type_into(&self, css: &str, text: &str) {
        eventually(&format!("{css} takes text"), || async { self.find(css).await?.send_keys(text).await.ok() }).await;
    }

    /// Empties the form field with this name.
    pub async fn clear(&self, name: &str) {
        let css = format!("[name={name}]");
        eventually(&format!("{css} is cleared"), || async { self.find(&css).await?.clear().await.ok() }).await;
    }

    /// The value of an attribute of the element that `css` selects.
    pub async fn attribute(&self, css: &str, name: &str) -> String {
        eventually(&format!("{css} has {name}"), || async { self.find(css).await?.attr(name).await.ok()? }).await
    }

    /// Types a message and sends it with Enter.
    pub async fn send_message(&self, text: &str) {
        self.fill("content", text).await;
        self.fill("content", &char::from(Key::Enter).to_string()).await;
    }

    async fn find(&self, css: &str) -> Option<Element> {
        self.client.find(Locator::Css(css)).await.ok()
    }

    /// The visible text of each element of `css`, on one line.
    pub async fn texts(&self, css: &str) -> Vec<String> {
        let script = r"return [...document.querySelectorAll(arguments[0])]
            .map((found) => found.innerText.replace(/\s+/g, ' ').trim())";
        let texts = self.client.execute(script, vec![json!(css)]).await.unwrap();
        serde_json::from_value(texts).unwrap()
    }

    /// Waits until an element of `css` contains `text`.
    pub async fn wait_for_text(&self, css: &str, text: &str) {
        self.wait(css, &format!("shows `{text}`"), |texts| texts.iter().any(|one| one.contains(text))).await;
    }

    /// Waits until no element of `css` contains `text`.
    pub async fn wait_for_no_text(&self, css: &str, text: &str) {
        self.wait(css, &format!("hides `{text}`"), |texts| !texts.iter().any(|one| one.contains(text))).await;
    }

    /// Waits until the texts of `css` equal `expected`.
    pub async fn wait_for_exact_texts(&self, css: &str, expected: &[&str]) {
        self.wait(css, &format!("shows exactly {expected:?}"), |texts| texts == expected).await;
    }

    /// Asserts for half a second that the texts of `css` equal `expected`, because a repeated message arrives late.
    pub async fn assert_texts_stay(&self, css: &str, expected: &[&str]) {
        for _ in 0..10 {
            assert_eq!(self.texts(css).await, expected);
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn wait(&self, css: &str, what: &str, matches: impl Fn(&[String]) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let texts = self.texts(css).await;
            if matches(&texts) {
                return;
            }
            assert!(Instant::now() < deadline, "{css} never {what}: it shows {texts:?}");
            sleep(POLL_INTERVAL).await;
        }
    }

    /// Navigates to another view of the page.
    pub async fn go(&self, hash: &str) {
        self.client.execute("location.hash = arguments[0]", vec![json!(hash)]).await.unwrap();
    }

    pub async fn title(&self) -> String {
        self.client.title().await.unwrap()
    }

    /// Types into the element that has the focus.
    pub async fn type_on(&self, text: &str) {
        self.client.active_element().await.unwrap().send_keys(text).await.unwrap();
    }

    /// Runs the body of an asynchronous function in the page and returns its result.
    pub async fn run(&self, body: &str, arguments: Value) -> Value {
        let script = format!(
            "const [argument, done] = arguments;
             (async () => {{ {body} }})().then(done, (error) => done(`failed: ${{error.stack}}`))"
        );
        self.client.execute_async(&script, vec![arguments]).await.unwrap()
    }

    /// Waits until the expression is true in the page.
    pub async fn wait_until(&self, expression: &str) {
        let script = format!("return {expression}");
        eventually(expression, || async {
            (self.client.execute(&script, Vec::new()).await.unwrap() == json!(true)).then_some(())
        })
        .await;
    }

    /// Shows the page in dark mode, or in light mode.
    pub async fn set_dark(&self, dark: bool) {
        let scheme = if dark { "dark" } else { "light" };
        self.run("document.documentElement.style.colorScheme = argument", json!(scheme)).await;
    }

    /// Opens another tab of the same browser with the page, and turns to it.
    pub async fn open_tab(&self, page: &str) {
        let tab = self.client.new_window(true).await.unwrap();
        self.client.switch_to_window(tab.handle).await.unwrap();
        self.client.goto(page).await.unwrap();
    }

    /// Turns to the tab with this index.
    pub async fn turn_to_tab(&self, index: usize) {
        let tabs = self.client.windows().await.unwrap();
        self.client.switch_to_window(tabs[index].clone()).await.unwrap();
    }

    /// Waits until the browser has saved a file under this name. Returns its bytes.
    pub async fn saved_file(&self, name: &str) -> Vec<u8> {
        let file = self.downloads.join(name);
        eventually(&format!("{name} is saved"), || async {
            std::fs::read(&file).ok().filter(|bytes| !bytes.is_empty())
        })
        .await
    }

    /// Chooses files on the disk in a file input.
    pub async fn choose(&self, css: &str, files: &[&Path]) {
        let paths: Vec<_> = files.iter().map(|file| file.to_str().unwrap()).collect();
        self.type_into(css, &paths.join("\n")).await;
    }

    /// Writes a picture of the window to this file.
    pub async fn screenshot(&self, file: &Path) {
        std::fs::write(file, self.client.screenshot().await.unwrap()).unwrap();
    }
}
