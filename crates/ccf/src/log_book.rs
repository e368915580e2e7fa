//! How invocation log entries are looked through: stretch by stretch, passing over what cannot hold anything that is sought; and how
//! many there are of each AEF, so that no provider fills the store.

use std::{
    collections::{HashMap, HashSet},
    ops::ControlFlow,
    sync::{Mutex, MutexGuard, PoisonError, RwLock},
};

use capif_procedures::{
    auditing::Criteria,
    changes::Record,
    invocation_log::zones::{STRETCH_ENTRIES, Stretch, Zones},
    state::InvocationLogEntry,
};
use capif_spec::common::{AefId, ApiProviderDomainId};

use crate::{
    api::problem::ApiError,
    core::Core,
    store::{self, Fault, Page},
};

/// What is known of the entries without looking at them.
#[derive(Debug, Default)]
pub(crate) struct LogBook {
    zones: RwLock<Zones>,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    /// As they were counted last; nothing before they were counted once.
    counted: Option<HashMap<AefId, usize>>,
    /// What has come in since.
    since: HashMap<AefId, usize>,
    /// Whose entries were refused since.
    full: HashSet<ApiProviderDomainId>,
}

/// Whether a provider's entries are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Room {
    Left,
    /// There is none; whether that was said before.
    None {
        said: bool,
    },
}

/// A stretch that is known: as far as the entry of this id.
pub(crate) struct Known {
    pub(crate) last: String,
    pub(crate) entries: usize,
    /// Whether it has to be looked at.
    pub(crate) concerns: bool,
}

impl LogBook {
    /// What is known of what follows an entry.
    pub(crate) fn behind(
        &self,
        aef: &AefId,
        after: Option<&str>,
        concerns: impl Fn(&Stretch) -> bool,
    ) -> Option<Known> {
        let zones = self.zones.read().unwrap_or_else(PoisonError::into_inner);
        let (stretch, last) = zones.behind(aef, after)?;
        Some(Known {
            last: last.to_owned(),
            entries: stretch.entries(),
            concerns: concerns(stretch),
        })
    }

    /// Remembers what was seen.
    pub(crate) fn remember(&self, aef: &AefId, after: Option<&str>, last: &str, seen: Stretch) {
        let mut zones = self.zones.write().unwrap_or_else(PoisonError::into_inner);
        zones.remember(aef, after, last, seen);
    }

    /// Whether some more entries of a provider are taken: of all its AEFs together no more than so many.
    pub(crate) fn room(
        &self,
        domain: &ApiProviderDomainId,
        aefs: impl Iterator<Item = AefId>,
        more: usize,
        max: usize,
    ) -> Room {
        let mut counts = self.counts();
        let Some(counted) = &counts.counted else {
            return Room::Left;
        };
        let held: usize = aefs
            .map(|aef| {
                let counted = counted.get(&aef).copied().unwrap_or_default();
                counted + counts.since.get(&aef).copied().unwrap_or_default()
            })
            .sum();
        if held.saturating_add(more) <= max {
            return Room::Left;
        }
        let said = !counts.full.insert(domain.clone());
        Room::None { said }
    }

    /// Counts entries that came in.
    pub(crate) fn came(&self, aef: &AefId, entries: usize) {
        let mut counts = self.counts();
        let since = counts.since.entry(aef.clone()).or_default();
        *since = since.saturating_add(entries);
    }

    /// How many entries of an AEF there are, if they were counted.
    pub(crate) fn held(&self, aef: &AefId) -> Option<usize> {
        let counts = self.counts();
        let counted = counts.counted.as_ref()?.get(aef).copied();
        let since = counts.since.get(aef).copied();
        Some(counted.unwrap_or_default() + since.unwrap_or_default())
    }

    /// What has come in until now, to be handed to [`LogBook::counted`] after a count.
    pub(crate) fn since(&self) -> HashMap<AefId, usize> {
        self.counts().since.clone()
    }

    /// Takes the result of a count. What came in before it began is part of it; what came in while it ran may count twice until
    /// the next one.
    pub(crate) fn counted(&self, counted: HashMap<AefId, usize>, before: &HashMap<AefId, usize>) {
        let mut counts = self.counts();
        for (aef, since) in &mut counts.since {
            *since = since.saturating_sub(before.get(aef).copied().unwrap_or_default());
        }
        counts.since.retain(|_, since| *since > 0);
        counts.counted = Some(counted);
        counts.full.clear();
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Hands out the entries of an AEF that are sought, in the order in which they came, until `take` has enough.
pub(crate) async fn search(
    core: &Core,
    aef: &AefId,
    after: Option<String>,
    criteria: &Criteria,
    mut take: impl FnMut(String, InvocationLogEntry) -> Result<ControlFlow<()>, ApiError> + Send,
) -> Result<ControlFlow<()>, ApiError> {
    let mut after = after;
    loop {
        let concerns = |stretch: &Stretch| stretch.may_meet(criteria);
        if let Some(known) = core.log_book.behind(aef, after.as_deref(), concerns)
            && !known.concerns
        {
            after = Some(known.last);
            continue;
        }
        let found = page(core, aef, after.take()).await?;
        let last = found.last().map(|(id, _)| id.clone());
        let is_whole = found.len() == STRETCH_ENTRIES;
        for (id, entry) in found {
            if criteria.meets(&entry) && take(id, entry)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        match last.filter(|_| is_whole) {
            Some(last) => after = Some(last),
            None => return Ok(ControlFlow::Continue(())),
        }
    }
}

/// The next entries of an AEF.
pub(crate) async fn page(
    core: &Core,
    aef: &AefId,
    after: Option<String>,
) -> Result<Vec<(String, InvocationLogEntry)>, Fault> {
    let page = Page {
        kind: InvocationLogEntry::KIND,
        prefix: InvocationLogEntry::prefix(aef),
        after,
        limit: STRETCH_ENTRIES,
    };
    let found = core.store.scan(page).await?;
    found
        .into_iter()
        .map(|(key, stored)| {
            let entry = store::decode::<InvocationLogEntry>(&key, &stored)?.record;
            Ok((key.id, entry))
        })
        .collect()
}

/// The AEF of the first entry behind an id.
pub(crate) async fn next_aef(core: &Core, after: Option<String>) -> Result<Option<AefId>, Fault> {
    let page = Page {
        kind: InvocationLogEntry::KIND,
        prefix: String::new(),
        after,
        limit: 1,
    };
    let found = core.store.scan(page).await?;
    let first = found.first().and_then(|(key, _)| key.id.split_once('/'));
    Ok(first.map(|(aef, _)| AefId::new(aef)))
}

/// An id behind all entries of an AEF: what follows the prefix are digits.
pub(crate) fn behind_all(aef: &AefId) -> String {
    format!("{}~", InvocationLogEntry::prefix(aef))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_has_room_for_so_many_entries() {
        let book = LogBook::default();
        let aefs = || ["AEF1", "AEF2"].into_iter().map(AefId::from);
        let domain = ApiProviderDomainId::from("DOM");
        let room = |more| book.room(&domain, aefs(), more, 10);
        book.came(&AefId::from("AEF1"), 100);
        assert_eq!(room(1), Room::Left, "nothing was counted yet");
        let before = book.since();
        book.came(&AefId::from("AEF2"), 2);
        let counted = [("AEF1", 6), ("AEF3", 50)];
        let counted = counted.map(|(aef, count)| (AefId::from(aef), count));
        book.counted(counted.into_iter().collect(), &before);
        assert_eq!(book.held(&AefId::from("AEF1")), Some(6));
        assert_eq!(book.held(&AefId::from("AEF2")), Some(2));
        assert_eq!(room(2), Room::Left);
        assert_eq!(room(3), Room::None { said: false });
        assert_eq!(room(3), Room::None { said: true });
        book.came(&AefId::from("AEF1"), 2);
        assert_eq!(room(1), Room::None { said: true });
        book.counted(HashMap::new(), &book.since());
        assert_eq!(room(10), Room::Left);
        assert_eq!(room(11), Room::None { said: false });
    }
}
