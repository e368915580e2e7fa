//! Invocation logs (TS 23.222 clause 8.19, TS 29.222 clause 5.8).

pub mod retention;
pub mod zones;

use capif_spec::{
    common::{AefId, DateTime, SupportedFeatures},
    logging::InvocationLog,
};

use crate::{
    changes::{Changes, Expect},
    events,
    refusal::Refusal,
    state::{InvocationLogEntry, ProviderFunction, ServiceApi, Subscription},
};

/// The features of the Logging API that are served (TS 29.222 clause 8.7.6): SliceBasedAPIExposure.
pub const FEATURES: &str = "1";

const SLICE_BASED_API_EXPOSURE: u32 = 1;

/// How many entries one report may hold.
pub const ENTRIES_MAX: usize = 1000;

/// How long the text of one entry may be, in octets: the bound on a provider's entries counts them, whatever their length, and the id of
/// the invoker stands in each.
pub const ENTRY_BYTES_MAX: usize = 16 * 1024;

/// A report with the features that both sides have, and without the members of others (TS 29.222 clause 7.8).
#[must_use]
pub fn agreed(mut report: InvocationLog) -> InvocationLog {
    report.supported_features = report
        .supported_features
        .map(|offered| offered.intersect(&SupportedFeatures::from(FEATURES)));
    let slices = report
        .supported_features
        .as_ref()
        .is_some_and(|agreed| agreed.has(SLICE_BASED_API_EXPOSURE));
    if !slices {
        for log in &mut report.logs {
            log.net_slice_info = None;
        }
    }
    report
}

/// Takes a report of an AEF, and tells of its calls who wants to hear of them. `api` finds a published API by its id.
///
/// # Errors
/// Refuses a report in another AEF's name, about APIs that it does not expose, or of too many or too large entries.
pub fn record<'a>(
    report: &InvocationLog,
    aef_id: &AefId,
    api: impl Fn(&str) -> Option<&'a ServiceApi>,
    subscriptions: impl Iterator<Item = &'a Subscription> + Clone,
    now: &DateTime,
) -> Result<Changes, Refusal> {
    if report.aef_id != *aef_id {
        return Err(Refusal::NotTheCaller { place: "body" });
    }
    if report.logs.is_empty() || report.logs.len() > ENTRIES_MAX {
        return Err(Refusal::incorrect(
            "/logs",
            format!("`logs` holds 1 to {ENTRIES_MAX} entries"),
        ));
    }
    let mut changes = Changes::new();
    changes.require::<ProviderFunction>(aef_id.as_str(), Expect::Present);
    for (index, log) in report.logs.iter().enumerate() {
        if !api(log.api_id.as_str()).is_some_and(|api| api.involves(aef_id)) {
            return Err(Refusal::incorrect(
                format!("/logs/{index}/apiId"),
                "`apiId` is not an API that this AEF exposes",
            ));
        }
        let entry = InvocationLogEntry {
            aef_id: aef_id.clone(),
            api_invoker_id: report.api_invoker_id.clone(),
            log: log.clone(),
            received: now.clone(),
        };
        if serde_json::to_vec(&entry).map_or(usize::MAX, |text| text.len()) > ENTRY_BYTES_MAX {
            return Err(Refusal::incorrect(
                format!("/logs/{index}"),
                format!(
                    "an entry, the id of the invoker included, is larger than {ENTRY_BYTES_MAX} bytes"
                ),
            ));
        }
        changes.append(InvocationLogEntry::prefix(aef_id), &entry);
    }
    for occurrence in events::of_invocations(report, api) {
        events::raise(&mut changes, occurrence, subscriptions.clone(), now);
    }
    Ok(changes)
}

#[cfg(test)]
mod tests;
