//! The account of all objects: which have no owner, and which messages lack theirs.
//!
//! The store lists keys in their order, so the objects of a page and the owners with ids between its ends are compared without
//! keeping more than a page. Other requests go on meanwhile: an object that a page lacks is looked at once more, and an object of the
//! last day is never removed, because its owner may be about to be stored.

use std::collections::{BTreeSet, HashSet};
use std::fmt;
use std::io::Write;
use std::pin::pin;

use bson::oid::ObjectId;
use chrono::{DateTime, TimeDelta, Utc};
use common::error::BoxError;
use engines::object_store::{ListedObject, ObjectPage, ObjectStore};
use futures_util::TryStreamExt;

use crate::domain::{FILE_PREFIX, UPLOAD_PREFIX, key_of_message};
use crate::store::FileOwners;

/// An object may have no owner yet for a shorter time.
const MIN_AGE: TimeDelta = TimeDelta::days(1);

/// The comparison of a bucket with the database.
pub struct FileAccount<W> {
    pub store: ObjectStore,
    pub owners: FileOwners,
    pub now: DateTime<Utc>,
    /// Whether objects without an owner are removed.
    pub removes: bool,
    /// Gets a line for each message or object that lacks its counterpart.
    pub findings: W,
}

/// The counts of an account.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FileCounts {
    files: Sum,
    uploads: Sum,
    orphans: Sum,
    removed: Sum,
    /// With keys that the service does not use.
    foreign: Sum,
    uploads_without_object: u64,
    pub messages_without_object: u64,
}

/// Objects and their bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    objects: u64,
    bytes: u64,
}

/// A page whose keys are in order.
struct Page {
    objects: Vec<(Option<ObjectId>, ListedObject)>,
    next: Option<String>,
}

impl<W: Write> FileAccount<W> {
    /// Compares everything.
    ///
    /// # Errors
    /// Returns an error if a store is unavailable, or does not list keys in order.
    pub async fn take(mut self) -> Result<FileCounts, BoxError> {
        let mut counts = FileCounts::default();
        self.compare_files(&mut counts).await?;
        self.compare_uploads(&mut counts).await?;
        Ok(counts)
    }

    async fn compare_files(&mut self, counts: &mut FileCounts) -> Result<(), BoxError> {
        let (mut next, mut last_key, mut compared) = (None, String::new(), None);
        loop {
            let page = Page::read(&self.store, FILE_PREFIX, next.as_deref(), &mut last_key).await?;
            let owned = self.owners.of_messages(&page.ids()).await?;
            self.count(&page, &owned, counts, |counts| &mut counts.files).await?;
            let up_to = page.up_to(compared);
            self.find_messages_without_object(&page, compared, up_to, counts).await?;
            (next, compared) = (page.next, up_to);
            if next.is_none() {
                return Ok(());
            }
        }
    }

    async fn compare_uploads(&mut self, counts: &mut FileCounts) -> Result<(), BoxError> {
        let (mut next, mut last_key, mut compared) = (None, String::new(), None);
        loop {
            let page = Page::read(&self.store, UPLOAD_PREFIX, next.as_deref(), &mut last_key).await?;
            let ids = page.ids();
            let owned = self.owners.of_uploads(&ids).await?;
            self.count(&page, &owned, counts, |counts| &mut counts.uploads).await?;
            let up_to = page.up_to(compared);
            let mut pending = pin!(self.owners.pending_uploads(compared, up_to).await?);
            while let Some(upload) = pending.try_next().await? {
                counts.uploads_without_object += u64::from(!ids.contains(&upload));
            }
            (next, compared) = (page.next, up_to);
            if next.is_none() {
                return Ok(());
            }
        }
    }

    /// Counts the objects of a page, and removes those without an owner.
    async fn count(
        &mut self,
        page: &Page,
        owned: &HashSet<ObjectId>,
        counts: &mut FileCounts,
        of_kind: impl Fn(&mut FileCounts) -> &mut Sum,
    ) -> Result<(), BoxError> {
        for (id, object) in &page.objects {
            match id {
                None => counts.foreign.add(object),
                Some(id) if owned.contains(id) => of_kind(counts).add(object),
                Some(_) if self.removes && is_old(object, self.now) => {
                    self.store.delete(&object.key).await?;
                    writeln!(self.findings, "removed {}: it had no owner", object.key)?;
                    counts.removed.add(object);
                }
                Some(_) => {
                    writeln!(self.findings, "{} has no owner", object.key)?;
                    counts.orphans.add(object);
                }
            }
        }
        Ok(())
    }

    async fn find_messages_without_object(
        &mut self,
        page: &Page,
        after: Option<ObjectId>,
        up_to: Option<ObjectId>,
        counts: &mut FileCounts,
    ) -> Result<(), BoxError> {
        let listed: HashSet<&str> = page.objects.iter().map(|(_, object)| object.key.as_str()).collect();
        let mut messages = pin!(self.owners.messages_with_files(after, up_to).await?);
        while let Some(message) = messages.try_next().await? {
            let key = key_of_message(message);
            if listed.contains(key.as_str()) || self.store.head(&key).await?.is_some() {
                continue;
            }
            // It may have been deleted with its message meanwhile.
            if self.owners.has_file(message).await? {
                writeln!(self.findings, "message {message} has no object")?;
                counts.messages_without_object += 1;
            }
        }
        Ok(())
    }
}

impl Page {
    /// Reads a page whose keys follow `last_key`, which becomes the last one of the page.
    async fn read(
        store: &ObjectStore,
        prefix: &str,
        page: Option<&str>,
        last_key: &mut String,
    ) -> Result<Self, BoxError> {
        let ObjectPage { objects, next } = store.list(prefix, page).await?;
        for object in &objects {
            if object.key <= *last_key {
                return Err("the store does not list keys in their order, which the comparison needs".into());
            }
            last_key.clone_from(&object.key);
        }
        let objects = objects.into_iter().map(|object| (id_in(&object.key, prefix), object)).collect();
        Ok(Self { objects, next })
    }

    fn ids(&self) -> BTreeSet<ObjectId> {
        self.objects.iter().filter_map(|(id, _)| *id).collect()
    }

    /// The id up to which all objects are listed after this page; none after the last page.
    fn up_to(&self, before: Option<ObjectId>) -> Option<ObjectId> {
        self.next.as_ref()?;
        let start = ObjectId::from_bytes([0; 12]);
        self.objects.iter().rev().find_map(|(id, _)| *id).or(before).or(Some(start))
    }
}

impl Sum {
    fn add(&mut self, object: &ListedObject) {
        self.objects += 1;
        self.bytes += object.bytes;
    }
}

impl fmt::Display for FileCounts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let objects = [
            ("objects of messages", self.files),
            ("objects of uploads", self.uploads),
            ("objects without an owner", self.orphans),
            ("objects without an owner, removed", self.removed),
            ("objects with other keys", self.foreign),
        ];
        for (name, Sum { objects, bytes }) in objects {
            writeln!(f, "{name}: {objects} ({bytes} bytes)")?;
        }
        writeln!(f, "pending uploads without an object: {}", self.uploads_without_object)?;
        writeln!(f, "messages without their object: {}", self.messages_without_object)
    }
}

/// The id in a key of the service: `files/<id>`, `files/<id>.<side>` or `uploads/<id>`.
fn id_in(key: &str, prefix: &str) -> Option<ObjectId> {
    let name = key.strip_prefix(prefix)?;
    let (id, side) = name.split_once('.').map_or((name, None), |(id, side)| (id, Some(side)));
    let is_known =
        side.is_none_or(|side| prefix == FILE_PREFIX && !side.is_empty() && side.bytes().all(|c| c.is_ascii_digit()));
    let id = ObjectId::parse_str(id).ok().filter(|_| is_known)?;
    // The service writes ids in lower case.
    name.starts_with(&id.to_hex()).then_some(id)
}

fn is_old(object: &ListedObject, now: DateTime<Utc>) -> bool {
    object.stored_at.is_some_and(|stored_at| stored_at < now - MIN_AGE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_keys_that_the_service_writes_have_an_id() {
        let id = "6565f0a1c2d3e4f5a6b7c8d0";
        let found = |key: String, prefix| id_in(&key, prefix).map(ObjectId::to_hex);
        for key in [format!("files/{id}"), format!("files/{id}.320"), format!("files/{id}.1280")] {
            assert_eq!(found(key, FILE_PREFIX).as_deref(), Some(id));
        }
        assert_eq!(found(format!("uploads/{id}"), UPLOAD_PREFIX).as_deref(), Some(id));
        assert_eq!(found(format!("uploads/{id}.320"), UPLOAD_PREFIX), None);
        for name in
            ["", "a", &id[1..], &id.to_uppercase(), &format!("{id}."), &format!("{id}.webp"), &format!("{id}/320")]
        {
            assert_eq!(found(format!("files/{name}"), FILE_PREFIX), None, "{name}");
        }
    }

    #[test]
    fn an_object_of_the_last_day_or_of_an_unknown_age_is_not_old() {
        let now = Utc::now();
        let object = |stored_at| ListedObject { key: "files/1".to_owned(), bytes: 1, stored_at };
        assert!(!is_old(&object(Some(now - TimeDelta::hours(24))), now));
        assert!(is_old(&object(Some(now - TimeDelta::hours(25))), now));
        assert!(!is_old(&object(None), now));
    }
}
