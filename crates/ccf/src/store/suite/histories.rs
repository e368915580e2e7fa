//! Random histories of commits, side by side with a model that fits on a page.

use std::{collections::BTreeMap, sync::Arc};

use capif_procedures::changes::{Change, Changes, Expect, Key, Kind, Revision};

use super::{
    super::{CommitError, Committed, Observer, Store, Stored},
    Mirror, Place, in_order, open, scan,
};

const KINDS: [Kind; 3] = [Kind::Invoker, Kind::Subscription, Kind::Notification];

const IDS: [&str; 12] = [
    "",
    "\0",
    "a",
    "a/",
    "a/1",
    "a/2",
    "a/2/3",
    "a0",
    "b",
    "b/é",
    "b/\u{10ffff}",
    "\u{10ffff}",
];

/// Commits at random, in groups of those that wait at the same time, with reopenings in between. Every answer, every word
/// to an observer and every record afterwards must be what the model says.
pub(super) async fn histories(place: &impl Place, commits: usize) {
    let mut random = Random(0x5DEE_CE66_D1CE_4E5B);
    let mut model = Model::default();
    let mut store = open(place).await;
    let mut mirror = watch(&store, &model);
    let mut done = 0;
    while done < commits {
        let group: Vec<_> = (0..=random.below(40))
            .map(|_| random.changes(&model))
            .collect();
        let futures = group.iter().map(|changes| store.commit(changes.clone()));
        let outcomes = in_order(futures.collect()).await;
        let mut told = std::mem::take(&mut *mirror.told.lock().unwrap()).into_iter();
        for (changes, outcome) in group.into_iter().zip(outcomes) {
            let outcome = outcome.map_err(|error| match error {
                CommitError::Conflict(key) => key,
                CommitError::Fault(fault) => panic!("{fault:?}"),
            });
            let happened = matches!(outcome, Ok(revision) if revision.0 > model.revision);
            let committed = happened.then(|| told.next().unwrap());
            let sequences = committed.map_or_else(Vec::new, |one| model.sequences(&one));
            let expected = model.commit(&changes, sequences);
            assert_eq!(outcome, expected, "commit {done}: {changes:?}");
            done += 1;
        }
        assert_eq!(told.next(), None);
        assert_eq!(mirror.records.lock().unwrap().1, model.records);
        if random.below(20) == 0 {
            drop(store);
            store = open(place).await;
            model.compare(store.as_ref()).await;
            mirror = watch(&store, &model);
        }
    }
    model.compare(store.as_ref()).await;
}

fn watch(store: &Arc<dyn Store>, model: &Model) -> Arc<Mirror> {
    let mirror = Arc::new(Mirror::default());
    *mirror.records.lock().unwrap() = (Revision(model.revision), model.records.clone());
    store.watch(Arc::clone(&mirror) as Arc<dyn Observer>);
    mirror
}

#[derive(Default)]
struct Model {
    revision: u64,
    appended: u64,
    records: BTreeMap<Key, Stored>,
}

impl Model {
    /// The sequences that a commit gave out. Which they are is the store's choice; that they grow is not.
    fn sequences(&self, committed: &Committed) -> Vec<u64> {
        let mut sequences: Vec<u64> = committed
            .puts
            .iter()
            .filter_map(|(key, _)| key.id.get(key.id.len().checked_sub(20)?..)?.parse().ok())
            .filter(|sequence| *sequence > self.appended)
            .collect();
        sequences.sort_unstable();
        sequences
    }

    fn commit(&mut self, changes: &Changes, sequences: Vec<u64>) -> Result<Revision, Key> {
        let mut records = self.records.clone();
        let mut sequences = sequences.into_iter();
        let stored = |value: &Vec<u8>| Stored {
            value: value.clone().into(),
            revision: Revision(self.revision + 1),
        };
        for step in &changes.steps {
            if let Change::Put { key, expect, .. }
            | Change::Delete { key, expect }
            | Change::Require { key, expect } = step
            {
                let revision = records.get(key).map(|record| record.revision);
                let holds = match expect {
                    Expect::Any => true,
                    Expect::Absent => revision.is_none(),
                    Expect::Present => revision.is_some(),
                    Expect::At(expected) => revision == Some(*expected),
                };
                if !holds {
                    return Err(key.clone());
                }
            }
            match step {
                Change::Put { key, value, .. } => drop(records.insert(key.clone(), stored(value))),
                Change::Delete { key, .. } => drop(records.remove(key)),
                Change::DeletePrefix { kind, prefix } => {
                    records.retain(|key, _| key.kind != *kind || !key.id.starts_with(prefix));
                }
                Change::Append {
                    kind,
                    prefix,
                    value,
                } => {
                    self.appended = sequences.next().unwrap();
                    let id = format!("{prefix}{:020}", self.appended);
                    records.insert(Key { kind: *kind, id }, stored(value));
                }
                Change::Require { .. } => {}
                Change::Chain { .. } | Change::Prune { .. } => panic!("not in these histories"),
            }
        }
        if records != self.records {
            self.records = records;
            self.revision += 1;
        }
        Ok(Revision(self.revision))
    }

    async fn compare(&self, store: &dyn Store) {
        let mut records = BTreeMap::new();
        for kind in Kind::ALL {
            records.extend(scan(store, kind, "").await);
        }
        assert_eq!(records, self.records);
        for (key, stored) in &self.records {
            assert_eq!(store.get(key).await.unwrap().as_ref(), Some(stored));
        }
    }
}

/// Marsaglia's xorshift: the same history every time.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 33) as usize % bound
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    fn key(&mut self) -> Key {
        Key::new(self.pick(&KINDS), self.pick(&IDS))
    }

    fn value(&mut self) -> Vec<u8> {
        self.below(1000).to_string().into_bytes()
    }

    /// More often right than wrong, or long commits would never pass.
    fn expect(&mut self, key: &Key, model: &Model) -> Expect {
        let revision = model.records.get(key).map(|record| record.revision);
        match (self.below(12), revision) {
            (0, _) => Expect::Absent,
            (1, _) => Expect::Present,
            (2, _) => Expect::At(Revision(model.revision)),
            (3..=5, Some(revision)) => Expect::At(revision),
            (3..=5, None) => Expect::Absent,
            _ => Expect::Any,
        }
    }

    fn changes(&mut self, model: &Model) -> Changes {
        let mut steps = Vec::new();
        for _ in 0..self.below(6) {
            let key = self.key();
            let expect = self.expect(&key, model);
            steps.push(match self.below(9) {
                0..=3 => Change::Put {
                    value: self.value(),
                    key,
                    expect,
                },
                4..=5 => Change::Delete { key, expect },
                6 => Change::DeletePrefix {
                    kind: key.kind,
                    prefix: self.pick(&["a", "a/", "b/", "\u{10ffff}"]).to_owned(),
                },
                _ => Change::Require { key, expect },
            });
        }
        // Last, so that none is deleted again before the model hears of its sequence.
        for _ in 0..self.below(3) {
            steps.push(Change::Append {
                kind: Kind::Notification,
                prefix: self.pick(&["a/", "b/", "a/2/"]).to_owned(),
                value: self.value(),
            });
        }
        Changes { steps }
    }
}
