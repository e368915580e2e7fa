//! Removal of invocation log entries that were kept for long enough, each API by its own time; and their count.
//!
//! The first time everything is read. After that only what has come since, and what may be over.

use std::collections::HashMap;

use capif_procedures::{
    changes::{Changes, Expect},
    invocation_log::{
        retention::Keeping,
        zones::{STRETCH_ENTRIES, Stretch},
    },
    state::InvocationLogEntry,
};
use capif_spec::common::{AefId, DateTime};

use crate::{
    api::problem::ApiError,
    core::Core,
    log_book::{self, behind_all},
    store::Fault,
};

/// Looks after the entries of all AEFs, those included that are gone.
pub(super) async fn sweep(core: &Core) -> Result<(), Fault> {
    let usual = time::Duration::hours(i64::from(core.config.limits.log_hours));
    let keeping = Keeping::new(usual, core.view.read().retentions());
    let now = core.now();
    let before = core.log_book.since();
    let mut counted = HashMap::new();
    let mut after = None;
    while let Some(aef) = log_book::next_aef(core, after.take()).await? {
        let count = sweep_one(core, &aef, &keeping, &now).await?;
        after = Some(behind_all(&aef));
        counted.insert(aef, count);
    }
    core.log_book.counted(counted, &before);
    Ok(())
}

/// Says how many are left.
async fn sweep_one(
    core: &Core,
    aef: &AefId,
    keeping: &Keeping,
    now: &DateTime,
) -> Result<usize, Fault> {
    let mut count = 0;
    let mut after: Option<String> = None;
    loop {
        let concerns = |stretch: &Stretch| stretch.may_be_over(keeping, now);
        let known = core.log_book.behind(aef, after.as_deref(), concerns);
        if let Some(known) = &known
            && !known.concerns
        {
            count += known.entries;
            after = Some(known.last.clone());
            continue;
        }
        let mut found = log_book::page(core, aef, after.clone()).await?;
        let last = match known {
            // Of a known stretch there may be less left than a page holds.
            Some(known) => {
                found.retain(|(id, _)| *id <= known.last);
                Some(known.last)
            }
            None if found.len() == STRETCH_ENTRIES => found.last().map(|(id, _)| id.clone()),
            None => None,
        };
        let mut left = Stretch::default();
        let mut changes = Changes::new();
        for (id, entry) in &found {
            if keeping.is_over_for(entry, now) {
                changes.delete::<InvocationLogEntry>(id.as_str(), Expect::Any);
            } else {
                left.add(entry);
            }
        }
        let is_done = match changes.is_empty() {
            true => true,
            false => match core.housekeep(changes).await {
                Ok(()) => true,
                Err(ApiError::Store(fault)) => return Err(fault),
                // What is still there is looked at again next time.
                Err(_) => false,
            },
        };
        count += left.entries();
        let Some(last) = last else {
            return Ok(count);
        };
        if is_done {
            core.log_book.remember(aef, after.as_deref(), &last, left);
        }
        after = Some(last);
    }
}
