//! The one thread that writes.

use std::{
    mem,
    sync::{Arc, PoisonError},
};

use capif_procedures::changes::{Change, Changes, Revision};
use tokio::sync::{mpsc, oneshot};

use super::{
    super::{CommitError, Committed, Fault},
    Shared,
    engine::{Counters, Volume, WriteError},
    group::{Decided, Group},
};

/// The most commits in one batch.
const GROUP_COMMITS_MAX: usize = 512;

/// No further commit joins a batch of this size.
const GROUP_BYTES_MAX: usize = 8 << 20;

/// Commits are refused when less room than this is left: so much the engine needs to tidy up and to be opened again.
const RESERVE_BYTES: u64 = 32 << 20;

/// A commit that waits for its turn.
pub(super) struct Request {
    pub(super) changes: Changes,
    pub(super) answer: oneshot::Sender<Result<Revision, CommitError>>,
}

/// What the thread owns.
pub(super) struct Writer {
    shared: Arc<Shared>,
    volume: Box<dyn Volume>,
    /// As of the last batch that is known to be durable.
    counters: Counters,
    broken: Option<Broken>,
}

/// After a write failed.
struct Broken {
    /// The answer to every further commit.
    fault: Fault,
    /// What was being written. It may turn out to be there.
    uncertain: Option<Decided>,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, volume: Box<dyn Volume>, counters: Counters) -> Self {
        Self {
            shared,
            volume,
            counters,
            broken: None,
        }
    }

    /// Serves commits until nobody can make any more.
    pub(super) fn run(mut self, mut queue: mpsc::Receiver<Request>) {
        while let Some(first) = queue.blocking_recv() {
            let mut bytes = size(&first.changes);
            let mut requests = vec![first];
            while requests.len() < GROUP_COMMITS_MAX && bytes < GROUP_BYTES_MAX {
                let Ok(next) = queue.try_recv() else { break };
                bytes += size(&next.changes);
                requests.push(next);
            }
            self.serve(requests);
        }
    }

    fn serve(&mut self, requests: Vec<Request>) {
        let (changes, answers): (Vec<_>, Vec<_>) = requests
            .into_iter()
            .map(|request| (request.changes, request.answer))
            .unzip();
        // On a fault conflicts are not answered either: they may be with commits that did not happen.
        let outcomes = match self.commit(changes) {
            Ok(outcomes) => outcomes,
            Err(fault) => answers.iter().map(|_| Err(fault.clone().into())).collect(),
        };
        for (answer, outcome) in answers.into_iter().zip(outcomes) {
            // Whoever went away meanwhile does not take the commit back.
            let _gone = answer.send(outcome);
        }
    }

    fn commit(
        &mut self,
        changes: Vec<Changes>,
    ) -> Result<Vec<Result<Revision, CommitError>>, Fault> {
        self.mend()?;
        let shared = Arc::clone(&self.shared);
        let (outcomes, decided, written) = shared.read(|engine| {
            let mut group = Group::new(engine, self.counters);
            let outcomes = changes.into_iter().map(|one| group.add(one)).collect();
            let decided = group.decided();
            let mut written = Ok(());
            if !decided.committed.is_empty() {
                self.require_room()?;
                written = engine.write(&decided.batch, decided.counters);
            }
            Ok((outcomes, decided, written))
        })?;
        match written {
            Ok(()) => {
                self.counters = decided.counters;
                self.tell(&decided.committed);
                Ok(outcomes)
            }
            Err(error) => Err(self.broke(error, decided)),
        }
    }

    fn require_room(&self) -> Result<(), Fault> {
        if self.volume.free_bytes()? < RESERVE_BYTES {
            return Err(Fault::Full);
        }
        Ok(())
    }

    fn tell(&self, committed: &[Committed]) {
        let observers = self.shared.observers.lock();
        let observers = observers.unwrap_or_else(PoisonError::into_inner).clone();
        for committed in committed {
            for observer in &observers {
                observer.committed(committed);
            }
        }
    }

    /// Ends writing after a failure. Returns the answer to those who waited for it.
    fn broke(&mut self, error: WriteError, decided: Decided) -> Fault {
        let (fault, uncertain) = match error {
            WriteError::Failed(fault) => (fault, Some(decided)),
            // The reason is not told; if there is no room, that is it.
            WriteError::GivenUp(fault) => (self.require_room().err().unwrap_or(fault), None),
        };
        tracing::error!(
            error = &fault as &dyn std::error::Error,
            "the store takes no more commits"
        );
        let answer = match &fault {
            Fault::Full => Fault::Full,
            fault => Fault::ReadOnly {
                source: Arc::new(fault.clone()),
            },
        };
        self.broken = Some(Broken {
            fault: answer,
            uncertain,
        });
        fault
    }

    /// Opens the engine afresh if it broke for want of room and there is room again. Opening settles the journal: what
    /// is in it is written once more and synced, or cut off.
    fn mend(&mut self) -> Result<(), Fault> {
        let Some(broken) = &self.broken else {
            return Ok(());
        };
        if !matches!(broken.fault, Fault::Full) {
            return Err(broken.fault.clone());
        }
        self.require_room()?;
        let counters = {
            let engine = self.shared.engine.write();
            let mut engine = engine.unwrap_or_else(PoisonError::into_inner);
            // The old one lets go of its files first.
            drop(mem::replace(&mut *engine, Err(Fault::Full)));
            *engine = self.volume.open();
            match &*engine {
                Ok(engine) => engine.counters()?,
                Err(fault) => return Err(fault.clone()),
            }
        };
        let uncertain = self.broken.take().and_then(|broken| broken.uncertain);
        match uncertain {
            Some(decided) if decided.counters == counters => {
                self.counters = counters;
                self.tell(&decided.committed);
            }
            _ if self.counters == counters => {}
            _ => {
                let fault = Fault::ReadOnly {
                    source: Arc::new(Fault::damaged(self.volume.dir(), "commits are missing")),
                };
                self.broken = Some(Broken {
                    fault: fault.clone(),
                    uncertain: None,
                });
                return Err(fault);
            }
        }
        tracing::info!("the store takes commits again");
        Ok(())
    }
}

/// The bytes that a commit brings to its batch.
fn size(changes: &Changes) -> usize {
    let bytes = |step: &Change| match step {
        Change::Put { value, .. } | Change::Append { value, .. } | Change::Chain { value, .. } => {
            value.len()
        }
        Change::Delete { .. }
        | Change::DeletePrefix { .. }
        | Change::Require { .. }
        | Change::Prune { .. } => 0,
    };
    changes.steps.iter().map(bytes).sum()
}
