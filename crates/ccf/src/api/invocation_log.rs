//! CAPIF_Logging_API_Invocation_API (TS 29.222 clause 8.7).

use capif_procedures::invocation_log;
use capif_spec::{common::AefId, logging::InvocationLog};

use super::{Answer, Call, created, problem::ApiError};
use crate::{log_book::Room, random};

/// `POST {aefId}/logs`.
pub(crate) fn create(call: Call) -> Answer {
    Box::pin(async move {
        let report = invocation_log::agreed(call.checked::<InvocationLog>()?);
        let aef_id = AefId::new(call.parameter(0));
        let changes = {
            let records = call.core.view.read();
            let api = |id: &str| records.api(id).map(|held| &held.record);
            invocation_log::record(&report, &aef_id, api, records.subscriptions(), &call.now)?
        };
        has_room(&call, report.logs.len())?;
        call.core.housekeep(changes).await?;
        call.core.log_book.came(&aef_id, report.logs.len());
        let id = random::id("LOG")?;
        created(
            &call.core,
            &format!("/api-invocation-logs/v1/{aef_id}/logs/{id}"),
            &report,
        )
    })
}

/// A provider's entries have a bound, so that none fills the store of all others.
fn has_room(call: &Call, more: usize) -> Result<(), ApiError> {
    let max = call.core.config.limits.log_entries_max;
    let domain = &call.caller.function()?.domain_id;
    let aefs: Vec<AefId> = {
        let records = call.core.view.read();
        let domain = records.domain(domain.as_str());
        let functions = domain.into_iter().flat_map(|held| &held.record.functions);
        functions.map(|id| AefId::new(id.as_str())).collect()
    };
    match call.core.log_book.room(domain, aefs.into_iter(), more, max) {
        Room::Left => Ok(()),
        Room::None { said } => {
            if !said {
                tracing::error!(
                    target: "capif::alarm",
                    alarm = "log-full",
                    provider = %domain,
                    entries = max,
                    "a provider has as many invocation log entries as it may; further ones are refused until old ones end"
                );
            }
            Err(ApiError::LogFull { max })
        }
    }
}
