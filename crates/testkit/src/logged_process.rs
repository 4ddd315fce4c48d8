//! A service in a process of its own, with its whole log.

use std::fs::File;
use std::path::PathBuf;
use std::process::Stdio;

use reqwest::Method;
use tokio::process::{Child, Command};

use crate::{Client, eventually};

/// A process that logs everything to a file. It ends when it is dropped.
pub struct LoggedProcess {
    _child: Child,
    /// A client without a token.
    pub client: Client,
    path: PathBuf,
}

impl LoggedProcess {
    /// Starts a program with this environment at the level `trace`, and waits until it is ready.
    pub async fn start(program: &str, env: Vec<(&'static str, String)>) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let path = std::env::temp_dir().join(format!("service-log-{port}"));
        let log = File::create(&path).unwrap();
        let (stdout, stderr) = (Stdio::from(log.try_clone().unwrap()), Stdio::from(log));
        let own = [("PORT", port.to_string()), ("LOG_LEVEL", "trace".to_owned())];
        let mut command = Command::new(program);
        command.env_clear().envs(env).envs(own).stdout(stdout).stderr(stderr).kill_on_drop(true);
        let child = command.spawn().unwrap();
        let client = Client::new(&format!("http://127.0.0.1:{port}"), "");
        eventually("the process is ready", || async {
            let ready = client.request(Method::GET, "/health/ready").send().await.ok()?;
            ready.status().is_success().then_some(())
        })
        .await;
        Self { _child: child, client, path }
    }

    /// The log so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.path).unwrap()
    }

    /// Asserts that no line of the log contains one of these texts.
    ///
    /// # Panics
    /// Panics with the line.
    pub fn assert_not_logged(&self, private: &[&str]) {
        let log = self.log();
        for text in private {
            let line = log.lines().find(|line| line.contains(text));
            assert!(line.is_none(), "{text:?} in {}", line.unwrap_or_default());
        }
    }
}

impl Drop for LoggedProcess {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}
