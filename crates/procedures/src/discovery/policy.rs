//! The discovery policy (TS 23.222 clause 4.2.2 and annex E): what the operator shows to whom, of what lies within reach.
//!
//! One policy says of one audience and one scope whether it is shown. Of those that are about an invoker and an API the narrowest
//! counts: what is said of the invoker before what is said of everyone, and there what is said of the API's id before its name,
//! its name before its category, its category before all. Where nothing is said an invoker is shown everything within its
//! reach, and whoever asks before onboarding nothing.
//!
//! Choice: hidden is not forbidden. The policy is about what is found by searching; what an invoker may use, and is told of as
//! allowed or by event, is a matter of its enrolment.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use capif_spec::common::{ApiInvokerId, ServiceApiId};

use crate::{
    changes::{Changes, Expect, Versioned},
    refusal::Refusal,
    state::{ApiReach, Audience, DiscoveryPolicy, Invoker, Scope, ServiceApi},
};

/// How many policies there may be.
pub const POLICIES_MAX: usize = 100_000;

/// How long a name or category may be, in octets.
const SCOPE_BYTES_MAX: usize = 1024;

/// Sets a policy. One for an invoker goes with the invoker.
///
/// # Errors
/// Refuses scopes without value, and too many policies.
pub fn set(
    policy: &DiscoveryPolicy,
    invoker: Option<&Versioned<Invoker>>,
    policies: &Policies,
) -> Result<Changes, Refusal> {
    let (kind, value) = policy.scope.parts();
    if policy.scope != Scope::All && value.is_empty() || value.len() > SCOPE_BYTES_MAX {
        return Err(Refusal::incorrect(
            "/scope",
            format!(
                "`{}` has 1 to {SCOPE_BYTES_MAX} octets",
                kind.trim_end_matches(':')
            ),
        ));
    }
    if policies.held.len() >= POLICIES_MAX && policies.get(policy).is_none() {
        return Err(Refusal::incorrect(
            "",
            format!("there are {POLICIES_MAX} discovery policies already: remove some first"),
        ));
    }
    let mut changes = Changes::new();
    if let Some(invoker) = invoker {
        // Its removal takes along whatever was set before, and nothing is set after it.
        changes.require::<Invoker>(invoker.record.id.as_str(), Expect::Present);
    }
    changes.put(policy, Expect::Any);
    Ok(changes)
}

/// Removes a policy.
///
/// # Errors
/// Refuses what is not there.
pub fn remove(audience: &Audience, scope: &Scope, policies: &Policies) -> Result<Changes, Refusal> {
    let id = DiscoveryPolicy::id(audience, scope);
    if !policies.held.contains_key(&id) {
        return Err(Refusal::NotFound {
            what: "discovery policy",
        });
    }
    let mut changes = Changes::new();
    changes.delete::<DiscoveryPolicy>(id, Expect::Present);
    Ok(changes)
}

/// All policies.
#[derive(Debug, Default)]
pub struct Policies {
    /// By their ids.
    held: BTreeMap<String, DiscoveryPolicy>,
    /// The same for looking them up.
    of: HashMap<Audience, Rules>,
}

/// What is said of one audience.
#[derive(Debug, Default)]
struct Rules {
    ids: BTreeMap<ServiceApiId, bool>,
    names: BTreeMap<String, bool>,
    categories: BTreeMap<String, bool>,
    all: Option<bool>,
}

impl Rules {
    /// Whether an API is shown, as far as something is said of it.
    fn verdict(&self, api: &ServiceApi) -> Option<bool> {
        let category = || api.description.service_api_category.as_ref();
        self.ids
            .get(&api.id)
            .or_else(|| self.names.get(&api.description.api_name))
            .or_else(|| self.categories.get(category()?))
            .copied()
            .or(self.all)
    }

    fn set(&mut self, scope: &Scope, shows: Option<bool>) {
        fn put<K: Ord + Clone>(map: &mut BTreeMap<K, bool>, key: &K, shows: Option<bool>) {
            match shows {
                Some(shows) => drop(map.insert(key.clone(), shows)),
                None => drop(map.remove(key)),
            }
        }
        match scope {
            Scope::Id(id) => put(&mut self.ids, id, shows),
            Scope::Name(name) => put(&mut self.names, name, shows),
            Scope::Category(category) => put(&mut self.categories, category, shows),
            Scope::All => self.all = shows,
        }
    }

    fn is_empty(&self) -> bool {
        self.ids.is_empty()
            && self.names.is_empty()
            && self.categories.is_empty()
            && self.all.is_none()
    }
}

impl Policies {
    /// Takes a policy in, in the place of the one for the same.
    pub fn put(&mut self, policy: DiscoveryPolicy) {
        let rules = self.of.entry(policy.audience.clone()).or_default();
        rules.set(&policy.scope, Some(policy.shows));
        self.held
            .insert(DiscoveryPolicy::id(&policy.audience, &policy.scope), policy);
    }

    /// Lets go of the policy with this id.
    pub fn remove(&mut self, id: &str) {
        let Some(policy) = self.held.remove(id) else {
            return;
        };
        if let Some(rules) = self.of.get_mut(&policy.audience) {
            rules.set(&policy.scope, None);
            if rules.is_empty() {
                self.of.remove(&policy.audience);
            }
        }
    }

    /// All policies, by their ids.
    pub fn iter(&self) -> impl Iterator<Item = &DiscoveryPolicy> {
        self.held.values()
    }

    /// The policy for the same audience and scope.
    fn get(&self, policy: &DiscoveryPolicy) -> Option<&DiscoveryPolicy> {
        self.held
            .get(&DiscoveryPolicy::id(&policy.audience, &policy.scope))
    }

    /// What an invoker with this reach is shown.
    #[must_use]
    pub fn sight<'a>(&'a self, invoker: &ApiInvokerId, reach: &'a ApiReach) -> Sight<'a> {
        let own = || self.of.get(&Audience::Invoker(invoker.clone()));
        Sight {
            reach: Some(reach),
            open: None,
            // Most operators say nothing about anybody.
            rules: [
                (!self.of.is_empty()).then(own).flatten(),
                self.of.get(&Audience::Everyone),
            ],
        }
    }

    /// What anyone is shown before onboarding: APIs of these names, and what the policies name.
    #[must_use]
    pub fn open_sight<'a>(&'a self, names: &'a BTreeSet<String>) -> Sight<'a> {
        Sight {
            reach: None,
            open: Some(names),
            rules: [self.of.get(&Audience::Anyone), None],
        }
    }
}

/// What somebody is shown.
#[derive(Clone, Copy, Debug)]
pub struct Sight<'a> {
    /// What lies within reach; everything if absent.
    pub(super) reach: Option<&'a ApiReach>,
    /// Names that lie open; nothing else is shown then but what a rule shows.
    open: Option<&'a BTreeSet<String>>,
    /// What is said, the narrower audience first.
    rules: [Option<&'a Rules>; 2],
}

impl<'a> From<&'a ApiReach> for Sight<'a> {
    fn from(reach: &'a ApiReach) -> Self {
        Self {
            reach: Some(reach),
            open: None,
            rules: [None; 2],
        }
    }
}

impl<'a> Sight<'a> {
    /// Whether an API is shown.
    #[must_use]
    pub fn shows(&self, api: &ServiceApi) -> bool {
        let mut rules = self.rules.iter().flatten();
        let opens = |names: &BTreeSet<String>| names.contains(&api.description.api_name);
        self.reach.is_none_or(|reach| reach.includes(api))
            && rules
                .find_map(|rules| rules.verdict(api))
                .unwrap_or_else(|| self.open.is_none_or(opens))
    }

    /// The scopes outside of which nothing is shown, if there are any such bounds.
    pub(super) fn bounds(&self) -> Option<Vec<Bound<'a>>> {
        let mut bounds = Vec::new();
        let mut closed = false;
        for rules in self.rules.into_iter().flatten() {
            let shown = |(_, shows): &(_, &bool)| **shows;
            bounds.extend(
                rules
                    .ids
                    .iter()
                    .filter(|(_, shows)| **shows)
                    .map(|(id, _)| Bound::Id(id.as_str())),
            );
            bounds.extend(
                rules
                    .names
                    .iter()
                    .filter(shown)
                    .map(|(name, _)| Bound::Name(name)),
            );
            bounds.extend(
                rules
                    .categories
                    .iter()
                    .filter(shown)
                    .map(|(category, _)| Bound::Category(category)),
            );
            match rules.all {
                // What is said of a wider audience is not heard.
                Some(true) => return None,
                Some(false) => {
                    closed = true;
                    break;
                }
                None => {}
            }
        }
        if let (Some(names), false) = (self.open, closed) {
            bounds.extend(names.iter().map(|name| Bound::Name(name)));
            closed = true;
        }
        closed.then_some(bounds)
    }
}

/// One scope within which something may be shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bound<'a> {
    Id(&'a str),
    Name(&'a str),
    Category(&'a str),
}
