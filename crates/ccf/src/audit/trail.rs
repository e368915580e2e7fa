//! The trail of a running core function: how far it has come, the file that remembers this beside the store, and how many
//! refusals it takes.
//!
//! The file holds the number and the link of the last record. It is written after the records, at most once a second, and so is
//! never ahead of a store that nobody touched: a record that it names and the store has not, or has otherwise, means that the
//! store was rolled back, cut or rewritten. Then the file is left alone, until the operator has looked and moves it away.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use capif_procedures::changes::{Changes, Key, Kind};
use time::OffsetDateTime;

use super::Act;
use crate::{
    core::Core,
    store::{
        Chained, Committed, Fault, Link, Observer, Page, Store,
        chain::{self, BASE_ID},
    },
};

/// The name of the head file within the CCF's folder.
pub const HEAD_FILE: &str = "audit.head";

/// How many refusals have a record each, per second; the rest is counted into one.
const REFUSALS_PER_SECOND: u32 = 20;

/// How long a refusal waits for its record.
const REFUSAL_TIME: Duration = Duration::from_millis(500);

/// How many records are read at a time.
const PAGE_RECORDS: usize = 1000;

/// The trail, as far as it is kept in memory: its last record, and some numbers.
#[derive(Debug)]
pub(crate) struct Trail {
    path: PathBuf,
    /// The last record, as the store told it.
    last: Mutex<Option<Bytes>>,
    head: Mutex<Head>,
    refusals: Mutex<Refusals>,
}

/// What the head file says.
#[derive(Debug, Default)]
struct Head {
    written: Option<Link>,
    /// What is wrong, if the store does not bear the file out.
    broken: Option<String>,
    /// Whether the last writing failed.
    failing: bool,
}

#[derive(Debug, Default)]
struct Refusals {
    second: i64,
    recorded: u32,
    suppressed: u64,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Trail {
    /// Holds the head file against the store, and follows the store from then on. To be called before anyone writes.
    ///
    /// # Errors
    /// When the store cannot be read. A trail that is broken is an alarm and no error: whoever cut it must not be able to keep
    /// the core function from starting.
    pub(crate) async fn open(dir: &Path, store: &Arc<dyn Store>) -> Result<Arc<Self>, Fault> {
        let path = dir.join(HEAD_FILE);
        let mut head = Head::default();
        match read(&path) {
            Err(error) => head.broken = Some(format!("{HEAD_FILE} cannot be read: {error}")),
            Ok(None) if first_page(store, 1).await?.is_empty() => {}
            Ok(None) => tracing::error!(target: "capif::alarm",
                "{HEAD_FILE} is missing: nothing beside the store says how far the audit trail had come"),
            Ok(Some(text)) => match text.parse::<Link>() {
                Err(error) => head.broken = Some(format!("{HEAD_FILE}: {error}")),
                Ok(noted) => {
                    head.written = Some(noted);
                    head.broken = difference(store, &noted).await?;
                }
            },
        }
        if let Some(reason) = &head.broken {
            tracing::error!(target: "capif::alarm", reason,
                "the audit trail is not the one that {HEAD_FILE} remembers; `capif audit verify` says where");
        }
        let noted = head.written.filter(|_| head.broken.is_none());
        let last = last_record(store, noted.as_ref()).await?;
        let trail = Arc::new(Self {
            path,
            last: Mutex::new(last),
            head: Mutex::new(head),
            refusals: Mutex::default(),
        });
        store.watch(Arc::clone(&trail) as Arc<dyn Observer>);
        // Before there is a record, so that a file that is missing later is missed.
        trail.write_head();
        Ok(trail)
    }

    /// Where the trail ends now; nowhere if it is empty, or its last record cannot be read.
    pub(crate) fn end(&self) -> Option<Link> {
        let last = lock(&self.last).clone()?;
        let chained: Chained = serde_json::from_slice(&last).ok()?;
        chained.claimed().ok()
    }

    /// What is wrong with the trail, as far as the head file can tell.
    pub(crate) fn broken(&self) -> Option<String> {
        lock(&self.head).broken.clone()
    }

    /// The text of the head file as it is now.
    pub(crate) fn head_file(&self) -> Option<String> {
        read(&self.path).ok().flatten()
    }

    /// Brings the head file up to date, unless it is held against the store.
    pub(crate) fn write_head(&self) {
        let empty = lock(&self.last).is_none();
        let end = self.end().or_else(|| empty.then(Link::default));
        let mut head = lock(&self.head);
        let Some(end) = end.filter(|end| head.broken.is_none() && head.written != Some(*end))
        else {
            return;
        };
        match write(&self.path, &end) {
            Ok(()) => {
                head.written = Some(end);
                head.failing = false;
            }
            Err(error) => {
                if !head.failing {
                    tracing::error!(target: "capif::alarm", %error, "{HEAD_FILE} cannot be written");
                }
                head.failing = true;
            }
        }
    }

    /// Whether a refusal has a record of its own; if not, it is counted.
    fn admits(&self, now: OffsetDateTime) -> bool {
        let mut refusals = lock(&self.refusals);
        if refusals.second != now.unix_timestamp() {
            refusals.second = now.unix_timestamp();
            refusals.recorded = 0;
        }
        if refusals.recorded < REFUSALS_PER_SECOND {
            refusals.recorded += 1;
            return true;
        }
        refusals.suppressed = refusals.suppressed.saturating_add(1);
        false
    }
}

impl Observer for Trail {
    fn committed(&self, committed: &Committed) {
        // In the order of the ids, so that the last one of them is the last of the trail.
        let mut records = committed.puts.iter().rev();
        let last = records.find(|(key, _)| key.kind == Kind::Audit && key.id != BASE_ID);
        if let Some((_, stored)) = last {
            *lock(&self.last) = Some(stored.value.clone());
        }
    }
}

impl Core {
    /// Records a refusal that matters. The answer waits for that, but not long: it is a refusal in any case.
    pub(crate) async fn note_refusal(&self, act: Act) {
        if !self.trail.admits(self.clock.now()) {
            return;
        }
        let noted = tokio::time::timeout(REFUSAL_TIME, self.commit(&act, Changes::new())).await;
        match noted {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::warn!(
                    error = error.log(),
                    "a refusal stands in no record of the audit trail"
                );
            }
            Err(_) => tracing::warn!("a refusal did not wait for its record in the audit trail"),
        }
    }

    /// Records how many refusals had no record of their own, then brings the head file up to date.
    pub(crate) async fn settle_trail(&self) {
        let suppressed = std::mem::take(&mut lock(&self.trail.refusals).suppressed);
        if suppressed > 0 {
            let act = Act::by_task("SuppressRefusals", "").detail(format!(
                "{suppressed} more refusals, not recorded one by one"
            ));
            if let Err(error) = self.commit(&act, Changes::new()).await {
                tracing::warn!(error = error.log(), "refusals stand in no record");
                let mut refusals = lock(&self.trail.refusals);
                refusals.suppressed = refusals.suppressed.saturating_add(suppressed);
            }
        }
        let trail = Arc::clone(&self.trail);
        // Syncing a file may take its time.
        let _ended = tokio::task::spawn_blocking(move || trail.write_head()).await;
    }
}

/// The first records of the trail.
async fn first_page(store: &Arc<dyn Store>, limit: usize) -> Result<Vec<String>, Fault> {
    let page = Page {
        kind: Kind::Audit,
        prefix: String::new(),
        after: None,
        limit,
    };
    let found = store.scan(page).await?;
    Ok(found.into_iter().map(|(key, _)| key.id).collect())
}

/// What is wrong with the record that the head file names.
async fn difference(store: &Arc<dyn Store>, noted: &Link) -> Result<Option<String>, Fault> {
    let number = noted.sequence;
    if *noted == Link::default() {
        return Ok(None);
    }
    let mut held = store.get(&Key::new(Kind::Audit, noted.id())).await?;
    if held.is_none() {
        // The last record pruned stands under another number.
        held = store.get(&Key::new(Kind::Audit, BASE_ID)).await?;
    }
    let claimed = held
        .as_ref()
        .and_then(|stored| serde_json::from_slice::<Chained>(&stored.value).ok())
        .and_then(|chained| chained.claimed().ok());
    Ok(match claimed {
        Some(claimed) if claimed == *noted => None,
        Some(claimed) if claimed.sequence == number => {
            Some(format!("record {number} is not the one that was written"))
        }
        _ => Some(format!("record {number} is not there")),
    })
}

/// The last record of the trail, sought from a known one on.
async fn last_record(store: &Arc<dyn Store>, from: Option<&Link>) -> Result<Option<Bytes>, Fault> {
    let mut after = from.map(|link| chain::id(link.sequence.saturating_sub(1)));
    let mut last = None;
    loop {
        let page = Page {
            kind: Kind::Audit,
            prefix: String::new(),
            after: after.take(),
            limit: PAGE_RECORDS,
        };
        let Some((key, stored)) = store.scan(page).await?.pop() else {
            return Ok(last);
        };
        after = Some(key.id);
        last = Some(stored.value);
    }
}

fn read(path: &Path) -> io::Result<Option<String>> {
    match fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Writes the file whole: a crash leaves the one before or this one.
fn write(path: &Path, end: &Link) -> io::Result<()> {
    let new = path.with_extension("head.new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&new)?;
    writeln!(file, "{end}")?;
    file.sync_all()?;
    fs::rename(&new, path)?;
    match path.parent() {
        Some(dir) => File::open(dir)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Twenty refusals in a second have a record each; the others are counted, and the next second begins anew.
    #[test]
    fn refusals_have_a_bounded_rate() {
        let trail = Trail {
            path: PathBuf::new(),
            last: Mutex::default(),
            head: Mutex::default(),
            refusals: Mutex::default(),
        };
        let start = OffsetDateTime::UNIX_EPOCH + time::Duration::hours(1);
        let admitted = |at: OffsetDateTime| (0..50).filter(|_| trail.admits(at)).count();
        assert_eq!(admitted(start), 20);
        assert_eq!(admitted(start + time::Duration::milliseconds(999)), 0);
        assert_eq!(admitted(start + time::Duration::seconds(1)), 20);
        assert_eq!(lock(&trail.refusals).suppressed, 110);
    }
}
