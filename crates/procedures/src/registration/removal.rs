//! What goes with a provider domain or with functions of it: the one list of each.

use capif_spec::{common::DateTime, events::CapifEvent};

use crate::{
    changes::{Changes, Expect, Versioned},
    events, offboarding,
    state::{
        AccessControlPolicy, Notification, ProviderDomain, ProviderFunction, RegisteredCredential,
        Revocation, SecurityContext, ServiceApi, ServiceApiName, Subscription,
    },
};

/// What there is besides a domain that the removal of functions touches.
#[derive(Clone, Debug)]
pub struct Around<A, S, C> {
    /// All published APIs.
    pub apis: A,
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
    around: Around<A, S, C>,
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
        changes.delete::<RegisteredCredential>(credential.token.as_str(), Expect::Any);
    }
    remove_functions(&mut changes, functions, around, now);
    changes
}

pub(super) fn remove_functions<'a, A, S, C>(
    changes: &mut Changes,
    functions: &[Versioned<ProviderFunction>],
    around: Around<A, S, C>,
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
    for function in functions {
        everything_of(changes, function, now);
        let own = around.apis.clone();
        for api in own.filter(|api| api.apf_id == function.record.id) {
            withdraw(changes, api);
            let occurrence = events::of_api(CapifEvent::ServiceApiUnavailable, api);
            events::raise(changes, occurrence, staying.clone(), now);
        }
    }
    let of_domain = |api: &ServiceApi| {
        let mut functions = functions.iter();
        functions.any(|function| function.record.domain_id == api.domain_id)
    };
    for api in around
        .apis
        .filter(|api| of_domain(api) && !goes(api.apf_id.as_str()))
    {
        strip_profiles(changes, api, &goes, staying.clone(), now);
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
    changes.delete_prefix::<Subscription>(Subscription::prefix(id));
    changes.delete_prefix::<Notification>(Subscription::prefix(id));
    changes.delete_prefix::<Revocation>(Revocation::prefix(id));
    offboarding::revoke_certificates(changes, &held.certificate, &held.renewal, now);
}

fn withdraw(changes: &mut Changes, api: &ServiceApi) {
    changes.delete::<ServiceApi>(api.id.as_str(), Expect::Present);
    let name = ServiceApiName::id(&api.domain_id, &api.description.api_name);
    changes.delete::<ServiceApiName>(name, Expect::Any);
    changes.delete_prefix::<AccessControlPolicy>(AccessControlPolicy::prefix(&api.id));
}

/// Takes the profiles of AEFs that go out of an API whose APF stays; an API without any is withdrawn.
fn strip_profiles<'a>(
    changes: &mut Changes,
    api: &ServiceApi,
    goes: &impl Fn(&str) -> bool,
    subscriptions: impl Iterator<Item = &'a Subscription>,
    now: &DateTime,
) {
    let mut left = api.clone();
    let profiles = left.description.aef_profiles.get_or_insert_default();
    let before = profiles.len();
    profiles.retain(|profile| !goes(profile.aef_id.as_str()));
    if profiles.len() == before {
        return;
    }
    let event = if profiles.is_empty() {
        withdraw(changes, api);
        CapifEvent::ServiceApiUnavailable
    } else {
        changes.put(&left, Expect::Present);
        CapifEvent::ServiceApiUpdate
    };
    events::raise(changes, events::of_api(event, &left), subscriptions, now);
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
