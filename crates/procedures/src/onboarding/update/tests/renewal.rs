//! Renewal of certificate and Onboard_Secret (R-U-01, R-U-03 to R-U-07).

use super::*;

fn renews(key: &str, name: Option<&str>) -> Value {
    let mut information = json!({ "apiInvokerPublicKey": key });
    if let Some(name) = name {
        information[MEMBER] = json!({ "renewal": name });
    }
    json!({ "onboardingInformation": information })
}

fn by_name(key: &str, name: &str) -> Wish {
    patch(renews(key, Some(name)))
}

fn later(duration: Duration) -> DateTime {
    DateTime(now().0 + duration)
}

fn at(now: DateTime) -> Scene<'static> {
    Scene {
        now,
        ..Scene::default()
    }
}

/// R-U-01: a named renewal, or another key, hands over a new certificate and a new secret beside those in use, by PATCH and PUT
/// alike.
#[test]
fn new_material_is_handed_over_beside_the_old() {
    let inv = renewable();
    for wish in [
        by_name("request 2", "r-1"),
        details(renews("request 2", Some("r-1"))),
    ] {
        let outcome = updated(&inv, &wish).unwrap();
        let written = outcome.invoker().unwrap();
        assert_eq!(written.certificate, inv.certificate);
        assert_eq!(written.onboard_secret, inv.onboard_secret);
        assert_eq!(written.public_key_text, inv.public_key_text);
        let ends = later(Duration::days(90));
        assert_eq!(
            written.renewal.successor.as_deref(),
            Some(&Successor {
                public_key_text: "request 2".into(),
                certificate: certificate(2),
                onboard_secret: Some(digest(2)),
                secret_expires: Some(ends.clone()),
            })
        );
        assert_eq!(
            written.renewal.handover.as_deref(),
            Some(&Handover {
                request: "r-1".to_owned(),
                credential: None,
                public_key_text: Digest::of(b"request 2"),
                secret: Some(SealedKey::new("2")),
                until: None,
            })
        );
        assert_eq!(
            outcome.answer["onboardingInformation"],
            json!({
                "apiInvokerPublicKey": "request 2",
                "apiInvokerCertificate": "certificate of key 2",
                "onboardingSecret": "secret 2",
                MEMBER: {
                    "renewal": "r-1",
                    "certificateExpires": certificate(2).not_after,
                    "secretExpires": ends,
                    "overlapSeconds": 3600,
                },
            })
        );
        assert_eq!(outcome.answer[MEMBER], json!({ "features": ["renewal"] }));
        assert_eq!(notified(&outcome.changes).len(), 2);
        for step in &outcome.changes.steps {
            let text = format!("{step:?}");
            assert!(!text.contains("secret 2"), "no secret in the clear: {text}");
        }
    }
}

/// R-U-01: same key or new one. As deployed clients send it, the same key without a name changes nothing (D-21).
#[test]
fn the_same_key_renews_by_name_alone() {
    let inv = renewable();
    for wish in [
        details(renews("key of the invoker", None)),
        patch(renews("key of the invoker", None)),
    ] {
        let outcome = updated(&inv, &wish).unwrap();
        assert_eq!(outcome.invoker(), None);
        let information = &outcome.answer["onboardingInformation"];
        assert_eq!(information["apiInvokerCertificate"], "certificate of key 1");
        assert_eq!(information["onboardingSecret"], Value::Null);
        assert_eq!(
            information[MEMBER],
            json!({ "certificateExpires": inv.certificate.not_after })
        );
    }
    let outcome = updated(&inv, &by_name("key of the invoker", "again")).unwrap();
    let written = outcome.invoker().unwrap();
    let next = written.renewal.successor.unwrap();
    assert_eq!(next.certificate.public_key, inv.certificate.public_key);
}

/// Without a name the key names the renewal.
#[test]
fn another_key_is_a_name_of_its_own() {
    let inv = renewable();
    let wish = patch(renews("request 2", None));
    let outcome = updated(&inv, &wish).unwrap();
    let name = Digest::of(b"request 2");
    let information = &outcome.answer["onboardingInformation"];
    assert_eq!(information[MEMBER]["renewal"], name.to_string());
    let once = outcome.invoker().unwrap();
    let again = updated(&once, &wish).unwrap();
    assert_eq!(again.invoker(), None);
    assert_eq!(again.answer, outcome.answer);

    // The key of a named renewal, sent without the name, is that renewal.
    let named = updated(&inv, &by_name("request 3", "r-1")).unwrap();
    let unnamed = updated(&named.invoker().unwrap(), &patch(renews("request 3", None))).unwrap();
    assert_eq!(unnamed.invoker(), None);
    assert_eq!(
        unnamed.answer["onboardingInformation"],
        named.answer["onboardingInformation"]
    );
}

/// R-U-07: the same request gets the same answer, before its result is used and after, until the overlap is over; a name is for one
/// key.
#[test]
fn a_lost_answer_is_given_again() {
    let wish = by_name("request 2", "r-1");
    let outcome = updated(&renewable(), &wish).unwrap();
    let mut inv = outcome.invoker().unwrap();
    let much_later = later(Duration::days(20));
    let again = at(much_later.clone()).update(&inv, &wish).unwrap();
    assert_eq!(again.changes, Changes::new());
    assert_eq!(again.answer, outcome.answer);
    let other_key = updated(&inv, &by_name("request 3", "r-1"));
    assert_eq!(other_key.err(), Some(Refusal::RenewalNameTaken));

    rotation::promote(&mut inv, rotation_terms().overlap, &much_later).unwrap();
    let until = DateTime(much_later.0 + rotation_terms().overlap);
    let last = DateTime(until.0 - Duration::nanoseconds(1));
    let again = at(last).update(&inv, &wish).unwrap();
    assert_eq!(again.changes, Changes::new());
    assert_eq!(again.answer, outcome.answer);
    let new = at(until.clone()).update(&inv, &wish).unwrap();
    assert!(new.invoker().unwrap().renewal.successor.is_some());
    let free = at(until).update(&inv, &by_name("request 3", "r-1"));
    assert!(free.is_ok(), "the name is free again");
}

/// Who changed the key that seals secrets finds nothing in old handovers: the same request makes new material then.
#[test]
fn a_secret_that_does_not_open_is_made_anew() {
    let wish = by_name("request 2", "r-1");
    let mut inv = updated(&renewable(), &wish).unwrap().invoker().unwrap();
    if let Some(handover) = &mut inv.renewal.handover {
        handover.secret = Some(SealedKey::new("of another key"));
    }
    let outcome = updated(&inv, &wish).unwrap();
    assert!(outcome.invoker().is_some());
    assert_eq!(
        outcome.answer["onboardingInformation"]["onboardingSecret"],
        "secret 2"
    );
}

/// R-U-04: a key that is not certified now comes with a proof of possession.
#[test]
fn a_new_key_is_proved() {
    let inv = renewable();
    let refused = |key: &str| updated(&inv, &by_name(key, "r")).err();
    for key in ["bare 2", "broken 2"] {
        assert!(matches!(refused(key), Some(Refusal::PublicKey(_))), "{key}");
    }
    assert_eq!(refused("request 2"), None);
    assert_eq!(
        refused("bare 1"),
        None,
        "the key that is certified now was proved before"
    );
}

/// At most one successor: another name takes the place of one that was never used, which retires with an overlap.
#[test]
fn another_name_replaces_the_successor() {
    let once = updated(&renewable(), &by_name("request 2", "r-1")).unwrap();
    let twice = updated(&once.invoker().unwrap(), &by_name("request 3", "r-2")).unwrap();
    let renewal = twice.invoker().unwrap().renewal;
    assert_eq!(renewal.successor.unwrap().certificate, certificate(3));
    assert_eq!(renewal.handover.unwrap().request, "r-2");
    assert_eq!(
        renewal.retiring,
        [Retiring {
            certificate: certificate(2),
            onboard_secret: Some(digest(2)),
            secret_expires: Some(later(Duration::days(90))),
            until: later(Duration::minutes(60)),
        }]
    );
}

/// TS 33.122 clause 6.1 step 6: who has no secret gets one only when an API that it reaches may use Method 3 by now.
#[test]
fn a_secret_comes_with_method_3() {
    let mut inv = renewable();
    inv.onboard_secret = None;
    inv.reach = names(&["weather"]);
    let wish = by_name("request 2", "r");
    for (method, expected) in [(Pki, Value::Null), (Oauth, json!("secret 2"))] {
        let apis = [api("A1", "weather", &[profile("AEF", &[method])])];
        let scene = Scene {
            apis: &apis,
            ..Scene::default()
        };
        let outcome = scene.update(&inv, &wish).unwrap();
        let information = &outcome.answer["onboardingInformation"];
        assert_eq!(information["onboardingSecret"], expected);
        let again = scene.update(&outcome.invoker().unwrap(), &wish).unwrap();
        assert_eq!(again.answer, outcome.answer);
    }
}

/// TS 23.222 clause 8.1: nothing that is handed over outlives the enrolment, not even one that ends sooner by this very request.
#[test]
fn nothing_outlives_the_enrolment() {
    let mut inv = renewable();
    inv.features = "C".into();
    let end = later(Duration::days(30));
    let mut wish = renews("request 2", Some("r"));
    wish["expTime"] = json!(end);
    let outcome = updated(&inv, &patch(wish)).unwrap();
    let written = outcome.invoker().unwrap();
    assert_eq!(written.expires, Some(end.clone()));
    assert_eq!(written.renewal.successor.unwrap().secret_expires, Some(end));
}

/// D-21: the feature can be agreed on later, by the very request that renews.
#[test]
fn the_feature_is_agreed_on_by_a_request() {
    let inv = held();
    let mut wish = renews("request 2", Some("r"));
    wish[MEMBER] = json!({ "features": ["renewal", "another"] });
    let outcome = updated(&inv, &patch(wish)).unwrap();
    let written = outcome.invoker().unwrap();
    assert!(written.renewal.agreed && written.renewal.successor.is_some());
    assert_eq!(outcome.answer[MEMBER], json!({ "features": ["renewal"] }));

    let unknown = details(json!({ MEMBER: { "features": ["another"] } }));
    let outcome = updated(&inv, &unknown).unwrap();
    assert_eq!(outcome.invoker(), None);
    assert_eq!(outcome.answer[MEMBER], json!({ "features": [] }));
    for broken in [json!(1), json!({ "features": "renewal" })] {
        let refusal = updated(&inv, &details(json!({ MEMBER: broken })))
            .err()
            .unwrap();
        assert!(matches!(refusal, Refusal::Malformed { .. }));
    }
    let mut broken = renews("request 2", None);
    broken["onboardingInformation"][MEMBER] = json!({ "renewal": "a b" });
    let refusal = updated(&renewable(), &patch(broken)).err().unwrap();
    let pointer = format!("/onboardingInformation/{MEMBER}/renewal");
    assert!(matches!(refusal, Refusal::Malformed { pointer: found, .. } if found == pointer));
}

/// R-U-02, R-U-05: in a compromise nothing but the renewal is served, and a key that may be in other hands is not certified again.
#[test]
fn a_compromised_invoker_renews_and_does_nothing_else() {
    let mut inv = renewable();
    inv.renewal.demand = Some(Box::new(Demand {
        reason: DemandReason::Compromise,
        since: now(),
        deadline: later(Duration::days(1)),
    }));
    inv.renewal.retiring = vec![Retiring {
        certificate: certificate(9),
        onboard_secret: None,
        secret_expires: None,
        until: later(Duration::days(90)),
    }];
    let scene = Scene {
        standing: Standing::Restricted,
        ..Scene::default()
    };
    for wish in [
        patch(json!({ "notificationDestination": "https://thief.example" })),
        details(json!({ "notificationDestination": "https://thief.example" })),
    ] {
        assert_eq!(
            scene.update(&inv, &wish).err(),
            Some(Refusal::RenewalRequired)
        );
    }
    for key in ["key of the invoker", "request 9"] {
        let refusal = scene.update(&inv, &by_name(key, "r")).err().unwrap();
        assert!(
            matches!(refusal, Refusal::PublicKey(_)),
            "{key}: {refusal:?}"
        );
    }
    let outcome = scene.update(&inv, &by_name("request 2", "r-1")).unwrap();
    let once = outcome.invoker().unwrap();
    assert_eq!(
        once.renewal.successor.as_ref().unwrap().certificate,
        certificate(2)
    );
    let again = scene.update(&once, &by_name("request 2", "r-1")).unwrap();
    assert_eq!(again.answer, outcome.answer);

    let mut numbered = once.clone();
    numbered
        .renewal
        .successor
        .as_mut()
        .unwrap()
        .certificate
        .serial = "02".to_owned();
    let outcome = scene
        .update(&numbered, &by_name("request 3", "r-2"))
        .unwrap();
    let revoked = outcome.changes.steps.iter().filter(|step| {
        matches!(step, crate::changes::Change::Put { key, .. } if key.kind == Kind::RevokedCertificate)
    });
    assert_eq!(
        revoked.count(),
        1,
        "no overlap for the one that is replaced"
    );
    let (_, revoked) = written::<RevokedCertificate>(&outcome.changes).remove(0);
    assert_eq!(revoked.serial, "02");
}
