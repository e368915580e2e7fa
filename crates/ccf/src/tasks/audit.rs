//! The audit trail's own upkeep: its head file, the refusals that were only counted, and what is old enough to be pruned.

use std::{sync::Arc, time::Duration};

use capif_procedures::changes::{Change, Changes, Kind};
use tokio::{sync::watch, time::Instant};

use crate::{
    api::problem::ApiError,
    audit::{Act, AuditRecord, PRUNE, verification::pruned_through},
    core::Core,
    store::{Chained, Fault, Page, chain::BASE_ID},
};

/// How far the head file may lag behind the trail.
const HEAD_PERIOD: Duration = Duration::from_secs(1);

/// How often the trail is looked through for what is too old.
const PRUNE_PERIOD: Duration = Duration::from_secs(300);

/// How many records one commit prunes.
const BATCH: usize = 1000;

/// Runs until stopped.
pub(super) async fn run(core: Arc<Core>, mut stopped: watch::Receiver<bool>) {
    if let Some(reason) = core.trail.broken() {
        let act = Act::by_task("AuditTrailBroken", "").detail(reason);
        if let Err(error) = core.commit(&act, Changes::new()).await {
            tracing::warn!(error = error.log(), "the audit trail takes no record");
        }
    }
    let mut due = Instant::now();
    loop {
        core.settle_trail().await;
        if Instant::now() >= due {
            due = Instant::now() + PRUNE_PERIOD;
            if let Err(error) = prune(&core).await {
                tracing::warn!(error = error.log(), "the audit trail was not pruned");
            }
        }
        tokio::select! {
            () = tokio::time::sleep(HEAD_PERIOD) => {}
            _ = stopped.wait_for(|stopped| *stopped) => break,
        }
    }
}

/// Prunes what is older than the operator wants kept. The last record always stays, and each pruning has a record.
async fn prune(core: &Core) -> Result<(), ApiError> {
    let days = core.config.audit.days;
    if days == 0 {
        return Ok(());
    }
    let limit = core.clock.now() - time::Duration::days(i64::from(days));
    while let Some(last) = last_before(core, limit).await? {
        let Ok(link) = last.claimed() else {
            return Err(Fault::Invalid("a record of the audit trail cannot be read").into());
        };
        let mut changes = Changes::new();
        changes.steps.push(Change::Prune {
            kind: Kind::Audit,
            through: link.sequence,
        });
        let act = Act::by_task(PRUNE, "").detail(pruned_through(&link));
        core.commit(&act, changes).await?;
    }
    Ok(())
}

/// The last of the first records that are older than a time, but never the last of all.
async fn last_before(core: &Core, limit: time::OffsetDateTime) -> Result<Option<Chained>, Fault> {
    let page = Page {
        kind: Kind::Audit,
        prefix: String::new(),
        after: Some(BASE_ID.to_owned()),
        limit: BATCH,
    };
    let mut found = core.store.scan(page).await?;
    if found.len() < BATCH {
        found.pop();
    }
    let mut last = None;
    for (_, stored) in found {
        let chained: Option<Chained> = serde_json::from_slice(&stored.value).ok();
        let old = chained.filter(|chained| {
            serde_json::from_str::<AuditRecord>(chained.record.get())
                .is_ok_and(|record| record.at.0 < limit)
        });
        let Some(old) = old else { break };
        last = Some(old);
    }
    Ok(last)
}
