//! CAPIF_Auditing_API (TS 29.222 clause 8.8): API management functions look at what the AEFs of their domain reported.

use std::ops::ControlFlow;

use capif_procedures::{
    auditing::{self, Criteria, Findings},
    refusal::Refusal,
};
use http::StatusCode;

use super::{Answer, Call, discovery::slices, json_answer, query::Query};
use crate::log_book;

/// `GET apiInvocationLogs`.
pub(crate) fn list(call: Call) -> Answer {
    Box::pin(async move {
        let amf = call.caller.function()?;
        let criteria = criteria(&Query(&call.query))?;
        let aefs = {
            let records = call.core.view.read();
            let domain = records.domain(amf.domain_id.as_str());
            let ids = domain.into_iter().flat_map(|held| &held.record.functions);
            let functions = ids
                .filter_map(|id| records.function(id.as_str()))
                .map(|held| &held.record);
            auditing::scope(&criteria, amf, functions)?
        };
        let mut findings = Findings::default();
        for aef in aefs {
            let _all = log_book::search(&call.core, &aef, None, &criteria, |_, entry| {
                findings.take(&criteria, entry)?;
                Ok(ControlFlow::Continue(()))
            })
            .await?;
        }
        json_answer(StatusCode::OK, &findings.answer(&criteria)?)
    })
}

/// Reads the criteria (TS 29.222 table 8.8.2.2.3.1-1).
fn criteria(query: &Query<'_>) -> Result<Criteria, Refusal> {
    Ok(Criteria {
        aef_id: query.text("aef-id"),
        api_invoker_id: query.text("api-invoker-id"),
        time_range_start: query.time("time-range-start")?,
        time_range_end: query.time("time-range-end")?,
        api_id: query.text("api-id"),
        api_name: query.text("api-name"),
        api_version: query.text("api-version"),
        protocol: query.text("protocol"),
        operation: query.text("operation"),
        result: query.text("result"),
        resource_name: query.text("resource-name"),
        src_interface: query.object("src-interface")?,
        dest_interface: query.object("dest-interface")?,
        net_slices: slices(query)?,
        supported_features: query.features("supported-features")?,
    })
}
