//! What the operator says about an invoker's use of APIs: access control policies, revocations, permissions.

use capif_procedures::{
    access_control::{self, Around, Member},
    changes::Versioned,
    refusal::Refusal,
    revocation::{self, Order},
    state::{AccessControlPolicy, Invoker, Limits, ServiceApi, Subscription, Usage},
};
use capif_spec::{
    common::{AefId, ApiInvokerId, NetSliceId, ServiceApiId},
    security::Cause,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use capif_procedures::state::TimeRange;

use super::operations::{Names, Operation, answer};
use crate::{api::problem::ApiError, audit::Act, core::Core, destination::Content, view::Records};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::get(
        "/policies",
        "the access control policies, and how much was used under each",
        |call| answer(async move { Ok(list(&call.core)) }),
    ),
    Operation::post("/policies", "sets an access control policy", |call| {
        answer(async move { set(&call.core, call.json()?).await })
    })
    .body(&[
        ("api", API),
        (
            "invoker",
            "the one invoker that it is for; each one without a policy of its own if absent",
        ),
        ("total", "how many calls in all"),
        ("perSecond", "how many calls within any one second"),
        ("times", "when, each `from` and `to`; at any time if absent"),
        (
            "slices",
            "in which network slices, each `snssai`, `nsiId` or `ensi`; in any if absent",
        ),
        ("reset", "whether what was used before is forgotten"),
    ]),
    Operation::post(
        "/policies/remove",
        "removes an access control policy",
        |call| answer(async move { remove(&call.core, call.json()?).await }),
    )
    .body(&[("api", API), ("invoker", "the one invoker that it is for")]),
    Operation::get("/usage", "how many calls count against totals", |call| {
        answer(async move { Ok(usage(&call.core)) })
    }),
    Operation::post(
        "/revocations",
        "takes everything, or one API, away from an invoker, and shuts it out",
        |call| answer(async move { revoke(&call.core, call.json()?).await }),
    )
    .body(VERDICT),
    Operation::post(
        "/permissions",
        "lets an invoker back in that was shut out",
        |call| answer(async move { permit(&call.core, call.json()?).await }),
    )
    .body(VERDICT),
];

/// How an API is named.
pub(super) const API: &str = "the API, as `{\"name\": …}` or `{\"id\": …}`";

const VERDICT: Names = &[
    ("invoker", "the id of the invoker"),
    ("api", "the one API, by name or id; everything if absent"),
];

/// Which API is meant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ApiChoice {
    /// The one of this name; there must not be several.
    Name(String),
    /// The one of this id.
    Id(ServiceApiId),
}

impl ApiChoice {
    pub(super) fn text(&self) -> &str {
        match self {
            Self::Name(name) => name,
            Self::Id(id) => id.as_str(),
        }
    }
}

/// Sets a policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewPolicy {
    /// The API.
    pub api: ApiChoice,
    /// The one invoker that it is for; everyone without one of its own if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoker: Option<ApiInvokerId>,
    /// How many calls in all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// How many calls within any one second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub per_second: Option<u64>,
    /// When; at any time if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub times: Vec<TimeRange>,
    /// In which network slices; in any if there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub slices: Vec<NetSliceId>,
    /// Whether what was used before is forgotten.
    #[serde(default)]
    pub reset: bool,
}

/// Removes a policy.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OldPolicy {
    /// The API.
    pub api: ApiChoice,
    /// The one invoker that it is for; everyone if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub invoker: Option<ApiInvokerId>,
}

/// Revokes or permits.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Verdict {
    /// The invoker.
    pub invoker: ApiInvokerId,
    /// The one API; everything if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub api: Option<ApiChoice>,
}

/// What became of a revocation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Revoked {
    /// The AEFs that are told.
    pub told: Vec<AefId>,
}

/// What became of a permission.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permitted {
    /// Whether the invoker was shut out before.
    pub lifted: bool,
}

async fn set(core: &Core, wanted: NewPolicy) -> Result<Value, ApiError> {
    let now = core.now();
    core.transact(
        &policy_act("SetPolicy", &wanted.api, wanted.invoker.as_ref()),
        |records| {
            let api = chosen(records, &wanted.api)?;
            let invoker = wanted
                .invoker
                .as_ref()
                .map(|id| known(records, id))
                .transpose()?;
            let limits = Limits {
                total: wanted.total,
                per_second: wanted.per_second,
                times: wanted.times.clone(),
                slices: wanted.slices.clone(),
            };
            let forgotten = |usage: &&Usage| {
                let of = wanted.invoker.as_ref();
                wanted.reset
                    && usage.api_id == api.record.id
                    && of.is_none_or(|id| *id == usage.invoker_id)
            };
            let used = records.usages().filter(forgotten);
            let changes = access_control::set(limits, invoker, used, around(records, api), &now)?;
            let answer = json!({ "apiId": api.record.id, "apiInvokerId": wanted.invoker });
            Ok((changes, answer))
        },
    )
    .await
}

async fn remove(core: &Core, old: OldPolicy) -> Result<Value, ApiError> {
    let now = core.now();
    core.transact(
        &policy_act("RemovePolicy", &old.api, old.invoker.as_ref()),
        |records| {
            let api = chosen(records, &old.api)?;
            let held =
                records
                    .policy(&api.record.id, old.invoker.as_ref())
                    .ok_or(Refusal::NotFound {
                        what: "access control policy",
                    })?;
            let changes = access_control::remove(held, around(records, api), &now);
            Ok((changes, json!({ "apiId": api.record.id })))
        },
    )
    .await
}

fn list(core: &Core) -> Vec<Value> {
    let records = core.view.read();
    records
        .policies()
        .map(|policy| {
            let name = records
                .api(policy.api_id.as_str())
                .map(|api| api.record.description.api_name.as_str());
            let usage: Vec<&Usage> = records
                .usages()
                .filter(|usage| counts_under(policy, usage, &records))
                .collect();
            let by_invoker: Vec<Value> = usage
                .iter()
                .map(|usage| json!({ "apiInvokerId": usage.invoker_id, "calls": usage.calls }))
                .collect();
            let times: Vec<Value> = policy
                .limits
                .times
                .iter()
                .map(|range| json!({ "from": range.from, "to": range.to }))
                .collect();
            json!({
                "apiId": policy.api_id,
                "apiName": name,
                "apiInvokerId": policy.invoker_id,
                "total": policy.limits.total,
                "perSecond": policy.limits.per_second,
                "times": times,
                "slices": policy.limits.slices,
                "used": usage.iter().map(|usage| usage.calls).sum::<u64>(),
                "usage": by_invoker,
            })
        })
        .collect()
}

fn usage(core: &Core) -> Vec<Value> {
    let records = core.view.read();
    let mut rows: Vec<&Usage> = records.usages().collect();
    rows.sort_by_key(|usage| (&usage.api_id, &usage.invoker_id));
    rows.into_iter()
        .map(|usage| json!({ "apiId": usage.api_id, "apiInvokerId": usage.invoker_id, "calls": usage.calls }))
        .collect()
}

fn counts_under(policy: &AccessControlPolicy, usage: &Usage, records: &Records) -> bool {
    usage.api_id == policy.api_id
        && match &policy.invoker_id {
            Some(id) => *id == usage.invoker_id,
            None => records
                .policy(&policy.api_id, Some(&usage.invoker_id))
                .is_none(),
        }
}

async fn revoke(core: &Core, verdict: Verdict) -> Result<Revoked, ApiError> {
    let now = core.now();
    core.transact(&verdict_act("Revoke", &verdict), |records| {
        let invoker = known(records, &verdict.invoker)?;
        let api = match &verdict.api {
            None => None,
            Some(choice) => Some([chosen(records, choice)?.record.id.clone()]),
        };
        let held = records.context(verdict.invoker.as_str());
        let order = Order {
            apis: api.as_ref().map(<[_; 1]>::as_slice),
            cause: Cause::AuthorizationIssue,
            callback: held.is_some_and(|held| {
                let destination = held.record.told_at();
                let invoker = &held.record.invoker_id;
                core.calls_back(records, invoker, destination, Content::Notice)
            }),
            now: &now,
        };
        let (changes, told) = revocation::revoke_and_bar(
            &order,
            invoker,
            held.map(AsRef::as_ref),
            records.apis(),
            records.subscriptions(),
        );
        Ok((changes, Revoked { told }))
    })
    .await
}

async fn permit(core: &Core, verdict: Verdict) -> Result<Permitted, ApiError> {
    core.transact(&verdict_act("Permit", &verdict), |records| {
        let invoker = known(records, &verdict.invoker)?;
        let api = match &verdict.api {
            None => None,
            // One that was withdrawn since may still stand among what the invoker is shut out of.
            Some(ApiChoice::Id(id)) => Some([id.clone()]),
            Some(choice) => Some([chosen(records, choice)?.record.id.clone()]),
        };
        let (changes, lifted) = revocation::permit(invoker, api.as_ref().map(<[_; 1]>::as_slice))?;
        Ok((changes, Permitted { lifted }))
    })
    .await
}

/// A policy is named by its API, and by its invoker if it is one invoker's.
fn policy_act(operation: &'static str, api: &ApiChoice, invoker: Option<&ApiInvokerId>) -> Act {
    let whose = invoker.map_or("everyone", ApiInvokerId::as_str);
    Act::by_operator(operation, api.text()).detail(format!("for {whose}"))
}

fn verdict_act(operation: &'static str, verdict: &Verdict) -> Act {
    let api = verdict.api.as_ref().map_or("everything", ApiChoice::text);
    Act::by_operator(operation, verdict.invoker.as_str()).detail(api)
}

fn around<'a>(
    records: &'a Records,
    api: &'a Versioned<ServiceApi>,
) -> Around<
    'a,
    impl Iterator<Item = Member<'a>> + Clone,
    impl Iterator<Item = &'a Subscription> + Clone,
> {
    Around {
        policies: records.policies_of(&api.record.id).collect(),
        api,
        members: records.members(),
        subscriptions: records.subscriptions(),
    }
}

fn known<'a>(records: &'a Records, id: &ApiInvokerId) -> Result<&'a Versioned<Invoker>, Refusal> {
    let held = records.invoker(id.as_str()).ok_or(Refusal::NotFound {
        what: "API invoker",
    })?;
    Ok(held)
}

/// Finds the API that is meant. Providers may choose the same name.
pub(super) fn chosen<'a>(
    records: &'a Records,
    choice: &ApiChoice,
) -> Result<&'a Versioned<ServiceApi>, Refusal> {
    let unknown = Refusal::NotFound {
        what: "service API",
    };
    let name = match choice {
        ApiChoice::Id(id) => {
            let held = records.api(id.as_str()).ok_or(unknown)?;
            return Ok(held);
        }
        ApiChoice::Name(name) => name,
    };
    let ids: Vec<String> = records
        .apis()
        .filter(|api| api.description.api_name == *name)
        .map(|api| api.id.to_string())
        .collect();
    match ids.as_slice() {
        [] => Err(unknown),
        [id] => records.api(id).map(AsRef::as_ref).ok_or(unknown),
        _ => Err(Refusal::Several {
            what: "APIs",
            name: name.clone(),
            ids,
        }),
    }
}
