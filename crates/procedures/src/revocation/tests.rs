mod by_operator;

use serde_json::{Value, json};

use super::*;
use crate::{
    changes::{Key, Kind},
    fixtures::*,
    security_method::{self, granted},
    state::{Role, SecurityEntry},
};

/// Two APIs at `AEF1`, of which the second also stands at `AEF2`, and one at `AEF2` alone.
fn apis() -> [ServiceApi; 3] {
    let at = |aef: &str, host: &str| profile_with(aef, &[Oauth, Pki], &[(host, &[])]);
    [
        api("A1", "weather", &[at("AEF1", "one.example")]),
        api(
            "A2",
            "traffic",
            &[at("AEF1", "one.example"), at("AEF2", "two.example")],
        ),
        api("A3", "tides", &[at("AEF2", "two.example")]),
    ]
}

fn ids(ids: &[&str]) -> Vec<ServiceApiId> {
    ids.iter().map(|id| (*id).into()).collect()
}

fn order<'a>(apis: Option<&'a [ServiceApiId]>, now: &'a DateTime) -> Order<'a> {
    Order {
        apis,
        cause: Cause::OverlimitUsage,
        callback: false,
        now,
    }
}

fn revoked(
    aef: &str,
    listed: Option<&[&str]>,
    held: &SecurityContext,
) -> Result<SecurityContext, Refusal> {
    let listed = listed.map(ids);
    let held = versioned(held.clone());
    let (now, inv, apis) = (now(), invoker("INV"), apis());
    let order = order(listed.as_deref(), &now);
    let changes = revoke(&aef.into(), &order, &inv, &held, apis.iter(), [].iter())?;
    assert_eq!(queued(&changes), [], "an AEF that revokes knows of it");
    let (expect, context) = written(&changes).remove(0);
    assert_eq!(expect, Expect::At(REVISION));
    Ok(context)
}

/// Where `revoke-authorization` is to be called, in order: the address, and the APIs.
fn queued(changes: &Changes) -> Vec<(String, Value)> {
    appended::<Revocation>(changes)
        .into_iter()
        .map(|held| {
            let request = serde_json::to_value(&held.request).unwrap();
            assert_eq!(request["revokeInfo"]["apiInvokerId"], "INV");
            assert_eq!(request["revokeInfo"]["aefId"], held.aef_id.as_str());
            assert_eq!(request["supportedFeatures"], "0");
            (held.authority, request["revokeInfo"]["apiIds"].clone())
        })
        .collect()
}

fn without(mut entry: SecurityEntry, apis: &[&str]) -> SecurityEntry {
    entry.revoked = ids(apis).into_iter().collect();
    entry
}

/// TS 23.222 clause 8.23, TS 29.222 clause 5.6.2.5: an AEF takes away what concerns itself, all of it or the APIs that it lists,
/// and what is left goes on, also of an entry about the whole AEF; every token from before is dead.
#[test]
fn an_aef_takes_away_its_own() {
    let whole = || entry_at("AEF1", Some(Oauth));
    let (one, two) = (entry_for("AEF1", "A1", Oauth), entry_for("AEF1", "A2", Pki));
    let other = || entry_for("AEF2", "A2", Oauth);
    type Case<'a> = (
        &'a str,
        Vec<SecurityEntry>,
        Option<&'a [&'a str]>,
        Vec<SecurityEntry>,
    );
    let cases: [Case<'_>; 12] = [
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
        (
            "one API of the whole",
            vec![whole(), other()],
            Some(&["A1"]),
            vec![without(whole(), &["A1"]), other()],
        ),
        (
            "the other one of the whole",
            vec![without(whole(), &["A1"]), other()],
            Some(&["A2"]),
            vec![other()],
        ),
        (
            "both APIs of the whole",
            vec![whole(), other()],
            Some(&["A1", "A2"]),
            vec![other()],
        ),
        (
            "an API of the whole and of an entry of its own",
            vec![whole(), one.clone()],
            Some(&["A1"]),
            vec![without(whole(), &["A1"])],
        ),
        (
            "an API that is withdrawn",
            vec![entry_for("AEF1", "A9", Oauth), other()],
            Some(&["A9"]),
            vec![other()],
        ),
        (
            "without a method",
            vec![entry_at("AEF1", None), other()],
            None,
            vec![other()],
        ),
    ];
    for (case, before, listed, after) in cases {
        let mut held = context("INV", before);
        held.generation = 5;
        let mut expected = context("INV", after);
        expected.generation = 6;
        assert_eq!(revoked("AEF1", listed, &held).unwrap(), expected, "{case}");
    }
    let mut last = context("INV", vec![whole()]);
    last.generation = u64::MAX;
    assert_eq!(revoked("AEF1", None, &last).unwrap().generation, u64::MAX);
}

/// R-REV-01: what is left of an entry about the whole AEF is granted as before, what was taken is not, and a new negotiation
/// begins afresh.
#[test]
fn a_part_of_the_whole_is_granted_no_more() {
    let published = apis();
    let inv = invoker("INV");
    let names = |context: &SecurityContext| -> Vec<String> {
        granted(&inv, context, published.iter(), &policy(&[Psk, Pki, Oauth]))
            .map(|grant| format!("{}:{}", grant.entry.aef_id, grant.api.id))
            .collect()
    };
    let held = context(
        "INV",
        vec![entry_at("AEF1", Some(Oauth)), entry_at("AEF2", Some(Oauth))],
    );
    assert_eq!(names(&held), ["AEF1:A1", "AEF1:A2", "AEF2:A2", "AEF2:A3"]);
    let left = revoked("AEF1", Some(&["A2"]), &held).unwrap();
    assert_eq!(names(&left), ["AEF1:A1", "AEF2:A2", "AEF2:A3"]);

    let request = wire(json!({
        "securityInfo": [{ "aefId": "AEF1", "prefSecurityMethods": ["OAUTH"] }],
        "notificationDestination": DESTINATION,
    }));
    let negotiated = security_method::negotiate(
        request,
        &inv,
        Some(&versioned(left)),
        published.iter(),
        &policy(&[Oauth]),
        None,
        &now(),
    );
    let anew: SecurityContext = written(&negotiated.unwrap().0).remove(0).1;
    assert_eq!(names(&anew), ["AEF1:A1", "AEF1:A2"]);
}

/// TS 29.222 clause 5.6.2.5: an AEF that has nothing to do with the invoker is answered as if the invoker were unknown, and
/// nothing is written.
#[test]
fn an_aef_takes_away_nothing_of_others() {
    let held = context(
        "INV",
        vec![
            without(entry_at("AEF1", Some(Oauth)), &["A1"]),
            entry_for("AEF2", "A2", Oauth),
        ],
    );
    let cases: [(&str, Option<&[&str]>); 9] = [
        ("AEF3", None),
        ("AEF3", Some(&["A1"])),
        ("AEF", None),
        ("aef1", None),
        ("AEF1", Some(&["A3"])),
        ("AEF1", Some(&["A1"])),
        ("AEF1", Some(&[])),
        ("AEF2", Some(&["A1"])),
        ("AEF2", Some(&[])),
    ];
    for (aef, listed) in cases {
        assert_eq!(
            revoked(aef, listed, &held),
            Err(Refusal::NotFound {
                what: "security context"
            }),
            "{aef} {listed:?}"
        );
    }
}

/// TS 23.222 clause 8.23: the invoker hears of the revocation, as do functions of the domain that wait for it; other invokers and other
/// domains do not. Of a part the event tells which.
#[test]
fn subscribers_are_told() {
    let event = "API_INVOKER_AUTHORIZATION_REVOKED";
    let of = |id: &str, role, domain: &str| Subscription {
        reach: domain_only(domain),
        ..subscription(id, role, &[event])
    };
    let listeners = [
        subscription("INV", Role::ApiInvoker, &[event]),
        subscription("INV2", Role::ApiInvoker, &[event]),
        plain(of("AEF2", Role::Aef, "DOM")),
        of("AEF3", Role::Aef, "DOM9"),
        subscription("AMF", Role::Amf, &["API_INVOKER_OFFBOARDED"]),
    ];
    let (now, inv, apis) = (now(), invoker("INV"), apis());
    let held = versioned(context("INV", vec![entry_at("AEF1", Some(Oauth))]));
    let told = |who: &str, detail: Value| (who.to_owned(), event.to_owned(), detail);
    for (listed, detail) in [
        (None, json!({ "apiInvokerIds": ["INV"] })),
        (
            Some(ids(&["A1", "A9"])),
            json!({ "apiInvokerIds": ["INV"], "apiIds": ["A1"] }),
        ),
    ] {
        let order = order(listed.as_deref(), &now);
        let changes = revoke(
            &"AEF1".into(),
            &order,
            &inv,
            &held,
            apis.iter(),
            listeners.iter(),
        );
        assert_eq!(
            notified(&changes.unwrap()),
            [told("INV", detail), told("AEF2", Value::Null)]
        );
    }
}

/// P-22: of the APIs that were revoked each subscriber is told those within its reach, and one with none of them is not told.
#[test]
fn other_domains_hear_nothing_of_single_apis() {
    let event = "API_INVOKER_AUTHORIZATION_REVOKED";
    let within = |subscriber: &str, domain: &str| Subscription {
        reach: domain_only(domain),
        ..subscription(subscriber, Role::Aef, &[event])
    };
    let listeners = [
        within("AEF1", "DOM"),
        within("AEF2", "DOM2"),
        within("AEF3", "DOM3"),
    ];
    let apis = [
        api("A1", "weather", &[profile("AEF1", &[Oauth])]),
        elsewhere(
            api("A2", "maps", &[profile("AEF2", &[Oauth])]),
            "APF2",
            "DOM2",
        ),
    ];
    let entries = vec![entry_at("AEF1", Some(Oauth)), entry_at("AEF2", Some(Oauth))];
    let (now, inv, held) = (
        now(),
        versioned(invoker("INV")),
        versioned(context("INV", entries)),
    );
    let told = |who: &str, api: &str| {
        let detail = json!({ "apiInvokerIds": ["INV"], "apiIds": [api] });
        (who.to_owned(), event.to_owned(), detail)
    };
    let listed = ids(&["A1", "A2"]);
    let order = order(Some(&listed), &now);
    let (changes, _) = revoke_and_bar(&order, &inv, Some(&held), apis.iter(), listeners.iter());
    assert_eq!(notified(&changes), [told("AEF1", "A1"), told("AEF2", "A2")]);
}

/// R-REV-04: where the operator lets callbacks go, the invoker is told at the destination of its context, with the APIs that it
/// lost and the cause; elsewhere nothing is queued.
#[test]
fn the_invoker_is_told_where_it_asked_for_it() {
    let (now, inv, apis) = (now(), invoker("INV"), apis());
    let held = versioned(context(
        "INV",
        vec![entry_at("AEF1", Some(Oauth)), entry_at("AEF2", Some(Oauth))],
    ));
    let listed = ids(&["A2"]);
    let mut order = order(Some(&listed), &now);
    let silent = revoke(&"AEF1".into(), &order, &inv, &held, apis.iter(), [].iter());
    assert_eq!(appended::<Callback>(&silent.unwrap()), []);

    order.callback = true;
    let changes = revoke(&"AEF1".into(), &order, &inv, &held, apis.iter(), [].iter()).unwrap();
    let callback = appended::<Callback>(&changes).remove(0);
    assert_eq!(callback.destination.as_str(), DESTINATION);
    assert_eq!(
        serde_json::to_value(&callback.notification).unwrap(),
        json!({ "apiInvokerId": "INV", "aefId": "AEF1", "apiIds": ["A2"], "cause": "OVERLIMIT_USAGE" })
    );

    // Lost at several AEFs: each API once, and no AEF.
    order.apis = None;
    let (changes, _) = revoke_and_bar(&order, &versioned(inv), Some(&held), apis.iter(), [].iter());
    let callback = appended::<Callback>(&changes).remove(0);
    assert_eq!(
        serde_json::to_value(&callback.notification).unwrap(),
        json!({ "apiInvokerId": "INV", "apiIds": ["A1", "A2", "A3"], "cause": "OVERLIMIT_USAGE" })
    );
}

/// The decision counts for the context that was read, of an invoker that is still there.
#[test]
fn a_revocation_of_what_moved_conflicts() {
    let held = context("INV", vec![entry_at("AEF1", Some(Oauth))]);
    let inv = invoker("INV");
    let mut world = World::default().with(&inv).with(&held);
    let read = world.held::<SecurityContext>("INV").unwrap();
    let (now, apis) = (now(), apis());
    let changes = revoke(
        &"AEF1".into(),
        &order(None, &now),
        &inv,
        &read,
        apis.iter(),
        [].iter(),
    )
    .unwrap();
    assert_eq!(
        World::default().with(&held).commit(changes.clone()),
        Err(Key::new(Kind::Invoker, "INV"))
    );
    let profile = world.held::<Invoker>("INV").unwrap();
    let (bar, _) = revoke_and_bar(
        &order(None, &now),
        &profile,
        Some(&read),
        apis.iter(),
        [].iter(),
    );
    assert_eq!(world.commit(changes.clone()), Ok(()));
    assert_eq!(
        world.commit(changes),
        Err(Key::new(Kind::SecurityContext, "INV"))
    );
    assert_eq!(
        world.commit(bar),
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
    let now = now();
    for _ in 0..3 {
        let held = world.held::<SecurityContext>("INV");
        let request = wire(json!({
            "securityInfo": [{ "aefId": "AEF1", "prefSecurityMethods": ["OAUTH"] }],
            "notificationDestination": DESTINATION,
        }));
        let inv = invoker("INV");
        let negotiated = security_method::negotiate(
            request,
            &inv,
            held.as_ref(),
            apis.iter(),
            &policy(&[Oauth]),
            None,
            &now,
        );
        world.commit(negotiated.unwrap().0).unwrap();
        let held = world.held::<SecurityContext>("INV").unwrap();
        generations.push(held.record.generation);

        let order = order(None, &now);
        let changes = revoke(&"AEF1".into(), &order, &inv, &held, apis.iter(), [].iter());
        world.commit(changes.unwrap()).unwrap();
        let left = world.held::<SecurityContext>("INV").unwrap().record;
        assert_eq!(left.entries, []);
        assert_eq!(
            granted(&inv, &left, apis.iter(), &policy(&[Psk, Pki, Oauth])).count(),
            0
        );
    }
    assert_eq!(generations, [1, 2, 3]);
}
