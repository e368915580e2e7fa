//! What the operator shows to whom: the discovery policy, and what lies open before onboarding (TS 23.222 annex E).

use capif_procedures::{
    discovery::policy,
    refusal::Refusal,
    state::{DiscoveryPolicy, ServiceApi},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use capif_procedures::state::{Audience, Scope};

use super::operations::{Names, Operation, answer};
use crate::{api::problem::ApiError, audit::Act, core::Core, view::Records};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::get(
        "/discovery-policies",
        "what is shown to whom, and what is hidden from whom",
        |call| answer(async move { Ok(list(&call.core)) }),
    ),
    Operation::post(
        "/discovery-policies",
        "shows APIs to somebody, or hides them",
        |call| answer(async move { set(&call.core, call.json()?).await }),
    )
    .body(&[
        ("audience", AUDIENCE),
        ("scope", SCOPE),
        ("shows", "whether they are shown; they are hidden otherwise"),
    ]),
    Operation::post(
        "/discovery-policies/remove",
        "says nothing of the kind any more",
        |call| answer(async move { remove(&call.core, call.json()?).await }),
    )
    .body(WHOSE),
];

const AUDIENCE: &str =
    "`everyone`, `anyone` (before onboarding), or one invoker as `{\"invoker\": …}`";

const SCOPE: &str = "`all`, `{\"id\": …}`, `{\"name\": …}` or `{\"category\": …}`";

const WHOSE: Names = &[("audience", AUDIENCE), ("scope", SCOPE)];

/// Whether somebody is shown some APIs.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DiscoveryRule {
    /// Who looks.
    pub audience: Audience,
    /// At what.
    pub scope: Scope,
    /// Whether it is shown; hidden otherwise.
    pub shows: bool,
}

/// Which policy is meant.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Sought {
    /// Who looks.
    pub audience: Audience,
    /// At what.
    pub scope: Scope,
}

async fn set(core: &Core, rule: DiscoveryRule) -> Result<Value, ApiError> {
    let policy = DiscoveryPolicy {
        audience: rule.audience,
        scope: rule.scope,
        shows: rule.shows,
    };
    let operation = if policy.shows {
        "ShowInDiscovery"
    } else {
        "HideFromDiscovery"
    };
    let act = Act::by_operator(operation, policy.audience.as_str()).detail(said(&policy.scope));
    core.transact(&act, |records| {
        let invoker = match &policy.audience {
            Audience::Invoker(id) => {
                let held = records.invoker(id.as_str());
                Some(held.ok_or(Refusal::NotFound {
                    what: "API invoker",
                })?)
            }
            Audience::Everyone | Audience::Anyone => None,
        };
        if let Scope::Id(id) = &policy.scope
            && records.api(id.as_str()).is_none()
        {
            return Err(Refusal::NotFound {
                what: "service API",
            });
        }
        let invoker = invoker.map(AsRef::as_ref);
        let changes = policy::set(&policy, invoker, records.discovery_policies())?;
        let answer = json!({ "meets": meets(records, &policy.scope) });
        Ok((changes, answer))
    })
    .await
}

async fn remove(core: &Core, sought: Sought) -> Result<Value, ApiError> {
    let Sought { audience, scope } = &sought;
    let act = Act::by_operator("RemoveDiscoveryPolicy", audience.as_str()).detail(said(scope));
    core.transact(&act, |records| {
        let changes = policy::remove(audience, scope, records.discovery_policies())?;
        Ok((changes, json!({})))
    })
    .await
}

fn list(core: &Core) -> Vec<Value> {
    let records = core.view.read();
    let configured = core.config.discovery.open_apis.iter().map(|name| {
        let scope = Scope::Name(name.clone());
        row(&records, &Audience::Anyone, &scope, true, "configuration")
    });
    let held = records.discovery_policies().iter();
    held.map(|policy| {
        let DiscoveryPolicy {
            audience,
            scope,
            shows,
        } = policy;
        row(&records, audience, scope, *shows, "policy")
    })
    .chain(configured)
    .collect()
}

fn row(records: &Records, audience: &Audience, scope: &Scope, shows: bool, from: &str) -> Value {
    let (kind, value) = scope.parts();
    json!({
        "audience": audience,
        "who": match audience {
            Audience::Everyone => "everyone",
            Audience::Anyone => "anyone",
            Audience::Invoker(id) => id.as_str(),
        },
        "scope": scope,
        "by": kind.trim_end_matches(':'),
        "of": value,
        "shows": shows,
        "from": from,
        "meets": meets(records, scope),
    })
}

/// How many APIs are meant now.
fn meets(records: &Records, scope: &Scope) -> usize {
    let is_meant = |api: &&ServiceApi| match scope {
        Scope::Category(category) => {
            api.description.service_api_category.as_ref() == Some(category)
        }
        Scope::Name(name) => api.description.api_name == *name,
        Scope::Id(_) | Scope::All => true,
    };
    match scope {
        Scope::Id(id) => usize::from(records.api(id.as_str()).is_some()),
        _ => records.apis().filter(is_meant).count(),
    }
}

fn said(scope: &Scope) -> String {
    let (kind, value) = scope.parts();
    format!("{kind}{value}")
}
