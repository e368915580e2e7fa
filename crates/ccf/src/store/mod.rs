//! Where records are kept: four verbs, `get`, `scan`, `commit` and `watch`, over whichever engine.
//!
//! A commit is the [`Changes`] of one procedure, written whole or refused whole. Once it is answered it survives the end of
//! the process and of the power; until then nobody sees any of it. Whoever watches learns of a commit before the one
//! who made it does, so that memory fed by [`Store::watch`] is never behind an answer.

pub(crate) mod chain;
mod embedded;
mod fault;
#[cfg(test)]
mod suite;

use std::{future::Future, pin::Pin, sync::Arc};

use bytes::Bytes;
use capif_procedures::changes::{Changes, Key, Kind, Record, Revision, Versioned};

use self::fault::corrupt;
pub use self::{
    chain::{Chained, Link, NotALink},
    embedded::EmbeddedStore,
    fault::{Cause, Fault},
};

/// How many records [`load_all`] asks for at a time.
const PAGE_RECORDS: usize = 500;

/// What the verbs of a [`Store`] return.
pub type StoreFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A record as it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// The record as JSON.
    pub value: Bytes,
    /// The commit that wrote it.
    pub revision: Revision,
}

/// Which records a scan returns.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// The table.
    pub kind: Kind,
    /// The beginning of the ids; empty for the whole table.
    pub prefix: String,
    /// The id after which to begin.
    pub after: Option<String>,
    /// At most so many records.
    pub limit: usize,
}

/// What a commit changed: every key at most once, as it is after the commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// The number of the commit.
    pub revision: Revision,
    /// The records written, with the ids that the commit gave to appended ones.
    pub puts: Vec<(Key, Stored)>,
    /// The records removed; of prefixes, every one that there was.
    pub deletes: Vec<Key>,
}

/// Someone who follows the commits.
pub trait Observer: Send + Sync + 'static {
    /// Takes note of a commit. Called in the order of commits, after each is durable and before it is answered. It holds
    /// up every commit behind it, so it neither waits nor panics.
    fn committed(&self, committed: &Committed);
}

/// A commit that did not happen.
#[derive(Clone, Debug, thiserror::Error)]
pub enum CommitError {
    /// A record is not as the commit expects it; nothing was written.
    #[error("a record of kind {:?} changed meanwhile", .0.kind)]
    Conflict(Key),
    /// The store failed. Nothing is promised: the commit may yet turn out to have been written.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// A place for records.
pub trait Store: Send + Sync + 'static {
    /// Reads one record.
    fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Result<Option<Stored>, Fault>>;

    /// Reads records in the order of their ids, all as of one moment. Fewer than `limit` come only at the end.
    fn scan(&self, page: Page) -> StoreFuture<'_, Result<Vec<(Key, Stored)>, Fault>>;

    /// Writes the whole of `changes`, or nothing. Answers with the number of the commit once it is durable and all
    /// observers know of it. A commit that leaves everything as it was takes no number; it answers with the last one.
    ///
    /// A caller that stops waiting does not take its commit back.
    fn commit(&self, changes: Changes) -> StoreFuture<'_, Result<Revision, CommitError>>;

    /// Tells `observer` of every commit from now on.
    fn watch(&self, observer: Arc<dyn Observer>);
}

/// Reads one record of a type.
///
/// # Errors
/// When the store fails or the record does not decode.
pub async fn load<R: Record>(store: &dyn Store, id: &str) -> Result<Option<Versioned<R>>, Fault> {
    let key = Key::new(R::KIND, id);
    match store.get(&key).await? {
        Some(stored) => decode(&key, &stored).map(Some),
        None => Ok(None),
    }
}

/// Reads every record of a type whose id begins with `prefix`, in the order of the ids. Records that change meanwhile come
/// as they are when their turn is.
///
/// # Errors
/// When the store fails or a record does not decode.
pub async fn load_all<R: Record>(
    store: &dyn Store,
    prefix: &str,
) -> Result<Vec<Versioned<R>>, Fault> {
    let mut records = Vec::new();
    let mut after = None;
    loop {
        let page = Page {
            kind: R::KIND,
            prefix: prefix.to_owned(),
            after: after.take(),
            limit: PAGE_RECORDS,
        };
        let found = store.scan(page).await?;
        for (key, stored) in &found {
            records.push(decode(key, stored)?);
        }
        match found.into_iter().nth(PAGE_RECORDS - 1) {
            Some((last, _)) => after = Some(last.id),
            None => return Ok(records),
        }
    }
}

/// Reads the JSON of a record.
///
/// # Errors
/// When it is not a record of this type.
pub fn decode<R: Record>(key: &Key, stored: &Stored) -> Result<Versioned<R>, Fault> {
    // Not the strict reader of requests: what was let in there is nested deeper here, inside its record.
    let record = serde_json::from_slice(&stored.value).map_err(|error| {
        // Where, but not what: the text of the error may quote the record.
        let (category, column) = (error.classify(), error.column());
        corrupt(key, &format_args!("{category:?} error at byte {column}"))
    })?;
    Ok(Versioned {
        record,
        revision: stored.revision,
    })
}
