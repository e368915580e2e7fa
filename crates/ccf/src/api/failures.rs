//! Wrong secrets, counted per invoker so that nobody tries many (D-13). In memory: a restart forgives.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use time::{Duration, OffsetDateTime};

/// How many wrong secrets in a row are borne.
const FAILURES_MAX: u32 = 10;

/// How long the invoker waits after that.
const PAUSE: Duration = Duration::seconds(60);

/// How many invokers are remembered; beyond that those whose pause has passed are dropped first.
const INVOKERS_MAX: usize = 10_000;

/// The counts.
#[derive(Debug, Default)]
pub struct Failures(Mutex<HashMap<String, (u32, OffsetDateTime)>>);

impl Failures {
    /// The seconds that an invoker must still wait.
    pub(crate) fn must_wait(&self, id: &str, now: OffsetDateTime) -> Option<u64> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (count, last) = *counts.get(id)?;
        // A clock that was set back forgives: nobody is to wait for as long as that.
        let left = match last > now {
            true => Duration::ZERO,
            false => last + PAUSE - now,
        };
        (count >= FAILURES_MAX && left.is_positive()).then(|| {
            u64::try_from(left.whole_seconds())
                .unwrap_or(0)
                .saturating_add(1)
        })
    }

    /// Counts a wrong secret.
    pub(crate) fn count(&self, id: &str, now: OffsetDateTime) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= INVOKERS_MAX {
            counts.retain(|_, (_, last)| *last + PAUSE > now);
        }
        if counts.len() >= INVOKERS_MAX {
            // So many at once are no mistakes; each begins anew.
            counts.clear();
        }
        let entry = counts.entry(id.to_owned()).or_insert((0, now));
        if entry.1 + PAUSE <= now {
            entry.0 = 0;
        }
        *entry = (entry.0.saturating_add(1), now);
    }

    /// Forgets an invoker that proved itself.
    pub(crate) fn forget(&self, id: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_wrong_secrets_bring_a_pause_of_a_minute() {
        let failures = Failures::default();
        let start = OffsetDateTime::UNIX_EPOCH;
        for _ in 0..9 {
            failures.count("a", start);
        }
        assert_eq!(failures.must_wait("a", start), None);
        failures.count("a", start);
        assert_eq!(failures.must_wait("a", start), Some(61));
        assert_eq!(failures.must_wait("b", start), None);
        let before = start - Duration::days(1);
        assert_eq!(failures.must_wait("a", before), None, "a clock set back");
        assert_eq!(failures.must_wait("a", start + PAUSE), None);
        failures.count("a", start + PAUSE);
        assert_eq!(failures.must_wait("a", start + PAUSE), None);
    }
}
