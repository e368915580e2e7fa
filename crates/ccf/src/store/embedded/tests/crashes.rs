//! What is left after the process or the power ended at a bad moment.

use std::{
    env, fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use capif_procedures::changes::{Expect, Kind, Revision};

use super::{
    super::{super::suite, *},
    TempDir, ids, key, put, put_bytes,
};

/// A power cut may lose any sectors of the batch that was being written. The store opens then, with everything that was
/// acknowledged.
#[tokio::test]
async fn a_torn_last_batch_is_cut_off() {
    let dir = TempDir::new();
    let (acknowledged, begin, end) = three_batches(&dir).await;
    let whole = fs::read(dir.journal()).unwrap();
    for sector in begin / 512..end.div_ceil(512) {
        let mut torn = whole.clone();
        let from = (sector * 512).max(begin);
        let to = (sector * 512 + 512).min(end);
        torn[from..to].fill(0);
        fs::write(dir.journal(), &torn).unwrap();
        let store = dir.store().unwrap();
        assert_eq!(ids(&store).await, acknowledged, "sector {sector}");
        // What comes after it is kept as well.
        let revision = store.commit(put("c", Expect::Absent)).await.unwrap();
        assert_eq!(revision, Revision(3));
        drop(store);
        assert_eq!(
            ids(&dir.store().unwrap()).await.len(),
            acknowledged.len() + 1
        );
    }
    for end in (begin..end).step_by(97) {
        fs::write(dir.journal(), &whole[..end]).unwrap();
        assert_eq!(
            ids(&dir.store().unwrap()).await,
            acknowledged,
            "cut at {end}"
        );
    }
}

/// Damage to a batch that was acknowledged is not taken for a crash.
#[tokio::test]
async fn a_damaged_journal_is_refused() {
    let dir = TempDir::new();
    let (_, begin, _) = three_batches(&dir).await;
    let whole = fs::read(dir.journal()).unwrap();
    for position in (0..begin).step_by(251) {
        let mut damaged = whole.clone();
        damaged[position] ^= 0x10;
        fs::write(dir.journal(), &damaged).unwrap();
        assert!(
            matches!(dir.store().unwrap_err(), Fault::Damaged { .. }),
            "byte {position}"
        );
        assert_eq!(fs::read(dir.journal()).unwrap(), damaged);
    }
    fs::write(dir.journal(), &whole).unwrap();
    dir.store().unwrap();
}

/// Makes three commits. Returns the ids of the first two, and where in the journal the third is.
async fn three_batches(dir: &TempDir) -> (Vec<String>, usize, usize) {
    let used = || {
        let journal = fs::read(dir.journal()).unwrap();
        journal.iter().rposition(|byte| *byte != 0).unwrap() + 1
    };
    let store = dir.store().unwrap();
    let mut ends = Vec::new();
    for batch in ["a", "b", "z"] {
        let steps = (0..5).map(|number| Change::Put {
            key: key(format!("{batch}/{number}")),
            expect: Expect::Absent,
            value: vec![b'1'; 2000],
        });
        let steps = steps.collect();
        store.commit(Changes { steps }).await.unwrap();
        ends.push(used());
    }
    let mut acknowledged = ids(&store).await;
    acknowledged.truncate(10);
    drop(store);
    (acknowledged, ends[1], ends[2])
}

/// Set in the process that is to be killed: where its store is.
const CRASHING: &str = "CAPIF_TEST_CRASHING_STORE";

/// Whatever was acknowledged before the process was killed is there afterwards, every commit is whole, and each has its record
/// in one chain.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_process_loses_nothing() {
    if let Some(dir) = env::var_os(CRASHING) {
        return load_until_killed(Path::new(&dir)).await;
    }
    let dir = TempDir::new();
    let (_, module) = module_path!().split_once("::").unwrap();
    let name = format!("{module}::a_killed_process_loses_nothing");
    let mut acknowledged = Vec::new();
    for round in 1..=4 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([&name, "--exact", "--nocapture", "--test-threads=1"])
            .env(CRASHING, &dir.0)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let before = acknowledged.len();
        for line in lines {
            // A line that was cut short by the end is not an acknowledgement.
            if let Some(id) = line
                .unwrap()
                .strip_prefix("acknowledged ")
                .and_then(|id| id.strip_suffix(" ."))
            {
                acknowledged.push(id.to_owned());
                if acknowledged.len() == before + 100 * round {
                    child.kill().unwrap();
                }
            }
        }
        child.wait().unwrap();
        assert!(acknowledged.len() >= before + 100 * round);
        let store = dir.store().unwrap();
        for id in &acknowledged {
            assert!(store.get(&key(id)).await.unwrap().is_some(), "{id} is lost");
        }
        let ids = ids(&store).await;
        let (ones, twos): (Vec<_>, Vec<_>) = ids.iter().partition(|id| id.ends_with("/1"));
        assert_eq!(ones.len(), twos.len());
        let counters = store.shared.read(|engine| engine.counters()).unwrap();
        assert_eq!(counters.revision as usize, ones.len());
        let (records, end) = suite::trail(&store).await;
        assert_eq!((records.len(), end), (ones.len(), counters.chain));
    }
}

/// Commits pairs of records and says so, until the process is killed or nobody listens any more.
async fn load_until_killed(dir: &Path) {
    let store = Arc::new(EmbeddedStore::open(dir).unwrap());
    let revision = store
        .shared
        .read(|engine| engine.counters())
        .unwrap()
        .revision;
    let commits = (0..16).map(|task| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            for number in 0.. {
                let id = format!("{revision}/{task}/{number}");
                let mut changes = put_bytes(format!("{id}/1"), Expect::Absent, vec![b'1'; 2000]);
                changes
                    .steps
                    .extend(put(format!("{id}/2"), Expect::Absent).steps);
                changes.steps.push(Change::Chain {
                    kind: Kind::Audit,
                    value: format!("\"{id}\"").into_bytes(),
                });
                store.commit(changes).await.unwrap();
                println!("acknowledged {id}/1 .");
            }
        })
    });
    for commit in commits.collect::<Vec<_>>() {
        commit.await.unwrap();
    }
}
