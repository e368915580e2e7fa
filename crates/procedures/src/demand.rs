//! The core function asks for a renewal: by the operator's wish, or because what is in use may be in other hands (S0, R-U-02).
//!
//! What is asked is written into the record of the entity, so that its status says so whenever it looks. An invoker is told
//! besides: by API_INVOKER_UPDATED under its own subscription, and at the destination that it gave when it was onboarded, if the
//! operator lets callbacks go there; never with anything secret. It then renews like one that does so of itself, which ends the
//! demand.
//!
//! In a compromise nothing may be waited for. The same commit takes from the entity whatever the one who holds its old key could
//! use: its secret is dead, its tokens and keys are, what was handed over or on its way out is revoked, the AEFs are told. What is
//! left to the certificate is the renewal itself. An invoker that did not follow in time can be treated alike ([`suspend`]).

use capif_spec::{
    api_invoker_management::OnboardingNotification,
    common::{AefId, ApiInvokerId, DateTime, Uri},
    events::CapifEvent,
    security::Cause,
    vendor,
};
use serde_json::json;

use crate::{
    changes::{Changes, Expect, Versioned},
    events::{self, Circle},
    offboarding::known_at,
    revocation::{self, Order},
    rotation::{self, Renewable},
    state::{
        Callback, Demand, DemandReason, Invoker, ProviderFunction, Renewal, RevokedCertificate,
        SecurityContext, ServiceApi, Subscription, Tidings,
    },
};

/// What is asked.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    /// Why.
    pub reason: DemandReason,
    /// Until when it is to be done.
    pub deadline: DateTime,
    /// When it is asked.
    pub now: &'a DateTime,
}

/// What there is besides an invoker that a demand touches.
#[derive(Clone, Copy, Debug)]
pub struct Around<'a, A, S> {
    /// The invoker's security context.
    pub context: Option<&'a Versioned<SecurityContext>>,
    /// All published APIs.
    pub apis: A,
    /// The subscriptions of the invoker and of all provider functions.
    pub subscriptions: S,
}

/// Asks an invoker for a renewal. `resource` is its resource if it is to be told at its notification destination. `None` if it
/// never agreed to renew: all that can be done with such a one is to offboard it and to have it enrol anew.
#[must_use]
pub fn ask_invoker<'a, A, S>(
    request: &Request<'_>,
    invoker: &Versioned<Invoker>,
    resource: Option<Uri>,
    around: Around<'a, A, S>,
) -> Option<Changes>
where
    A: Iterator<Item = &'a ServiceApi> + Clone,
    S: Iterator<Item = &'a Subscription> + Clone,
{
    let mut asked = invoker.record.clone();
    if !asked.renewal.agreed {
        return None;
    }
    let mut changes = Changes::new();
    let demand = demand(request, &asked.renewal);
    let notice = resource.map(|resource| notice(&demand, resource));
    asked.renewal.demand = Some(Box::new(demand));
    if request.reason == DemandReason::Compromise {
        distrust(&mut changes, &mut asked, request.now);
        shut(&mut changes, &mut asked, around, request.now);
    } else {
        // One that was shut for being late has time again.
        if !asked.renewal.is_compromised() {
            asked.renewal.suspended = None;
        }
        let own = around
            .subscriptions
            .filter(|subscription| subscription.subscriber == asked.id.as_str());
        let nobody_else = Circle::default();
        let occurrence = events::of_invoker(CapifEvent::ApiInvokerUpdated, &asked.id, nobody_else);
        events::raise(&mut changes, occurrence, own, request.now);
    }
    changes.put(&asked, Expect::At(invoker.revision));
    if let Some(notice) = notice {
        let callback = Callback {
            destination: asked.told_at().clone(),
            notification: Tidings::Onboarding(Box::new(notice)),
            raised: request.now.clone(),
            invoker_id: asked.id,
        };
        changes.append(callback.lane(), &callback);
    }
    Some(changes)
}

/// Asks a provider function for a renewal, which the AMF of its domain carries out.
#[must_use]
pub fn ask_function(request: &Request<'_>, function: &Versioned<ProviderFunction>) -> Changes {
    let mut changes = Changes::new();
    let mut asked = function.record.clone();
    let demand = demand(request, &asked.renewal);
    if request.reason == DemandReason::Compromise {
        distrust(&mut changes, &mut asked, request.now);
        asked.renewal.suspended = Some(request.now.clone());
    }
    asked.renewal.demand = Some(Box::new(demand));
    changes.put(&asked, Expect::At(function.revision));
    changes
}

/// Lets an invoker that did not renew by its deadline do nothing else until it has. What was handed over to it meanwhile stays, so
/// that it has a way out. Nothing to write if that is so already, or if it is not overdue.
#[must_use]
pub fn suspend<'a, A, S>(
    invoker: &Versioned<Invoker>,
    around: Around<'a, A, S>,
    now: &DateTime,
) -> Changes
where
    A: Iterator<Item = &'a ServiceApi> + Clone,
    S: Iterator<Item = &'a Subscription> + Clone,
{
    let mut changes = Changes::new();
    let mut overdue = invoker.record.clone();
    if overdue.renewal.suspended.is_none() && overdue.renewal.is_overdue(now) {
        shut(&mut changes, &mut overdue, around, now);
        changes.put(&overdue, Expect::At(invoker.revision));
    }
    changes
}

/// The demand that counts from now on. One for a compromise is not weakened by another that comes later; one that is repeated
/// gets the new deadline.
fn demand(request: &Request<'_>, renewal: &Renewal) -> Demand {
    let before = renewal.demand.as_ref();
    let reason = match before.map(|demand| demand.reason) {
        Some(DemandReason::Compromise) => DemandReason::Compromise,
        _ => request.reason,
    };
    let same = before.filter(|demand| demand.reason == reason);
    Demand {
        reason,
        since: same.map_or_else(|| request.now.clone(), |demand| demand.since.clone()),
        deadline: request.deadline.clone(),
    }
}

/// Gives up what was handed out so far. What is left to those certificates is the renewal; one too many is revoked.
fn distrust(changes: &mut Changes, entity: &mut impl Renewable, now: &DateTime) {
    for ended in rotation::distrust(entity, now) {
        RevokedCertificate::put(changes, &ended.certificate, ended.reason, now);
    }
}

/// Takes from an invoker all but its own renewal: tokens are of an older number then, keys are gone, and every AEF that may
/// remember it is told, by the event or, where it did not subscribe to that, by `revoke-authorization`.
fn shut<'a, A, S>(
    changes: &mut Changes,
    invoker: &mut Invoker,
    around: Around<'a, A, S>,
    now: &DateTime,
) where
    A: Iterator<Item = &'a ServiceApi> + Clone,
    S: Iterator<Item = &'a Subscription> + Clone,
{
    invoker.renewal.suspended = Some(now.clone());
    let context = around.context.map(|held| &held.record);
    let circle = Circle::of(&invoker.reach, context, around.apis.clone());
    let occurrence = events::of_invoker(CapifEvent::ApiInvokerUpdated, &invoker.id, circle);
    events::raise(changes, occurrence, around.subscriptions.clone(), now);
    let Some(held) = around.context else { return };
    let known = known_at(invoker, Some(&held.record), around.apis.clone());
    for (aef_id, lost) in known.0 {
        if !hears(&aef_id, &invoker.id, around.subscriptions.clone()) {
            let order = Order {
                apis: None,
                cause: Cause::OtherReason,
                callback: false,
                now,
            };
            revocation::tell(
                changes,
                &aef_id,
                &invoker.id,
                &lost,
                &order,
                around.apis.clone(),
            );
        }
    }
    let mut context = held.record.clone();
    context.generation = context.generation.saturating_add(1);
    for entry in &mut context.entries {
        entry.psk = None;
    }
    changes.put(&context, Expect::At(held.revision));
}

/// Whether an AEF subscribed to what is said of an invoker.
fn hears<'a>(
    aef_id: &AefId,
    invoker: &ApiInvokerId,
    mut subscriptions: impl Iterator<Item = &'a Subscription>,
) -> bool {
    subscriptions.any(|subscription| {
        subscription.subscriber == aef_id.as_str()
            && events::is_told_of_invoker(subscription, CapifEvent::ApiInvokerUpdated, invoker)
    })
}

/// What an invoker is told at its notification destination: that its resource is as it was, and what is asked.
///
/// Choice: TS 29.222 has no message for it; this is the one that the destination takes anyway, with a member of ours.
fn notice(demand: &Demand, resource: Uri) -> OnboardingNotification {
    let asked = json!({ "renewal": { "reason": demand.reason, "deadline": demand.deadline } });
    OnboardingNotification {
        result: true,
        resource_location: Some(resource),
        api_invoker_enrolment_details: None,
        api_list: None,
        fail_reason: None,
        extra: std::iter::once((vendor::MEMBER.to_owned(), asked)).collect(),
    }
}

#[cfg(test)]
mod tests;
