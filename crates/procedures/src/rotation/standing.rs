//! Whether what an API invoker shows counts now, its enrolment and the demands of the core function considered.

use capif_spec::common::DateTime;

use super::{Standing, Terms, accepts};
use crate::state::{Certificate, Digest, Invoker};

/// As what a certificate of an API invoker counts, by its SHA-256.
#[must_use]
pub fn standing(
    invoker: &Invoker,
    fingerprint: &Digest,
    terms: &Terms,
    now: &DateTime,
) -> Standing {
    if is_over(invoker, now) {
        return Standing::No;
    }
    let found = accepts(&invoker.certificate, &invoker.renewal, fingerprint, now);
    restricted(found, invoker, terms, now)
}

/// As what an Onboard_Secret of an API invoker counts, by its SHA-256; beside it when it ends, if it does.
#[must_use]
pub fn judge_secret(
    invoker: &Invoker,
    secret: &Digest,
    terms: &Terms,
    now: &DateTime,
) -> (Standing, Option<DateTime>) {
    if is_over(invoker, now) {
        return (Standing::No, None);
    }
    let is = |held: Option<&Digest>, expires: Option<&DateTime>| {
        held.is_some_and(|held| held == secret) && expires.is_none_or(|expires| now < expires)
    };
    let mut found = (Standing::No, None);
    // All are compared, whichever it is.
    for old in &invoker.renewal.retiring {
        let expires = old.secret_expires.as_ref();
        if is(old.onboard_secret.as_ref(), expires) && *now < old.until {
            let until = expires.map_or(&old.until, |expires| expires.min(&old.until));
            let until = until.clone();
            found = (
                Standing::Retiring {
                    until: until.clone(),
                },
                Some(until),
            );
        }
    }
    if is(
        invoker.onboard_secret.as_ref(),
        invoker.secret_expires.as_ref(),
    ) {
        found = (Standing::Active, invoker.secret_expires.clone());
    }
    if let Some(next) = &invoker.renewal.successor {
        let lives = *now < next.certificate.not_after;
        let expires = next.secret_expires.as_ref();
        if is(next.onboard_secret.as_ref(), expires) && lives {
            found = (Standing::Successor, next.secret_expires.clone());
        }
    }
    let (standing, until) = found;
    let standing = match standing {
        Standing::Active | Standing::Retiring { .. } if invoker.renewal.is_compromised() => {
            // A secret renews nothing: of a secret in other hands nothing is left.
            Standing::No
        }
        standing => restricted(standing, invoker, terms, now),
    };
    (standing, until)
}

/// Until when what was got by a certificate may count at the longest: to the end of the certificate, of its overlap, or of the
/// enrolment, whichever comes first. `None` for a certificate that is not the invoker's.
#[must_use]
pub fn until(invoker: &Invoker, fingerprint: &Digest) -> Option<DateTime> {
    let is = |held: &Certificate| held.fingerprint == *fingerprint;
    let renewal = &invoker.renewal;
    let ends = if is(&invoker.certificate) {
        &invoker.certificate.not_after
    } else if let Some(next) = renewal.successor.as_ref()
        && is(&next.certificate)
    {
        &next.certificate.not_after
    } else {
        let mut retiring = renewal.retiring.iter();
        let old = retiring.find(|old| is(&old.certificate))?;
        (&old.until).min(&old.certificate.not_after)
    };
    let ends = invoker
        .expires
        .as_ref()
        .map_or(ends, |expires| ends.min(expires));
    Some(ends.clone())
}

/// Whether the enrolment has ended (TS 23.222 clause 8.1).
#[must_use]
pub fn is_over(invoker: &Invoker, now: &DateTime) -> bool {
    invoker
        .expires
        .as_ref()
        .is_some_and(|expires| expires <= now)
}

/// Whether all but its own renewal is taken from an invoker now: because what it holds may be in other hands, or because it did not
/// renew by the deadline.
#[must_use]
pub fn is_restricted(invoker: &Invoker, terms: &Terms, now: &DateTime) -> bool {
    let renewal = &invoker.renewal;
    renewal.is_compromised()
        || renewal.suspended.is_some()
        || (terms.suspends_overdue && renewal.is_overdue(now))
}

fn restricted(standing: Standing, invoker: &Invoker, terms: &Terms, now: &DateTime) -> Standing {
    match standing {
        Standing::Active | Standing::Retiring { .. } if is_restricted(invoker, terms, now) => {
            Standing::Restricted
        }
        standing => standing,
    }
}
