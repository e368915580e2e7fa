//! Lives: when what is held ends, and when to renew it.

use capif_spec::common::DateTime;

use crate::state::{Certificate, Demand};

/// What is held, and since when.
#[derive(Clone, Copy, Debug)]
pub struct Lives<'a> {
    /// The certificate.
    pub certificate: &'a Certificate,
    /// When the Onboard_Secret that came with it ends, if it does.
    pub secret_expires: Option<&'a DateTime>,
    /// Since when the certificate is held, should its own record not say so.
    pub since: &'a DateTime,
    /// What the core function asks for.
    pub demand: Option<&'a Demand>,
}

/// From when on to renew: after two thirds of the life of certificate or secret, whichever comes first (P-12); at once where it is
/// asked for.
#[must_use]
pub fn renew_after(lives: Lives<'_>, now: &DateTime) -> DateTime {
    let begins = lives.certificate.issued.as_ref().unwrap_or(lives.since);
    let two_thirds = |ends: &DateTime| begins.0 + (ends.0 - begins.0) * 2 / 3;
    let ends = std::iter::once(&lives.certificate.not_after).chain(lives.secret_expires);
    let due = ends.map(two_thirds).min().unwrap_or(now.0);
    let demanded = lives.demand.map(|_| now.0);
    DateTime(demanded.map_or(due, |now| due.min(now)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        fixtures::{certificate, now},
        state::DemandReason,
    };

    fn at(text: &str) -> DateTime {
        text.parse().unwrap()
    }

    /// P-12: two thirds of the life, of the shorter one; at once where it is demanded.
    #[test]
    fn renewal_is_due_after_two_thirds() {
        let mut held = certificate(1);
        held.not_after = at("2026-03-01T00:00:00Z");
        let since = at("2026-01-30T00:00:00Z");
        let mut lives = Lives {
            certificate: &held,
            secret_expires: None,
            since: &since,
            demand: None,
        };
        assert_eq!(renew_after(lives, &now()), at("2026-02-19T00:00:00Z"));
        let secret = at("2026-02-08T00:00:00Z");
        lives.secret_expires = Some(&secret);
        assert_eq!(renew_after(lives, &now()), at("2026-02-05T00:00:00Z"));
        let later = at("2026-03-08T00:00:00Z");
        lives.secret_expires = Some(&later);
        assert_eq!(renew_after(lives, &now()), at("2026-02-19T00:00:00Z"));

        let demand = Demand {
            reason: DemandReason::Operator,
            since: now(),
            deadline: at("2026-02-25T00:00:00Z"),
        };
        lives.demand = Some(&demand);
        assert_eq!(renew_after(lives, &now()), now());
        let late = at("2026-02-20T00:00:00Z");
        assert_eq!(renew_after(lives, &late), at("2026-02-19T00:00:00Z"));

        let mut issued = held.clone();
        issued.issued = Some(at("2026-02-27T00:00:00Z"));
        lives.certificate = &issued;
        lives.demand = None;
        assert_eq!(renew_after(lives, &now()), at("2026-02-28T08:00:00Z"));
    }
}
