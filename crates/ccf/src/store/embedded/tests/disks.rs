//! Disks that fail and disks that are full.

use std::{
    io,
    sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
};

use capif_procedures::changes::{Expect, Kind, Revision};

use super::{
    super::{
        super::{Committed, suite},
        engine::{Counters, Records, WriteError},
        *,
    },
    TempDir, fault, ids, key, put,
};

/// How a write goes wrong.
#[derive(Clone, Copy, PartialEq)]
enum Failure {
    /// Nothing reaches the disk.
    Lost,
    /// All reaches the disk, yet the write is reported as failed.
    Hidden,
    /// The engine had given up before.
    GivenUp,
}

/// A disk that fails on demand.
struct Disk {
    folder: Folder,
    failure: Mutex<Option<(Failure, io::ErrorKind)>>,
    free_bytes: AtomicU64,
    openings: AtomicUsize,
    unreadable: AtomicBool,
}

impl Disk {
    fn new(dir: &TempDir) -> Arc<Self> {
        Arc::new(Self {
            folder: Folder::open(&dir.0).unwrap(),
            failure: Mutex::default(),
            free_bytes: AtomicU64::new(u64::MAX),
            openings: AtomicUsize::new(0),
            unreadable: AtomicBool::new(false),
        })
    }

    fn store(self: &Arc<Self>) -> EmbeddedStore {
        EmbeddedStore::start(Box::new(Arc::clone(self))).unwrap()
    }

    fn fail(&self, failure: Failure, kind: io::ErrorKind) {
        *self.failure.lock().unwrap() = Some((failure, kind));
    }

    fn free(&self, bytes: u64) {
        self.free_bytes.store(bytes, Ordering::Relaxed);
    }

    fn openings(&self) -> usize {
        self.openings.load(Ordering::Relaxed)
    }
}

impl Volume for Arc<Disk> {
    fn open(&self) -> Result<Box<dyn Engine>, Fault> {
        self.openings.fetch_add(1, Ordering::Relaxed);
        if self.unreadable.load(Ordering::Relaxed) {
            return Err(Fault::io("open its files", io::ErrorKind::Other.into()));
        }
        *self.failure.lock().unwrap() = None;
        let engine = Volume::open(&self.folder)?;
        Ok(Box::new(Failing(engine, Arc::clone(self))))
    }

    fn dir(&self) -> &Path {
        self.folder.dir()
    }

    fn free_bytes(&self) -> Result<u64, Fault> {
        Ok(self.free_bytes.load(Ordering::Relaxed))
    }
}

/// The engine on such a disk. Once a write failed, it takes no more.
struct Failing(Box<dyn Engine>, Arc<Disk>);

impl Engine for Failing {
    fn get(&self, key: &Key) -> Result<Option<Stored>, Fault> {
        self.0.get(key)
    }

    fn records(&self, kind: Kind, prefix: &str, after: Option<&str>) -> Result<Records<'_>, Fault> {
        self.0.records(kind, prefix, after)
    }

    fn counters(&self) -> Result<Counters, Fault> {
        self.0.counters()
    }

    fn write(&self, batch: &[(Key, Option<Stored>)], counters: Counters) -> Result<(), WriteError> {
        let mut failure = self.1.failure.lock().unwrap();
        let Some((next, kind)) = *failure else {
            return self.0.write(batch, counters);
        };
        if next == Failure::Hidden {
            self.0.write(batch, counters)?;
        }
        *failure = Some((Failure::GivenUp, kind));
        let fault = Fault::io("write", kind.into());
        Err(match next {
            Failure::GivenUp => WriteError::GivenUp(fault),
            Failure::Lost | Failure::Hidden => WriteError::Failed(fault),
        })
    }
}

/// Notes the numbers of commits.
#[derive(Default)]
struct Numbers(Mutex<Vec<u64>>);

impl Observer for Numbers {
    fn committed(&self, committed: &Committed) {
        self.0.lock().unwrap().push(committed.revision.0);
    }
}

/// After a write that failed nothing is acknowledged any more, whatever the disk does next; reads go on.
#[tokio::test]
async fn a_failed_write_ends_writing() {
    for failure in [Failure::Lost, Failure::Hidden, Failure::GivenUp] {
        let dir = TempDir::new();
        let disk = Disk::new(&dir);
        let store = disk.store();
        let numbers = Arc::new(Numbers::default());
        store.watch(Arc::clone(&numbers) as Arc<dyn Observer>);
        store.commit(put("a", Expect::Absent)).await.unwrap();
        disk.fail(failure, io::ErrorKind::Other);
        let waiting = ["b", "b", "c"].map(|id| store.commit(put(id, Expect::Absent)));
        for outcome in suite::in_order(waiting.into()).await {
            let fault = fault(outcome);
            assert!(matches!(fault, Fault::Io { .. } | Fault::ReadOnly { .. }));
            assert!(!fault.is_temporary());
        }
        *disk.failure.lock().unwrap() = None;
        for changes in [
            put("d", Expect::Absent),
            put("a", Expect::Absent),
            Changes::new(),
        ] {
            assert!(matches!(
                fault(store.commit(changes).await),
                Fault::ReadOnly { .. }
            ));
        }
        assert!(store.get(&key("a")).await.unwrap().is_some());
        assert_eq!(*numbers.0.lock().unwrap(), [1]);
        assert_eq!(disk.openings(), 1);
        drop(store);
        disk.store().commit(put("d", Expect::Absent)).await.unwrap();
    }
}

/// Without room commits are refused before anything is written; with room they go on as if nothing had been.
#[tokio::test]
async fn a_disk_without_room_is_waited_for() {
    let dir = TempDir::new();
    let disk = Disk::new(&dir);
    let store = disk.store();
    store.commit(put("a", Expect::Absent)).await.unwrap();
    disk.free(1 << 20);
    for id in ["b", "c"] {
        let fault = fault(store.commit(put(id, Expect::Absent)).await);
        assert!(matches!(fault, Fault::Full));
        assert!(fault.is_temporary());
    }
    assert_eq!(ids(&store).await, ["a"]);
    disk.free(1 << 30);
    let revision = store.commit(put("b", Expect::Absent)).await.unwrap();
    assert_eq!((revision, disk.openings()), (Revision(2), 1));
}

/// A write that failed for want of room ends writing only until there is room again. Then the engine is opened afresh, and
/// what became of the failed write is found out, told to the observers and counted.
#[tokio::test]
async fn a_write_that_found_no_room_is_cleared_up() {
    let cases = [
        (Failure::Lost, ["a", "c"].as_slice()),
        (Failure::Hidden, &["a", "b", "c"]),
        (Failure::GivenUp, &["a", "c"]),
    ];
    for (failure, expected) in cases {
        let dir = TempDir::new();
        let disk = Disk::new(&dir);
        let store = disk.store();
        let numbers = Arc::new(Numbers::default());
        store.watch(Arc::clone(&numbers) as Arc<dyn Observer>);
        store.commit(put("a", Expect::Absent)).await.unwrap();
        disk.fail(failure, io::ErrorKind::StorageFull);
        assert!(matches!(
            fault(store.commit(put("b", Expect::Absent)).await),
            Fault::Full
        ));
        disk.free(0);
        assert!(matches!(
            fault(store.commit(put("c", Expect::Absent)).await),
            Fault::Full
        ));
        assert_eq!(disk.openings(), 1);
        assert!(store.get(&key("a")).await.unwrap().is_some());
        disk.free(u64::MAX);
        let revision = store.commit(put("c", Expect::Absent)).await.unwrap();
        assert_eq!(ids(&store).await, expected);
        assert_eq!(revision.0, expected.len() as u64);
        assert!(numbers.0.lock().unwrap().iter().copied().eq(1..=revision.0));
        assert_eq!(disk.openings(), 2);
    }
}

/// An engine that cannot be opened afresh is tried again with the next commit.
#[tokio::test]
async fn a_reopening_that_fails_is_tried_again() {
    let dir = TempDir::new();
    let disk = Disk::new(&dir);
    let store = disk.store();
    store.commit(put("a", Expect::Absent)).await.unwrap();
    disk.fail(Failure::Lost, io::ErrorKind::StorageFull);
    fault(store.commit(put("b", Expect::Absent)).await);
    disk.unreadable.store(true, Ordering::Relaxed);
    assert!(matches!(
        fault(store.commit(put("b", Expect::Absent)).await),
        Fault::Io { .. }
    ));
    assert!(matches!(store.get(&key("a")).await, Err(Fault::Io { .. })));
    disk.unreadable.store(false, Ordering::Relaxed);
    store.commit(put("b", Expect::Absent)).await.unwrap();
    assert_eq!(ids(&store).await, ["a", "b"]);
}

/// An act and its record are one commit: on a disk that fails there is neither, or, where the disk only claimed to fail, both;
/// never one without the other. What is told is a failure in any case.
#[tokio::test]
async fn an_act_whose_record_cannot_be_written_does_not_happen() {
    for (failure, there) in [
        (Failure::Lost, false),
        (Failure::Hidden, true),
        (Failure::GivenUp, false),
    ] {
        let dir = TempDir::new();
        let disk = Disk::new(&dir);
        let store = disk.store();
        let act = |id: &str| {
            let mut changes = put(id, Expect::Absent);
            changes.steps.push(Change::Chain {
                kind: Kind::Audit,
                value: format!("\"{id}\"").into_bytes(),
            });
            changes
        };
        store.commit(act("a")).await.unwrap();
        disk.fail(failure, io::ErrorKind::Other);
        fault(store.commit(act("b")).await);
        fault(store.commit(act("c")).await);
        drop(store);
        let store = disk.store();
        let expected = if there { ["a", "b"].as_slice() } else { &["a"] };
        assert_eq!(ids(&store).await, expected);
        let quoted = |id: &&str| format!("\"{id}\"");
        let expected: Vec<_> = expected.iter().map(quoted).collect();
        assert_eq!(suite::trail(&store).await.0, expected);
        store.commit(act("d")).await.unwrap();
        assert_eq!(suite::trail(&store).await.0.len(), expected.len() + 1);
    }
}
