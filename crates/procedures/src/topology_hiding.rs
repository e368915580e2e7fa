//! Topology hiding (TS 23.222 clauses 8.13 and 8.24, TS 29.222 clause 5.3.2.2): one AEF is shown in the place of those that expose
//! an API, takes their calls, and is told where they go.
//!
//! What is shown of an API is made in one place, [`shown`], whenever its publisher or the operator changes something, and is
//! kept as [`ServiceApi::description`]. Everything else looks at that alone: discovery, negotiation, contexts, policies, events and
//! errors cannot tell more than it says. What was published is for the publisher, and for the AEF that hides it.

mod entry;

use std::{collections::BTreeMap, sync::Arc};

use capif_spec::{
    common::{AefId, ApiProviderDomainId, DateTime, ServiceApiId},
    events::{self as wire, CapifEvent},
    publish_service::{AefProfile, ApiStatus, ServiceApiDescription},
};

pub use self::entry::{entry_of, profile_of};
use crate::{
    changes::{Changes, Expect, Record, Versioned},
    events, publication,
    refusal::Refusal,
    routing,
    state::{
        Hidden, ProviderDomain, ProviderFunction, Role, ServiceApi, Subscription, TopologyHiding,
    },
};

/// How many rules there may be.
pub const RULES_MAX: usize = 10_000;

/// How many routes one rule may have.
pub const ROUTES_MAX: usize = 256;

/// The rules that there are.
#[derive(Clone, Debug, Default)]
pub struct Rules(BTreeMap<String, Arc<Versioned<TopologyHiding>>>);

impl Rules {
    /// Takes a rule in, in the place of the one with its id.
    pub fn put(&mut self, rule: Arc<Versioned<TopologyHiding>>) {
        self.0.insert(rule.record.record_id(), rule);
    }

    /// Lets go of a rule.
    pub fn remove(&mut self, id: &str) {
        self.0.remove(id);
    }

    /// A rule by its id.
    #[must_use]
    pub fn get(&self, id: &str) -> Option<&Versioned<TopologyHiding>> {
        self.0.get(id).map(AsRef::as_ref)
    }

    /// All rules, by their ids.
    pub fn iter(&self) -> impl Iterator<Item = &Versioned<TopologyHiding>> {
        self.0.values().map(AsRef::as_ref)
    }

    /// The rule that counts for an API: that for it alone before that for its name.
    #[must_use]
    pub fn of(&self, api: &ServiceApi) -> Option<&TopologyHiding> {
        self.for_api(&api.id, &api.domain_id, &api.description.api_name)
    }

    fn for_api(
        &self,
        id: &ServiceApiId,
        domain: &ApiProviderDomainId,
        name: &str,
    ) -> Option<&TopologyHiding> {
        if self.0.is_empty() {
            return None;
        }
        let own = self.get(&TopologyHiding::of_api(id));
        let rule = own.or_else(|| self.get(&TopologyHiding::of_name(domain, name)))?;
        Some(&rule.record)
    }
}

/// The API with what is shown of a description that its publisher gave.
#[must_use]
pub fn shown(api: ServiceApi, published: ServiceApiDescription, rules: &Rules) -> ServiceApi {
    let rule = rules.for_api(&api.id, &api.domain_id, &published.api_name);
    shown_under(api, published, rule)
}

fn shown_under(
    api: ServiceApi,
    published: ServiceApiDescription,
    rule: Option<&TopologyHiding>,
) -> ServiceApi {
    let active = active_profiles(&published);
    let mut description = published.clone();
    let mut hidden_by = None;
    match rule {
        None => {
            let profiles = active.into_iter().cloned().collect();
            description.aef_profiles = published.aef_profiles.is_some().then_some(profiles);
        }
        Some(rule) => {
            let stands_in = !rule.gone && !active.is_empty();
            let profiles: Vec<AefProfile> = stands_in
                .then(|| profile_of(rule, &active))
                .into_iter()
                .collect();
            // Its list would name those behind.
            description.api_status = published.api_status.as_ref().map(|_| ApiStatus {
                aef_ids: profiles
                    .iter()
                    .map(|profile| profile.aef_id.clone())
                    .collect(),
                extra: Default::default(),
            });
            description.aef_profiles = Some(profiles);
            hidden_by = stands_in.then(|| rule.aef_id.clone());
        }
    }
    let differs = description != published;
    ServiceApi {
        description,
        published: differs.then(|| Box::new(published)),
        hidden_by,
        ..api
    }
}

/// The profiles of the AEFs where an API is active (TS 29.222 clause 8.2.4.2.12); without a status all are.
pub(crate) fn active_profiles(published: &ServiceApiDescription) -> Vec<&AefProfile> {
    let status = published.api_status.as_ref();
    let is_active = |aef: &AefId| status.is_none_or(|status| status.aef_ids.contains(aef));
    let profiles = published.aef_profiles.iter().flatten();
    profiles
        .filter(|profile| is_active(&profile.aef_id))
        .collect()
}

/// What is hidden of an API now, and by which AEF.
#[must_use]
pub fn hidden(api: &ServiceApi, rules: &Rules) -> Option<(AefId, wire::TopologyHiding)> {
    let (aef, hiding) = Moment::of(api, rules).hiding()?;
    Some((aef.clone(), hiding))
}

/// An API at one moment, with the rule that counted for it then.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment<'a> {
    pub(crate) api: &'a ServiceApi,
    pub(crate) rule: Option<&'a TopologyHiding>,
}

impl<'a> Moment<'a> {
    pub(crate) fn of(api: &'a ServiceApi, rules: &'a Rules) -> Self {
        let rule = rules.of(api);
        Self { api, rule }
    }

    /// What is hidden, and by whom.
    fn hiding(&self) -> Option<(&'a AefId, wire::TopologyHiding)> {
        let aef = self.api.hidden_by.as_ref()?;
        let hiding = wire::TopologyHiding {
            api_id: self.api.id.clone(),
            routing_rules: routing::rules(self.api, self.rule?),
            extra: Default::default(),
        };
        Some((aef, hiding))
    }
}

/// Tells the AEFs what they hide from now on, and what they hide no more. One that hides the same with other rules is told as if it
/// were new: there is no event for a change.
pub(crate) fn tell<'a>(
    changes: &mut Changes,
    before: Option<Moment<'_>>,
    after: Option<Moment<'_>>,
    subscriptions: impl Iterator<Item = &'a Subscription> + Clone,
    now: &DateTime,
) {
    let held = before.and_then(|moment| Some((moment.api, moment.hiding()?)));
    let made = after.and_then(|moment| Some((moment.api, moment.hiding()?)));
    let is_same = matches!((&held, &made), (Some((_, held)), Some((_, made))) if held == made);
    if is_same {
        return;
    }
    let stays = |aef: &AefId| made.as_ref().is_some_and(|(_, (other, _))| *other == aef);
    if let Some((api, (aef, hiding))) = held
        && !stays(aef)
    {
        let event = CapifEvent::ApiTopologyHidingRevoked;
        let occurrence = events::of_hiding(event, api, aef, hiding);
        events::raise(changes, occurrence, subscriptions.clone(), now);
    }
    if let Some((api, (aef, hiding))) = made {
        let event = CapifEvent::ApiTopologyHidingCreated;
        let occurrence = events::of_hiding(event, api, aef, hiding);
        events::raise(changes, occurrence, subscriptions, now);
    }
}

/// What the operator's decisions are made on.
#[derive(Clone, Debug)]
pub struct Around<'a, A, S> {
    /// All published APIs with their revisions.
    pub apis: A,
    /// The rules as they are.
    pub rules: &'a Rules,
    /// The subscriptions of everyone.
    pub subscriptions: S,
}

/// Hides the topology behind APIs from now on. `aef` is who stands in for it, with its domain; `abroad` lets it be of another
/// domain than the APIs.
///
/// # Errors
/// Refuses functions that are no AEFs, an AEF of another domain that the operator did not mean, an entry that cannot be, and what
/// is too many.
pub fn hide<'a, A, S>(
    rule: TopologyHiding,
    aef: &ProviderFunction,
    domain: &Versioned<ProviderDomain>,
    abroad: bool,
    around: Around<'_, A, S>,
    now: &DateTime,
) -> Result<(Changes, usize), Refusal>
where
    A: Iterator<Item = &'a Versioned<ServiceApi>>,
    S: Iterator<Item = &'a Subscription> + Clone,
{
    check(&rule, aef, around.rules)?;
    let mut changes = Changes::new();
    // Whatever happens to the domain meanwhile, the removal of the AEF above all, has both decided anew.
    publication::within(&mut changes, domain);
    changes.require::<ProviderFunction>(aef.id.as_str(), Expect::Present);
    let is_known = around
        .rules
        .get(&rule.record_id())
        .map(|held| held.revision);
    changes.put(&rule, is_known.map_or(Expect::Absent, Expect::At));
    let mut after = around.rules.clone();
    after.put(Arc::new(Versioned {
        record: rule.clone(),
        revision: Default::default(),
    }));
    let mut hidden = 0;
    for held in around.apis.filter(|held| is_behind(&rule, &held.record)) {
        if held.record.domain_id != aef.domain_id && !abroad {
            return Err(Refusal::incorrect(
                "/aefId",
                format!(
                    "`{}` is of another provider domain than the API: it would see the calls of that domain's invokers; allow it by `--other-provider` if that is meant",
                    aef.id
                ),
            ));
        }
        hidden += 1;
        turn(
            &mut changes,
            held,
            around.rules,
            &after,
            around.subscriptions.clone(),
            now,
        );
    }
    if hidden == 0
        && let Hidden::Api(_) = &rule.hidden
    {
        return Err(Refusal::NotFound {
            what: "service API",
        });
    }
    Ok((changes, hidden))
}

fn check(rule: &TopologyHiding, aef: &ProviderFunction, rules: &Rules) -> Result<(), Refusal> {
    if aef.role != Role::Aef {
        return Err(Refusal::AefNotInDomain {
            aef_id: aef.id.to_string(),
        });
    }
    if rule.routes.len() > ROUTES_MAX {
        return Err(Refusal::TooMany {
            what: "routes of one rule",
            limit: ROUTES_MAX,
        });
    }
    if rules.get(&rule.record_id()).is_none() && rules.0.len() >= RULES_MAX {
        return Err(Refusal::TooMany {
            what: "rules of topology hiding",
            limit: RULES_MAX,
        });
    }
    entry::check(&rule.entry)
}

/// Hides no more what a rule hid.
pub fn show<'a, A, S>(
    held: &Versioned<TopologyHiding>,
    around: Around<'_, A, S>,
    now: &DateTime,
) -> (Changes, usize)
where
    A: Iterator<Item = &'a Versioned<ServiceApi>>,
    S: Iterator<Item = &'a Subscription> + Clone,
{
    let mut changes = Changes::new();
    let id = held.record.record_id();
    changes.delete::<TopologyHiding>(id.as_str(), Expect::At(held.revision));
    let mut after = around.rules.clone();
    after.remove(&id);
    let mut freed = 0;
    for api in around
        .apis
        .filter(|api| is_behind(&held.record, &api.record))
    {
        freed += 1;
        turn(
            &mut changes,
            api,
            around.rules,
            &after,
            around.subscriptions.clone(),
            now,
        );
    }
    (changes, freed)
}

/// Whether a rule is about an API.
#[must_use]
pub fn is_behind(rule: &TopologyHiding, api: &ServiceApi) -> bool {
    match &rule.hidden {
        Hidden::Api(id) => *id == api.id,
        Hidden::Name { domain, name } => {
            *domain == api.domain_id && *name == api.description.api_name
        }
    }
}

/// Shows of an API what other rules make of it.
fn turn<'a>(
    changes: &mut Changes,
    held: &Versioned<ServiceApi>,
    rules: &Rules,
    after: &Rules,
    subscriptions: impl Iterator<Item = &'a Subscription> + Clone,
    now: &DateTime,
) {
    let before = &held.record;
    let api = shown(before.clone(), before.as_published().clone(), after);
    changes.put(&api, Expect::At(held.revision));
    let moments = (Moment::of(before, rules), Moment::of(&api, after));
    tell(
        changes,
        Some(moments.0),
        Some(moments.1),
        subscriptions.clone(),
        now,
    );
    publication::announce(changes, before, &api, subscriptions, now);
}

#[cfg(test)]
mod tests;
