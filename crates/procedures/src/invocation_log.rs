//! Invocation logs (TS 23.222 clause 8.19, TS 29.222 clause 5.8).

use capif_spec::{
    common::{AefId, DateTime},
    logging::InvocationLog,
};

use crate::{
    access_control,
    changes::{Changes, Expect},
    refusal::Refusal,
    state::{InvocationLogEntry, ProviderFunction, ServiceApi},
};

/// How many entries one report may hold.
pub const ENTRIES_MAX: usize = 1000;

/// Takes a report of an AEF. `api` finds a published API by its id.
///
/// # Errors
/// Refuses a report in another AEF's name, about APIs that it does not expose, or of too many entries.
pub fn record<'a>(
    report: &InvocationLog,
    aef_id: &AefId,
    api: impl Fn(&str) -> Option<&'a ServiceApi>,
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
        if !api(log.api_id.as_str()).is_some_and(|api| access_control::exposes(api, aef_id)) {
            return Err(Refusal::incorrect(
                format!("/logs/{index}/apiId"),
                "`apiId` is not an API that this AEF exposes",
            ));
        }
        changes.append(
            InvocationLogEntry::prefix(aef_id),
            &InvocationLogEntry {
                aef_id: aef_id.clone(),
                api_invoker_id: report.api_invoker_id.clone(),
                log: log.clone(),
                received: now.clone(),
            },
        );
    }
    Ok(changes)
}

#[cfg(test)]
mod tests;
