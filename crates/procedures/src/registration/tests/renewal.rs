//! Renewal of the certificates of a domain's functions, by its AMF (S0).

use super::*;
use crate::state::{Demand, DemandReason, RevocationReason};

/// When a record says nothing else, certificates are held since registration, 365 days before they end: so this is two thirds.
fn two_thirds() -> DateTime {
    "2026-10-01T20:00:00Z".parse().unwrap()
}

fn at(wanted: &[Value], before: &[Versioned<ProviderFunction>], now: &DateTime) -> Plan {
    under(wanted, before, 1, now)
}

/// The same where this authority is the current one.
fn under(
    wanted: &[Value],
    before: &[Versioned<ProviderFunction>],
    authority: u32,
    now: &DateTime,
) -> Plan {
    let details = request(wanted);
    let keys = judged(&details);
    let functions: Vec<ProviderFunction> = before.iter().map(|held| held.record.clone()).collect();
    let domain = versioned(domain(&functions));
    let before = Before::Domain(&domain, before);
    let none = |_: Role| panic!("no function is new here");
    let is_outdated = |held: &Certificate| held.authority != authority;
    plan(details, before, "DOM".into(), keys, none, &is_outdated, now).unwrap()
}

fn all(aef_key: u8) -> Vec<Value> {
    vec![
        known(wanted("AMF", 1), "AMF"),
        known(wanted("APF", 2), "APF"),
        known(wanted("AEF", aef_key), "AEF"),
    ]
}

/// The AEF as changes leave it.
fn aef(changes: &Changes) -> ProviderFunction {
    let mut written = written::<ProviderFunction>(changes).into_iter();
    let (expect, function) = written.find(|(_, held)| held.id.as_str() == "AEF").unwrap();
    assert_eq!(expect, Expect::At(REVISION));
    function
}

/// R-U-05, R-U-07: a new key of a known function makes a successor beside the certificate in use, and the same request gives the
/// same answer, also from the new certificate's holder.
#[test]
fn a_new_key_makes_a_successor() {
    let before = stored(&functions());
    let plan = at(&all(9), &before, &now());
    assert_eq!(orders(&plan), [("AEF", digest(9))]);
    let (changes, answer) = completed(plan, &[], &[]);
    let renewed = aef(&changes);
    assert_eq!(renewed.certificate, certificate(3), "still in use");
    assert_eq!(renewed.public_key_text, "key 3");
    let successor = renewed.renewal.successor.clone().unwrap();
    assert_eq!(successor.certificate, certificate(9));
    assert_eq!(successor.public_key_text, "key 9");
    assert_eq!(written::<RevokedCertificate>(&changes), []);

    let mut functions = functions();
    functions[2] = renewed;
    let again = at(&all(9), &stored(&functions), &now());
    assert_eq!(orders(&again), []);
    let (changes, repeated) = completed(again, &[], &[]);
    assert_eq!(answered(&repeated), answered(&answer));
    assert_eq!(answered(&repeated)[2], row("AEF", "AEF", 9));
    assert_eq!(aef(&changes), functions[2]);

    // Deployed clients repeat the request for the key in use, and leave ids out.
    let as_before = at(&all(3), &stored(&functions), &now());
    let (_, answer) = completed(as_before, &[], &[]);
    assert_eq!(answered(&answer)[2], row("AEF", "AEF", 3));
    let mut without_id = all(9);
    without_id[2] = wanted("AEF", 9);
    let (_, answer) = completed(at(&without_id, &stored(&functions), &now()), &[], &[]);
    assert_eq!(answered(&answer)[2], row("AEF", "AEF", 9));
}

/// A successor that ended before anybody used it is no answer any more: its key gets another certificate.
#[test]
fn a_successor_that_has_ended_is_replaced() {
    let (changes, _) = completed(at(&all(9), &stored(&functions()), &now()), &[], &[]);
    let mut functions = functions();
    functions[2] = aef(&changes);
    let ends = certificate(9).not_after;
    let before = DateTime(ends.0 - Duration::nanoseconds(1));
    let of_aef = |now: &DateTime| {
        let plan = at(&all(9), &stored(&functions), now);
        plan.orders().any(|order| order.id() == "AEF")
    };
    assert!(!of_aef(&before));
    assert!(of_aef(&ends));
}

/// Another key replaces a successor that nobody used; that one counts for an overlap yet, in case somebody has it.
#[test]
fn another_key_replaces_the_successor() {
    let (changes, _) = completed(at(&all(9), &stored(&functions()), &now()), &[], &[]);
    let mut functions = functions();
    functions[2] = aef(&changes);
    let (changes, answer) = completed(at(&all(8), &stored(&functions), &now()), &[], &[]);
    assert_eq!(answered(&answer)[2], row("AEF", "AEF", 8));
    let renewal = aef(&changes).renewal;
    assert_eq!(renewal.successor.unwrap().certificate, certificate(8));
    let [old] = renewal.retiring.try_into().unwrap();
    assert_eq!(old.certificate, certificate(9));
    assert_eq!(old.until, "2026-01-31T13:00:00Z".parse().unwrap());
}

/// R-U-01: the same key gets another certificate from two thirds of the life of the one in use on, exactly, and not before.
#[test]
fn the_same_key_is_certified_again_when_it_is_time() {
    let before = stored(&functions());
    let due = two_thirds();
    let early = DateTime(due.0 - Duration::nanoseconds(1));
    assert_eq!(orders(&at(&all(3), &before, &early)), []);
    let plan = at(&all(3), &before, &due);
    let ordered: Vec<&str> = plan.orders().map(CertificateOrder::id).collect();
    assert_eq!(ordered, ["AMF", "APF", "AEF"]);
    let (changes, _) = completed(plan, &[], &[]);

    // Once it is handed over, the same request is a repetition.
    let renewed: Vec<ProviderFunction> = written(&changes)
        .into_iter()
        .map(|(_, function)| function)
        .collect();
    assert_eq!(orders(&at(&all(3), &stored(&renewed), &due)), []);

    let mut fresh = functions();
    fresh[2].certificate.issued = Some(early.clone());
    let plan = at(&all(3), &stored(&fresh), &due);
    let ordered: Vec<&str> = plan.orders().map(CertificateOrder::id).collect();
    assert_eq!(ordered, ["AMF", "APF"]);
}

/// R-U-02: who is asked to renew may do so with the same key, unless that key may be in other hands.
#[test]
fn a_demand_decides_on_the_same_key() {
    for (reason, certified) in [
        (DemandReason::Operator, vec![("AEF", digest(3))]),
        (DemandReason::Compromise, vec![]),
    ] {
        let mut functions = functions();
        functions[2].renewal.demand = Some(Box::new(Demand {
            reason,
            since: now(),
            deadline: two_thirds(),
        }));
        let plan = at(&all(3), &stored(&functions), &now());
        assert_eq!(orders(&plan), certified, "{reason:?}");
        let plan = at(&all(9), &stored(&functions), &now());
        assert_eq!(orders(&plan), [("AEF", digest(9))], "{reason:?}");
        let (changes, _) = completed(plan, &[], &[]);
        let renewal = aef(&changes).renewal;
        assert!(renewal.demand.is_some(), "met by its first use alone");
    }
}

/// D-24: while the authority is being replaced, a client that repeats its request for the key in use gets a certificate of the new
/// one, or it would be locked out with the end of the old one.
#[test]
fn the_same_key_is_certified_by_another_authority() {
    let before = stored(&functions());
    assert_eq!(orders(&under(&all(3), &before, 1, &now())), []);
    let plan = under(&all(3), &before, 2, &now());
    let ordered: Vec<&str> = plan.orders().map(CertificateOrder::id).collect();
    assert_eq!(ordered, ["AMF", "APF", "AEF"]);

    let mut successors = functions();
    for function in &mut successors {
        function.renewal.successor = Some(Box::new(Successor {
            public_key_text: function.public_key_text.clone(),
            certificate: Certificate {
                authority: 2,
                ..function.certificate.clone()
            },
            onboard_secret: None,
            secret_expires: None,
        }));
    }
    let before = stored(&successors);
    assert_eq!(orders(&under(&all(3), &before, 2, &now())), [], "once");
    let plan = under(&all(3), &before, 3, &now());
    assert_eq!(plan.orders().count(), 3, "and one more follows");
}

/// R-U-05: a key that may be in other hands is not certified again by any way: not for other hosts, and not when it was on its way
/// out already, or was handed over and never used.
#[test]
fn a_distrusted_key_is_not_certified_again() {
    let mut functions = functions();
    functions[2].renewal.successor = Some(Box::new(Successor {
        public_key_text: "key 8".into(),
        certificate: certificate(8),
        onboard_secret: None,
        secret_expires: None,
    }));
    let request_now = crate::demand::Request {
        reason: DemandReason::Compromise,
        deadline: two_thirds(),
        now: &now(),
    };
    let changes = crate::demand::ask_function(&request_now, &versioned(functions[2].clone()));
    functions[2] = aef(&changes);
    let before = stored(&functions);
    let domain = versioned(domain(&functions));
    for (key, hosts) in [(3, json!(["gw.example"])), (8, json!([]))] {
        let mut wanted = all(key);
        wanted[2] = serving(wanted[2].clone(), hosts);
        let details = request(&wanted);
        let keys = judged(&details);
        let refused = plan(
            details,
            Before::Domain(&domain, &before),
            "DOM".into(),
            keys,
            |_| panic!("no function is new here"),
            &|_| false,
            &now(),
        );
        let refused = refused.unwrap_err();
        assert!(
            matches!(&refused, Refusal::PublicKey(reason) if reason.contains("other hands")),
            "key {key}: {refused:?}"
        );
    }
    assert_eq!(orders(&at(&all(9), &before, &now())), [("AEF", digest(9))]);
}

/// R-U-02: who must renew first may do just that: have itself certified anew, and others with it, but bring nobody in and leave
/// nobody out.
#[test]
fn an_update_that_renews_and_nothing_else() {
    let before = stored(&functions());
    let amf = "AMF".into();
    let with = |amf_key: u8, rest: &[Value]| {
        let mut wanted = vec![known(wanted("AMF", amf_key), "AMF")];
        wanted.extend_from_slice(rest);
        wanted
    };
    let rest = &all(3)[1..];
    assert!(at(&with(9, rest), &before, &now()).renews_alone(&amf));
    assert!(at(&with(9, &all(8)[1..]), &before, &now()).renews_alone(&amf));
    assert!(
        !at(&with(1, rest), &before, &now()).renews_alone(&amf),
        "keeps its own"
    );
    assert!(!at(&with(1, &all(8)[1..]), &before, &now()).renews_alone(&amf));
    assert!(
        !at(&with(9, &rest[1..]), &before, &now()).renews_alone(&amf),
        "leaves one out"
    );

    let (changes, _) = completed(at(&with(9, rest), &before, &now()), &[], &[]);
    let renewed: Vec<ProviderFunction> = written(&changes)
        .into_iter()
        .map(|(_, held)| held)
        .collect();
    let again = at(&with(9, rest), &stored(&renewed), &now());
    assert!(again.renews_alone(&amf), "the same, asked for again");

    let details = request(&with(9, &[rest, &[wanted("AEF", 7)]].concat()));
    let keys = judged(&details);
    let domain = versioned(domain(&functions()));
    let known = Before::Domain(&domain, &before);
    let more = plan(
        details,
        known,
        "DOM".into(),
        keys,
        |_| "AEF-9".into(),
        &|_| false,
        &now(),
    );
    assert!(!more.unwrap().renews_alone(&amf), "brings one in");
}

/// An update decides on the functions that were read: what the core function writes into one meanwhile is not lost.
#[test]
fn an_update_of_a_function_that_moved_conflicts() {
    let functions = functions();
    let mut world = World::default().with(&domain(&functions));
    for function in &functions {
        world = world.with(function);
    }
    let (kept, _) = completed(at(&all(3), &stored(&functions), &now()), &[], &[]);
    let (renewed, _) = completed(at(&all(9), &stored(&functions), &now()), &[], &[]);
    let held = world.held::<ProviderFunction>("AEF").unwrap();
    let request = crate::demand::Request {
        reason: DemandReason::Operator,
        deadline: two_thirds(),
        now: &now(),
    };
    world
        .commit(crate::demand::ask_function(&request, &held))
        .unwrap();
    let moved = Key::new(Kind::ProviderFunction, "AEF");
    assert_eq!(world.commit(kept), Err(moved.clone()));
    assert_eq!(world.commit(renewed), Err(moved));
}

/// A function that is left out of an update is certified no more: all of its certificates are revoked.
#[test]
fn a_function_that_goes_is_revoked() {
    let mut functions = functions();
    functions[2].certificate.serial = "0a".to_owned();
    let without = &all(3)[..2];
    let (changes, _) = completed(at(without, &stored(&functions), &now()), &[], &[]);
    let [(_, revoked)] = written::<RevokedCertificate>(&changes).try_into().unwrap();
    assert_eq!(revoked.record_id(), "1/0a");
    assert_eq!(revoked.reason, RevocationReason::CessationOfOperation);
}

/// R-U-05, R-U-06: the first use of the successor makes it the certificate in use and meets the demand; the old one counts for the
/// overlap, exactly, and is revoked then.
#[test]
fn first_use_and_the_end_of_the_overlap() {
    let mut renewed = function("AEF", Role::Aef, 3);
    renewed.certificate.serial = "0a".to_owned();
    renewed.renewal.demand = Some(Box::new(Demand {
        reason: DemandReason::Operator,
        since: now(),
        deadline: two_thirds(),
    }));
    assert_eq!(activate(&versioned(renewed.clone()), OVERLAP, &now()), None);
    renewed.renewal.successor = Some(Box::new(Successor {
        public_key_text: "key 9".into(),
        certificate: certificate(9),
        onboard_secret: None,
        secret_expires: None,
    }));
    let (changes, ended) = activate(&versioned(renewed), OVERLAP, &now()).unwrap();
    assert_eq!(ended, []);
    let active = aef(&changes);
    assert_eq!(active.certificate, certificate(9));
    assert_eq!(active.public_key_text, "key 9");
    assert_eq!(active.renewal.demand, None);

    let until = DateTime(now().0 + OVERLAP);
    let before = DateTime(until.0 - Duration::nanoseconds(1));
    let held = versioned(active);
    assert_eq!(end_overlap(&held, &before), None);
    let (changes, ended) = end_overlap(&held, &until).unwrap();
    assert_eq!(ended, [certificate(3).fingerprint]);
    assert!(aef(&changes).renewal.is_default());
    let [(_, revoked)] = written::<RevokedCertificate>(&changes).try_into().unwrap();
    assert_eq!(
        (revoked.record_id(), revoked.revoked, revoked.reason),
        ("1/0a".to_owned(), until, RevocationReason::Superseded)
    );
}

/// In a compromise there is no overlap: the old certificate ends with the first use of the new one.
#[test]
fn a_compromise_has_no_overlap() {
    let mut renewed = function("AEF", Role::Aef, 3);
    renewed.certificate.serial = "0a".to_owned();
    let request = crate::demand::Request {
        reason: DemandReason::Compromise,
        deadline: two_thirds(),
        now: &now(),
    };
    let [(_, mut asked)] =
        written::<ProviderFunction>(&crate::demand::ask_function(&request, &versioned(renewed)))
            .try_into()
            .unwrap();
    asked.renewal.successor = Some(Box::new(Successor {
        public_key_text: "key 9".into(),
        certificate: certificate(9),
        onboard_secret: None,
        secret_expires: None,
    }));
    let (changes, ended) = activate(&versioned(asked), OVERLAP, &now()).unwrap();
    assert_eq!(ended, [certificate(3).fingerprint]);
    assert!(aef(&changes).renewal.is_default());
    let [(_, revoked)] = written::<RevokedCertificate>(&changes).try_into().unwrap();
    assert_eq!(revoked.reason, RevocationReason::KeyCompromise);
}
