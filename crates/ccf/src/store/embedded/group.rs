//! Commits that share a batch: each decided on the engine's state and on those before it in the group.

use std::collections::BTreeMap;

use capif_procedures::changes::{Change, Changes, Expect, Key, Kind, Revision};

use super::{
    super::{
        CommitError, Committed, Fault, Link, Stored,
        chain::{self, BASE_ID, Chained},
        corrupt,
    },
    engine::{Counters, Engine},
};

/// Records by key; without a value where one was and is removed.
type Overlay = BTreeMap<Key, Option<Stored>>;

/// A group under way. Nothing is written until the whole is.
pub(super) struct Group<'e> {
    engine: &'e dyn Engine,
    counters: Counters,
    /// What the commits of the group change, taken together.
    overlay: Overlay,
    committed: Vec<Committed>,
}

/// A decided group.
pub(super) struct Decided {
    /// What is to be written.
    pub(super) batch: Vec<(Key, Option<Stored>)>,
    /// The counters after it.
    pub(super) counters: Counters,
    /// The commits in it.
    pub(super) committed: Vec<Committed>,
}

impl<'e> Group<'e> {
    pub(super) fn new(engine: &'e dyn Engine, counters: Counters) -> Self {
        Self {
            engine,
            counters,
            overlay: Overlay::new(),
            committed: Vec::new(),
        }
    }

    /// Adds a commit, or leaves the group as it was.
    pub(super) fn add(&mut self, changes: Changes) -> Result<Revision, CommitError> {
        let mut commit = Commit {
            group: self,
            revision: Revision(self.counters.revision + 1),
            appended: self.counters.appended,
            chain: self.counters.chain,
            staged: Overlay::new(),
        };
        for step in changes.steps {
            commit.step(step)?;
        }
        let Commit {
            revision,
            appended,
            chain,
            staged,
            ..
        } = commit;
        if staged.is_empty() {
            return Ok(Revision(self.counters.revision));
        }
        let mut committed = Committed {
            revision,
            puts: Vec::new(),
            deletes: Vec::new(),
        };
        for (key, stored) in &staged {
            match stored {
                Some(stored) => committed.puts.push((key.clone(), stored.clone())),
                None => committed.deletes.push(key.clone()),
            }
        }
        self.overlay.extend(staged);
        self.committed.push(committed);
        self.counters = Counters {
            revision: revision.0,
            appended,
            chain,
        };
        Ok(revision)
    }

    pub(super) fn decided(self) -> Decided {
        Decided {
            batch: self.overlay.into_iter().collect(),
            counters: self.counters,
            committed: self.committed,
        }
    }

    fn get(&self, key: &Key) -> Result<Option<Stored>, Fault> {
        match self.overlay.get(key) {
            Some(stored) => Ok(stored.clone()),
            None => self.engine.get(key),
        }
    }

    /// The ids of a kind that begin with `prefix`.
    fn ids(&self, kind: Kind, prefix: &str) -> Result<Vec<Key>, Fault> {
        let mut keys = Vec::new();
        for record in self.engine.records(kind, prefix, None)? {
            let (key, _) = record?;
            if !self.overlay.contains_key(&key) {
                keys.push(key);
            }
        }
        keys.extend(present(&self.overlay, kind, prefix));
        Ok(keys)
    }
}

/// A commit under way.
struct Commit<'g, 'e> {
    group: &'g Group<'e>,
    revision: Revision,
    appended: u64,
    chain: Link,
    /// What its steps change so far. Only what was there before the commit is marked as removed.
    staged: Overlay,
}

impl Commit<'_, '_> {
    fn step(&mut self, step: Change) -> Result<(), CommitError> {
        match step {
            Change::Put { key, expect, value } => {
                self.require(&key, expect)?;
                self.put(key, value);
            }
            Change::Delete { key, expect } => {
                self.require(&key, expect)?;
                self.delete(key)?;
            }
            Change::DeletePrefix { kind, prefix } => {
                for key in present(&self.staged, kind, &prefix).collect::<Vec<_>>() {
                    self.delete(key)?;
                }
                for key in self.group.ids(kind, &prefix)? {
                    self.staged.insert(key, None);
                }
            }
            Change::Append {
                kind,
                prefix,
                value,
            } => {
                self.appended += 1;
                // Twenty digits hold every u64, so that the order of the ids is that of the numbers.
                let id = format!("{prefix}{:020}", self.appended);
                self.put(Key { kind, id }, value);
            }
            Change::Require { key, expect } => self.require(&key, expect)?,
            Change::Chain { kind, value } => {
                // Also the whole of a commit: a record is a change like any other.
                self.chain = self.chain.next(&value);
                let id = self.chain.id();
                self.put(Key { kind, id }, self.chain.wrap(&value));
            }
            Change::Prune { kind, through } => self.prune(kind, through)?,
        }
        Ok(())
    }

    /// Removes the records of the chain up to a number, and notes where it begins now.
    fn prune(&mut self, kind: Kind, through: u64) -> Result<(), CommitError> {
        let last = Key::new(kind, chain::id(through));
        let end = self.group.counters.chain.sequence;
        // The record of a pruning is not to say what did not happen.
        let stored = self
            .group
            .get(&last)?
            .filter(|_| (1..end).contains(&through))
            .ok_or_else(|| CommitError::Conflict(last.clone()))?;
        let chained: Chained = serde_json::from_slice(&stored.value)
            .map_err(|_| corrupt(&last, &"it is not a chained record"))?;
        let base = chained
            .claimed()
            .map_err(|error| corrupt(&last, &error))?
            .wrap(b"null");
        let mut going = Vec::new();
        for record in self.group.engine.records(kind, "", Some(BASE_ID))? {
            let (key, _) = record?;
            if key > last {
                break;
            }
            going.push(key);
        }
        going.extend(present(&self.group.overlay, kind, "").take_while(|key| *key <= last));
        for key in going {
            self.delete(key)?;
        }
        self.put(Key::new(kind, BASE_ID), base);
        Ok(())
    }

    fn require(&self, key: &Key, expect: Expect) -> Result<(), CommitError> {
        if expect == Expect::Any {
            return Ok(());
        }
        let stored = match self.staged.get(key) {
            Some(stored) => stored.clone(),
            None => self.group.get(key)?,
        };
        let holds = match expect {
            Expect::Any => true,
            Expect::Absent => stored.is_none(),
            Expect::Present => stored.is_some(),
            Expect::At(revision) => stored.is_some_and(|stored| stored.revision == revision),
        };
        if holds {
            Ok(())
        } else {
            Err(CommitError::Conflict(key.clone()))
        }
    }

    fn put(&mut self, key: Key, value: Vec<u8>) {
        let stored = Stored {
            value: value.into(),
            revision: self.revision,
        };
        self.staged.insert(key, Some(stored));
    }

    fn delete(&mut self, key: Key) -> Result<(), Fault> {
        if self.group.get(&key)?.is_some() {
            self.staged.insert(key, None);
        } else {
            self.staged.remove(&key);
        }
        Ok(())
    }
}

/// The keys in an overlay that hold a record of a kind under a prefix.
fn present(overlay: &Overlay, kind: Kind, prefix: &str) -> impl Iterator<Item = Key> {
    overlay
        .range(Key::new(kind, prefix)..)
        .take_while(move |(key, _)| key.kind == kind && key.id.starts_with(prefix))
        .filter(|(_, stored)| stored.is_some())
        .map(|(key, _)| key.clone())
}
