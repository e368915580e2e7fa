//! The operator decides on enrolments that wait for it (TS 29.222 clause 5.5.2.2.2).

use capif_procedures::state::{ApiReach, PendingEnrolment, PendingWish};
use capif_spec::api_invoker_management::ApiList;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::operations::{Operation, answer};
use crate::{
    api::{approval, problem::ApiError},
    core::Core,
};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::get(
        "/pending",
        "the onboardings and updates that wait for the operator, and those that were rejected lately",
        |call| answer(async move { Ok(list(&call.core)) }),
    ),
    Operation::post(
        "/approvals",
        "approves an onboarding or update that waits",
        |call| {
            answer(async move {
                let wanted: Approval = call.json()?;
                approve(&call.core, wanted).await
            })
        },
    )
    .body(&[("id", "the id of what waits")]),
    Operation::post(
        "/rejections",
        "rejects an onboarding or update that waits",
        |call| {
            answer(async move {
                let wanted: Rejection = call.json()?;
                reject(&call.core, wanted).await
            })
        },
    )
    .body(&[
        ("id", "the id of what waits"),
        ("reason", "why, in a line that the invoker is told"),
    ]),
];

/// Approves what waits.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The id that the invoker has or is to have.
    pub id: String,
}

/// Rejects what waits.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rejection {
    /// The id that the invoker has or was to have.
    pub id: String,
    /// Why, for the invoker.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// What was decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Decision {
    /// The id.
    pub id: String,
    /// Whether the invoker is told at its notification destination; if not, it has to ask.
    pub told: bool,
}

async fn approve(core: &Core, wanted: Approval) -> Result<Decision, ApiError> {
    let decided = approval::approve(core, &wanted.id).await?;
    Ok(Decision {
        id: wanted.id,
        told: decided.told,
    })
}

async fn reject(core: &Core, wanted: Rejection) -> Result<Decision, ApiError> {
    let reason = wanted.reason.as_deref();
    let decided = approval::reject(core, &wanted.id, reason).await?;
    Ok(Decision {
        id: wanted.id,
        told: decided.told,
    })
}

/// What waits, the oldest first.
fn list(core: &Core) -> Vec<Value> {
    let records = core.view.read();
    let mut waiting: Vec<&PendingEnrolment> = records.all_pending().collect();
    waiting.sort_by_key(|held| (held.asked.0, held.id.as_str()));
    let row = |held: &PendingEnrolment| {
        let profile = records.invoker(held.id.as_str()).map(|held| &held.record);
        let (what, list, allowed, information, issuer) = match &held.wish {
            PendingWish::Onboarding(onboarding) => (
                "onboarding",
                onboarding.details.api_list.as_ref(),
                Some(&onboarding.reach),
                onboarding.details.api_invoker_information.as_ref(),
                Some(&onboarding.issuer),
            ),
            PendingWish::Replacement(details) => (
                "update",
                details.api_list.as_ref(),
                profile.and_then(|profile| profile.allowance.as_ref()),
                details.api_invoker_information.as_ref(),
                profile.map(|profile| &profile.issuer),
            ),
            PendingWish::Modification(patch) => (
                "update",
                patch.api_list.as_ref(),
                profile.and_then(|profile| profile.allowance.as_ref()),
                patch.api_invoker_information.as_ref(),
                profile.map(|profile| &profile.issuer),
            ),
        };
        json!({
            "id": held.id,
            "what": what,
            "since": held.asked,
            "until": held.expires,
            "apis": wanted(list),
            "allowed": allowed.and_then(names),
            "domain": allowed.and_then(|reach| reach.domain.as_ref()),
            "issuer": issuer,
            "information": information,
            "rejected": held.rejected.as_ref().map(|rejection| &rejection.at),
            "reason": held.rejected.as_ref().and_then(|rejection| rejection.reason.as_ref()),
        })
    };
    waiting.into_iter().map(row).collect()
}

/// The APIs that are asked for; all that are allowed if there is no list.
fn wanted(list: Option<&ApiList>) -> Option<Vec<&String>> {
    let list = list?.service_api_descriptions.as_ref()?;
    Some(list.iter().map(|api| &api.api_name).collect())
}

fn names(reach: &ApiReach) -> Option<Vec<&String>> {
    Some(reach.api_names.as_ref()?.iter().collect())
}
