//! The object store: presigned requests for clients, and the calls of the services. Any server with the API of S3 serves.
//!
//! The bytes of an upload or a download never pass through a service: only those of pictures and of scanned files do, later. A presigned request is a URL with a signature that is valid for a time;
//! whoever has it can make this one request. The signature covers the key and the headers, so the client cannot change them.

mod config;
mod list;

use std::time::{Duration, Instant};

use common::config::ConfigError;
use common::error::{BoxError, Error as CommonError};
use platform::http::cause;
use platform::telemetry::{Metrics, Queries};
use reqwest::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, RANGE};
use reqwest::redirect::Policy;
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode, Url};
use rusty_s3::actions::CreateMultipartUpload;
use rusty_s3::{Bucket, Credentials, S3Action};

use crate::error::{Error, Result};

pub use config::ObjectStoreConfig;
pub use list::{ListedObject, ObjectPage};

/// The name in errors and metrics.
const NAME: &str = "object_store";

const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

/// The longest wait for the answer to a call about one object.
const TIMEOUT: Duration = Duration::from_secs(5);

/// The longest wait for a copy within the store. Most stores copy 100 MB in well under a second.
const COPY_TIMEOUT: Duration = Duration::from_secs(20);

/// The longest transfer of a picture from or to the store.
const TRANSFER_TIMEOUT: Duration = Duration::from_secs(20);

/// How long the signature of a call of a service is valid. The clocks of the two may differ.
const CALL_VALIDITY: Duration = Duration::from_secs(900);

/// The checksum of an object: SHA-256, in base64.
const CHECKSUM: &str = "x-amz-checksum-sha256";

/// A handle on a bucket. Clones share the connections.
#[derive(Clone)]
pub struct ObjectStore {
    http: Client,
    /// As the services reach it.
    bucket: Bucket,
    /// As clients reach it.
    public: Bucket,
    credentials: Credentials,
    queries: Queries,
}

/// The properties of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// The size in bytes.
    pub bytes: u64,
    /// The media type that the upload had.
    pub content_type: Option<String>,
    /// SHA-256 in base64; none if the upload had none, or if the store keeps none.
    pub sha256: Option<String>,
    /// The compression that the request of the upload named, which its signature does not cover: a browser would show other bytes.
    pub encoding: Option<String>,
}

/// A request that a client can make without credentials of its own.
#[derive(Clone, Debug)]
pub struct Presigned {
    /// The URL with the signature.
    pub url: Url,
    /// The headers that the request has to have, but for its length.
    pub headers: Vec<(&'static str, String)>,
}

impl ObjectStore {
    /// A handle that connects when it is used.
    ///
    /// # Errors
    /// Returns an error if a URL of the configuration is no base of a bucket, or if the client cannot be built.
    pub fn new(config: ObjectStoreConfig, metrics: &Metrics) -> Result<Self, BoxError> {
        let http = config.tls.client().redirect(Policy::none()).connect_timeout(CONNECT_TIMEOUT);
        Ok(Self {
            http: http.build()?,
            bucket: config.bucket("FILE_STORE_URL", &config.url)?,
            public: config.bucket("FILE_STORE_PUBLIC_URL", &config.public_url)?,
            credentials: config.credentials(),
            queries: metrics.queries(NAME),
        })
    }

    /// The upload of exactly this object to `key`, for a client.
    pub fn presign_upload(&self, key: &str, object: &Object, validity: Duration) -> Presigned {
        let mut headers = Vec::new();
        headers.extend(object.content_type.clone().map(|value| ("content-type", value)));
        headers.extend(object.sha256.clone().map(|value| (CHECKSUM, value)));
        let mut upload = self.public.put_object(Some(&self.credentials), key);
        upload.headers_mut().insert("content-length", object.bytes.to_string());
        for (name, value) in &headers {
            upload.headers_mut().insert(*name, value.clone());
        }
        Presigned { url: upload.sign(validity), headers }
    }

    /// The upload of one part of exactly this many bytes, for a client. `number` counts from 1.
    pub fn presign_part(&self, key: &str, multipart: &str, number: u16, bytes: u64, validity: Duration) -> Url {
        let mut part = self.public.upload_part(Some(&self.credentials), key, number, multipart);
        part.headers_mut().insert("content-length", bytes.to_string());
        part.sign(validity)
    }

    /// Begins an object that is uploaded in parts. Returns the name that the store gives it.
    ///
    /// # Errors
    /// As [`head`](Self::head).
    pub async fn begin_multipart(&self, key: &str, content_type: &str) -> Result<String> {
        let mut create = self.bucket.create_multipart_upload(Some(&self.credentials), key);
        create.headers_mut().insert("content-type", content_type);
        let request = self.http.post(create.sign(CALL_VALIDITY)).header(CONTENT_TYPE, content_type);
        let answer = self.call("begin_multipart", request.timeout(TIMEOUT)).await?;
        let answer = answer.ok_or_else(|| CommonError::unavailable(NAME, "the bucket does not exist"))?;
        let text = answer.text().await.map_err(unavailable)?;
        let begun = CreateMultipartUpload::parse_response(&text).map_err(|e| CommonError::unavailable(NAME, e))?;
        Ok(begun.upload_id().to_owned())
    }

    /// Asks for an object to be made of its parts, whose tags are in order. The store may not know the parts, or have made the object
    /// before: the caller looks at the object.
    ///
    /// # Errors
    /// As [`head`](Self::head).
    pub async fn complete_multipart(&self, key: &str, multipart: &str, tags: &[String]) -> Result<()> {
        let tags = tags.iter().map(String::as_str);
        let complete = self.bucket.complete_multipart_upload(Some(&self.credentials), key, multipart, tags);
        let (url, body) = (complete.sign(CALL_VALIDITY), complete.body());
        let request = self.http.post(url).header(CONTENT_TYPE, "application/xml").body(body).timeout(COPY_TIMEOUT);
        let answer = self.answer("complete_multipart", request).await?;
        let status = answer.status();
        // The status comes before the store has tried, and the text after it.
        answer.bytes().await.map_err(unavailable)?;
        if status.is_success() || status.is_client_error() {
            Ok(())
        } else {
            Err(refused("complete_multipart", status))
        }
    }

    /// Removes the parts of an object that is not completed. The store may not know it any more: S3 answers 404 then, and `s3s-fs` 403.
    ///
    /// # Errors
    /// As [`head`](Self::head).
    pub async fn abort_multipart(&self, key: &str, multipart: &str) -> Result<()> {
        let abort = self.bucket.abort_multipart_upload(Some(&self.credentials), key, multipart);
        let request = self.http.delete(abort.sign(CALL_VALIDITY)).timeout(TIMEOUT);
        match self.answer("abort_multipart", request).await?.status() {
            StatusCode::FORBIDDEN | StatusCode::NOT_FOUND => Ok(()),
            status if status.is_success() => Ok(()),
            status => Err(refused("abort_multipart", status)),
        }
    }

    /// The download of an object, for a client. The answer has these two headers.
    pub fn presign_download(&self, key: &str, content_type: &str, disposition: &str, validity: Duration) -> Url {
        let mut download = self.public.get_object(Some(&self.credentials), key);
        download.query_mut().insert("response-content-disposition", disposition);
        download.query_mut().insert("response-content-type", content_type);
        download.sign(validity)
    }

    /// The properties of an object; none if there is no such object.
    ///
    /// # Errors
    /// Returns an unavailable error if the store does not answer, or refuses the call.
    pub async fn head(&self, key: &str) -> Result<Option<Object>> {
        let mut head = self.bucket.head_object(Some(&self.credentials), key);
        // Without it, the answer has no checksum.
        head.headers_mut().insert("x-amz-checksum-mode", "ENABLED");
        let request = self.http.head(head.sign(CALL_VALIDITY)).header("x-amz-checksum-mode", "ENABLED");
        let answer = self.call("head", request.timeout(TIMEOUT)).await?;
        Ok(answer.map(|answer| Object::of(answer.headers())))
    }

    /// Copies an object within the store. Returns false if there is no such object.
    ///
    /// # Errors
    /// As [`head`](Self::head).
    pub async fn copy(&self, from: &str, to: &str) -> Result<bool> {
        let source = format!("/{}/{from}", self.bucket.name());
        let mut copy = self.bucket.put_object(Some(&self.credentials), to);
        copy.headers_mut().insert("x-amz-copy-source", source.clone());
        let request = self.http.request(Method::PUT, copy.sign(CALL_VALIDITY)).header("x-amz-copy-source", source);
        let answer = self.call("copy", request.header(CONTENT_LENGTH, 0).timeout(COPY_TIMEOUT)).await?;
        let Some(answer) = answer else { return Ok(false) };
        // S3 sends the status before it copies, so the text tells whether the copy is made.
        match answer.text().await.map_err(unavailable)?.contains("<Error>") {
            true => Err(CommonError::unavailable(NAME, "copy is answered with an error").into()),
            false => Ok(true),
        }
    }

    /// The content of an object up to a limit in bytes; none if there is no such object.
    ///
    /// # Errors
    /// As [`head`](Self::head).
    pub async fn read(&self, key: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        let Some(answer) = self.open(key, limit, TRANSFER_TIMEOUT).await? else { return Ok(None) };
        Ok(Some(answer.bytes().await.map_err(unavailable)?.into()))
    }

    /// The content of an object up to a limit in bytes, which is read in pieces; none if there is no such object.
    ///
    /// # Errors
    /// As [`head`](Self::head).
    pub async fn open(&self, key: &str, limit: u64, timeout: Duration) -> Result<Option<Response>> {
        let get = self.bucket.get_object(Some(&self.credentials), key).sign(CALL_VALIDITY);
        let range = format!("bytes=0-{}", limit.saturating_sub(1));
        let answer = self.call("get", self.http.get(get).header(RANGE, range).timeout(timeout)).await?;
        match answer {
            Some(answer) if answer.content_length().is_none_or(|bytes| bytes > limit) => {
                Err(CommonError::unavailable(NAME, "a range is answered with more").into())
            }
            answer => Ok(answer),
        }
    }

    /// Stores an object, or replaces it.
    ///
    /// # Errors
    /// As [`head`](Self::head).
    pub async fn put(&self, key: &str, content: Vec<u8>, content_type: &str) -> Result<()> {
        let put = self.bucket.put_object(Some(&self.credentials), key).sign(CALL_VALIDITY);
        let request = self.http.put(put).header(CONTENT_TYPE, content_type).body(content);
        self.call("put", request.timeout(TRANSFER_TIMEOUT)).await.map(|_| ())
    }

    /// Removes an object, if it exists.
    ///
    /// # Errors
    /// As [`head`](Self::head).
    pub async fn delete(&self, key: &str) -> Result<()> {
        let delete = self.bucket.delete_object(Some(&self.credentials), key);
        let request = self.http.delete(delete.sign(CALL_VALIDITY)).timeout(TIMEOUT);
        self.call("delete", request).await.map(|_| ())
    }

    /// Sends a request. None for 404.
    async fn call(&self, operation: &str, request: RequestBuilder) -> Result<Option<Response>> {
        let answer = self.answer(operation, request).await?;
        match answer.status() {
            status if status.is_success() => Ok(Some(answer)),
            StatusCode::NOT_FOUND => Ok(None),
            status => Err(refused(operation, status)),
        }
    }

    /// Sends a request. The answer has any status.
    async fn answer(&self, operation: &str, request: RequestBuilder) -> Result<Response> {
        let started = Instant::now();
        let answer = request.send().await;
        self.queries.took(operation, started.elapsed());
        Ok(answer.map_err(unavailable)?)
    }
}

impl Object {
    fn of(headers: &HeaderMap) -> Self {
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        Self {
            bytes: text(CONTENT_LENGTH.as_str()).and_then(|bytes| bytes.parse().ok()).unwrap_or_default(),
            content_type: text(CONTENT_TYPE.as_str()),
            sha256: text(CHECKSUM),
            encoding: text(CONTENT_ENCODING.as_str()),
        }
    }
}

fn refused(operation: &str, status: StatusCode) -> Error {
    CommonError::unavailable(NAME, format!("{operation} is answered with {status}")).into()
}

/// The URL has a signature and is left out.
fn unavailable(failed: reqwest::Error) -> CommonError {
    CommonError::unavailable(NAME, cause(&failed.without_url()))
}

impl ObjectStoreConfig {
    fn bucket(&self, variable: &str, url: &Url) -> Result<Bucket, ConfigError> {
        let bucket = Bucket::new(url.clone(), rusty_s3::UrlStyle::Path, self.bucket.clone(), self.region.clone());
        bucket.map_err(|e| common::config::error(variable, format!("is not valid: {e}")))
    }
}

#[cfg(test)]
mod tests {
    use common::config::Env;
    use platform::telemetry::Metrics;

    use super::*;

    fn store() -> ObjectStore {
        let env = Env::of(
            [
                ("FILE_STORE_URL", "http://store:9000"),
                ("FILE_STORE_PUBLIC_URL", "https://files.example.com"),
                ("FILE_STORE_BUCKET", "chat"),
                ("FILE_STORE_ACCESS_KEY", "key"),
                ("FILE_STORE_SECRET_KEY", "secret"),
            ]
            .map(|(name, value)| (name, value.to_owned())),
        );
        let config = ObjectStoreConfig::read(&env).unwrap().unwrap();
        ObjectStore::new(config, &Metrics::new("test", "").unwrap()).unwrap()
    }

    fn query(url: &Url, name: &str) -> String {
        url.query_pairs().find(|(found, _)| found == name).unwrap().1.into_owned()
    }

    #[test]
    fn an_upload_is_bound_to_its_key_length_type_and_checksum() {
        let object =
            Object { bytes: 12, content_type: Some("image/png".into()), sha256: Some("YWJj".into()), encoding: None };
        let upload = store().presign_upload("uploads/1", &object, Duration::from_secs(60));
        assert!(upload.url.as_str().starts_with("https://files.example.com/chat/uploads/1?"), "{}", upload.url);
        assert_eq!(query(&upload.url, "X-Amz-SignedHeaders"), "content-length;content-type;host;x-amz-checksum-sha256");
        assert_eq!(query(&upload.url, "X-Amz-Expires"), "60");
        assert_eq!(upload.headers, [("content-type", "image/png".to_owned()), (CHECKSUM, "YWJj".to_owned())]);
    }

    #[test]
    fn a_download_names_the_headers_of_its_answer() {
        let url = store().presign_download("files/1", "text/plain", "attachment", Duration::from_secs(300));
        assert_eq!(query(&url, "response-content-disposition"), "attachment");
        assert_eq!(query(&url, "response-content-type"), "text/plain");
        assert_eq!(url.host_str(), Some("files.example.com"));
    }
}
