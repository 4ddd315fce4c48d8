//! The settings of the object store.

use common::config::{ConfigError, Env, error};
use platform::http::CallTls;
use reqwest::Url;
use rusty_s3::Credentials;
use secrecy::{ExposeSecret, SecretString};

/// The settings of an object store. Each field names its variable.
#[derive(Clone, Debug)]
pub struct ObjectStoreConfig {
    /// `FILE_STORE_URL`: the store, as the services reach it.
    pub(super) url: Url,
    /// `FILE_STORE_PUBLIC_URL`: the store, as clients reach it; by default the same.
    pub(super) public_url: Url,
    /// `FILE_STORE_BUCKET`: the bucket, which has to exist.
    pub(super) bucket: String,
    /// `FILE_STORE_REGION`: the region of the signatures, by default `us-east-1`.
    pub(super) region: String,
    /// `FILE_STORE_ACCESS_KEY`: the account.
    access_key: String,
    /// `FILE_STORE_SECRET_KEY`: signs the requests.
    secret_key: SecretString,
    /// `FILE_STORE_CA_FILE`: the authorities that sign the certificate of the store, by default the public ones.
    pub(super) tls: CallTls,
}

impl ObjectStoreConfig {
    /// Reads the settings; none without `FILE_STORE_URL`.
    ///
    /// # Errors
    /// Returns an error if a variable is missing or has no valid value.
    pub fn read(env: &Env) -> Result<Option<Self>, ConfigError> {
        // All are read, so that the list of variables does not depend on the first.
        let [bucket, access_key, secret_key] =
            ["FILE_STORE_BUCKET", "FILE_STORE_ACCESS_KEY", "FILE_STORE_SECRET_KEY"].map(|name| env.required(name));
        let (url, public_url) = (url(env, "FILE_STORE_URL")?, url(env, "FILE_STORE_PUBLIC_URL")?);
        let region = env.text("FILE_STORE_REGION", "us-east-1");
        let tls = CallTls::read(env, "FILE_STORE_CA_FILE")?;
        let Some(url) = url else { return Ok(None) };
        Ok(Some(Self {
            public_url: public_url.unwrap_or_else(|| url.clone()),
            url,
            bucket: bucket?.to_owned(),
            region,
            access_key: access_key?.to_owned(),
            secret_key: secret_key?.into(),
            tls,
        }))
    }

    pub(super) fn credentials(&self) -> Credentials {
        Credentials::new(self.access_key.clone(), self.secret_key.expose_secret())
    }
}

/// The base of an S3 API. A login in it would be part of every presigned URL.
fn url(env: &Env, name: &str) -> Result<Option<Url>, ConfigError> {
    let Some(text) = env.get(name) else { return Ok(None) };
    let url = Url::parse(text).map_err(|e| error(name, format!("is not a URL: {e}")))?;
    if !["http", "https"].contains(&url.scheme()) || !url.has_host() {
        return Err(error(name, "is not an http or https URL"));
    }
    if !url.username().is_empty() || url.password().is_some() || url.query().is_some() || url.fragment().is_some() {
        return Err(error(name, "must not contain a login, a query or a fragment"));
    }
    Ok(Some(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: [(&str, &str); 4] = [
        ("FILE_STORE_URL", "https://store"),
        ("FILE_STORE_BUCKET", "chat"),
        ("FILE_STORE_ACCESS_KEY", "key"),
        ("FILE_STORE_SECRET_KEY", "secret"),
    ];

    fn read(settings: &[(&str, &str)]) -> Result<Option<ObjectStoreConfig>, ConfigError> {
        ObjectStoreConfig::read(&Env::of(settings.iter().map(|(name, value)| (*name, (*value).to_owned()))))
    }

    #[test]
    fn without_a_url_there_is_no_store() {
        assert!(read(&SETTINGS[1..]).unwrap().is_none());
        assert!(read(&[]).unwrap().is_none());
    }

    #[test]
    fn with_a_url_the_bucket_and_the_account_are_required() {
        assert_eq!(read(&SETTINGS).unwrap().unwrap().public_url.as_str(), "https://store/");
        for missing in 1..SETTINGS.len() {
            let mut settings = SETTINGS.to_vec();
            let (name, _) = settings.remove(missing);
            assert_eq!(read(&settings).unwrap_err().variable, name);
        }
    }

    #[test]
    fn a_url_has_no_login_and_no_query() {
        for invalid in ["store:9000", "ftp://store", "http://key:secret@store", "http://store/?a=b", "http://store/#a"]
        {
            let mut settings = SETTINGS;
            settings[0].1 = invalid;
            assert_eq!(read(&settings).unwrap_err().variable, "FILE_STORE_URL", "{invalid}");
        }
    }

    #[test]
    fn the_secret_is_not_in_the_debug_text() {
        assert!(!format!("{:?}", read(&SETTINGS).unwrap()).contains("\"secret\""));
    }
}
