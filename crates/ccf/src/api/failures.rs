//! Wrong secrets, counted per invoker so that nobody tries many (D-13). In memory: a restart forgives.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Mutex, PoisonError},
};

use time::{Duration, OffsetDateTime};

/// How many wrong secrets in a row are borne.
const FAILURES_MAX: u32 = 10;

/// How long the invoker waits after that.
const PAUSE: Duration = Duration::seconds(60);

/// How many invokers are remembered.
const INVOKERS_MAX: usize = 10_000;

/// The counts.
#[derive(Debug)]
pub struct Failures(Mutex<Counts<String>>);

impl Default for Failures {
    fn default() -> Self {
        Self(Mutex::new(Counts::new(PAUSE, INVOKERS_MAX)))
    }
}

impl Failures {
    /// The seconds that an invoker must still wait.
    pub(crate) fn must_wait(&self, id: &str, now: OffsetDateTime) -> Option<u64> {
        let counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.must_wait(id, FAILURES_MAX, now)
    }

    /// Counts a wrong secret.
    pub(crate) fn count(&self, id: &str, now: OffsetDateTime) {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.add(id.to_owned(), now);
    }

    /// Forgets an invoker that proved itself.
    pub(crate) fn forget(&self, id: &str) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .forget(id);
    }
}

/// How often something went wrong lately, by whom, in bounded memory. Where there is no more room, whoever has the least against
/// it is forgotten first: to be forgotten, somebody with many failures would have to bring about as many of very many others.
#[derive(Debug)]
pub(crate) struct Counts<K> {
    held: HashMap<K, Count>,
    /// How long a failure counts after the last one.
    memory: Duration,
    /// How many are remembered.
    most: usize,
}

#[derive(Clone, Copy, Debug)]
struct Count {
    failures: u32,
    last: OffsetDateTime,
}

impl<K: Hash + Eq + Clone> Counts<K> {
    pub(crate) fn new(memory: Duration, most: usize) -> Self {
        Self {
            held: HashMap::new(),
            memory,
            most,
        }
    }

    /// The seconds that somebody must still wait who may fail less often than `bound`.
    pub(crate) fn must_wait<Q>(&self, who: &Q, bound: u32, now: OffsetDateTime) -> Option<u64>
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let Count { failures, last } = *self.held.get(who)?;
        let left = last + self.memory - now;
        // A clock that was set back forgives: nobody is to wait for as long as that.
        let waits = failures >= bound && left.is_positive() && last <= now;
        waits.then(|| {
            let seconds = u64::try_from(left.whole_seconds()).unwrap_or(0);
            seconds.saturating_add(1)
        })
    }

    /// Counts a failure.
    pub(crate) fn add(&mut self, who: K, now: OffsetDateTime) {
        if self.held.len() >= self.most && !self.held.contains_key(&who) {
            let counts = self.held.iter();
            let least = counts.min_by_key(|(_, count)| (count.at(now, self.memory), count.last));
            if let Some(least) = least.map(|(who, _)| who.clone()) {
                self.held.remove(&least);
            }
        }
        let before = self.held.get(&who);
        let failures = before.map_or(0, |count| count.at(now, self.memory));
        let count = Count {
            failures: failures.saturating_add(1),
            last: now,
        };
        self.held.insert(who, count);
    }

    /// Forgets whoever proved itself.
    pub(crate) fn forget<Q>(&mut self, who: &Q)
    where
        K: std::borrow::Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.held.remove(who);
    }
}

impl Count {
    /// What is left of it.
    fn at(self, now: OffsetDateTime, memory: Duration) -> u32 {
        if self.last + memory > now {
            self.failures
        } else {
            0
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A flood of others lets nobody begin anew.
    #[test]
    fn who_has_the_least_against_it_is_forgotten_first() {
        let (memory, now) = (Duration::MINUTE, OffsetDateTime::UNIX_EPOCH);
        let mut counts = Counts::new(memory, 3);
        for who in ["a", "a", "a", "b", "b"] {
            counts.add(who.to_owned(), now);
        }
        for number in 0..100 {
            counts.add(format!("other {number}"), now + Duration::SECOND);
        }
        assert_eq!(counts.held.len(), 3);
        assert!(counts.must_wait("a", 3, now + Duration::SECOND).is_some());
        assert!(counts.must_wait("b", 2, now + Duration::SECOND).is_some());
        // What is over goes before everything else.
        let later = now + memory;
        counts.add("c".to_owned(), later);
        counts.add("d".to_owned(), later);
        assert!(counts.must_wait("other 99", 1, later).is_some());
        assert_eq!(counts.must_wait("a", 1, later), None);
    }

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
