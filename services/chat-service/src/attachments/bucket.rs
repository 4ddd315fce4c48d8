//! The mark of a bucket: an object that names the database to which the objects belong. Without it, a deployment that shares the
//! bucket with another one, by mistake, would take the objects of the other for orphans.

use common::error::Result;
use engines::object_store::ObjectStore;

use crate::store::Uploads;

/// The key of the mark. The account of objects does not look at it.
const KEY: &str = "deployment";

/// A mark has 24 characters. Something else may be longer.
const MAX_BYTES: u64 = 100;

/// Whose mark a bucket has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketMark {
    Own,
    Other,
    None,
}

impl BucketMark {
    /// # Errors
    /// Returns an unavailable error if a store does not answer.
    pub async fn read(store: &ObjectStore, uploads: &Uploads) -> Result<Self> {
        let Some(found) = store.read(KEY, MAX_BYTES).await? else { return Ok(Self::None) };
        let own = uploads.mark().await?.to_hex();
        Ok(if found == own.as_bytes() { Self::Own } else { Self::Other })
    }

    /// Marks a bucket without a mark.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    pub async fn ensure(store: &ObjectStore, uploads: &Uploads) -> Result<()> {
        match Self::read(store, uploads).await? {
            Self::Own => {}
            Self::Other => tracing::warn!("the bucket of files has the mark of another database: see `files check`"),
            Self::None => store.put(KEY, uploads.mark().await?.to_hex().into(), "text/plain").await?,
        }
        Ok(())
    }
}
