//! What goes with a provider domain or with functions of it: the one list of each.

use std::{collections::BTreeSet, sync::Arc};

use capif_spec::{
    common::{DateTime, ServiceApiId},
    events::CapifEvent,
};

use crate::{
    changes::{Changes, Expect, Versioned},
    events, offboarding,
    publication::{self, withdraw},
    state::{
        Hidden, Notification, ProviderDomain, ProviderFunction, RegisteredCredential, Reporting,
        Revocation, SecurityContext, ServiceApi, Subscription, TopologyHiding,
    },
    topology_hiding::{self, Moment, Rules},
};

/// What there is besides a domain that the removal of functions touches.
#[derive(Clone, Debug)]
pub struct Around<'r, A, S, C> {
    /// All published APIs.
    pub apis: A,
    /// What hides the topology behind them.
    pub rules: &'r Rules,
    /// The subscriptions of everyone.
    pub subscriptions: S,
    /// The security contexts of all invokers.
    pub contexts: C,
}

/// Removes a domain with all its functions and what they hold, and the credentials that it handed over and nobody used. A
/// credential that is handed over meanwhile moves the domain, so that the removal is decided anew. Invokers that the domain
/// vouched for stay: they are the operator's to remove.
#[must_use]
pub fn deregister<'a, A, S, C>(
    domain: &Versioned<ProviderDomain>,
    functions: &[Versioned<ProviderFunction>],
    credentials: impl Iterator<Item = &'a RegisteredCredential>,
    around: Around<'_, A, S, C>,
    now: &DateTime,
) -> Changes
where
    A: Iterator<Item = &'a ServiceApi> + Clone,
    S: Iterator<Item = &'a Subscription> + Clone,
    C: Iterator<Item = &'a Versioned<SecurityContext>>,
{
    let id = &domain.record.id;
    let mut changes = Changes::new();
    changes.delete::<ProviderDomain>(id.as_str(), Expect::At(domain.revision));
    for credential in credentials.filter(|held| held.reach.domain.as_ref() == Some(id)) {
        changes.delete::<RegisteredCredential>(credential.token.to_string(), Expect::Any);
    }
    let mut rules = around.rules.clone();
    for rule in around.rules.iter() {
        if matches!(&rule.record.hidden, Hidden::Name { domain, .. } if domain == id) {
            let rule_id = crate::changes::Record::record_id(&rule.record);
            changes.delete::<TopologyHiding>(rule_id.as_str(), Expect::At(rule.revision));
            rules.remove(&rule_id);
        }
    }
    let around = Around {
        apis: around.apis,
        rules: &rules,
        subscriptions: around.subscriptions,
        contexts: around.contexts,
    };
    remove_functions(&mut changes, functions, around, now);
    changes
}

pub(super) fn remove_functions<'a, A, S, C>(
    changes: &mut Changes,
    functions: &[Versioned<ProviderFunction>],
    around: Around<'_, A, S, C>,
    now: &DateTime,
) where
    A: Iterator<Item = &'a ServiceApi> + Clone,
    S: Iterator<Item = &'a Subscription> + Clone,
    C: Iterator<Item = &'a Versioned<SecurityContext>>,
{
    if functions.is_empty() {
        return;
    }
    let goes = |id: &str| {
        let mut functions = functions.iter();
        functions.any(|function| function.record.id.as_str() == id)
    };
    // Those that go together do not hear of each other: nothing would be left to deliver it to.
    let staying = around
        .subscriptions
        .filter(|subscription| !goes(&subscription.subscriber));
    let mut withdrawn: BTreeSet<&ServiceApiId> = BTreeSet::new();
    for function in functions {
        everything_of(changes, function, now);
        let own = around.apis.clone();
        for api in own.filter(|api| api.apf_id == function.record.id) {
            take_down(changes, api, around.rules, staying.clone(), now);
            withdrawn.insert(&api.id);
        }
    }
    let after = without(around.rules, &goes);
    let of_domain = |api: &ServiceApi| {
        let mut functions = functions.iter();
        functions.any(|function| function.record.domain_id == api.domain_id)
    };
    let loses = |api: &ServiceApi| {
        let hides = api.hidden_by.as_ref().map(AsRef::as_ref);
        of_domain(api) || hides.is_some_and(goes)
    };
    for api in around
        .apis
        .filter(|api| loses(api) && !goes(api.apf_id.as_str()))
    {
        let rules = (around.rules, &after);
        if strip_profiles(changes, api, &goes, rules, staying.clone(), now) {
            withdrawn.insert(&api.id);
        }
    }
    for rule in after.iter().filter(|rule| rule.record.gone) {
        let is_known = around
            .rules
            .get(&crate::changes::Record::record_id(&rule.record));
        let is_over = matches!(&rule.record.hidden, Hidden::Api(id) if withdrawn.contains(id));
        if !is_over && is_known.is_some_and(|held| !held.record.gone) {
            changes.put(&rule.record, Expect::At(rule.revision));
        }
    }
    for context in around.contexts {
        strip_entries(changes, context, &goes);
    }
}

/// Everything that is kept under a function's id. Part of its record, and gone with it: its certificates, those to come and those
/// on their way out included, and what the core function asks of it. Invocation logs are the record of what was done, and stay
/// for their time.
fn everything_of(changes: &mut Changes, function: &Versioned<ProviderFunction>, now: &DateTime) {
    let held = &function.record;
    let id = held.id.as_str();
    changes.delete::<ProviderFunction>(id, Expect::At(function.revision));
    forget_subscriptions(changes, id);
    changes.delete_prefix::<Revocation>(Revocation::prefix(id));
    offboarding::revoke_certificates(changes, &held.certificate, &held.renewal, now);
}

/// The event subscriptions of a function, with what waits for them.
pub(super) fn forget_subscriptions(changes: &mut Changes, id: &str) {
    changes.delete_prefix::<Subscription>(Subscription::prefix(id));
    changes.delete_prefix::<Notification>(Subscription::prefix(id));
    changes.delete_prefix::<Reporting>(Subscription::prefix(id));
}

fn take_down<'a>(
    changes: &mut Changes,
    api: &ServiceApi,
    rules: &Rules,
    subscriptions: impl Iterator<Item = &'a Subscription> + Clone,
    now: &DateTime,
) {
    withdraw(changes, api, Expect::Present);
    let before = Moment::of(api, rules);
    topology_hiding::tell(changes, Some(before), None, subscriptions.clone(), now);
    let occurrence = events::of_api(CapifEvent::ServiceApiUnavailable, api);
    events::raise(changes, occurrence, subscriptions, now);
}

/// The rules of topology hiding when AEFs are gone. What they hid stays hidden, so that nothing comes to light by their end: it is not
/// shown until the operator decides anew.
fn without(rules: &Rules, goes: &impl Fn(&str) -> bool) -> Rules {
    let mut after = rules.clone();
    for held in rules
        .iter()
        .filter(|held| goes(held.record.aef_id.as_str()))
    {
        let mut rule = held.clone();
        rule.record.gone = true;
        after.put(Arc::new(rule));
    }
    after
}

/// Takes the profiles of AEFs that go out of an API whose APF stays; an API without any is withdrawn, which is told.
fn strip_profiles<'a>(
    changes: &mut Changes,
    api: &ServiceApi,
    goes: &impl Fn(&str) -> bool,
    (rules, after): (&Rules, &Rules),
    subscriptions: impl Iterator<Item = &'a Subscription> + Clone,
    now: &DateTime,
) -> bool {
    let mut published = api.as_published().clone();
    let profiles = published.aef_profiles.get_or_insert_default();
    let before = profiles.len();
    profiles.retain(|profile| !goes(profile.aef_id.as_str()));
    let is_empty = profiles.is_empty();
    let hides = api.hidden_by.as_ref().map(AsRef::as_ref);
    if profiles.len() == before && !hides.is_some_and(goes) {
        return false;
    }
    if is_empty {
        take_down(changes, api, rules, subscriptions, now);
        return true;
    }
    let left = topology_hiding::shown(api.clone(), published, after);
    changes.put(&left, Expect::Present);
    let (held, made) = (Moment::of(api, rules), Moment::of(&left, after));
    topology_hiding::tell(changes, Some(held), Some(made), subscriptions.clone(), now);
    publication::announce(changes, api, &left, subscriptions, now);
    false
}

/// Takes what was agreed on for AEFs that go, keys included, out of a security context. Its number stays: nothing that is left is
/// taken from the invoker.
fn strip_entries(
    changes: &mut Changes,
    held: &Versioned<SecurityContext>,
    goes: &impl Fn(&str) -> bool,
) {
    let mut entries = held.record.entries.iter();
    if !entries.any(|entry| goes(entry.aef_id.as_str())) {
        return;
    }
    let mut left = held.record.clone();
    left.entries.retain(|entry| !goes(entry.aef_id.as_str()));
    changes.put(&left, Expect::At(held.revision));
}
