//! Tells those who subscribed to it how often APIs were discovered: what was counted in memory since the last time.

use std::{sync::Arc, time::Duration};

use capif_procedures::{changes::Changes, events, state::ServiceApi};
use capif_spec::{
    common::ServiceApiId,
    events::{CapifEvent, DiscoveryCount},
};
use tokio::sync::watch;

use crate::core::Core;

/// Of how many APIs one event tells.
const APIS_MAX: usize = 500;

/// Runs until stopped, and tells once more then, so that nothing is lost in an orderly stop.
pub(super) async fn run(core: Arc<Core>, mut stopped: watch::Receiver<bool>) {
    let period = Duration::from_secs(u64::from(core.config.discovery.count_seconds));
    loop {
        let stops = tokio::select! {
            () = tokio::time::sleep(period) => false,
            _ = stopped.wait_for(|stopped| *stopped) => true,
        };
        tell(&core).await;
        if stops {
            break;
        }
    }
}

async fn tell(core: &Core) {
    for counts in taken(core).chunks(APIS_MAX) {
        let mut changes = Changes::new();
        events::raise(
            &mut changes,
            events::of_discovery_counts(counts.to_vec()),
            core.view.read().subscriptions(),
            &core.now(),
        );
        if changes.is_empty() {
            continue;
        }
        if let Err(error) = core.housekeep(changes).await {
            tracing::warn!(error = error.log(), "counts of discoveries were not told");
        }
    }
}

/// What was counted of the APIs that some subscriber hears of. Of the others, and while nobody listens, it is forgotten: a count
/// begins where the interest in it does.
fn taken(core: &Core) -> Vec<(ServiceApi, DiscoveryCount)> {
    let records = core.view.read();
    let event = CapifEvent::ServiceApiDiscoveryByApiInvokersCount;
    let listeners: Vec<_> = records
        .subscriptions()
        .filter(|it| it.subscription.events.contains(&event))
        .collect();
    records
        .catalogue()
        .take_discoveries()
        .filter(|(api, _)| listeners.iter().any(|it| it.reach.includes(api)))
        .map(|(api, counts)| (api.clone(), told(&api.id, counts.asked, counts.shown)))
        .collect()
}

fn told(id: &ServiceApiId, asked: u32, shown: u32) -> DiscoveryCount {
    DiscoveryCount {
        api_id: id.clone(),
        discovery_req_count: Some(asked.into()),
        discovery_rsp_count: Some(shown.into()),
        extra: Default::default(),
    }
}
