//! CAPIF_Logging_API_Invocation_API (TS 29.222 clause 8.7).

use capif_procedures::invocation_log;
use capif_spec::{common::AefId, logging::InvocationLog};

use super::{Answer, Call, created};
use crate::random;

/// `POST {aefId}/logs`.
pub(crate) fn create(call: Call) -> Answer {
    Box::pin(async move {
        let report: InvocationLog = call.checked()?;
        let aef_id = AefId::new(call.parameter(0));
        let changes = {
            let records = call.core.view.read();
            let api = |id: &str| records.api(id).map(|held| &held.record);
            invocation_log::record(&report, &aef_id, api, &call.now)?
        };
        call.core.housekeep(changes).await?;
        let id = random::id("LOG")?;
        created(
            &call.core,
            &format!("/api-invocation-logs/v1/{aef_id}/logs/{id}"),
            &report,
        )
    })
}
