//! Lists of the objects of a bucket.

use chrono::{DateTime, Utc};
use common::error::Error as CommonError;
use rusty_s3::S3Action;
use rusty_s3::actions::ListObjectsV2;

use super::{CALL_VALIDITY, NAME, ObjectStore, TIMEOUT, unavailable};
use crate::error::Result;

/// An object in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedObject {
    /// The key.
    pub key: String,
    /// The size in bytes.
    pub bytes: u64,
    /// When it was stored last; none if the store does not tell.
    pub stored_at: Option<DateTime<Utc>>,
}

/// A part of a list.
#[derive(Clone, Debug)]
pub struct ObjectPage {
    /// At most 1,000 objects.
    pub objects: Vec<ListedObject>,
    /// Names the next page; none after the last.
    pub next: Option<String>,
}

impl ObjectStore {
    /// A page of the objects whose keys begin with `prefix`: the first, or the one that [`next`](ObjectPage::next) names.
    ///
    /// # Errors
    /// As [`head`](Self::head).
    pub async fn list(&self, prefix: &str, page: Option<&str>) -> Result<ObjectPage> {
        let mut list = self.bucket.list_objects_v2(Some(&self.credentials));
        list.with_prefix(prefix);
        if let Some(page) = page {
            list.with_continuation_token(page);
        }
        let request = self.http.get(list.sign(CALL_VALIDITY)).timeout(TIMEOUT);
        let answer = self.call("list", request).await?;
        let answer = answer.ok_or_else(|| CommonError::unavailable(NAME, "there is no such bucket"))?;
        let text = answer.text().await.map_err(unavailable)?;
        let listed = ListObjectsV2::parse_response(&text).map_err(|e| CommonError::unavailable(NAME, e))?;
        let objects = listed.contents.into_iter().map(|object| ListedObject {
            key: object.key,
            bytes: object.size.unwrap_or_default(),
            stored_at: object.last_modified.and_then(|at| at.parse().ok()),
        });
        Ok(ObjectPage { objects: objects.collect(), next: listed.next_continuation_token })
    }
}
