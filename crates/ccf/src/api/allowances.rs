//! The windows of rates, in memory, and one asker at a time for an invoker's calls of an API.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

use capif_procedures::{access_control::rate::Window, changes::Revision};
use capif_spec::common::{ApiInvokerId, ServiceApiId};
use time::OffsetDateTime;

/// How many windows are kept before those that hold nothing any more are dropped.
const WINDOWS_MAX: usize = 10_000;

/// Whose calls of what.
type Key = (ServiceApiId, ApiInvokerId);

/// A window with its queue of askers.
pub(crate) type Gate = Arc<tokio::sync::Mutex<Window>>;

/// All windows.
pub(crate) struct Allowances {
    gates: Mutex<HashMap<Key, Gate>>,
    /// When this process began to count.
    since: OffsetDateTime,
    /// Policies up to this commit counted before that too: what went through under them then is not known.
    before: Revision,
}

impl Allowances {
    pub(crate) fn new(since: OffsetDateTime, before: Revision) -> Self {
        Self {
            gates: Mutex::default(),
            since,
            before,
        }
    }

    /// The window of an invoker at an API under a policy of this revision.
    pub(crate) fn gate(&self, key: Key, policy: Revision, now: OffsetDateTime) -> Gate {
        let mut gates = self.gates.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gate) = gates.get(&key) {
            return Arc::clone(gate);
        }
        if gates.len() >= WINDOWS_MAX {
            gates.retain(|_, gate| {
                let idle = Arc::strong_count(gate) == 1;
                let over = gate.try_lock().is_ok_and(|window| window.is_over(now));
                !(idle && over)
            });
        }
        let window = if policy <= self.before {
            Window::unknown(self.since)
        } else {
            Window::default()
        };
        let gate = Gate::new(tokio::sync::Mutex::new(window));
        gates.insert(key, Arc::clone(&gate));
        gate
    }
}

#[cfg(test)]
mod tests {
    use time::Duration;

    use super::*;

    fn key(number: usize) -> Key {
        ("API".into(), format!("INV{number}").into())
    }

    #[test]
    fn what_went_before_a_restart_counts_as_used_up_for_a_second() {
        let start = OffsetDateTime::UNIX_EPOCH;
        let allowances = Allowances::new(start, Revision(7));
        let room = |number, revision, now| {
            let gate = allowances.gate(key(number), Revision(revision), now);
            gate.try_lock().unwrap().room(5, now)
        };
        assert_eq!(room(1, 7, start), 0, "an old policy");
        assert_eq!(room(2, 8, start), 5, "one that was set since");
        assert_eq!(room(1, 7, start + Duration::milliseconds(999)), 0);
        assert_eq!(room(1, 7, start + Duration::SECOND), 5);
    }

    #[test]
    fn windows_that_hold_nothing_are_dropped() {
        let start = OffsetDateTime::UNIX_EPOCH;
        let allowances = Allowances::new(start, Revision(0));
        let kept = allowances.gate(key(0), Revision(1), start);
        for number in 1..WINDOWS_MAX {
            let gate = allowances.gate(key(number), Revision(1), start);
            if number == 1 {
                gate.try_lock().unwrap().take(1, start);
            }
        }
        let _one_more = allowances.gate(key(WINDOWS_MAX), Revision(1), start);
        let gates = allowances.gates.lock().unwrap();
        assert!(gates.contains_key(&key(0)), "one that is in use");
        assert!(gates.contains_key(&key(1)), "one that still counts");
        assert_eq!(gates.len(), 3);
        drop(kept);
    }
}
