//! How many certificates one entity is given on request: each costs a signature now, and a line of what is revoked until it would
//! have ended. In memory: a restart forgives.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use time::{Duration, OffsetDateTime};

/// How many certificates an API invoker can be given at once. Who renews in time needs a few in a year.
pub(crate) const OF_INVOKER: u32 = 60;

/// How many the functions of a provider can be given together: they can come and go.
pub(crate) const OF_DOMAIN: u32 = 4 * 64;

/// How often providers are told of criteria that somebody gave in vain: a request of which nothing comes costs nothing, and can be
/// sent again and again.
pub(crate) const OF_DENIED: u32 = 10;

/// How long until it may have one more.
const PERIOD: Duration = Duration::minutes(5);

/// How many entities are remembered; beyond that those who may have all again are dropped first.
const ENTITIES_MAX: usize = 10_000;

/// What was given to whom.
#[derive(Debug, Default)]
pub(crate) struct Issues(Mutex<HashMap<String, Spent>>);

/// How many certificates count against an entity, as of a moment.
#[derive(Clone, Copy, Debug)]
struct Spent {
    count: u32,
    since: OffsetDateTime,
}

impl Spent {
    /// What is left of it after a while.
    fn at(self, now: OffsetDateTime) -> Self {
        // A clock that was set back gives nothing back, but lets nobody wait for as long as that.
        let since = self.since.min(now);
        let periods = (now - since).whole_seconds() / PERIOD.whole_seconds();
        let regained = u32::try_from(periods).unwrap_or(u32::MAX);
        let count = self.count.saturating_sub(regained);
        let since = match count {
            0 => now,
            _ => since + PERIOD * regained,
        };
        Self { count, since }
    }
}

impl Issues {
    /// Counts certificates that an entity is about to be given, of `most` at once; or says how many seconds it must wait, and
    /// counts nothing.
    pub(crate) fn count(
        &self,
        id: &str,
        wanted: u32,
        most: u32,
        now: OffsetDateTime,
    ) -> Result<(), u64> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.len() >= ENTITIES_MAX {
            held.retain(|_, spent| spent.at(now).count > 0);
        }
        let none = Spent {
            count: 0,
            since: now,
        };
        let spent = held.get(id).copied().unwrap_or(none).at(now);
        let count = spent.count.saturating_add(wanted);
        if count > most {
            let left = spent.since + PERIOD * (count - most) - now;
            let seconds = u64::try_from(left.whole_seconds()).unwrap_or(0);
            return Err(seconds.saturating_add(1));
        }
        held.insert(id.to_owned(), Spent { count, ..spent });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many at once, and one more with each period; others are not touched by it.
    #[test]
    fn certificates_are_given_at_a_bounded_rate() {
        let issues = Issues::default();
        let start = OffsetDateTime::UNIX_EPOCH;
        let given = |id: &str, now| issues.count(id, 1, 3, now);
        for _ in 0..3 {
            assert_eq!(given("a", start), Ok(()));
        }
        assert_eq!(given("a", start), Err(301));
        assert_eq!(given("b", start), Ok(()));
        let almost = start + PERIOD - Duration::SECOND;
        assert_eq!(given("a", almost), Err(2));
        assert_eq!(given("a", start + PERIOD), Ok(()));
        assert_eq!(given("a", start + PERIOD), Err(301));
        assert_eq!(given("a", start), Err(301), "a clock that was set back");
        let later = start + PERIOD * 100;
        assert_eq!(issues.count("a", 3, 3, later), Ok(()));
        assert_eq!(issues.count("a", 2, 3, later), Err(601));
        assert_eq!(issues.count("c", 2, 3, later), Ok(()));
    }

    #[test]
    fn who_may_have_all_again_is_forgotten() {
        let issues = Issues::default();
        let start = OffsetDateTime::UNIX_EPOCH;
        for id in 0..ENTITIES_MAX {
            assert_eq!(issues.count(&id.to_string(), 1, 3, start), Ok(()));
        }
        assert_eq!(issues.count("one more", 1, 3, start + PERIOD), Ok(()));
        assert_eq!(issues.0.lock().unwrap().len(), 1);
    }
}
