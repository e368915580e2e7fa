use serde_json::{Value, json};

use super::*;
use crate::{
    changes::{Key, Kind},
    fixtures::*,
    security_method,
    state::{Role, SecurityEntry},
};

fn revoked(
    aef: &str,
    apis: Option<&[&str]>,
    held: &SecurityContext,
) -> Result<SecurityContext, Refusal> {
    let apis: Option<Vec<ServiceApiId>> =
        apis.map(|ids| ids.iter().map(|id| (*id).into()).collect());
    let held = versioned(held.clone());
    let changes = revoke(&aef.into(), apis.as_deref(), &held, [].iter(), &now())?;
    let (expect, context) = written(&changes).remove(0);
    assert_eq!(expect, Expect::At(REVISION));
    Ok(context)
}

/// TS 23.222 clause 8.23, TS 29.222 clause 5.6.2.5: an AEF takes away what concerns itself, all of it or the APIs that it lists,
/// and what is left goes on; every token from before is dead.
#[test]
fn an_aef_takes_away_its_own() {
    let whole = || entry_at("AEF1", Some(Oauth));
    let (one, two) = (entry_for("AEF1", "A1", Oauth), entry_for("AEF1", "A2", Pki));
    let other = || entry_for("AEF2", "A1", Oauth);
    type Case<'a> = (
        &'a str,
        Vec<SecurityEntry>,
        Option<&'a [&'a str]>,
        Vec<SecurityEntry>,
    );
    let cases: [Case<'_>; 8] = [
        (
            "all",
            vec![one.clone(), other(), two.clone()],
            None,
            vec![other()],
        ),
        (
            "all, also whole",
            vec![whole(), other()],
            None,
            vec![other()],
        ),
        (
            "all there was",
            vec![one.clone(), two.clone()],
            None,
            vec![],
        ),
        (
            "one API",
            vec![one.clone(), other(), two.clone()],
            Some(&["A1"]),
            vec![other(), two.clone()],
        ),
        (
            "two APIs",
            vec![one.clone(), other(), two.clone()],
            Some(&["A2", "A1"]),
            vec![other()],
        ),
        (
            "one known of two",
            vec![one.clone(), two.clone()],
            Some(&["A9", "A2"]),
            vec![one.clone()],
        ),
        // An entry about the whole AEF cannot lose a part: the rest is negotiated anew.
        (
            "one API of the whole",
            vec![whole(), other()],
            Some(&["A1"]),
            vec![other()],
        ),
        (
            "without a method",
            vec![entry_at("AEF1", None), other()],
            None,
            vec![other()],
        ),
    ];
    for (case, before, apis, after) in cases {
        let mut held = context("INV", before);
        held.generation = 5;
        let mut expected = context("INV", after);
        expected.generation = 6;
        assert_eq!(revoked("AEF1", apis, &held).unwrap(), expected, "{case}");
    }
    let mut last = context("INV", vec![whole()]);
    last.generation = u64::MAX;
    assert_eq!(revoked("AEF1", None, &last).unwrap().generation, u64::MAX);
}

/// TS 29.222 clause 5.6.2.5: an AEF that has nothing to do with the invoker is answered as if the invoker were unknown, and
/// nothing is written.
#[test]
fn an_aef_takes_away_nothing_of_others() {
    let held = context(
        "INV",
        vec![
            entry_at("AEF1", Some(Oauth)),
            entry_for("AEF2", "A1", Oauth),
        ],
    );
    let cases: [(&str, Option<&[&str]>); 6] = [
        ("AEF3", None),
        ("AEF3", Some(&["A1"])),
        ("AEF", None),
        ("aef1", None),
        ("AEF2", Some(&["A2"])),
        ("AEF2", Some(&[])),
    ];
    for (aef, apis) in cases {
        assert_eq!(
            revoked(aef, apis, &held),
            Err(Refusal::NotFound {
                what: "security context"
            }),
            "{aef} {apis:?}"
        );
    }
}

/// TS 23.222 clause 8.23: the invoker hears of the revocation, as do functions that wait for it; other invokers do not.
#[test]
fn the_invoker_is_told() {
    let event = "API_INVOKER_AUTHORIZATION_REVOKED";
    let listeners = [
        subscription("INV", Role::ApiInvoker, &[event]),
        subscription("INV2", Role::ApiInvoker, &[event]),
        plain(subscription("AEF2", Role::Aef, &[event])),
        subscription("AMF", Role::Amf, &["API_INVOKER_OFFBOARDED"]),
    ];
    let held = versioned(context("INV", vec![entry_at("AEF1", Some(Oauth))]));
    let changes = revoke(&"AEF1".into(), None, &held, listeners.iter(), &now()).unwrap();
    let told = |who: &str, detail: Value| (who.to_owned(), event.to_owned(), detail);
    assert_eq!(
        notified(&changes),
        [
            told("INV", json!({ "apiInvokerIds": ["INV"] })),
            told("AEF2", Value::Null),
        ]
    );
}

/// The decision counts for the context that was read, of an invoker that is still there.
#[test]
fn a_revocation_of_what_moved_conflicts() {
    let held = context("INV", vec![entry_at("AEF1", Some(Oauth))]);
    let mut world = World::default().with(&invoker("INV")).with(&held);
    let read = world.held::<SecurityContext>("INV").unwrap();
    let changes = revoke(&"AEF1".into(), None, &read, [].iter(), &now()).unwrap();
    assert_eq!(
        World::default().with(&held).commit(changes.clone()),
        Err(Key::new(Kind::Invoker, "INV"))
    );
    assert_eq!(world.commit(changes.clone()), Ok(()));
    assert_eq!(
        world.commit(changes),
        Err(Key::new(Kind::SecurityContext, "INV"))
    );
}

/// TS 29.222 clause 5.6.2.5: tokens from before a revocation stay dead after the invoker has negotiated anew, also when
/// everything had been taken away.
#[test]
fn tokens_stay_dead_after_a_new_negotiation() {
    let apis = [api("A1", "weather", &[profile("AEF1", &[Oauth])])];
    let mut world = World::default().with(&invoker("INV"));
    let mut generations = Vec::new();
    for _ in 0..3 {
        let held = world.held::<SecurityContext>("INV");
        let request = wire(json!({
            "securityInfo": [{ "aefId": "AEF1", "prefSecurityMethods": ["OAUTH"] }],
            "notificationDestination": DESTINATION,
        }));
        let inv = invoker("INV");
        let negotiated =
            security_method::negotiate(request, &inv, held.as_ref(), apis.iter(), &[Oauth]);
        world.commit(negotiated.unwrap().0).unwrap();
        let held = world.held::<SecurityContext>("INV").unwrap();
        generations.push(held.record.generation);

        let changes = revoke(&"AEF1".into(), None, &held, [].iter(), &now()).unwrap();
        world.commit(changes).unwrap();
        let left = world.held::<SecurityContext>("INV").unwrap().record;
        assert_eq!(left.entries, []);
        let granted = security_method::granted(&inv, &left, apis.iter());
        assert_eq!(granted.count(), 0);
    }
    assert_eq!(generations, [1, 2, 3]);
}
