//! Calls within any one second, counted exactly.

use std::collections::VecDeque;

use time::{Duration, OffsetDateTime};

/// What a rate is about.
const SECOND: Duration = Duration::SECOND;

/// Grants this close to each other are kept as one, so that a second holds a thousand at most.
const RESOLUTION: Duration = Duration::MILLISECOND;

/// The calls of the last second. Any interval of one second, wherever it begins, holds no more than was let through.
///
/// Time that runs backwards makes grants younger, never older: it costs the invoker, not the API. Time that leaps ahead lets
/// them go early.
#[derive(Clone, Debug, Default)]
pub struct Window {
    /// When, and how many; the oldest first. Of grants kept as one, the time is that of the last.
    grants: VecDeque<Grants>,
}

#[derive(Clone, Copy, Debug)]
struct Grants {
    first: OffsetDateTime,
    last: OffsetDateTime,
    calls: u64,
}

impl Window {
    /// A window through which nothing goes for a second: of what went before, nothing is known.
    #[must_use]
    pub fn unknown(since: OffsetDateTime) -> Self {
        let mut window = Self::default();
        window.take(u64::MAX, since);
        window
    }

    /// How many calls a rate still lets through now.
    #[must_use]
    pub fn room(&self, per_second: u64, now: OffsetDateTime) -> u64 {
        per_second.saturating_sub(self.calls(now))
    }

    /// How long until a rate lets one more through; nothing if it does now.
    #[must_use]
    pub fn pause(&self, per_second: u64, now: OffsetDateTime) -> Duration {
        let now = self.not_before_last(now);
        let mut calls = self.calls(now);
        let mut pause = Duration::ZERO;
        for grants in &self.grants {
            if calls < per_second {
                break;
            }
            if !gone(grants, now) {
                calls = calls.saturating_sub(grants.calls);
                pause = grants.last + SECOND - now;
            }
        }
        pause
    }

    /// Counts calls that were let through now. None at all is said too, so that a clock that was set back is noticed.
    pub fn take(&mut self, calls: u64, now: OffsetDateTime) {
        self.set_back(now);
        if calls == 0 {
            return;
        }
        while self.grants.front().is_some_and(|grants| gone(grants, now)) {
            self.grants.pop_front();
        }
        match self.grants.back_mut() {
            Some(grants) if now - grants.first < RESOLUTION => {
                grants.calls = grants.calls.saturating_add(calls);
                grants.last = now;
            }
            _ => self.grants.push_back(Grants {
                first: now,
                last: now,
                calls,
            }),
        }
    }

    /// Whether nothing of it counts any more.
    #[must_use]
    pub fn is_over(&self, now: OffsetDateTime) -> bool {
        let now = self.not_before_last(now);
        self.grants.iter().all(|grants| gone(grants, now))
    }

    fn calls(&self, now: OffsetDateTime) -> u64 {
        let now = self.not_before_last(now);
        self.grants
            .iter()
            .filter(|grants| !gone(grants, now))
            .fold(0, |sum: u64, grants| sum.saturating_add(grants.calls))
    }

    /// The present, unless the clock was set back: then the moment of the last grant.
    fn not_before_last(&self, now: OffsetDateTime) -> OffsetDateTime {
        self.grants
            .back()
            .map_or(now, |grants| now.max(grants.last))
    }

    /// Moves what is kept along with a clock that was set back.
    fn set_back(&mut self, now: OffsetDateTime) {
        let Some(ahead) = self.grants.back().map(|grants| grants.last - now) else {
            return;
        };
        if ahead.is_positive() {
            for grants in &mut self.grants {
                grants.first -= ahead;
                grants.last -= ahead;
            }
        }
    }
}

fn gone(grants: &Grants, now: OffsetDateTime) -> bool {
    now - grants.last >= SECOND
}
