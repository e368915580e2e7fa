//! CAPIF_Auditing_API (TS 29.222 clause 8.8): API management functions look at what the AEFs of their domain reported.

use capif_procedures::{
    auditing::{self, Criteria, Findings},
    changes::Record,
    refusal::Refusal,
    state::InvocationLogEntry,
};
use http::StatusCode;

use super::{Answer, Call, discovery::slices, json_answer, problem::ApiError, query::Query};
use crate::{
    core::Core,
    store::{self, Page},
};

/// How many entries are read from the store at a time.
const PAGE_ENTRIES: usize = 500;

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
            let prefix = InvocationLogEntry::prefix(&aef);
            search(&call.core, prefix, &criteria, &mut findings).await?;
        }
        json_answer(StatusCode::OK, &findings.answer(&criteria)?)
    })
}

/// Looks through the entries of one AEF.
async fn search(
    core: &Core,
    prefix: String,
    criteria: &Criteria,
    findings: &mut Findings,
) -> Result<(), ApiError> {
    let mut after = None;
    loop {
        let page = Page {
            kind: InvocationLogEntry::KIND,
            prefix: prefix.clone(),
            after: after.take(),
            limit: PAGE_ENTRIES,
        };
        let found = core.store.scan(page).await?;
        for (key, stored) in &found {
            let entry = store::decode::<InvocationLogEntry>(key, stored)?;
            findings.take(criteria, entry.record)?;
        }
        match found.into_iter().nth(PAGE_ENTRIES - 1) {
            Some((last, _)) => after = Some(last.id),
            None => return Ok(()),
        }
    }
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
