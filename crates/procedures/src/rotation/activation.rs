//! The commits by which material of an API invoker changes its standing: first use, the end of an overlap, and the first use of
//! what an onboarding handed out.

use capif_spec::{common::DateTime, events::CapifEvent};
use time::Duration;

use super::{Ended, may_repeat, promote, retire};
use crate::{
    changes::{Changes, Expect, Versioned},
    events::{self, Circle},
    state::{Digest, Invoker, RevokedCertificate, SecurityContext, Subscription},
};

/// What there is besides an invoker that its renewal touches.
#[derive(Clone, Debug)]
pub struct Around<'a, S> {
    /// The invoker's security context.
    pub context: Option<&'a Versioned<SecurityContext>>,
    /// Whom it concerns.
    pub circle: Circle,
    /// The subscriptions of everyone.
    pub subscriptions: S,
}

/// What becomes of a certificate that counts no more: connections under it are to be closed.
pub type Fingerprints = Vec<Digest>;

/// The successor of an invoker was used: it takes effect. `None` when that was seen before. Beside the changes the certificates that
/// ended with it: none but in a compromise, or when there were too many.
#[must_use]
pub fn activate<'a, S>(
    invoker: &Versioned<Invoker>,
    around: Around<'a, S>,
    overlap: Duration,
    now: &DateTime,
) -> Option<(Changes, Fingerprints)>
where
    S: Iterator<Item = &'a Subscription>,
{
    let mut renewed = invoker.record.clone();
    let ended = promote(&mut renewed, overlap, now)?;
    Some(conclude(invoker, &renewed, &ended, around, now))
}

/// Ends what has retired by now (R-U-06): its certificates are revoked, and the keys go that were negotiated with them. `None` when
/// nothing is due.
#[must_use]
pub fn end_overlap<'a, S>(
    invoker: &Versioned<Invoker>,
    around: Around<'a, S>,
    now: &DateTime,
) -> Option<(Changes, Fingerprints)>
where
    S: Iterator<Item = &'a Subscription>,
{
    let mut renewed = invoker.record.clone();
    let ended = retire(&mut renewed, now)?;
    Some(conclude(invoker, &renewed, &ended, around, now))
}

/// An invoker used what an onboarding handed out to it: nobody is given that again. `None` when there is nothing to forget.
#[must_use]
pub fn settle(invoker: &Versioned<Invoker>, now: &DateTime) -> Option<Changes> {
    let renewal = &invoker.record.renewal;
    if renewal.handover.is_none() || may_repeat(renewal, now) {
        return None;
    }
    let mut settled = invoker.record.clone();
    settled.renewal.handover = None;
    let mut changes = Changes::new();
    changes.put(&settled, Expect::At(invoker.revision));
    Some(changes)
}

/// Writes an invoker whose material changed, with all that follows from it; told are its own subscription and the AEFs (R-U-08).
pub(crate) fn conclude<'a, S>(
    before: &Versioned<Invoker>,
    after: &Invoker,
    ended: &[Ended],
    around: Around<'a, S>,
    now: &DateTime,
) -> (Changes, Fingerprints)
where
    S: Iterator<Item = &'a Subscription>,
{
    let mut changes = Changes::new();
    changes.put(after, Expect::At(before.revision));
    for old in ended {
        RevokedCertificate::put(&mut changes, &old.certificate, old.reason, now);
    }
    let fingerprints: Vec<&Digest> = ended
        .iter()
        .map(|old| &old.certificate.fingerprint)
        .collect();
    if let (Some(held), false) = (around.context, fingerprints.is_empty()) {
        let mut context = held.record.clone();
        if context.forget_keys(&fingerprints) {
            changes.put(&context, Expect::At(held.revision));
        }
    }
    let occurrence = events::of_invoker(CapifEvent::ApiInvokerUpdated, &after.id, around.circle);
    events::raise(&mut changes, occurrence, around.subscriptions, now);
    (changes, fingerprints.into_iter().cloned().collect())
}
