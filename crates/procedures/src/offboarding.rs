//! Offboarding of an API invoker (TS 33.122 clause 6.8, TS 23.222 clause 8.4).
//!
//! [`everything_of`] is the one list of what an invoker leaves behind. Whoever starts the removal, the invoker or the
//! operator, the same commit takes all of it and raises the event that the AEFs acknowledge once they forgot too.

use capif_spec::{
    common::{ApiInvokerId, DateTime},
    events::CapifEvent,
};

use crate::{
    changes::{Changes, Expect, Versioned},
    events,
    state::{Invoker, Notification, SecurityContext, Subscription},
};

/// Removes an invoker (steps 3 and 7). `subscriptions` are those of everyone.
#[must_use]
pub fn offboard<'a>(
    invoker: &Versioned<Invoker>,
    subscriptions: impl Iterator<Item = &'a Subscription>,
    now: &DateTime,
) -> Changes {
    let id = &invoker.record.id;
    let mut changes = Changes::new();
    changes.delete::<Invoker>(id.as_str(), Expect::At(invoker.revision));
    everything_of(&mut changes, id);
    events::raise(
        &mut changes,
        events::of_invoker(CapifEvent::ApiInvokerOffboarded, id),
        subscriptions.filter(|subscription| subscription.subscriber != id.as_str()),
        now,
    );
    changes
}

/// Everything that is kept under an invoker's id besides its profile (certificate, Onboard_Secret digest and API list are
/// part of the profile; access tokens are not kept and die with it). Invocation logs are the provider's and stay.
fn everything_of(changes: &mut Changes, id: &ApiInvokerId) {
    changes.delete::<SecurityContext>(id.as_str(), Expect::Any);
    changes.delete_prefix::<Subscription>(Subscription::prefix(id.as_str()));
    changes.delete_prefix::<Notification>(Subscription::prefix(id.as_str()));
}

#[cfg(test)]
mod tests;
