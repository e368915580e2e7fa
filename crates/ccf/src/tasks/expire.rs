//! Removal of what time has made needless: marks of use of credentials that are too old to be used anyway, handed-over
//! credentials that nobody used, old invocation logs, what nobody could be told, what was used of APIs that are withdrawn, revoked
//! certificates that would have ended by now, and that somebody was here whose time of remembrance is over.

use std::{sync::Arc, time::Duration};

use capif_procedures::{
    changes::{Change, Changes, Expect, Record},
    state::{
        Callback, CredentialUse, Departure, DiscoveryPolicy, RegisteredCredential,
        RevokedCertificate, Scope, Usage,
    },
};
use capif_spec::common::ServiceApiId;
use tokio::{sync::watch, time::Instant};

use super::logs;
use crate::{
    api::problem::ApiError,
    core::Core,
    store::{self, Fault, Page},
    tasks::parcel::CALLBACK_KEPT,
};

/// How often the store is swept.
const PERIOD: Duration = Duration::from_secs(300);

/// How many records one commit removes.
const BATCH: usize = 500;

/// Runs until stopped.
pub(super) async fn run(core: Arc<Core>, mut stopped: watch::Receiver<bool>) {
    let withdrawn = Arc::clone(core.view.withdrawn());
    let mut due = Instant::now();
    loop {
        let swept = if Instant::now() >= due {
            due = Instant::now() + PERIOD;
            sweep_all(&core).await
        } else {
            sweep_usage(&core).await
        };
        if let Err(fault) = swept {
            tracing::warn!(%fault, "expired records were not removed");
        }
        tokio::select! {
            () = tokio::time::sleep_until(due) => {}
            () = withdrawn.notified() => {}
            _ = stopped.wait_for(|stopped| *stopped) => break,
        }
    }
}

async fn sweep_all(core: &Core) -> Result<(), Fault> {
    let now = core.now();
    sweep::<CredentialUse>(core, |record| record.expires <= now).await?;
    sweep::<RegisteredCredential>(core, |record| record.expires <= now).await?;
    sweep::<Callback>(core, |record| record.raised.0 + CALLBACK_KEPT < now.0).await?;
    sweep::<RevokedCertificate>(core, |record| record.not_after <= now).await?;
    let kept = time::Duration::days(i64::from(core.config.retention.offboarded_days));
    sweep::<Departure>(core, |record| record.offboarded.0 + kept <= now.0).await?;
    sweep_usage(core).await?;
    logs::sweep(core).await
}

/// Ids are not given twice, so that what was used or said of an API that is not there counts for nothing any more.
async fn sweep_usage(core: &Core) -> Result<(), Fault> {
    let withdrawn = |id: &ServiceApiId| core.view.read().api(id.as_str()).is_none();
    sweep::<Usage>(core, |usage| withdrawn(&usage.api_id)).await?;
    sweep::<DiscoveryPolicy>(
        core,
        |policy| matches!(&policy.scope, Scope::Id(id) if withdrawn(id)),
    )
    .await
}

async fn sweep<R: Record>(core: &Core, expired: impl Fn(&R) -> bool) -> Result<(), Fault> {
    let mut after = None;
    loop {
        let page = Page {
            kind: R::KIND,
            prefix: String::new(),
            after: after.take(),
            limit: BATCH,
        };
        let found = core.store.scan(page).await?;
        let Some((last, _)) = found.last() else {
            return Ok(());
        };
        after = Some(last.id.clone());
        let mut changes = Changes::new();
        for (key, stored) in found {
            if expired(&store::decode::<R>(&key, &stored)?.record) {
                changes.steps.push(Change::Delete {
                    key,
                    expect: Expect::Any,
                });
            }
        }
        if changes.is_empty() {
            continue;
        }
        // Whatever moved meanwhile is looked at again next time.
        if let Err(ApiError::Store(fault)) = core.housekeep(changes).await {
            return Err(fault);
        }
    }
}
