//! How long the invocation logs of single APIs are kept.

use capif_procedures::{invocation_log::retention, refusal::Refusal};
use capif_spec::common::ServiceApiId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    access::{API, ApiChoice, chosen},
    operations::{Operation, answer},
};
use crate::{api::problem::ApiError, audit::Act, core::Core, view::Records};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::get(
        "/retentions",
        "how long invocation logs are kept, of APIs for which that is set",
        |call| answer(async move { Ok(list(&call.core)) }),
    ),
    Operation::post(
        "/retentions",
        "sets how long the invocation logs of an API are kept",
        |call| answer(async move { set(&call.core, call.json()?).await }),
    )
    .body(&[
        ("api", API),
        ("hours", "for how many hours from the report on"),
    ]),
    Operation::post(
        "/retentions/remove",
        "lets the invocation logs of an API be kept as those of all others",
        |call| answer(async move { remove(&call.core, call.json()?).await }),
    )
    .body(&[("api", API)]),
];

/// Sets how long the invocation logs of an API are kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NewRetention {
    /// The API.
    pub api: ApiChoice,
    /// For how many hours from the report on.
    pub hours: u32,
}

/// Lets the invocation logs of an API be kept as those of all others.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OldRetention {
    /// The API; one that is withdrawn, by its id or the name that it had.
    pub api: ApiChoice,
}

fn list(core: &Core) -> Vec<Value> {
    let records = core.view.read();
    records
        .retentions()
        .map(|held| {
            json!({
                "apiId": held.api_id,
                "apiName": held.api_name,
                "hours": held.hours,
                "published": records.api(held.api_id.as_str()).is_some(),
            })
        })
        .collect()
}

async fn set(core: &Core, wanted: NewRetention) -> Result<Value, ApiError> {
    let act = Act::by_operator("SetLogRetention", wanted.api.text())
        .detail(format!("{} hours", wanted.hours));
    core.transact(&act, |records| {
        let api = &chosen(records, &wanted.api)?.record;
        let is_set = records.retention(api.id.as_str()).is_some();
        let count = records.retentions().len();
        let changes = retention::set(api, wanted.hours, is_set, count)?;
        Ok((changes, json!({ "apiId": api.id, "hours": wanted.hours })))
    })
    .await
}

async fn remove(core: &Core, old: OldRetention) -> Result<Value, ApiError> {
    let act = Act::by_operator("RemoveLogRetention", old.api.text());
    core.transact(&act, |records| {
        let id = held(records, &old.api)?;
        let changes = retention::remove(records.retention(id.as_str()).map(AsRef::as_ref))?;
        Ok((changes, json!({ "apiId": id })))
    })
    .await
}

/// The API that is meant: of one name, the one for which something is set.
fn held(records: &Records, choice: &ApiChoice) -> Result<ServiceApiId, Refusal> {
    let name = match choice {
        ApiChoice::Id(id) => return Ok(id.clone()),
        ApiChoice::Name(name) => name,
    };
    let of_name = records.retentions().filter(|held| held.api_name == *name);
    let ids: Vec<&ServiceApiId> = of_name.map(|held| &held.api_id).collect();
    match ids.as_slice() {
        [] => Err(Refusal::NotFound {
            what: "retention of invocation logs",
        }),
        [id] => Ok((*id).clone()),
        _ => Err(Refusal::Several {
            what: "APIs",
            name: name.clone(),
            ids: ids.into_iter().map(ToString::to_string).collect(),
        }),
    }
}
