//! CAPIF_Access_Control_Policy_API (TS 29.222 clause 8.6), and the allowances of our own by which the processes of AEFs share
//! its totals and rates.

use capif_procedures::{
    access_control::{
        self,
        allowance::{self, Allowance, AllowanceReq, Terms},
    },
    refusal::{Refusal, RequestFault},
    state::{AccessControlPolicy, ServiceApi},
};
use capif_spec::{
    access_control_policy::AccessControlPolicyList,
    common::{AefId, ApiInvokerId, ServiceApiId, SupportedFeatures},
};
use http::StatusCode;

use super::{Answer, Call, json_answer};
use crate::view::Records;

/// `GET accessControlPolicyList/{serviceApiId}`.
pub(crate) fn list(call: Call) -> Answer {
    Box::pin(async move {
        let aef_id = AefId::new(call.caller.function()?.id.as_str());
        let wrong = |pointer: &str, reason: &str| Refusal::Malformed {
            pointer: pointer.to_owned(),
            reason: reason.to_owned(),
            fault: RequestFault::Query,
        };
        let named = call
            .query("aef-id")
            .ok_or_else(|| wrong("aef-id", "`aef-id` is missing"))?;
        if named != aef_id.as_str() {
            return Err(Refusal::NotTheCaller { place: "query" }.into());
        }
        let features = call
            .query("supported-features")
            .map(SupportedFeatures::from);
        if features.is_some_and(|features| !features.is_valid()) {
            return Err(wrong("supported-features", "features are hexadecimal digits").into());
        }
        let only = call.query("api-invoker-id").map(ApiInvokerId::from);

        let records = call.core.view.read();
        let api = exposed_by(&records, call.parameter(0), &aef_id)?;
        let policies: Vec<&AccessControlPolicy> = records
            .policies_of(&api.id)
            .filter(|policy| {
                only.is_none() || policy.invoker_id.is_none() || policy.invoker_id == only
            })
            .collect();
        let none = Refusal::NotFound {
            what: "access control policy",
        };
        if policies.is_empty() {
            return Err(none.into());
        }
        let found = match &only {
            None => access_control::list(api, &aef_id, &policies, records.members()),
            Some(id) => {
                let member = records.member(id.as_str()).into_iter();
                access_control::list(api, &aef_id, &policies, member)
            }
        };
        if only.is_some() && found.is_empty() {
            return Err(none.into());
        }
        let list = AccessControlPolicyList {
            api_invoker_policies: Some(found),
            ..AccessControlPolicyList::default()
        };
        json_answer(StatusCode::OK, &list)
    })
}

/// `POST /capif-allowances/v1/{serviceApiId}`.
pub(crate) fn allow(call: Call) -> Answer {
    Box::pin(async move {
        let aef_id = AefId::new(call.caller.function()?.id.as_str());
        let request: AllowanceReq = call.json()?;
        request.check()?;
        let api = ServiceApiId::new(call.parameter(0));
        let invoker = &request.api_invoker_id;
        let core = &call.core;
        let policy = {
            let records = core.view.read();
            let policy = terms(&records, &api, &aef_id, invoker)?.policy();
            policy.map(|policy| policy.revision)
        };
        let Some(policy) = policy else {
            let allowance = Allowance {
                granted: request.wanted,
                exhausted: None,
                retry_after_ms: None,
            };
            return json_answer(StatusCode::OK, &allowance);
        };
        let key = (api.clone(), invoker.clone());
        let gate = core.allowances.gate(key, policy, call.now.0);
        // One after the other, so that they do not decide on each other's leftovers.
        let mut window = gate.lock().await;
        let allowance = core
            .tend(|records| {
                let terms = terms(records, &api, &aef_id, invoker)?;
                Ok(allowance::grant(
                    request.wanted,
                    terms,
                    &window,
                    core.clock.now(),
                ))
            })
            .await?;
        // The calls are made after this moment, not after the decision.
        window.take(allowance.granted, core.clock.now());
        json_answer(StatusCode::OK, &allowance)
    })
}

/// An API, for an AEF that exposes it; any other is not there for it (P-20).
fn exposed_by<'a>(
    records: &'a Records,
    api: &str,
    aef_id: &AefId,
) -> Result<&'a ServiceApi, Refusal> {
    records
        .api(api)
        .map(|held| &held.record)
        .filter(|api| access_control::exposes(api, aef_id))
        .ok_or(Refusal::NotFound {
            what: "service API",
        })
}

/// What counts for an invoker that has a context for the API at the AEF.
fn terms<'a>(
    records: &'a Records,
    api: &ServiceApiId,
    aef_id: &AefId,
    invoker: &'a ApiInvokerId,
) -> Result<Terms<'a>, Refusal> {
    let api = exposed_by(records, api.as_str(), aef_id)?;
    records
        .member(invoker.as_str())
        .filter(|member| member.uses(api, aef_id))
        .ok_or(Refusal::NotFound {
            what: "security context",
        })?;
    Ok(Terms {
        invoker,
        api,
        own: records.policy(&api.id, Some(invoker)).map(AsRef::as_ref),
        default: records.policy(&api.id, None).map(AsRef::as_ref),
        usage: records.usage(invoker, &api.id).map(AsRef::as_ref),
    })
}
