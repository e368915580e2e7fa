//! The engine under the store, fjall, and the shape in which records lie in it.
//!
//! A record lies under the byte of its kind and its id, as the big-endian number of its commit and its JSON. Under the
//! single byte zero, which is no kind, lie the counters.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use capif_procedures::changes::{Key, Kind, Revision};
use fjall::{
    CompressionType, Database, Guard, Keyspace, KeyspaceCreateOptions, PersistMode, Readable, Slice,
};

use super::super::{Fault, Link, Stored, corrupt};

/// The one table of the engine; kinds are told apart by the first byte of the key.
const KEYSPACE: &str = "records";

/// The key of the counters.
const COUNTERS_KEY: [u8; 1] = [0];

/// Writes are kept in memory up to this size before they become a sorted file.
const MEMTABLE_BYTES: u64 = 16 << 20;

/// Blocks of sorted files are kept in memory up to this size.
const CACHE_BYTES: u64 = 16 << 20;

/// Files of the journal are given up from this size on, by writing out what holds on to them.
const JOURNAL_BYTES: u64 = 128 << 20;

/// One thread writes sorted files, one merges them.
const WORKERS: usize = 2;

/// Bytes before the JSON of a record.
const REVISION_BYTES: usize = 8;

/// What is counted over the whole life of a store. Kept in the same batch as that which was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counters {
    /// The last commit.
    pub(super) revision: u64,
    /// The sequence of the last append.
    pub(super) appended: u64,
    /// The end of the chain.
    pub(super) chain: Link,
}

/// Records in the order of their ids.
pub(super) type Records<'a> = Box<dyn Iterator<Item = Result<(Key, Stored), Fault>> + 'a>;

/// What the store needs of an engine.
pub(super) trait Engine: Send + Sync {
    /// The record under a key, never one of a batch that is not durable.
    fn get(&self, key: &Key) -> Result<Option<Stored>, Fault>;

    /// Records of a kind whose ids begin with `prefix` and come after `after`, as of one moment.
    fn records(&self, kind: Kind, prefix: &str, after: Option<&str>) -> Result<Records<'_>, Fault>;

    /// The counters as last written.
    fn counters(&self) -> Result<Counters, Fault>;

    /// Makes a batch durable, whole or not at all, and only then visible.
    fn write(&self, batch: &[(Key, Option<Stored>)], counters: Counters) -> Result<(), WriteError>;
}

/// A batch that was not written.
#[derive(Debug)]
pub(super) enum WriteError {
    /// Writing it failed; after a restart it may be there or not.
    Failed(Fault),
    /// The engine had given up before, while tidying up in the background; nothing of it was written.
    GivenUp(Fault),
}

/// Where an engine lives.
pub(super) trait Volume: Send {
    /// Opens the engine. The one that was open before is closed by then.
    fn open(&self) -> Result<Box<dyn Engine>, Fault>;

    /// The folder, for whoever has to look after it.
    fn dir(&self) -> &Path;

    /// The room on the disk.
    fn free_bytes(&self) -> Result<u64, Fault>;
}

/// The engine proper.
pub(super) struct Fjall {
    dir: PathBuf,
    database: Database,
    records: Keyspace,
}

impl Fjall {
    /// Opens the engine in a folder whose journal is settled.
    pub(super) fn open(dir: &Path) -> Result<Self, Fault> {
        let error = |error| match error {
            fjall::Error::Locked => Fault::Locked { path: dir.into() },
            error => fault(dir, "open its files", error),
        };
        let database = Database::builder(dir)
            .cache_size(CACHE_BYTES)
            .journal_compression(CompressionType::None)
            .max_journaling_size(JOURNAL_BYTES)
            .worker_threads(WORKERS)
            .open()
            .map_err(error)?;
        let options = || KeyspaceCreateOptions::default().max_memtable_size(MEMTABLE_BYTES);
        let records = database.keyspace(KEYSPACE, options).map_err(error)?;
        Ok(Self {
            dir: dir.into(),
            database,
            records,
        })
    }

    fn fault(&self, action: &'static str, error: fjall::Error) -> Fault {
        fault(&self.dir, action, error)
    }

    fn decode_record(&self, entry: Guard) -> Result<(Key, Stored), Fault> {
        let (key, value) = entry
            .into_inner()
            .map_err(|error| self.fault("read", error))?;
        let key = decode_key(&key)
            .ok_or_else(|| Fault::damaged(&self.dir, "a key is not one of a record"))?;
        let stored = decode_value(&key, value)?;
        Ok((key, stored))
    }
}

impl Engine for Fjall {
    fn get(&self, key: &Key) -> Result<Option<Stored>, Fault> {
        // A snapshot does not see a batch that is only half visible yet.
        let snapshot = self.database.snapshot();
        match snapshot.get(&self.records, encode_key(key)) {
            Ok(Some(value)) => decode_value(key, value).map(Some),
            Ok(None) => Ok(None),
            Err(error) => Err(self.fault("read", error)),
        }
    }

    fn records(&self, kind: Kind, prefix: &str, after: Option<&str>) -> Result<Records<'_>, Fault> {
        let start = encode(kind, prefix);
        let mut end = start.clone();
        if let Some(last) = end.last_mut() {
            // Holds because neither a kind nor UTF-8 has the byte 0xff: the next byte bounds the prefix.
            *last = last.saturating_add(1);
        }
        // No id lies between another and itself with a zero byte added.
        let after = after.map(|after| [encode(kind, after).as_slice(), &[0]].concat());
        let start = after.map_or(start.clone(), |after| start.max(after));
        if start >= end {
            return Ok(Box::new(std::iter::empty()));
        }
        let range = self.database.snapshot().range(&self.records, start..end);
        Ok(Box::new(range.map(|entry| self.decode_record(entry))))
    }

    fn counters(&self) -> Result<Counters, Fault> {
        let value = self
            .records
            .get(COUNTERS_KEY)
            .map_err(|error| self.fault("read", error))?;
        let Some(value) = value else {
            return Ok(Counters::default());
        };
        decode_counters(&value)
            .ok_or_else(|| Fault::damaged(&self.dir, "the counters are not as they are written"))
    }

    fn write(&self, batch: &[(Key, Option<Stored>)], counters: Counters) -> Result<(), WriteError> {
        let mut writes = self
            .database
            .batch()
            .durability(Some(PersistMode::SyncData));
        for (key, stored) in batch {
            match stored {
                Some(stored) => writes.insert(&self.records, encode_key(key), encode_value(stored)),
                None => writes.remove(&self.records, encode_key(key)),
            }
        }
        writes.insert(&self.records, COUNTERS_KEY, encode_counters(counters));
        writes.commit().map_err(|error| match error {
            error @ fjall::Error::Poisoned => WriteError::GivenUp(Fault::Io {
                action: "tidy up its files",
                source: Arc::new(error),
            }),
            error => WriteError::Failed(self.fault("write", error)),
        })
    }
}

fn encode(kind: Kind, id: &str) -> Vec<u8> {
    [&[kind as u8], id.as_bytes()].concat()
}

fn encode_key(key: &Key) -> Vec<u8> {
    encode(key.kind, &key.id)
}

fn decode_key(bytes: &[u8]) -> Option<Key> {
    let (kind, id) = bytes.split_first()?;
    Some(Key::new(
        Kind::from_number(*kind)?,
        str::from_utf8(id).ok()?,
    ))
}

fn encode_value(stored: &Stored) -> Vec<u8> {
    [&stored.revision.0.to_be_bytes(), stored.value.as_ref()].concat()
}

fn decode_value(key: &Key, value: Slice) -> Result<Stored, Fault> {
    let revision = value
        .first_chunk::<REVISION_BYTES>()
        .map(|revision| Revision(u64::from_be_bytes(*revision)))
        .ok_or_else(|| corrupt(key, &"it is too short"))?;
    let value = Bytes::from_owner(value).slice(REVISION_BYTES..);
    Ok(Stored { value, revision })
}

fn encode_counters(counters: Counters) -> Vec<u8> {
    let mut value = [
        counters.revision.to_be_bytes(),
        counters.appended.to_be_bytes(),
        counters.chain.sequence.to_be_bytes(),
    ]
    .concat();
    value.extend_from_slice(&counters.chain.digest);
    value
}

fn decode_counters(value: &[u8]) -> Option<Counters> {
    let (revision, value) = value.split_first_chunk()?;
    let (appended, value) = value.split_first_chunk()?;
    // A store without a chain was written before there was one.
    let chain = match value.split_first_chunk() {
        None if value.is_empty() => Link::default(),
        None => return None,
        Some((sequence, digest)) => Link {
            sequence: u64::from_be_bytes(*sequence),
            digest: digest.try_into().ok()?,
        },
    };
    Some(Counters {
        revision: u64::from_be_bytes(*revision),
        appended: u64::from_be_bytes(*appended),
        chain,
    })
}

/// What the engine says, in the store's words.
fn fault(dir: &Path, action: &'static str, error: fjall::Error) -> Fault {
    match error {
        fjall::Error::Io(error) | fjall::Error::Storage(fjall::LsmError::Io(error)) => {
            Fault::io(action, error)
        }
        error => Fault::Damaged {
            path: dir.into(),
            source: Arc::new(error),
        },
    }
}
