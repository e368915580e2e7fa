//! Offboarding of an API invoker (TS 33.122 clause 6.8, TS 23.222 clause 8.4).
//!
//! [`everything_of`] is the one list of what an invoker leaves behind. Whoever starts the removal, the invoker, the operator, or
//! time (an enrolment that ends, a renewal that is overdue), the same commit takes all of it and raises the event that the AEFs
//! acknowledge once they forgot too. An AEF that knows the invoker but did not subscribe to the event is told by
//! `revoke-authorization` (D-18). Its certificates are written down as revoked until they would have ended; where the operator
//! keeps account of departures, one is written too.

use capif_spec::{
    common::{ApiInvokerId, DateTime},
    events::CapifEvent,
    security::Cause,
};

use crate::{
    changes::{Changes, Expect, Record, Versioned},
    events::{self, Circle},
    revocation::{self, Losses, Order},
    security_method::exposed,
    state::{
        AccessControlPolicy, Audience, Callback, Certificate, DemandReason, Departure,
        DepartureReason, DiscoveryPolicy, Invoker, Notification, PendingEnrolment, Renewal,
        Reporting, RevocationReason, RevokedCertificate, SecurityContext, ServiceApi, Subscription,
        Usage,
    },
};

/// What there is besides the invoker that its removal touches.
#[derive(Clone, Debug)]
pub struct Around<'a, A, P, S> {
    /// The invoker's security context.
    pub context: Option<&'a SecurityContext>,
    /// All published APIs.
    pub apis: A,
    /// The access control policies of everyone.
    pub policies: P,
    /// The subscriptions of everyone.
    pub subscriptions: S,
    /// How often the invoker called, as far as calls were counted.
    pub calls: Option<u64>,
}

/// Why an invoker goes, and what is kept of it.
#[derive(Clone, Copy, Debug)]
pub struct Leave {
    /// Why.
    pub reason: DepartureReason,
    /// Whether the operator keeps account of departures (TS 33.122 clause 6.8 step 3).
    pub is_kept: bool,
}

/// Removes an invoker (steps 3 and 7).
#[must_use]
pub fn offboard<'a, A, P, S>(
    invoker: &Versioned<Invoker>,
    around: Around<'a, A, P, S>,
    leave: Leave,
    now: &DateTime,
) -> Changes
where
    A: Iterator<Item = &'a ServiceApi> + Clone,
    P: Iterator<Item = &'a AccessControlPolicy>,
    S: Iterator<Item = &'a Subscription> + Clone,
{
    let held = &invoker.record;
    let id = &held.id;
    let mut changes = Changes::new();
    changes.delete::<Invoker>(id.as_str(), Expect::At(invoker.revision));
    everything_of(&mut changes, id, around.policies);
    revoke_certificates(&mut changes, &held.certificate, &held.renewal, now);
    if leave.is_kept {
        let within = around.apis.clone().filter(|api| held.reach.includes(api));
        let departure = Departure {
            id: id.clone(),
            onboarded: held.onboarded.clone(),
            offboarded: now.clone(),
            reason: leave.reason,
            contexts: around.context.map_or(0, |context| context.entries.len()),
            apis: within.count(),
            invocations: around.calls,
        };
        changes.put(&departure, Expect::Any);
    }
    let others = around
        .subscriptions
        .filter(|subscription| subscription.subscriber != id.as_str());
    events::raise(
        &mut changes,
        events::of_invoker(
            CapifEvent::ApiInvokerOffboarded,
            id,
            Circle::of(&held.reach, around.context, around.apis.clone()),
        ),
        others.clone(),
        now,
    );
    for (aef_id, lost) in known_at(held, around.context, around.apis.clone()).0 {
        let is_told = others.clone().any(|subscription| {
            subscription.subscriber == aef_id.as_str()
                && events::is_told_of_invoker(subscription, CapifEvent::ApiInvokerOffboarded, id)
        });
        if !is_told {
            let order = Order {
                apis: None,
                cause: Cause::OtherReason,
                callback: false,
                now,
            };
            revocation::tell(
                &mut changes,
                &aef_id,
                id,
                &lost,
                &order,
                around.apis.clone(),
            );
        }
    }
    changes
}

/// Everything that is kept under an invoker's id besides its profile. Part of the profile, and gone with it: its certificates,
/// those to come and those on their way out included, the digests of its Onboard_Secrets, what was sealed to repeat an answer,
/// its API list and criteria, what the core function asks of it, and what the operator shut it out of. Access tokens are not kept and die
/// with it. Invocation logs are the provider's and stay.
fn everything_of<'a>(
    changes: &mut Changes,
    id: &ApiInvokerId,
    policies: impl Iterator<Item = &'a AccessControlPolicy>,
) {
    changes.delete::<SecurityContext>(id.as_str(), Expect::Any);
    changes.delete_prefix::<Subscription>(Subscription::prefix(id.as_str()));
    changes.delete_prefix::<Notification>(Subscription::prefix(id.as_str()));
    changes.delete_prefix::<Reporting>(Subscription::prefix(id.as_str()));
    changes.delete_prefix::<Callback>(Callback::prefix(id.as_str()));
    changes.delete_prefix::<Usage>(Usage::prefix(id.as_str()));
    changes.delete::<PendingEnrolment>(id.as_str(), Expect::Any);
    let audience = Audience::Invoker(id.clone());
    changes.delete_prefix::<DiscoveryPolicy>(DiscoveryPolicy::prefix(&audience));
    // A policy that is set meanwhile moves the profile, so that the removal is decided anew.
    for policy in policies.filter(|policy| policy.invoker_id.as_ref() == Some(id)) {
        changes.delete::<AccessControlPolicy>(policy.record_id(), Expect::Any);
    }
}

/// Writes down as revoked whatever an entity that goes was certified with: what is in use, what was handed over, what was on its
/// way out.
pub(crate) fn revoke_certificates(
    changes: &mut Changes,
    active: &Certificate,
    renewal: &Renewal,
    now: &DateTime,
) {
    let demand = renewal.demand.as_ref();
    let reason = match demand.map(|demand| demand.reason) {
        Some(DemandReason::Compromise) => RevocationReason::KeyCompromise,
        _ => RevocationReason::CessationOfOperation,
    };
    let successor = renewal.successor.iter().map(|next| &next.certificate);
    let retiring = renewal.retiring.iter().map(|old| &old.certificate);
    for certificate in std::iter::once(active).chain(successor).chain(retiring) {
        RevokedCertificate::put(changes, certificate, reason, now);
    }
}

/// The AEFs that may hold something of the invoker, each with the APIs in question.
pub(crate) fn known_at<'a>(
    invoker: &Invoker,
    context: Option<&SecurityContext>,
    apis: impl Iterator<Item = &'a ServiceApi> + Clone,
) -> Losses {
    let mut known = Losses::default();
    for entry in context.iter().flat_map(|context| &context.entries) {
        let open = exposed(entry, invoker, apis.clone()).map(|api| api.id.clone());
        known.add(&entry.aef_id, open);
    }
    known
}

#[cfg(test)]
mod tests;
