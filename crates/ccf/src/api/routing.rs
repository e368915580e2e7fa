//! CAPIF_Routing_Info_API (TS 29.222 clause 8.10).

use capif_procedures::{
    refusal::{Refusal, RequestFault},
    routing,
};
use capif_spec::common::{AefId, SupportedFeatures};
use http::StatusCode;

use super::{Answer, Call, json_answer};

/// `GET service-apis/{serviceApiId}`.
pub(crate) fn get(call: Call) -> Answer {
    Box::pin(async move {
        let aef_id = AefId::new(call.caller.function()?.id.as_str());
        let wrong = |pointer: &str, reason: &str, fault| Refusal::Malformed {
            pointer: pointer.to_owned(),
            reason: reason.to_owned(),
            fault,
        };
        let named = call
            .query("aef-id")
            .ok_or_else(|| wrong("aef-id", "`aef-id` is missing", RequestFault::QueryMissing))?;
        if named != aef_id.as_str() {
            return Err(Refusal::NotTheCaller { place: "query" }.into());
        }
        let features = call.query("supp-feat").map(SupportedFeatures::from);
        if features.is_some_and(|features| !features.is_valid()) {
            let reason = "features are hexadecimal digits";
            return Err(wrong("supp-feat", reason, RequestFault::QueryIncorrect).into());
        }
        let records = call.core.view.read();
        let api = records.api(call.parameter(0)).map(|held| &held.record);
        let found = routing::information(api, records.hidings(), &aef_id)?;
        json_answer(StatusCode::OK, &found)
    })
}
