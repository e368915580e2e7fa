//! What an API invoker shows, judged to the nanosecond.

use super::{generic::after, *};

const TICK: Duration = Duration::nanoseconds(1);

/// An invoker in the midst of a renewal: key 1 is in use until an hour from now at most, key 2 was handed over, key 3 retires.
fn renewing() -> Invoker {
    let mut inv = invoker("INV");
    inv.secret_expires = Some(after(&now(), Duration::hours(1)));
    inv.renewal.agreed = true;
    inv.renewal.successor = Some(Box::new(Successor {
        public_key_text: "key 2".into(),
        certificate: certificate(2),
        onboard_secret: Some(digest(2)),
        secret_expires: Some(after(&now(), Duration::hours(2))),
    }));
    inv.renewal.retiring = vec![Retiring {
        certificate: certificate(3),
        onboard_secret: Some(digest(3)),
        secret_expires: Some(after(&now(), Duration::minutes(20))),
        until: after(&now(), Duration::minutes(30)),
    }];
    inv
}

fn of(inv: &Invoker, key: u8, now: &DateTime) -> Standing {
    standing(inv, &certificate(key).fingerprint, &rotation_terms(), now)
}

fn of_secret(inv: &Invoker, octet: u8, now: &DateTime) -> (Standing, Option<DateTime>) {
    judge_secret(inv, &digest(octet), &rotation_terms(), now)
}

/// R-U-05, R-U-06: each secret counts to the last instant of its own time, and of the overlap for one that was replaced.
#[test]
fn secrets_end_exactly() {
    let inv = renewing();
    let none = (Standing::No, None);
    let first = after(&now(), Duration::hours(1));
    let active = (Standing::Active, Some(first.clone()));
    assert_eq!(of_secret(&inv, 0x5e, &now()), active);
    assert_eq!(of_secret(&inv, 0x5e, &after(&first, -TICK)), active);
    assert_eq!(of_secret(&inv, 0x5e, &first), none);

    let second = after(&now(), Duration::hours(2));
    let successor = (Standing::Successor, Some(second.clone()));
    assert_eq!(of_secret(&inv, 2, &after(&second, -TICK)), successor);
    assert_eq!(of_secret(&inv, 2, &second), none);

    let until = after(&now(), Duration::minutes(20));
    let retiring = Standing::Retiring {
        until: until.clone(),
    };
    let found = of_secret(&inv, 3, &after(&until, -TICK));
    assert_eq!(found, (retiring, Some(until.clone())));
    assert_eq!(of_secret(&inv, 3, &until), none);
    let mut lasting = inv.clone();
    lasting.renewal.retiring[0].secret_expires = None;
    let until = after(&now(), Duration::minutes(30));
    let (standing, ends) = of_secret(&lasting, 3, &after(&until, -TICK));
    assert!(matches!(standing, Standing::Retiring { .. }));
    assert_eq!(ends, Some(until.clone()));
    assert_eq!(of_secret(&lasting, 3, &until), none);
    assert_eq!(of_secret(&inv, 9, &now()), none);
}

/// TS 33.122 clause 6.1: a secret that was not agreed to be renewed lasts as long as the enrolment.
#[test]
fn a_secret_without_an_end_has_none() {
    let inv = invoker("INV");
    let late = after(&now(), Duration::days(10_000));
    assert_eq!(of_secret(&inv, 0x5e, &late), (Standing::Active, None));
}

/// TS 23.222 clause 8.1: with the enrolment all ends, at its very instant.
#[test]
fn an_enrolment_ends_exactly() {
    let mut inv = renewing();
    let end = after(&now(), Duration::minutes(10));
    inv.expires = Some(end.clone());
    for key in [1, 2, 3] {
        assert_ne!(
            of(&inv, key, &after(&end, -TICK)),
            Standing::No,
            "key {key}"
        );
        assert_eq!(of(&inv, key, &end), Standing::No, "key {key}");
        assert_eq!(
            until(&inv, &certificate(key).fingerprint),
            Some(end.clone())
        );
    }
    for octet in [0x5e, 2, 3] {
        assert_ne!(of_secret(&inv, octet, &after(&end, -TICK)).0, Standing::No);
        assert_eq!(of_secret(&inv, octet, &end), (Standing::No, None));
    }
    assert!(!is_over(&inv, &after(&end, -TICK)));
    assert!(is_over(&inv, &end));
}

/// What is got by a certificate lasts no longer than it, nor than its overlap.
#[test]
fn what_follows_ends_with_its_ground() {
    let mut inv = renewing();
    let of = |inv: &Invoker, key: u8| until(inv, &certificate(key).fingerprint);
    assert_eq!(of(&inv, 1), Some(certificate(1).not_after));
    assert_eq!(of(&inv, 2), Some(certificate(2).not_after));
    assert_eq!(of(&inv, 3), Some(after(&now(), Duration::minutes(30))));
    assert_eq!(of(&inv, 4), None);
    let early = after(&now(), Duration::minutes(5));
    inv.renewal.retiring[0].certificate.not_after = early.clone();
    assert_eq!(of(&inv, 3), Some(early));
}

/// R-U-02: who did not renew by the deadline may do nothing else from its very instant on, where the operator wants it so; what
/// was handed over to it is the way out.
#[test]
fn who_is_overdue_must_renew() {
    let mut inv = renewing();
    let deadline = after(&now(), Duration::minutes(10));
    inv.renewal.demand = Some(Box::new(Demand {
        reason: DemandReason::Operator,
        since: now(),
        deadline: deadline.clone(),
    }));
    assert_eq!(of(&inv, 1, &after(&deadline, -TICK)), Standing::Active);
    assert!(!is_restricted(
        &inv,
        &rotation_terms(),
        &after(&deadline, -TICK)
    ));
    assert_eq!(of(&inv, 1, &deadline), Standing::Restricted);
    assert_eq!(of(&inv, 3, &deadline), Standing::Restricted);
    assert_eq!(of(&inv, 2, &deadline), Standing::Successor);
    assert_eq!(of_secret(&inv, 0x5e, &deadline).0, Standing::Restricted);
    assert!(is_restricted(&inv, &rotation_terms(), &deadline));

    let lenient = Terms {
        suspends_overdue: false,
        ..rotation_terms()
    };
    let fingerprint = certificate(1).fingerprint;
    let found = standing(&inv, &fingerprint, &lenient, &deadline);
    assert_eq!(found, Standing::Active);
    assert!(!is_restricted(&inv, &lenient, &deadline));
    inv.renewal.suspended = Some(deadline.clone());
    let found = standing(&inv, &fingerprint, &lenient, &deadline);
    assert_eq!(found, Standing::Restricted, "what was written stays");
}

/// R-U-02: of a secret in other hands nothing is left from the first instant, while the certificate still renews.
#[test]
fn a_compromise_kills_secrets_at_once() {
    let mut inv = renewing();
    inv.renewal.demand = Some(Box::new(Demand {
        reason: DemandReason::Compromise,
        since: now(),
        deadline: after(&now(), Duration::days(1)),
    }));
    assert_eq!(of(&inv, 1, &now()), Standing::Restricted);
    assert_eq!(of_secret(&inv, 0x5e, &now()).0, Standing::No);
    assert_eq!(of_secret(&inv, 3, &now()).0, Standing::No);
    assert_eq!(of_secret(&inv, 2, &now()).0, Standing::Successor);
    assert!(is_restricted(&inv, &rotation_terms(), &now()));
}
