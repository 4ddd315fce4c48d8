//! The scanner of files: a server that is given each file and says whether it may be downloaded.
//!
//! The file is the part `file` of a form, as the REST servers of ClamAV take it. 200 accepts it and 406 rejects it. After any other
//! answer the file stays pending, and is scanned again.

use std::time::Duration;

use common::config::{ConfigError, Env, error};
use common::error::{BoxError, Error, Result};
use platform::http::{CallTls, cause};
use reqwest::multipart::{Form, Part};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, StatusCode, Url};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// The longest scan, with the transfer of the file.
pub const TIMEOUT: Duration = Duration::from_secs(600);

/// The settings of the scanner. Each field names its variable.
#[derive(Clone, Debug)]
pub struct ScanConfig {
    /// `FILE_SCAN_URL`: takes the files.
    url: Url,
    /// `FILE_SCAN_CA_FILE`: the authorities that sign the certificate of the scanner, by default the public ones.
    tls: CallTls,
}

impl ScanConfig {
    /// Reads the settings; none without `FILE_SCAN_URL`.
    ///
    /// # Errors
    /// Returns an error if a variable has no valid value.
    pub fn read(env: &Env) -> Result<Option<Self>, ConfigError> {
        let tls = CallTls::read(env, "FILE_SCAN_CA_FILE")?;
        let Some(text) = env.get("FILE_SCAN_URL") else { return Ok(None) };
        let url = Url::parse(text).map_err(|e| error("FILE_SCAN_URL", format!("is not a URL: {e}")))?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(error("FILE_SCAN_URL", "is not an http or https URL"));
        }
        Ok(Some(Self { url, tls }))
    }
}

/// The answer of the scanner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Accepted,
    Rejected,
}

pub struct Scanner {
    http: Client,
    url: Url,
}

impl Scanner {
    /// # Errors
    /// Returns an error if the client cannot be built.
    pub fn new(config: ScanConfig) -> Result<Self, BoxError> {
        let http = config.tls.client().redirect(Policy::none()).connect_timeout(CONNECT_TIMEOUT).timeout(TIMEOUT);
        Ok(Self { http: http.build()?, url: config.url })
    }

    /// Passes a file on to the scanner. The whole file is never in memory.
    ///
    /// # Errors
    /// Returns an unavailable error if the scanner does not answer, or does not say whether it accepts the file.
    pub async fn scan(&self, file: Response, bytes: u64) -> Result<Verdict> {
        // The name that the sender gave the file is of no concern to the scanner.
        let part = Part::stream_with_length(file, bytes).file_name("file");
        let answer = self.http.post(self.url.clone()).multipart(Form::new().part("file", part)).send().await;
        let answer = answer.map_err(|e| Error::unavailable("file scanner", cause(&e.without_url())))?;
        match answer.status() {
            StatusCode::OK => Ok(Verdict::Accepted),
            StatusCode::NOT_ACCEPTABLE => Ok(Verdict::Rejected),
            status => Err(Error::unavailable("file scanner", format!("a file is answered with {status}"))),
        }
    }
}
