//! How often APIs are asked for and shown, for SERVICE_API_DISCOVERY_BY_API_INVOKERS_COUNT (TS 29.222 clause 8.3.4.3.3).
//!
//! Counted in memory, since a discovery writes nothing: what was not yet told when the core function stops is lost.

use std::sync::atomic::{AtomicU32, Ordering};

use super::{Catalogue, Criteria, catalogue::Slot, matching::Found};
use crate::state::ServiceApi;

/// How many APIs of one name are counted as asked for.
const NAMED_MAX: usize = 1000;

/// How often one API was asked for and shown since it was last told.
#[derive(Debug, Default)]
pub(super) struct Counts {
    asked: AtomicU32,
    shown: AtomicU32,
}

/// How often an API was discovered in a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Discoveries {
    /// How many requests named it, by its name or its id.
    pub asked: u32,
    /// How many answers showed it.
    pub shown: u32,
}

/// Counts one discovery.
pub(super) fn count(criteria: &Criteria, found: &[Found<'_>], catalogue: &Catalogue) {
    let add = |count: &AtomicU32| {
        // Never around: a count that is full stays full.
        let _ = count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
            count.checked_add(1)
        });
    };
    for name in &criteria.api_names {
        for slot in catalogue.named(name).take(NAMED_MAX) {
            add(&slot.counts.asked);
        }
    }
    for slot in criteria.api_ids.iter().filter_map(|id| catalogue.slot(id)) {
        add(&slot.counts.asked);
    }
    for found in found {
        add(&found.slot.counts.shown);
    }
}

impl Catalogue {
    /// Takes what was counted since the last time, and begins anew.
    pub fn take_discoveries(&self) -> impl Iterator<Item = (&ServiceApi, Discoveries)> {
        let take = |count: &AtomicU32| match count.load(Ordering::Relaxed) {
            0 => 0,
            _ => count.swap(0, Ordering::Relaxed),
        };
        let taken = move |slot: &'_ Slot| Discoveries {
            asked: take(&slot.counts.asked),
            shown: take(&slot.counts.shown),
        };
        self.slots()
            .map(move |slot| (slot.api(), taken(slot)))
            .filter(|(_, counts)| counts.asked > 0 || counts.shown > 0)
    }
}
