//! The dump of MongoDB: for each collection its description, its documents and an empty document, in BSON.

use std::io::{Read, Write};

use anyhow::{Context, Result, bail};
use futures_util::TryStreamExt;
use mongodb::bson::{Document, RawDocumentBuf, doc};
use mongodb::{Client, ClientSession, Collection, Database};

/// The size of an empty document, which no collection contains: every stored document has an `_id`.
const EMPTY: usize = 5;

/// The greatest size of a document, and of what the server adds to one.
const MAX_DOCUMENT: usize = 16 * 1024 * 1024 + 16 * 1024;

/// A batch of inserts ends at this size.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
const BATCH: usize = 1_000;

/// The collection of chat-service that names the epoch.
const EPOCH: &str = "store_epoch";

/// The state of the database at one moment. The server keeps it for five minutes (`minSnapshotHistoryWindowInSeconds`).
pub struct Snapshot {
    database: Database,
    session: ClientSession,
    pub epoch: Option<String>,
}

impl Snapshot {
    pub async fn begin(database: &Database) -> Result<Self> {
        let mut session = database.client().start_session().snapshot(true).await?;
        // The first read of the session chooses the moment.
        let epoch = database.collection::<Document>(EPOCH).find_one(doc! {}).session(&mut session).await?;
        let epoch = epoch.and_then(|epoch| epoch.get_i64("epoch").ok());
        Ok(Self { database: database.clone(), session, epoch: epoch.map(|epoch| format!("{epoch:08x}")) })
    }

    /// Writes every collection with its indexes. Returns the number of documents.
    pub async fn dump(mut self, to: &mut impl Write) -> Result<u64> {
        let mut count = 0;
        for description in descriptions(&self.database).await? {
            let documents: Collection<RawDocumentBuf> = self.database.collection(description.get_str("create")?);
            to.write_all(&description.to_vec()?)?;
            let mut cursor = documents.find(doc! {}).session(&mut self.session).await?;
            while cursor.advance(&mut self.session).await? {
                to.write_all(cursor.current().as_bytes())?;
                count += 1;
            }
            to.write_all(&Document::new().to_vec()?)?;
        }
        Ok(count)
    }
}

pub async fn database(url: &str, name: &str) -> Result<Database> {
    Ok(Client::with_uri_str(url).await?.database(name))
}

pub async fn version(database: &Database) -> Result<String> {
    let built = database.run_command(doc! {"buildInfo": 1}).await?;
    Ok(built.get_str("version")?.to_owned())
}

/// The collections as the commands that create them, with the indexes in `indexes`.
async fn descriptions(database: &Database) -> Result<Vec<Document>> {
    let found = database.run_cursor_command(doc! {"listCollections": 1, "filter": {"type": "collection"}}).await?;
    let mut descriptions = Vec::new();
    for collection in found.try_collect::<Vec<Document>>().await? {
        let name = collection.get_str("name")?;
        if name.starts_with("system.") {
            continue;
        }
        let indexes = database.run_cursor_command(doc! {"listIndexes": name}).await?.try_collect::<Vec<_>>().await?;
        let indexes: Vec<Document> =
            indexes.into_iter().filter(|index| index.get_str("name").ok() != Some("_id_")).collect();
        let options = collection.get_document("options").cloned().unwrap_or_default();
        let mut description = doc! {"create": name};
        description.extend(options);
        description.insert("indexes", indexes);
        descriptions.push(description);
    }
    Ok(descriptions)
}

/// Replaces the database by a dump. Returns the number of documents.
pub async fn load(database: &Database, mut from: impl Read) -> Result<u64> {
    database.drop().await?;
    let mut count = 0;
    while let Some(description) = read(&mut from)? {
        let mut create = Document::try_from(description)?;
        let indexes = create.remove("indexes").context("a collection has no list of indexes")?;
        let name = create.get_str("create")?.to_owned();
        database.run_command(create).await?;
        count += fill(&database.collection(&name), &mut from).await?;
        if indexes.as_array().is_some_and(|indexes| !indexes.is_empty()) {
            database.run_command(doc! {"createIndexes": name, "indexes": indexes}).await?;
        }
    }
    Ok(count)
}

async fn fill(collection: &Collection<RawDocumentBuf>, from: &mut impl Read) -> Result<u64> {
    let (mut count, mut batch, mut bytes) = (0, Vec::new(), 0);
    loop {
        let document = read(from)?.context("the dump of MongoDB ends within a collection")?;
        let length = document.as_bytes().len();
        let ends = length == EMPTY;
        if !ends {
            bytes += length;
            batch.push(document);
        }
        if !batch.is_empty() && (ends || batch.len() == BATCH || bytes >= BATCH_BYTES) {
            collection.insert_many(&batch).await?;
            count += batch.len() as u64;
            batch.clear();
            bytes = 0;
        }
        if ends {
            return Ok(count);
        }
    }
}

/// The next document; `None` at the end.
fn read(from: &mut impl Read) -> Result<Option<RawDocumentBuf>> {
    let mut bytes = Vec::new();
    if from.take(4).read_to_end(&mut bytes)? == 0 {
        return Ok(None);
    }
    let length: [u8; 4] = bytes.as_slice().try_into().context("the dump of MongoDB is cut off")?;
    let length = u32::from_le_bytes(length) as usize;
    if !(EMPTY..=MAX_DOCUMENT).contains(&length) {
        bail!("the dump of MongoDB has a document of {length} bytes");
    }
    bytes.resize(length, 0);
    from.read_exact(&mut bytes[4..]).context("the dump of MongoDB is cut off")?;
    Ok(Some(RawDocumentBuf::from_bytes(bytes)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_are_read_one_by_one_and_damage_is_an_error() {
        let one = doc! {"_id": 1}.to_vec().unwrap();
        let two = [one.clone(), Document::new().to_vec().unwrap()].concat();
        let mut from = two.as_slice();
        assert_eq!(read(&mut from).unwrap().unwrap().as_bytes(), one);
        assert_eq!(read(&mut from).unwrap().unwrap().as_bytes().len(), EMPTY);
        assert!(read(&mut from).unwrap().is_none());
        assert!(read(&mut &one[..2]).is_err() && read(&mut &one[..9]).is_err());
        assert!(read(&mut [255_u8; 8].as_slice()).is_err() && read(&mut [0_u8; 8].as_slice()).is_err());
    }
}
