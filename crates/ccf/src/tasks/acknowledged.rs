//! Removal of what was acknowledged: whatever came together while the last commit was written goes in the next one.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use capif_procedures::changes::{Change, Changes, Expect, Key};
use tokio::sync::{Notify, watch};

use crate::core::Core;

/// The most messages that one commit removes.
const REMOVALS_MAX: usize = 2048;

/// The pause after a commit that failed.
const PAUSE: Duration = Duration::from_millis(500);

/// Messages that were acknowledged and are still to be removed.
pub(super) struct Acknowledged {
    waiting: Mutex<Waiting>,
    wake: Notify,
    /// How many were removed.
    removed: watch::Sender<u64>,
}

#[derive(Default)]
struct Waiting {
    keys: Vec<Key>,
    /// How many there ever were.
    count: u64,
}

impl Acknowledged {
    pub(super) fn new() -> Self {
        Self {
            waiting: Mutex::default(),
            wake: Notify::new(),
            removed: watch::Sender::new(0),
        }
    }

    /// Takes note of an acknowledged message, and gives the number to wait for.
    pub(super) fn add(&self, key: Key) -> u64 {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.keys.push(key);
        waiting.count += 1;
        let count = waiting.count;
        drop(waiting);
        self.wake.notify_one();
        count
    }

    /// Waits until as many are removed.
    pub(super) async fn removed(&self, count: u64) {
        let mut removed = self.removed.subscribe();
        // Holds because this is the sender.
        let _ = removed.wait_for(|removed| *removed >= count).await;
    }

    /// Removes until stopped, and then what is left. What cannot be removed now is tried again: it was acknowledged.
    pub(super) async fn run(self: Arc<Self>, core: Arc<Core>, mut stopped: watch::Receiver<bool>) {
        loop {
            let is_last = *stopped.borrow();
            let done = self.settle(&core).await;
            if is_last {
                break;
            }
            tokio::select! {
                () = self.wake.notified(), if done => {}
                () = tokio::time::sleep(PAUSE), if !done => {}
                _ = stopped.wait_for(|stopped| *stopped) => {}
            }
        }
    }

    /// Removes what waits; says whether that went well.
    async fn settle(&self, core: &Core) -> bool {
        loop {
            let keys: Vec<Key> = {
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                let count = waiting.keys.len().min(REMOVALS_MAX);
                waiting.keys.drain(..count).collect()
            };
            if keys.is_empty() {
                return true;
            }
            let count = u64::try_from(keys.len()).unwrap_or(u64::MAX);
            let mut changes = Changes::new();
            changes
                .steps
                .extend(keys.iter().cloned().map(|key| Change::Delete {
                    key,
                    expect: Expect::Any,
                }));
            if let Err(error) = core.housekeep(changes).await {
                tracing::warn!(error = %error.log(), "acknowledged notifications were not removed");
                let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.keys.splice(0..0, keys);
                return false;
            }
            self.removed.send_modify(|removed| *removed += count);
        }
    }
}
