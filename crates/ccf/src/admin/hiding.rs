//! Behind which APIs the topology is hidden, and by which AEF (TS 23.222 clauses 8.13 and 8.24).

use capif_procedures::{
    changes::{Record, Versioned},
    refusal::Refusal,
    state::{Entry, Hidden, Route, ServiceApi, Subscription, TopologyHiding},
    topology_hiding::{self, Around},
};
use capif_spec::{
    common::{AefId, ApiProviderDomainId},
    publish_service::{InterfaceDescription, SecurityMethod},
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    access::{ApiChoice, chosen},
    operations::{Operation, answer},
};
use crate::{api::problem::ApiError, audit::Act, core::Core, view::Records};

pub(super) const OPERATIONS: &[Operation] = &[
    Operation::get(
        "/hidden",
        "behind which APIs the topology is hidden, and by whom",
        |call| answer(async move { Ok(list(&call.core)) }),
    ),
    Operation::post(
        "/hidden",
        "shows one AEF in the place of those that expose an API",
        |call| answer(async move { hide(&call.core, call.json()?).await }),
    )
    .body(&[
        ("what", WHAT),
        ("aefId", "the AEF that takes the calls"),
        (
            "interfaces",
            "where it takes them; by its own publication if empty",
        ),
        (
            "securityMethods",
            "by which methods; those of its own publication, or else of the AEFs behind it, if empty",
        ),
        (
            "routes",
            "from which network calls go to which AEF behind: `{\"from\": \"192.0.2.0/24\", \"aefId\": …}`",
        ),
        ("abroad", "whether it may be of another provider domain"),
    ]),
    Operation::post(
        "/hidden/remove",
        "shows again what was published",
        |call| answer(async move { remove(&call.core, call.json()?).await }),
    )
    .body(&[("what", WHAT), ("provider", "the domain, where several hide APIs of the name")]),
];

const WHAT: &str = "`{\"api\": {\"id\": …}}`, `{\"api\": {\"name\": …}}`, or `{\"name\": …}` for what is published under a name later too";

/// What is hidden.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum WhatIsHidden {
    /// One API that is published.
    Api(ApiChoice),
    /// Whatever the provider domain of the AEF publishes under a name.
    Name(String),
}

impl WhatIsHidden {
    fn text(&self) -> &str {
        match self {
            Self::Api(choice) => choice.text(),
            Self::Name(name) => name,
        }
    }
}

/// A decision to hide a topology.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct NewHiding {
    /// What is hidden.
    pub what: WhatIsHidden,
    /// By whom.
    pub aef_id: AefId,
    /// Where it takes the calls; by its own publication if empty.
    #[serde(default)]
    pub interfaces: Vec<InterfaceDescription>,
    /// By which methods.
    #[serde(default)]
    pub security_methods: Vec<SecurityMethod>,
    /// Where they go from there.
    #[serde(default)]
    pub routes: Vec<Route>,
    /// Whether the AEF may be of another provider domain than the API.
    #[serde(default)]
    pub abroad: bool,
}

/// A decision to hide it no more.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct OldHiding {
    /// What is hidden.
    pub what: WhatIsHidden,
    /// The provider domain, where several hide APIs of the name.
    #[serde(default)]
    pub provider: Option<ApiProviderDomainId>,
}

async fn hide(core: &Core, wanted: NewHiding) -> Result<Value, ApiError> {
    let now = core.now();
    let act = Act::by_operator("HideTopology", wanted.what.text())
        .detail(format!("by {}", wanted.aef_id));
    core.transact(&act, |records| {
        let unknown = Refusal::NotFound { what: "AEF" };
        let aef = records.function(wanted.aef_id.as_str()).ok_or(unknown)?;
        let domain = records
            .domain(aef.record.domain_id.as_str())
            .ok_or(Refusal::NotFound { what: "AEF" })?;
        let (hidden, api) = match &wanted.what {
            WhatIsHidden::Api(choice) => {
                let api = chosen(records, choice)?;
                (Hidden::Api(api.record.id.clone()), Some(&api.record))
            }
            WhatIsHidden::Name(name) => {
                let hidden = Hidden::Name {
                    domain: aef.record.domain_id.clone(),
                    name: name.clone(),
                };
                (hidden, None)
            }
        };
        let rule = TopologyHiding {
            hidden,
            aef_id: wanted.aef_id.clone(),
            entry: entry(&wanted, api, records),
            routes: wanted.routes.clone(),
            since: now.clone(),
            gone: false,
        };
        known_routes(&rule, api)?;
        let around = around(records, &rule);
        let (changes, apis) =
            topology_hiding::hide(rule, &aef.record, domain, wanted.abroad, around, &now)?;
        Ok((changes, json!({ "apis": apis })))
    })
    .await
}

/// Where the AEF takes the calls: as the operator says, or by its own publication.
fn entry(wanted: &NewHiding, api: Option<&ServiceApi>, records: &Records) -> Entry {
    let own = topology_hiding::entry_of(&wanted.aef_id, api, records.apis());
    let own = own.unwrap_or_default();
    let mut entry = if wanted.interfaces.is_empty() {
        own
    } else {
        Entry {
            domain_name: None,
            interfaces: wanted.interfaces.clone(),
            security_methods: own.security_methods,
        }
    };
    if !wanted.security_methods.is_empty() {
        entry.security_methods.clone_from(&wanted.security_methods);
        for interface in &mut entry.interfaces {
            interface.security_methods = None;
        }
    }
    entry
}

/// A route to an AEF that the API does not have is a slip.
fn known_routes(rule: &TopologyHiding, api: Option<&ServiceApi>) -> Result<(), Refusal> {
    let Some(api) = api else { return Ok(()) };
    let is_behind = |aef: &AefId| {
        let mut profiles = api.as_published().aef_profiles.iter().flatten();
        profiles.any(|profile| profile.aef_id == *aef)
    };
    match rule.routes.iter().find(|route| !is_behind(&route.aef_id)) {
        None => Ok(()),
        Some(route) => Err(Refusal::incorrect(
            "/routes",
            format!("the API is not published at `{}`", route.aef_id),
        )),
    }
}

async fn remove(core: &Core, old: OldHiding) -> Result<Value, ApiError> {
    let now = core.now();
    let act = Act::by_operator("ShowTopology", old.what.text());
    core.transact(&act, |records| {
        let held = held(records, &old)?;
        let around = around(records, &held.record);
        let (changes, apis) = topology_hiding::show(held, around, &now);
        Ok((changes, json!({ "apis": apis })))
    })
    .await
}

/// The rule that is meant.
fn held<'a>(
    records: &'a Records,
    old: &OldHiding,
) -> Result<&'a Versioned<TopologyHiding>, Refusal> {
    let none = Refusal::NotFound {
        what: "rule of topology hiding",
    };
    let name = match &old.what {
        WhatIsHidden::Api(choice) => {
            let api = chosen(records, choice)?;
            let id = TopologyHiding::of_api(&api.record.id);
            return records.hidings().get(&id).ok_or(none);
        }
        WhatIsHidden::Name(name) => name,
    };
    let is_meant = |rule: &&Versioned<TopologyHiding>| match &rule.record.hidden {
        Hidden::Name { domain, name: of } => {
            of == name && old.provider.as_ref().is_none_or(|only| only == domain)
        }
        Hidden::Api(_) => false,
    };
    let found: Vec<_> = records.hidings().iter().filter(is_meant).collect();
    match found.as_slice() {
        [] => Err(none),
        [one] => Ok(one),
        several => Err(Refusal::incorrect(
            "/provider",
            format!(
                "{} provider domains hide APIs of this name: say which is meant",
                several.len()
            ),
        )),
    }
}

fn around<'a>(
    records: &'a Records,
    rule: &TopologyHiding,
) -> Around<
    'a,
    std::vec::IntoIter<&'a Versioned<ServiceApi>>,
    impl Iterator<Item = &'a Subscription> + Clone + use<'a>,
> {
    let behind = records
        .apis()
        .filter(|api| topology_hiding::is_behind(rule, api));
    let apis: Vec<&Versioned<ServiceApi>> = behind
        .filter_map(|api| records.api(api.id.as_str()))
        .map(AsRef::as_ref)
        .collect();
    Around {
        apis: apis.into_iter(),
        rules: records.hidings(),
        subscriptions: records.subscriptions(),
    }
}

fn list(core: &Core) -> Vec<Value> {
    let records = core.view.read();
    let rules = records.hidings().iter().map(|held| &held.record);
    rules.map(|rule| row(&records, rule)).collect()
}

fn row(records: &Records, rule: &TopologyHiding) -> Value {
    let behind = around(records, rule).apis;
    // One rule for an API counts before that for its name.
    let own: Vec<&ServiceApi> = behind
        .map(|held| &held.record)
        .filter(|api| {
            let counts = records.hidings().of(api);
            counts.is_some_and(|counts| counts.record_id() == rule.record_id())
        })
        .collect();
    let names = own.iter().map(|api| api.description.api_name.as_str());
    let mut names: Vec<&str> = names.collect();
    names.dedup();
    let aefs = own.iter().flat_map(|api| {
        let profiles = api.as_published().aef_profiles.iter().flatten();
        profiles.map(|profile| &profile.aef_id)
    });
    let mut aefs: Vec<&AefId> = aefs.collect();
    aefs.sort_unstable();
    aefs.dedup();
    let routes = rule.routes.iter();
    let state = if rule.gone {
        "not shown: the AEF is gone"
    } else if own.is_empty() {
        "nothing is published"
    } else if own.iter().all(|api| api.hidden_by.is_none()) {
        "not shown: inactive"
    } else {
        "in effect"
    };
    json!({
        "apiId": match &rule.hidden { Hidden::Api(id) => Some(id), Hidden::Name { .. } => None },
        "name": match &rule.hidden {
            Hidden::Api(_) => names.first().copied(),
            Hidden::Name { name, .. } => Some(name.as_str()),
        },
        "apiProvDomId": match &rule.hidden {
            Hidden::Api(_) => own.first().map(|api| &api.domain_id),
            Hidden::Name { domain, .. } => Some(domain),
        },
        "forName": matches!(rule.hidden, Hidden::Name { .. }),
        "apis": own.len(),
        "aefId": rule.aef_id,
        "domainName": rule.entry.domain_name,
        "interfaces": rule.entry.interfaces,
        "routes": routes.map(|route| format!("{}={}", route.from, route.aef_id)).collect::<Vec<_>>(),
        "behind": aefs,
        "since": rule.since,
        "state": state,
    })
}
