//! What every engine must do. An engine's tests call [`suite`] with a way to make new, empty places for its data.

mod chains;
mod commits;
mod concurrency;
mod histories;
mod reads;

use std::{
    collections::BTreeMap,
    future::poll_fn,
    sync::{Arc, Mutex},
    task::Poll,
};

use capif_procedures::changes::{Change, Changes, Expect, Key, Kind, Revision};

use super::{CommitError, Committed, Fault, Observer, Page, Store, StoreFuture, Stored};

pub(super) use self::chains::trail;

/// Where the data of one store lives.
pub(super) trait Place {
    /// Opens the store there. The one that was open before is dropped by then.
    fn open(&self) -> StoreFuture<'_, Result<Arc<dyn Store>, Fault>>;
}

/// Runs every case, each in a place of its own.
pub(super) async fn suite<P: Place>(make: impl Fn() -> P) {
    commits::conditions(&make()).await;
    commits::conditions_within_a_commit(&make()).await;
    commits::whole_or_nothing(&make()).await;
    commits::revisions(&make()).await;
    commits::appends(&make()).await;
    commits::prefixes(&make()).await;
    concurrency::prefix_and_concurrent_appends(&make()).await;
    commits::refusals(&make()).await;
    chains::links(&make()).await;
    chains::one_chain(&make()).await;
    chains::out_of_reach(&make()).await;
    chains::pruning(&make()).await;
    reads::pages(&make()).await;
    reads::typed_records(&make()).await;
    concurrency::observers(&make()).await;
    concurrency::no_half_commits(&make()).await;
    concurrency::one_winner(&make()).await;
    histories::histories(&make(), 10_000).await;
}

async fn open(place: &impl Place) -> Arc<dyn Store> {
    place.open().await.unwrap()
}

fn key(id: impl Into<String>) -> Key {
    Key::new(Kind::Invoker, id)
}

fn put(id: &str, expect: Expect, value: &str) -> Change {
    Change::Put {
        key: key(id),
        expect,
        value: value.into(),
    }
}

fn delete(id: &str, expect: Expect) -> Change {
    Change::Delete {
        key: key(id),
        expect,
    }
}

fn require(id: &str, expect: Expect) -> Change {
    Change::Require {
        key: key(id),
        expect,
    }
}

fn delete_prefix(kind: Kind, prefix: &str) -> Change {
    Change::DeletePrefix {
        kind,
        prefix: prefix.to_owned(),
    }
}

fn append(prefix: &str, value: &str) -> Change {
    Change::Append {
        kind: Kind::Notification,
        prefix: prefix.to_owned(),
        value: value.into(),
    }
}

fn changes(steps: impl IntoIterator<Item = Change>) -> Changes {
    Changes {
        steps: steps.into_iter().collect(),
    }
}

async fn commit(
    store: &dyn Store,
    steps: impl IntoIterator<Item = Change>,
) -> Result<Revision, CommitError> {
    store.commit(changes(steps)).await
}

async fn value(store: &dyn Store, id: &str) -> Option<String> {
    let stored = store.get(&key(id)).await.unwrap()?;
    Some(String::from_utf8(stored.value.to_vec()).unwrap())
}

async fn scan(store: &dyn Store, kind: Kind, prefix: &str) -> Vec<(Key, Stored)> {
    let page = Page {
        kind,
        prefix: prefix.to_owned(),
        after: None,
        limit: usize::MAX,
    };
    store.scan(page).await.unwrap()
}

async fn ids(store: &dyn Store, kind: Kind, prefix: &str) -> Vec<String> {
    let found = scan(store, kind, prefix).await;
    found.into_iter().map(|(key, _)| key.id).collect()
}

#[track_caller]
fn assert_conflict(outcome: Result<Revision, CommitError>, id: &str) {
    match outcome {
        Err(CommitError::Conflict(conflict)) => assert_eq!(conflict, key(id)),
        other => panic!("expected a conflict on {id}, got {other:?}"),
    }
}

/// Begins the futures in their order and waits for all.
pub(super) async fn in_order<T>(futures: Vec<StoreFuture<'_, T>>) -> Vec<T> {
    let mut futures: Vec<_> = futures.into_iter().map(|future| (future, None)).collect();
    poll_fn(|context| {
        for (future, output) in &mut futures {
            if output.is_none()
                && let Poll::Ready(ready) = future.as_mut().poll(context)
            {
                *output = Some(ready);
            }
        }
        match futures.iter().all(|(_, output)| output.is_some()) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    futures
        .into_iter()
        .filter_map(|(_, output)| output)
        .collect()
}

/// Follows a store.
#[derive(Default)]
struct Mirror {
    /// The last commit, and what the store holds if what it told is all.
    records: Mutex<(Revision, BTreeMap<Key, Stored>)>,
    /// The commits as they were told.
    told: Mutex<Vec<Committed>>,
}

impl Observer for Mirror {
    fn committed(&self, committed: &Committed) {
        let mut records = self.records.lock().unwrap();
        if records.0 != Revision(0) {
            assert_eq!(committed.revision.0, records.0.0 + 1);
        }
        records.0 = committed.revision;
        assert!(!committed.puts.is_empty() || !committed.deletes.is_empty());
        for key in &committed.deletes {
            assert!(records.1.remove(key).is_some(), "{key:?} was not there");
        }
        for (key, stored) in &committed.puts {
            assert_eq!(stored.revision, committed.revision);
            assert!(!committed.deletes.contains(key));
            records.1.insert(key.clone(), stored.clone());
        }
        self.told.lock().unwrap().push(committed.clone());
    }
}
