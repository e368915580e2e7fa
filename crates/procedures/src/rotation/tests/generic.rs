//! What holds for certificates of invokers and of functions alike.

use super::*;

const OVERLAP: Duration = Duration::minutes(60);
const TICK: Duration = Duration::nanoseconds(1);

pub(super) fn after(time: &DateTime, duration: Duration) -> DateTime {
    DateTime(time.0 + duration)
}

fn successor(key: u8) -> Successor {
    Successor {
        public_key_text: format!("key {key}").into(),
        certificate: certificate(key),
        onboard_secret: Some(digest(key)),
        secret_expires: Some("2026-04-30T12:00:00Z".parse().unwrap()),
    }
}

fn demand(reason: DemandReason) -> Demand {
    Demand {
        reason,
        since: now(),
        deadline: after(&now(), Duration::days(1)),
    }
}

fn of(invoker: &Invoker, key: u8, now: &DateTime) -> Standing {
    let fingerprint = certificate(key).fingerprint;
    accepts(&invoker.certificate, &invoker.renewal, &fingerprint, now)
}

fn superseded(key: u8) -> Ended {
    Ended {
        certificate: certificate(key),
        reason: RevocationReason::Superseded,
    }
}

/// R-U-05: old and new material count side by side, each to the last instant of its time and not beyond.
#[test]
fn old_and_new_count_side_by_side() {
    let mut inv = invoker("INV");
    let end = inv.certificate.not_after.clone();
    assert_eq!(of(&inv, 1, &now()), Standing::Active);
    assert_eq!(of(&inv, 2, &now()), Standing::No);
    assert_eq!(of(&inv, 1, &after(&end, -TICK)), Standing::Active);
    assert_eq!(of(&inv, 1, &end), Standing::No);

    assert_eq!(hand_over(&mut inv, successor(2), OVERLAP, &now()), []);
    assert_eq!(of(&inv, 1, &now()), Standing::Active);
    assert_eq!(of(&inv, 2, &now()), Standing::Successor);
    assert_eq!(of(&inv, 2, &after(&end, -TICK)), Standing::Successor);
    assert_eq!(of(&inv, 2, &end), Standing::No);

    assert_eq!(promote(&mut inv, OVERLAP, &now()), Some(Vec::new()));
    assert_eq!(promote(&mut inv, OVERLAP, &now()), None);
    let until = after(&now(), OVERLAP);
    let retiring = Standing::Retiring {
        until: until.clone(),
    };
    assert_eq!(of(&inv, 2, &now()), Standing::Active);
    assert_eq!(of(&inv, 1, &now()), retiring);
    assert_eq!(of(&inv, 1, &after(&until, -TICK)), retiring);
    assert_eq!(of(&inv, 1, &until), Standing::No);
    assert_eq!(inv.public_key_text, "key 2");
    assert_eq!(inv.onboard_secret, Some(digest(2)));

    assert_eq!(retires(&inv.renewal), Some(&until));
    assert_eq!(retire(&mut inv, &after(&until, -TICK)), None);
    assert_eq!(retire(&mut inv, &until), Some(vec![superseded(1)]));
    assert_eq!(retire(&mut inv, &until), None);
    assert_eq!(retires(&inv.renewal), None);
}

/// An overlap is never longer than the life of what is on its way out.
#[test]
fn an_overlap_ends_with_the_certificate() {
    let mut inv = invoker("INV");
    let end = inv.certificate.not_after.clone();
    let late = after(&end, Duration::minutes(-5));
    hand_over(&mut inv, successor(2), OVERLAP, &late);
    promote(&mut inv, OVERLAP, &late).unwrap();
    assert_eq!(inv.renewal.retiring[0].until, end);
}

/// A successor that was never used retires when another takes its place: whoever has it comes through meanwhile.
#[test]
fn a_successor_is_replaced_gently() {
    let mut inv = invoker("INV");
    hand_over(&mut inv, successor(2), OVERLAP, &now());
    assert_eq!(hand_over(&mut inv, successor(3), OVERLAP, &now()), []);
    let until = after(&now(), OVERLAP);
    assert_eq!(of(&inv, 1, &now()), Standing::Active);
    assert_eq!(of(&inv, 2, &now()), Standing::Retiring { until });
    assert_eq!(of(&inv, 3, &now()), Standing::Successor);
}

/// No more than a bounded number of old certificates counts at a time: the oldest goes first.
#[test]
fn old_material_is_bounded() {
    let mut inv = invoker("INV");
    let mut ended = Vec::new();
    for key in 2..=7 {
        hand_over(&mut inv, successor(key), OVERLAP, &now());
        ended.extend(promote(&mut inv, OVERLAP, &now()).unwrap());
    }
    assert_eq!(ended, [superseded(1), superseded(2)]);
    let left = inv.renewal.retiring.iter().map(|old| &old.certificate);
    assert!(left.eq(&[6, 5, 4, 3].map(certificate)));
}

/// R-U-05: where material may be in other hands there is no overlap, and all that was handed out before is good for its own
/// replacement alone.
#[test]
fn a_compromise_has_no_overlap() {
    let mut inv = invoker("INV");
    hand_over(&mut inv, successor(2), OVERLAP, &now());
    promote(&mut inv, OVERLAP, &now()).unwrap();
    hand_over(&mut inv, successor(3), OVERLAP, &now());
    inv.renewal.handover = Some(Box::new(Handover {
        request: "r".to_owned(),
        credential: None,
        public_key_text: digest(9),
        secret: Some(SealedKey::new("sealed")),
        until: None,
    }));
    assert_eq!(distrust(&mut inv, &now()), []);
    inv.renewal.demand = Some(Box::new(demand(DemandReason::Compromise)));
    assert_eq!(inv.renewal.handover, None);
    for key in [1, 2, 3] {
        assert_eq!(of(&inv, key, &now()), Standing::Restricted, "key {key}");
    }
    let secrets = inv.renewal.retiring.iter().map(|old| &old.onboard_secret);
    assert!(secrets.eq([&None, &None]));

    // The one that was put aside does not end with an overlap: its holder may have nothing else.
    let late = after(&now(), Duration::days(30));
    assert_eq!(retire(&mut inv, &late).unwrap().len(), 1);
    assert_eq!(of(&inv, 3, &late), Standing::Restricted);

    assert_eq!(hand_over(&mut inv, successor(4), OVERLAP, &late), []);
    assert_eq!(of(&inv, 4, &late), Standing::Successor);
    let ended = hand_over(&mut inv, successor(5), OVERLAP, &late);
    assert_eq!(ended, [compromised(certificate(4))]);
    let ended = promote(&mut inv, OVERLAP, &late).unwrap();
    assert_eq!(ended, [2, 3].map(|key| compromised(certificate(key))));
    assert_eq!(inv.renewal, Renewal::default());
    assert_eq!(of(&inv, 5, &late), Standing::Active);
    for key in 1..=4 {
        assert_eq!(of(&inv, key, &late), Standing::No, "key {key}");
    }
}

/// R-U-02: the first use of what was handed over meets a demand; until then nothing changes for who was asked gently.
#[test]
fn use_meets_a_demand() {
    let mut inv = invoker("INV");
    inv.renewal.demand = Some(Box::new(demand(DemandReason::Operator)));
    assert_eq!(of(&inv, 1, &now()), Standing::Active);
    hand_over(&mut inv, successor(2), OVERLAP, &now());
    assert!(inv.renewal.demand.is_some());
    promote(&mut inv, OVERLAP, &now()).unwrap();
    assert_eq!(inv.renewal.demand, None);
    assert_eq!(inv.renewal.retiring.len(), 1);
}

/// What the last answer is given again from goes with the overlap that it began.
#[test]
fn an_answer_can_be_repeated_until_the_overlap_is_over() {
    let mut inv = invoker("INV");
    let handover = Box::new(Handover {
        request: "r".to_owned(),
        credential: None,
        public_key_text: digest(9),
        secret: Some(SealedKey::new("sealed")),
        until: None,
    });
    hand_over(&mut inv, successor(2), OVERLAP, &now());
    inv.renewal.handover = Some(handover.clone());
    let later = after(&now(), Duration::days(3));
    assert!(may_repeat(&inv.renewal, &later));
    promote(&mut inv, OVERLAP, &later).unwrap();
    let until = after(&later, OVERLAP);
    assert!(may_repeat(&inv.renewal, &after(&until, -TICK)));
    assert!(!may_repeat(&inv.renewal, &until));
    assert_eq!(inv.renewal.handover, Some(handover));
    retire(&mut inv, &until).unwrap();
    assert_eq!(inv.renewal.handover, None);
}

/// A function of a provider has no secret, and renews in the same way.
#[test]
fn functions_renew_too() {
    let mut aef = function("AEF", Role::Aef, 1);
    let mut next = successor(2);
    next.onboard_secret = None;
    next.secret_expires = None;
    hand_over(&mut aef, next, OVERLAP, &now());
    assert_eq!(promote(&mut aef, OVERLAP, &now()), Some(Vec::new()));
    assert_eq!(aef.certificate, certificate(2));
    assert_eq!(aef.public_key_text, "key 2");
    assert_eq!(aef.renewal.retiring[0].onboard_secret, None);
    let until = after(&now(), OVERLAP);
    assert_eq!(retire(&mut aef, &until), Some(vec![superseded(1)]));
    assert_eq!(aef.renewal, Renewal::default());
}
