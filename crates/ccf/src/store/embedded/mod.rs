//! The embedded store: an engine of its own in a folder of its own, written by one thread.
//!
//! Commits queue up. The writer takes all that wait, decides one after the other on the engine's state and on those before
//! it, writes the outcome as one batch with one sync, tells the observers and then answers. So one sync serves many
//! commits, and nobody sees a commit that a crash could take back.
//!
//! After a failed write or sync nothing more is acknowledged. The one way on within the same process is a full disk that
//! has room again: the engine is opened afresh, as after a crash.

mod engine;
mod folder;
mod group;
mod journal;
#[cfg(test)]
mod tests;
mod writer;

use std::{
    fmt,
    path::Path,
    sync::{Arc, Mutex, PoisonError, RwLock},
    thread::{self, JoinHandle},
};

use capif_procedures::changes::{Change, Changes, Key, Kind, Revision};
use tokio::sync::{mpsc, oneshot};

use self::{
    engine::{Engine, Volume},
    folder::Folder,
    writer::{Request, Writer},
};
use super::{CommitError, Fault, Observer, Page, Store, StoreFuture, Stored};

/// How many commits wait for the writer; further ones wait for room in the queue.
const QUEUE_COMMITS_MAX: usize = 1024;

/// The longest id in bytes, what an append adds included.
const ID_BYTES_MAX: usize = 4096;

/// The largest record in bytes.
const VALUE_BYTES_MAX: usize = 16 << 20;

/// The one kind whose records are chained. They are appended, and pruned from the beginning; nothing else reaches them.
const CHAINED: Kind = Kind::Audit;

/// The digits that an append adds to its prefix.
const SEQUENCE_DIGITS: usize = 20;

/// A store in a folder.
pub struct EmbeddedStore {
    shared: Arc<Shared>,
    queue: Option<mpsc::Sender<Request>>,
    writer: Option<JoinHandle<()>>,
}

/// What callers and the writer use in common.
struct Shared {
    /// The engine, or why there is none. Only the writer replaces it.
    engine: RwLock<Result<Box<dyn Engine>, Fault>>,
    observers: Mutex<Vec<Arc<dyn Observer>>>,
}

impl EmbeddedStore {
    /// Opens the store in `dir`, making it if there is none.
    ///
    /// # Errors
    /// [`Fault::Locked`] when another process has it, [`Fault::UnknownFormat`] when a later version wrote it,
    /// [`Fault::Damaged`] when its files contradict each other, and what the file system says.
    pub fn open(dir: &Path) -> Result<Self, Fault> {
        Self::start(Box::new(Folder::open(dir)?))
    }

    fn start(volume: Box<dyn Volume>) -> Result<Self, Fault> {
        let engine = volume.open()?;
        let counters = engine.counters()?;
        let shared = Arc::new(Shared {
            engine: RwLock::new(Ok(engine)),
            observers: Mutex::default(),
        });
        let (queue, requests) = mpsc::channel(QUEUE_COMMITS_MAX);
        let writer = Writer::new(Arc::clone(&shared), volume, counters);
        let writer = thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || writer.run(requests))
            .map_err(|error| Fault::io("start its writer", error))?;
        Ok(Self {
            shared,
            queue: Some(queue),
            writer: Some(writer),
        })
    }

    async fn enqueue(&self, changes: Changes) -> Result<Revision, CommitError> {
        check(&changes)?;
        let (answer, answered) = oneshot::channel();
        let queue = self.queue.as_ref().ok_or(Fault::Stopped)?;
        queue
            .send(Request { changes, answer })
            .await
            .map_err(|_| Fault::Stopped)?;
        answered.await.map_err(|_| Fault::Stopped)?
    }
}

impl Shared {
    fn read<T>(&self, read: impl FnOnce(&dyn Engine) -> Result<T, Fault>) -> Result<T, Fault> {
        let engine = self.engine.read().unwrap_or_else(PoisonError::into_inner);
        match engine.as_ref() {
            Ok(engine) => read(engine.as_ref()),
            Err(fault) => Err(fault.clone()),
        }
    }
}

impl Store for EmbeddedStore {
    fn get<'a>(&'a self, key: &'a Key) -> StoreFuture<'a, Result<Option<Stored>, Fault>> {
        Box::pin(async move { self.shared.read(|engine| engine.get(key)) })
    }

    fn scan(&self, page: Page) -> StoreFuture<'_, Result<Vec<(Key, Stored)>, Fault>> {
        Box::pin(async move {
            self.shared.read(|engine| {
                engine
                    .records(page.kind, &page.prefix, page.after.as_deref())?
                    .take(page.limit)
                    .collect()
            })
        })
    }

    fn commit(&self, changes: Changes) -> StoreFuture<'_, Result<Revision, CommitError>> {
        Box::pin(self.enqueue(changes))
    }

    fn watch(&self, observer: Arc<dyn Observer>) {
        self.shared
            .observers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(observer);
    }
}

impl Drop for EmbeddedStore {
    /// Lets the writer finish what is queued, then closes the engine.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(writer) = self.writer.take() {
            // An observer may hold the last handle; its thread cannot wait for itself.
            if writer.thread().id() != thread::current().id() && writer.join().is_err() {
                tracing::error!("the store's writer panicked");
            }
        }
    }
}

impl fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EmbeddedStore").finish_non_exhaustive()
    }
}

/// Refuses what the engine could not take, and what would reach into the chain.
fn check(changes: &Changes) -> Result<(), Fault> {
    let id_fits = |bytes: usize| match bytes {
        0..=ID_BYTES_MAX => Ok(()),
        _ => Err(Fault::Invalid("an id is too long")),
    };
    let value_fits = |value: &[u8]| match value.len() {
        0..=VALUE_BYTES_MAX => Ok(()),
        _ => Err(Fault::Invalid("a record is too large")),
    };
    for step in &changes.steps {
        let (kind, chains) = match step {
            Change::Put { key, .. } | Change::Delete { key, .. } => (key.kind, false),
            Change::DeletePrefix { kind, .. } | Change::Append { kind, .. } => (*kind, false),
            Change::Chain { kind, .. } | Change::Prune { kind, .. } => (*kind, true),
            Change::Require { key, .. } => (key.kind, key.kind == CHAINED),
        };
        if chains != (kind == CHAINED) {
            return Err(Fault::Invalid(
                "the audit trail is a chain, and the only one",
            ));
        }
        match step {
            Change::Put { key, value, .. } => {
                id_fits(key.id.len())?;
                value_fits(value)?;
            }
            Change::Delete { key, .. } | Change::Require { key, .. } => id_fits(key.id.len())?,
            Change::DeletePrefix { prefix, .. } if prefix.is_empty() => {
                return Err(Fault::Invalid("a prefix to delete is empty"));
            }
            Change::DeletePrefix { prefix, .. } => id_fits(prefix.len())?,
            Change::Append { prefix, value, .. } => {
                id_fits(prefix.len() + SEQUENCE_DIGITS)?;
                value_fits(value)?;
            }
            Change::Chain { value, .. } => value_fits(value)?,
            Change::Prune { .. } => {}
        }
    }
    Ok(())
}
