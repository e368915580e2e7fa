//! The embedded engine: the suite of all engines, and what only this one can be asked.

mod crashes;
mod disks;

use std::{
    env, fs,
    future::poll_fn,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU32, Ordering},
    task::Poll,
};

use capif_procedures::changes::{Expect, Kind};

use super::{
    super::{Committed, suite, suite::Place},
    *,
};

/// A folder that is removed at the end.
struct TempDir(PathBuf);

impl TempDir {
    fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!("capif-store-{}-{number}", std::process::id());
        Self(env::temp_dir().join(name))
    }

    /// Opens the store. A process that another test is just starting holds copies of all open files for a moment, locks
    /// included, so a lock is given time to go.
    fn store(&self) -> Result<EmbeddedStore, Fault> {
        for _ in 0..100_000 {
            match EmbeddedStore::open(&self.0) {
                Err(Fault::Locked { .. }) => std::thread::yield_now(),
                other => return other,
            }
        }
        EmbeddedStore::open(&self.0)
    }

    fn journal(&self) -> PathBuf {
        self.0.join("records/0.jnl")
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _missing = fs::remove_dir_all(&self.0);
    }
}

impl Place for TempDir {
    fn open(&self) -> StoreFuture<'_, Result<Arc<dyn Store>, Fault>> {
        Box::pin(async { Ok(Arc::new(self.store()?) as Arc<dyn Store>) })
    }
}

fn key(id: impl Into<String>) -> Key {
    Key::new(Kind::Invoker, id)
}

fn put(id: impl Into<String>, expect: Expect) -> Changes {
    put_bytes(id, expect, b"{}".to_vec())
}

fn put_bytes(id: impl Into<String>, expect: Expect, value: Vec<u8>) -> Changes {
    let key = key(id);
    Changes {
        steps: vec![Change::Put { key, expect, value }],
    }
}

async fn ids(store: &EmbeddedStore) -> Vec<String> {
    let page = Page {
        kind: Kind::Invoker,
        prefix: String::new(),
        after: None,
        limit: usize::MAX,
    };
    let found = store.scan(page).await.unwrap();
    found.into_iter().map(|(key, _)| key.id).collect()
}

#[track_caller]
fn fault<T: fmt::Debug>(outcome: Result<T, CommitError>) -> Fault {
    match outcome {
        Err(CommitError::Fault(fault)) => fault,
        other => panic!("expected a fault, got {other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn does_what_every_store_does() {
    suite::suite(TempDir::new).await;
}

/// A commit whose caller went away is made like any other.
#[tokio::test]
async fn an_abandoned_commit_is_made() {
    let dir = TempDir::new();
    let store = dir.store().unwrap();
    let mut abandoned = store.commit(put("a", Expect::Absent));
    poll_fn(|context| {
        let _pending = abandoned.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
    drop(abandoned);
    store.commit(put("b", Expect::Absent)).await.unwrap();
    assert_eq!(ids(&store).await, ["a", "b"]);
}

/// Two processes never write the same store, and the second is told which one and what to do.
#[tokio::test]
async fn a_second_opener_is_refused() {
    let dir = TempDir::new();
    let first = dir.store().unwrap();
    let fault = EmbeddedStore::open(&dir.0).unwrap_err();
    assert!(matches!(fault, Fault::Locked { .. }));
    assert!(fault.to_string().contains(dir.0.to_str().unwrap()));
    drop(first);
    dir.store().unwrap();
}

/// A later version's store is not touched, and neither is one whose format file is not ours.
#[tokio::test]
async fn an_unknown_format_is_refused_before_any_write() {
    let dir = TempDir::new();
    drop(dir.store().unwrap());
    for text in [
        "capif store 2\n",
        "capif store two\n",
        "something else\n",
        "",
    ] {
        fs::write(dir.0.join("format"), text).unwrap();
        let before = contents(&dir.0);
        assert!(
            matches!(dir.store().unwrap_err(), Fault::UnknownFormat { .. }),
            "{text:?}"
        );
        assert_eq!(contents(&dir.0), before);
    }
}

fn contents(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files.extend(contents(&path)),
            false => files.push((path.clone(), fs::read(path).unwrap())),
        }
    }
    files.sort();
    files
}

/// A crash at any point of making a store leaves something that the next opening completes.
#[tokio::test]
async fn a_half_made_store_is_made_anew() {
    let dir = TempDir::new();
    fs::create_dir_all(dir.0.join("records.new")).unwrap();
    fs::write(dir.0.join("records.new/version"), "").unwrap();
    fs::write(dir.0.join("format.new"), "capif").unwrap();
    let store = dir.store().unwrap();
    store.commit(put("a", Expect::Absent)).await.unwrap();
    drop(store);
    fs::remove_file(dir.0.join("format")).unwrap();
    assert_eq!(ids(&dir.store().unwrap()).await, ["a"]);
}

/// A store whose files are gone is not replaced by an empty one.
#[tokio::test]
async fn a_lost_folder_is_not_made_anew() {
    let dir = TempDir::new();
    drop(dir.store().unwrap());
    fs::remove_dir_all(dir.0.join("records")).unwrap();
    assert!(matches!(dir.store().unwrap_err(), Fault::Damaged { .. }));
}

/// The folder's files are for the owner alone.
#[tokio::test]
async fn the_folder_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = TempDir::new();
    let _store = dir.store().unwrap();
    let mode = fs::metadata(&dir.0).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);
}

/// A panic in an observer stops the store rather than leave it ahead of those who follow it.
#[tokio::test]
async fn a_panicking_observer_stops_the_store() {
    struct Panicking;
    impl Observer for Panicking {
        fn committed(&self, _: &Committed) {
            panic!("expected by the test");
        }
    }
    let dir = TempDir::new();
    let store = dir.store().unwrap();
    store.watch(Arc::new(Panicking));
    for id in ["a", "b"] {
        assert!(matches!(
            fault(store.commit(put(id, Expect::Absent)).await),
            Fault::Stopped
        ));
    }
    assert_eq!(ids(&store).await, ["a"]);
}

/// The last handle may be let go of by an observer, on the writer's own thread.
#[tokio::test]
async fn an_observer_may_hold_the_last_handle() {
    #[derive(Default)]
    struct Holding(Mutex<Option<Arc<EmbeddedStore>>>, tokio::sync::Notify);
    impl Observer for Holding {
        fn committed(&self, _: &Committed) {
            drop(self.0.lock().unwrap().take());
            self.1.notify_one();
        }
    }
    let dir = TempDir::new();
    let store = Arc::new(dir.store().unwrap());
    let holding = Arc::new(Holding::default());
    store.watch(Arc::clone(&holding) as Arc<dyn Observer>);
    let mut commit = store.commit(put("a", Expect::Absent));
    poll_fn(|context| {
        *holding.0.lock().unwrap() = Some(Arc::clone(&store));
        let _pending = commit.as_mut().poll(context);
        Poll::Ready(())
    })
    .await;
    drop(commit);
    drop(store);
    holding.1.notified().await;
}
