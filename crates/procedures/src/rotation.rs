//! Renewal of certificate and Onboard_Secret without offboarding, for API invokers and for the functions of providers alike
//! (R-U-01 to R-U-08, TS 29.222 clause 5.5.2.5).
//!
//! New material is handed over as the successor and counts from then on, beside what is in use. Its first use makes it the
//! material in use ([`promote`]); what it replaces retires after an overlap ([`retire`]). An answer that gets lost therefore
//! locks nobody out: the old material is good for as long as the new one has not been seen, and the same request gives the same
//! answer again.
//!
//! Whatever counts, counts exactly by time, whether or not a task has tidied up since: [`accepts`] is asked at each use.
//!
//! What may surprise: where material may be in other hands ([`DemandReason::Compromise`](crate::state::DemandReason)), all that
//! was handed out before is good for nothing but its own replacement. It still is for that, since the holder has nothing else to
//! show; there is no overlap then.

mod activation;
mod life;
mod standing;

use capif_spec::common::DateTime;
use time::Duration;

pub(crate) use self::activation::conclude;
pub use self::{
    activation::{Around, Fingerprints, activate, end_overlap, settle},
    life::{Lives, renew_after},
    standing::{is_over, is_restricted, judge_secret, standing, until},
};
use crate::state::{
    Certificate, Digest, Invoker, Pem, ProviderFunction, Renewal, Retiring, RevocationReason,
    Successor,
};

/// What the operator allows.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// How long old material counts beside new one.
    pub overlap: Duration,
    /// The life of an Onboard_Secret that can be renewed.
    pub secret_life: Duration,
    /// The longest life of an enrolment; as long as one likes if absent.
    pub enrolment_life: Option<Duration>,
    /// Whether an API invoker that did not renew by the deadline may do nothing else.
    pub suspends_overdue: bool,
}

/// As what a certificate or a secret counts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is the one in use.
    Active,
    /// It was handed over to replace the one in use, and is seen for the first time.
    Successor,
    /// It was replaced and counts for a while yet.
    Retiring {
        /// From when on it does not.
        until: DateTime,
    },
    /// It is good for nothing but its replacement.
    Restricted,
    /// It does not count.
    No,
}

/// As what a certificate counts that was shown by the holder of `current`, by its SHA-256.
#[must_use]
pub fn accepts(
    current: &Certificate,
    renewal: &Renewal,
    fingerprint: &Digest,
    now: &DateTime,
) -> Standing {
    let is = |held: &Certificate| held.fingerprint == *fingerprint && *now < held.not_after;
    let successor = renewal.successor.as_ref();
    if successor.is_some_and(|next| is(&next.certificate)) {
        return Standing::Successor;
    }
    let mut retiring = renewal.retiring.iter();
    let standing = if is(current) {
        Standing::Active
    } else if let Some(old) = retiring.find(|old| is(&old.certificate) && *now < old.until) {
        Standing::Retiring {
            until: old.until.clone(),
        }
    } else {
        return Standing::No;
    };
    if renewal.is_compromised() || renewal.suspended.is_some() {
        Standing::Restricted
    } else {
        standing
    }
}

/// An entity whose certificate can be renewed.
pub trait Renewable {
    /// What a renewal changes of it.
    fn material(&mut self) -> Material<'_>;
}

/// What a renewal changes of an entity.
#[derive(Debug)]
pub struct Material<'a> {
    /// The certificate in use.
    pub certificate: &'a mut Certificate,
    /// The public key in the text that was sent for it.
    pub public_key_text: &'a mut Pem,
    /// The Onboard_Secret, where there can be one.
    pub secret: Option<Secret<'a>>,
    /// The bookkeeping.
    pub renewal: &'a mut Renewal,
}

/// An Onboard_Secret as it is kept.
#[derive(Debug)]
pub struct Secret<'a> {
    /// Its digest.
    pub digest: &'a mut Option<Digest>,
    /// When it ends; never if absent.
    pub expires: &'a mut Option<DateTime>,
}

impl Renewable for Invoker {
    fn material(&mut self) -> Material<'_> {
        Material {
            certificate: &mut self.certificate,
            public_key_text: &mut self.public_key_text,
            secret: Some(Secret {
                digest: &mut self.onboard_secret,
                expires: &mut self.secret_expires,
            }),
            renewal: &mut self.renewal,
        }
    }
}

impl Renewable for ProviderFunction {
    fn material(&mut self) -> Material<'_> {
        Material {
            certificate: &mut self.certificate,
            public_key_text: &mut self.public_key_text,
            secret: None,
            renewal: &mut self.renewal,
        }
    }
}

/// A certificate that counts no more, to be revoked.
#[derive(Clone, Debug, PartialEq)]
pub struct Ended {
    /// The certificate.
    pub certificate: Certificate,
    /// Why.
    pub reason: RevocationReason,
}

/// Hands new material over. What was handed over before and never used retires, in case somebody else did receive it.
pub fn hand_over(
    entity: &mut impl Renewable,
    successor: Successor,
    overlap: Duration,
    now: &DateTime,
) -> Vec<Ended> {
    let Material { renewal, .. } = entity.material();
    let mut ended = Vec::new();
    if let Some(unused) = renewal.successor.replace(Box::new(successor)) {
        if renewal.is_compromised() {
            ended.push(compromised(unused.certificate));
        } else {
            let until = end_of_overlap(&unused.certificate, overlap, now);
            ended.extend(put_aside(renewal, unused.into_retiring(until), now));
        }
    }
    ended
}

/// Makes the successor the material in use, since it was used; nothing when there is none. A demand is met with it.
pub fn promote(
    entity: &mut impl Renewable,
    overlap: Duration,
    now: &DateTime,
) -> Option<Vec<Ended>> {
    let Material {
        certificate,
        public_key_text,
        secret,
        renewal,
    } = entity.material();
    let next = renewal.successor.take()?;
    let until = end_of_overlap(certificate, overlap, now);
    let mut old = Retiring {
        certificate: std::mem::replace(certificate, next.certificate),
        onboard_secret: None,
        secret_expires: None,
        until,
    };
    *public_key_text = next.public_key_text;
    if let Some(secret) = secret {
        old.onboard_secret = std::mem::replace(secret.digest, next.onboard_secret);
        old.secret_expires = std::mem::replace(secret.expires, next.secret_expires);
    }
    let demand = renewal.demand.take();
    renewal.suspended = None;
    let distrusted =
        demand.is_some_and(|demand| demand.reason == crate::state::DemandReason::Compromise);
    if !distrusted {
        return Some(put_aside(renewal, old, now));
    }
    renewal.handover = None;
    let retiring = renewal.retiring.drain(..);
    let all = std::iter::once(old).chain(retiring);
    Some(all.map(|old| compromised(old.certificate)).collect())
}

/// Takes away the old material whose overlap is over, and with the last of it what the last answer could be given again from.
/// Nothing when nothing is over.
pub fn retire(entity: &mut impl Renewable, now: &DateTime) -> Option<Vec<Ended>> {
    let Material { renewal, .. } = entity.material();
    let reason = if renewal.is_compromised() {
        RevocationReason::KeyCompromise
    } else {
        RevocationReason::Superseded
    };
    let (over, left): (Vec<_>, Vec<_>) = std::mem::take(&mut renewal.retiring)
        .into_iter()
        .partition(|old| old.until <= *now);
    renewal.retiring = left;
    if over.is_empty() {
        return None;
    }
    if !may_repeat(renewal, now) {
        renewal.handover = None;
    }
    let ended = over.into_iter().map(|old| Ended {
        certificate: old.certificate,
        reason,
    });
    Some(ended.collect())
}

/// When there is next something for [`retire`] to do.
#[must_use]
pub fn retires(renewal: &Renewal) -> Option<&DateTime> {
    renewal.retiring.iter().map(|old| &old.until).min()
}

/// Gives up what was handed out so far, because it may be in other hands: of the successor that nobody used nothing is left but
/// the right to renew, and no answer is given again. To be called when a renewal is demanded for that reason.
pub fn distrust(entity: &mut impl Renewable, now: &DateTime) -> Vec<Ended> {
    let Material { renewal, .. } = entity.material();
    renewal.handover = None;
    for old in &mut renewal.retiring {
        old.onboard_secret = None;
    }
    let Some(unused) = renewal.successor.take() else {
        return Vec::new();
    };
    let until = unused.certificate.not_after.clone();
    let mut old = unused.into_retiring(until);
    old.onboard_secret = None;
    put_aside(renewal, old, now)
}

/// Whether the last answer can be given again: until the overlap that it began is over.
#[must_use]
pub fn may_repeat(renewal: &Renewal, now: &DateTime) -> bool {
    renewal.successor.is_some() || renewal.retiring.iter().any(|old| *now < old.until)
}

/// Puts old material aside, the newest first; what is too much, or over, ends at once.
fn put_aside(renewal: &mut Renewal, old: Retiring, now: &DateTime) -> Vec<Ended> {
    renewal.retiring.insert(0, old);
    let mut room = Renewal::RETIRING_MAX;
    let (kept, ended): (Vec<_>, Vec<_>) = std::mem::take(&mut renewal.retiring)
        .into_iter()
        .partition(|old| {
            let counts = *now < old.until && room > 0;
            room = room.saturating_sub(usize::from(counts));
            counts
        });
    renewal.retiring = kept;
    let ended = ended.into_iter().map(|old| Ended {
        certificate: old.certificate,
        reason: RevocationReason::Superseded,
    });
    ended.collect()
}

fn end_of_overlap(certificate: &Certificate, overlap: Duration, now: &DateTime) -> DateTime {
    DateTime(now.0.saturating_add(overlap).min(certificate.not_after.0))
}

fn compromised(certificate: Certificate) -> Ended {
    Ended {
        certificate,
        reason: RevocationReason::KeyCompromise,
    }
}

impl Successor {
    fn into_retiring(self, until: DateTime) -> Retiring {
        Retiring {
            certificate: self.certificate,
            onboard_secret: self.onboard_secret,
            secret_expires: self.secret_expires,
            until,
        }
    }
}

#[cfg(test)]
mod tests;
