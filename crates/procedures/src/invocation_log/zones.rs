//! What is where among many invocation log entries, roughly: for each stretch of them the times, APIs and invokers that occur, so
//! that a search or a removal passes over what cannot concern it.
//!
//! Entries are only ever added at the end of those of their AEF, so that what was seen of a stretch stays true of it, and what is
//! removed makes it too wide at worst. Nothing here is kept beyond the process: it is seen anew as entries are looked through.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Bound,
};

use capif_spec::common::{AefId, ApiInvokerId, DateTime, ServiceApiId};

use super::retention::Keeping;
use crate::{auditing::Criteria, state::InvocationLogEntry};

/// How many entries a stretch has when it is first seen.
pub const STRETCH_ENTRIES: usize = 1000;

/// How many invokers are told apart within a stretch; with more, everyone may be in it.
const INVOKERS_MAX: usize = 64;

/// What occurs in one stretch.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stretch {
    entries: usize,
    /// The first and last time of a call.
    times: Option<(DateTime, DateTime)>,
    /// Each API with the time of its first report.
    apis: BTreeMap<ServiceApiId, DateTime>,
    invokers: HashSet<ApiInvokerId>,
}

impl Stretch {
    /// Takes note of an entry.
    pub fn add(&mut self, entry: &InvocationLogEntry) {
        self.entries += 1;
        let time = entry.time();
        let (first, last) = self.times.get_or_insert((time.clone(), time.clone()));
        if time < first {
            *first = time.clone();
        }
        if time > last {
            *last = time.clone();
        }
        self.apis
            .entry(entry.log.api_id.clone())
            .and_modify(|first| {
                if entry.received < *first {
                    *first = entry.received.clone();
                }
            })
            .or_insert_with(|| entry.received.clone());
        // One more than are told apart says that there were too many.
        if self.invokers.len() <= INVOKERS_MAX {
            self.invokers.insert(entry.api_invoker_id.clone());
        }
    }

    /// How many entries there are.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.entries
    }

    /// Whether an entry that is sought may be here.
    #[must_use]
    pub fn may_meet(&self, criteria: &Criteria) -> bool {
        let Some((first, last)) = &self.times else {
            return false;
        };
        let invoker = criteria.api_invoker_id.as_ref();
        let api = criteria.api_id.as_deref();
        criteria
            .time_range_start
            .as_ref()
            .is_none_or(|it| it <= last)
            && criteria
                .time_range_end
                .as_ref()
                .is_none_or(|it| first <= it)
            && api.is_none_or(|it| self.apis.keys().any(|api| api.as_str() == it))
            && invoker
                .is_none_or(|it| self.invokers.len() > INVOKERS_MAX || self.invokers.contains(it))
    }

    /// Whether an entry that has been kept for long enough may be here.
    #[must_use]
    pub fn may_be_over(&self, keeping: &Keeping, now: &DateTime) -> bool {
        let mut apis = self.apis.iter();
        apis.any(|(api, first)| keeping.is_over(api, first, now))
    }
}

/// A stretch in its place: it begins behind its key, and ends with this id.
#[derive(Clone, Debug)]
struct Placed {
    last: String,
    stretch: Stretch,
}

/// The stretches that were seen.
#[derive(Debug, Default)]
pub struct Zones {
    /// By AEF and by the id that they begin behind.
    stretches: HashMap<AefId, BTreeMap<String, Placed>>,
}

impl Zones {
    /// The stretch in which the next entry behind an id is, if it was seen, with the id of its last entry. Nothing stands for the
    /// beginning.
    #[must_use]
    pub fn behind(&self, aef: &AefId, after: Option<&str>) -> Option<(&Stretch, &str)> {
        let after = after.unwrap_or_default();
        let of = self.stretches.get(aef)?;
        let (_, placed) = of
            .range::<str, _>((Bound::Unbounded, Bound::Included(after)))
            .next_back()?;
        (placed.last.as_str() > after).then_some((&placed.stretch, placed.last.as_str()))
    }

    /// Remembers what occurs behind an id as far as another. What is said of an earlier stretch there is replaced; a stretch that
    /// reaches into another one is not remembered.
    pub fn remember(&mut self, aef: &AefId, after: Option<&str>, last: &str, stretch: Stretch) {
        let of = self.stretches.entry(aef.clone()).or_default();
        let after = after.unwrap_or_default();
        of.remove(after);
        let reaches_in = |placed: &Placed| placed.last.as_str() > after;
        let before = of
            .range::<str, _>((Bound::Unbounded, Bound::Excluded(after)))
            .next_back();
        let next = of
            .range::<str, _>((Bound::Excluded(after), Bound::Unbounded))
            .next();
        let overlaps = before.is_some_and(|(_, placed)| reaches_in(placed))
            || next.is_some_and(|(begin, _)| begin.as_str() < last);
        if overlaps || last <= after {
            return;
        }
        if stretch.entries > 0 {
            let last = last.to_owned();
            of.insert(after.to_owned(), Placed { last, stretch });
        } else if let Some(placed) = of.remove(last) {
            // Nothing is left here: the next stretch begins where this one did.
            of.insert(after.to_owned(), placed);
        }
    }

    /// Forgets an AEF of which nothing is left.
    pub fn forget(&mut self, aef: &AefId) {
        self.stretches.remove(aef);
    }
}

#[cfg(test)]
mod tests;
