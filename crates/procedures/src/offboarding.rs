//! Offboarding of an API invoker (TS 33.122 clause 6.8, TS 23.222 clause 8.4).
//!
//! [`everything_of`] is the one list of what an invoker leaves behind. Whoever starts the removal, the invoker or the
//! operator, the same commit takes all of it and raises the event that the AEFs acknowledge once they forgot too. An AEF that
//! knows the invoker but did not subscribe to the event is told by `revoke-authorization` (D-18).

use capif_spec::{
    common::{ApiInvokerId, DateTime},
    events::CapifEvent,
    security::Cause,
};

use crate::{
    changes::{Changes, Expect, Record, Versioned},
    events,
    revocation::{self, Losses, Order},
    security_method::exposed,
    state::{
        AccessControlPolicy, Callback, Invoker, Notification, SecurityContext, ServiceApi,
        Subscription, Usage,
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
}

/// Removes an invoker (steps 3 and 7).
#[must_use]
pub fn offboard<'a, A, P, S>(
    invoker: &Versioned<Invoker>,
    around: Around<'a, A, P, S>,
    now: &DateTime,
) -> Changes
where
    A: Iterator<Item = &'a ServiceApi> + Clone,
    P: Iterator<Item = &'a AccessControlPolicy>,
    S: Iterator<Item = &'a Subscription> + Clone,
{
    let id = &invoker.record.id;
    let mut changes = Changes::new();
    changes.delete::<Invoker>(id.as_str(), Expect::At(invoker.revision));
    everything_of(&mut changes, id, around.policies);
    let others = around
        .subscriptions
        .filter(|subscription| subscription.subscriber != id.as_str());
    events::raise(
        &mut changes,
        events::of_invoker(CapifEvent::ApiInvokerOffboarded, id),
        others.clone(),
        now,
    );
    for (aef_id, lost) in known_at(&invoker.record, around.context, around.apis.clone()).0 {
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

/// Everything that is kept under an invoker's id besides its profile (certificate, Onboard_Secret digest, API list and what the
/// operator shut it out of are part of the profile; access tokens are not kept and die with it). Invocation logs are the
/// provider's and stay.
fn everything_of<'a>(
    changes: &mut Changes,
    id: &ApiInvokerId,
    policies: impl Iterator<Item = &'a AccessControlPolicy>,
) {
    changes.delete::<SecurityContext>(id.as_str(), Expect::Any);
    changes.delete_prefix::<Subscription>(Subscription::prefix(id.as_str()));
    changes.delete_prefix::<Notification>(Subscription::prefix(id.as_str()));
    changes.delete_prefix::<Callback>(Callback::prefix(id.as_str()));
    changes.delete_prefix::<Usage>(Usage::prefix(id.as_str()));
    // A policy that is set meanwhile moves the profile, so that the removal is decided anew.
    for policy in policies.filter(|policy| policy.invoker_id.as_ref() == Some(id)) {
        changes.delete::<AccessControlPolicy>(policy.record_id(), Expect::Any);
    }
}

/// The AEFs that may hold something of the invoker, each with the APIs in question.
fn known_at<'a>(
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
