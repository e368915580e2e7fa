//! Which certificate a provider function has for a key, and the commits by which its certificates change their standing: first
//! use, and the end of an overlap.

use capif_spec::common::DateTime;
use time::Duration;

use crate::{
    changes::{Changes, Expect, Versioned},
    rotation::{self, Ended, Fingerprints, Lives},
    state::{Certificate, ProviderFunction, PublicKey, RevokedCertificate},
};

/// The successor of a function was used: it takes effect. `None` when that was seen before. Beside the changes the certificates
/// that ended with it.
#[must_use]
pub fn activate(
    function: &Versioned<ProviderFunction>,
    overlap: Duration,
    now: &DateTime,
) -> Option<(Changes, Fingerprints)> {
    let mut renewed = function.record.clone();
    let ended = rotation::promote(&mut renewed, overlap, now)?;
    Some(conclude(function, &renewed, ended, now))
}

/// Ends what has retired by now (R-U-06): its certificates are revoked. `None` when nothing is due.
#[must_use]
pub fn end_overlap(
    function: &Versioned<ProviderFunction>,
    now: &DateTime,
) -> Option<(Changes, Fingerprints)> {
    let mut renewed = function.record.clone();
    let ended = rotation::retire(&mut renewed, now)?;
    Some(conclude(function, &renewed, ended, now))
}

fn conclude(
    before: &Versioned<ProviderFunction>,
    after: &ProviderFunction,
    ended: Vec<Ended>,
    now: &DateTime,
) -> (Changes, Fingerprints) {
    let mut changes = Changes::new();
    changes.put(after, Expect::At(before.revision));
    for old in &ended {
        RevokedCertificate::put(&mut changes, &old.certificate, old.reason, now);
    }
    let fingerprints = ended.into_iter().map(|old| old.certificate.fingerprint);
    (changes, fingerprints.collect())
}

/// What makes a certificate old: now, since when those are held whose records do not say so, and whose authority is replaced.
#[derive(Clone, Copy)]
pub(super) struct Clock<'a> {
    pub(super) since: &'a DateTime,
    pub(super) now: &'a DateTime,
    pub(super) is_outdated: &'a dyn Fn(&Certificate) -> bool,
}

/// Whether a text is the key of a known function: the one in use, or the one that will be.
pub(super) fn has_key(function: &ProviderFunction, text: &str) -> bool {
    let successor = function.renewal.successor.as_ref();
    function.public_key_text == *text
        || successor.is_some_and(|successor| successor.public_key_text == *text)
}

/// The certificate that a function has for a key. What was handed over last comes first, as long as it lasts, so that a request
/// that is repeated is answered alike; one in use does when it is not time for another.
pub(super) fn held<'a>(
    function: &'a ProviderFunction,
    key: &PublicKey,
    clock: Clock<'_>,
) -> Option<&'a Certificate> {
    let successor = function.renewal.successor.as_ref();
    successor
        .map(|successor| &successor.certificate)
        .filter(|certificate| certificate.public_key == key.digest)
        .filter(|certificate| *clock.now < certificate.not_after)
        .filter(|certificate| !(clock.is_outdated)(certificate))
        .or_else(|| {
            let certificate = &function.certificate;
            (certificate.public_key == key.digest && !is_due(function, clock))
                .then_some(certificate)
        })
}

/// Whether a function that names the key in use gets another certificate for it: from two thirds of its life on, when it was asked
/// to renew, or when its authority is being replaced. A key that may be in other hands is not certified again.
fn is_due(function: &ProviderFunction, clock: Clock<'_>) -> bool {
    let lives = Lives {
        certificate: &function.certificate,
        secret_expires: None,
        since: clock.since,
        demand: function.renewal.demand.as_deref(),
    };
    let is_old = (clock.is_outdated)(&function.certificate)
        || rotation::renew_after(lives, clock.now) <= *clock.now;
    is_old && !function.renewal.is_compromised()
}

/// Whether a key is one of those that may be in other hands: it is not certified again, for no hosts.
pub(super) fn is_distrusted(function: &ProviderFunction, key: &PublicKey) -> bool {
    let retiring = function.renewal.retiring.iter().map(|old| &old.certificate);
    let mut known = std::iter::once(&function.certificate).chain(retiring);
    function.renewal.is_compromised() && known.any(|held| held.public_key == key.digest)
}
