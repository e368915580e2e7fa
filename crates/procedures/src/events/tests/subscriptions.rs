//! What a subscription holds, and how it changes.

use super::*;

/// What one subscriber may hold is bounded.
#[test]
fn one_subscription_too_many_is_refused() {
    let aef = function("AEF", Role::Aef, 1);
    let wanted: EventSubscription = wire(json!({
        "events": ["SERVICE_API_AVAILABLE"],
        "notificationDestination": DESTINATION,
    }));
    let attempt = |held| {
        subscribe(
            Subscriber::Function(&aef),
            wanted.clone(),
            "SUB".into(),
            held,
            &now(),
        )
        .map(drop)
    };
    let refused = Err(Refusal::TooMany {
        what: "event subscriptions",
        limit: SUBSCRIPTIONS_MAX,
    });
    assert_eq!(attempt(0), Ok(()));
    assert_eq!(attempt(SUBSCRIPTIONS_MAX - 1), Ok(()));
    assert_eq!(attempt(SUBSCRIPTIONS_MAX), refused);
    assert_eq!(attempt(SUBSCRIPTIONS_MAX + 1), refused);
}

/// TS 29.222 clauses 7.8 and 8.3.4.2.2: features are answered as far as both sides have them; members of the others are
/// neither kept nor answered.
#[test]
fn a_subscription_holds_what_was_agreed_on() {
    let aef = function("AEF", Role::Aef, 1);
    for (wanted, agreed) in [
        (None, None),
        (Some("30"), Some("0")),
        (Some("4"), Some("4")),
    ] {
        let mut document = json!({
            "events": ["SERVICE_API_AVAILABLE"],
            "eventFilters": [{ "apiIds": ["API1"] }],
            "eventReq": { "maxReportNbr": 3 },
            "notificationDestination": DESTINATION,
            "requestTestNotification": true,
            "websockNotifConfig": { "requestWebsocketUri": true },
        });
        if let Some(wanted) = wanted {
            document["supportedFeatures"] = json!(wanted);
        }
        let subscriber = Subscriber::Function(&aef);
        let (changes, held) =
            subscribe(subscriber, wire(document), "SUB".into(), 0, &now()).unwrap();
        let mut expected = json!({
            "events": ["SERVICE_API_AVAILABLE"],
            "notificationDestination": DESTINATION,
        });
        if let Some(agreed) = agreed {
            expected["supportedFeatures"] = json!(agreed);
        }
        if agreed == Some("4") {
            expected["eventFilters"] = json!([{ "apiIds": ["API1"] }]);
            expected["eventReq"] = json!({ "maxReportNbr": 3 });
        }
        assert_eq!(serde_json::to_value(&held.subscription).unwrap(), expected);
        assert_eq!(written::<Subscription>(&changes), [(Expect::Absent, held)]);
    }
}

/// TS 29.222 clause 5.4.2.2: a subscription belongs to the one who made it, and is made only while that one is known.
#[test]
fn a_subscription_belongs_to_its_subscriber() {
    let (invoker, aef) = (invoker("INV"), function("AEF", Role::Aef, 1));
    let cases = [
        (
            Subscriber::Invoker(&invoker),
            "INV",
            Role::ApiInvoker,
            Kind::Invoker,
        ),
        (
            Subscriber::Function(&aef),
            "AEF",
            Role::Aef,
            Kind::ProviderFunction,
        ),
    ];
    for (subscriber, id, role, kind) in cases {
        let wanted = wire(json!({
            "events": ["SERVICE_API_AVAILABLE"],
            "notificationDestination": DESTINATION,
        }));
        let (changes, held) = subscribe(subscriber, wanted, "SUB".into(), 0, &now()).unwrap();
        assert_eq!((held.subscriber.as_str(), held.role), (id, role));
        assert_eq!(held.record_id(), format!("{id}/SUB"));
        let mut world = World::default().with(&invoker).with(&aef);
        assert_eq!(world.commit(changes.clone()), Ok(()));
        let mut without = World::default();
        assert_eq!(without.commit(changes), Err(Key::new(kind, id)));
    }
}

/// TS 29.222 clause 5.4.2.3: a subscription is replaced under its id; what waits for delivery stays.
#[test]
fn a_subscription_is_replaced() {
    let aef = function("AEF", Role::Aef, 1);
    let before = subscription("AEF", Role::Aef, &["SERVICE_API_AVAILABLE"]);
    let mut world = World::default().with(&before).with(&waiting(&before));
    let held = world.held::<Subscription>("AEF/SUB").unwrap();
    let wanted: EventSubscription = wire(json!({
        "events": ["API_INVOKER_OFFBOARDED"],
        "notificationDestination": "https://receiver.example/other",
    }));
    let (changes, after) =
        replace(Subscriber::Function(&aef), &held, wanted.clone(), &now()).unwrap();
    assert_eq!(after.id, before.id);
    assert_eq!(after.subscription, wanted);
    assert_eq!(
        written::<Subscription>(&changes),
        [(Expect::At(REVISION), after.clone())]
    );
    world.commit(changes.clone()).unwrap();
    assert_eq!(world.held::<Subscription>("AEF/SUB").unwrap().record, after);
    assert_eq!(world.ids(Kind::Notification).len(), 1);
    // One that changed or went meanwhile is not brought back.
    let moved = Key::new(Kind::Subscription, "AEF/SUB");
    assert_eq!(world.commit(changes.clone()), Err(moved.clone()));
    assert_eq!(World::default().commit(changes), Err(moved));

    let refused = wire(json!({
        "events": ["SOMETHING_ELSE"],
        "notificationDestination": DESTINATION,
    }));
    assert_eq!(
        replace(Subscriber::Function(&aef), &held, refused, &now()).unwrap_err(),
        Refusal::EventNotAllowed {
            event: "SOMETHING_ELSE".to_owned(),
            expected: "nobody".to_owned(),
        }
    );
}

/// TS 29.222 clause 5.4.2.4: after unsubscribing nothing more is delivered, not even what waits already.
#[test]
fn unsubscribing_takes_what_waits() {
    let mut other = subscription("AEF", Role::Aef, &["SERVICE_API_AVAILABLE"]);
    other.id = "SUB2".into();
    let neighbour = subscription("AEF1", Role::Aef, &["SERVICE_API_AVAILABLE"]);
    let own = subscription("AEF", Role::Aef, &["SERVICE_API_AVAILABLE"]);
    let mut world = World::default();
    for subscription in [&own, &other, &neighbour] {
        world = world.with(subscription).with(&waiting(subscription));
    }
    let held = world.held::<Subscription>("AEF/SUB").unwrap();
    let changes = unsubscribe(&held);
    world.commit(changes.clone()).unwrap();
    assert_eq!(world.ids(Kind::Subscription), ["AEF/SUB2", "AEF1/SUB"]);
    let left: Vec<String> = world
        .ids(Kind::Notification)
        .iter()
        .map(|id| id.rsplit_once('/').unwrap().0.to_owned())
        .collect();
    assert_eq!(left, ["AEF/SUB2", "AEF1/SUB"]);
    assert!(world.commit(changes).is_err());
}

/// TS 29.222 clause 5.4.2.4: a merge patch (RFC 7396) changes what it names, takes away what it sets to null, and makes a subscription
/// that is in order or none.
#[test]
fn a_subscription_is_patched() {
    let mut held = filtered(
        &["SERVICE_API_AVAILABLE", "API_INVOKER_UPDATED"],
        json!([{}, { "apiInvokerIds": ["INV"] }]),
    );
    held.subscription.extra.insert(
        "vendorSpecific-000001".to_owned(),
        json!({ "a": 1, "b": 2 }),
    );
    let patched = |patch: Value| patched(&held, patch.as_object().unwrap());
    let before = serde_json::to_value(&held.subscription).unwrap();
    let with = |member: &str, value: Value| {
        let mut document = before.clone();
        document[member] = value;
        document
    };
    let mut unfiltered = before.clone();
    unfiltered.as_object_mut().unwrap().remove("eventFilters");
    let req = json!({ "maxReportNbr": 2 });
    let cases = [
        (json!({}), before.clone()),
        (json!({ "eventFilters": null }), unfiltered),
        (
            json!({ "eventReq": req, "unknown": null }),
            with("eventReq", req.clone()),
        ),
        (
            json!({ "events": ["SERVICE_API_UPDATE", "SERVICE_API_AVAILABLE"] }),
            with(
                "events",
                json!(["SERVICE_API_UPDATE", "SERVICE_API_AVAILABLE"]),
            ),
        ),
        (
            json!({ "notificationDestination": "https://receiver.example/other" }),
            with(
                "notificationDestination",
                json!("https://receiver.example/other"),
            ),
        ),
        (
            json!({ "vendorSpecific-000001": { "a": null } }),
            with("vendorSpecific-000001", json!({ "b": 2 })),
        ),
    ];
    for (patch, expected) in cases {
        let after = patched(patch.clone()).unwrap();
        assert_eq!(serde_json::to_value(&after).unwrap(), expected, "{patch}");
    }
    for (patch, culprit) in [
        (json!({ "events": null }), "/events"),
        (json!({ "events": [] }), "/events"),
        (json!({ "events": 1 }), "/events"),
        (
            json!({ "notificationDestination": null }),
            "/notificationDestination",
        ),
        (
            json!({ "notificationDestination": "nowhere" }),
            "/notificationDestination",
        ),
        (
            json!({ "eventFilters": [{ "apiIds": [] }] }),
            "/eventFilters/0/apiIds",
        ),
        (
            json!({ "eventReq": { "repPeriod": "soon" } }),
            "/eventReq/repPeriod",
        ),
    ] {
        match patched(patch.clone()) {
            Err(Refusal::Malformed { pointer, .. }) => assert_eq!(pointer, culprit, "{patch}"),
            other => panic!("{patch}: {other:?}"),
        }
    }
    for member in [
        "requestTestNotification",
        "websockNotifConfig",
        "supportedFeatures",
    ] {
        assert_eq!(
            patched(json!({ (member): null })),
            Err(Refusal::ModificationNotAllowed {
                member: member.to_owned()
            })
        );
    }
}

/// TS 29.222 clause 5.4.2.2.2: there are no more filters than events, and no more events than fit.
#[test]
fn lists_of_a_subscription_are_bounded() {
    let aef = function("AEF", Role::Aef, 1);
    let attempt = |events: usize, filters: usize| {
        let wanted = wire(json!({
            "events": vec!["SERVICE_API_AVAILABLE"; events],
            "eventFilters": vec![json!({}); filters],
            "notificationDestination": DESTINATION,
            "supportedFeatures": "4",
        }));
        match subscribe(Subscriber::Function(&aef), wanted, "SUB".into(), 0, &now()) {
            Ok(_) => String::new(),
            Err(Refusal::Malformed { pointer, .. }) => pointer,
            Err(refusal) => panic!("{refusal}"),
        }
    };
    assert_eq!(attempt(1, 1), "");
    assert_eq!(attempt(2, 1), "");
    assert_eq!(attempt(1, 2), "/eventFilters");
    assert_eq!(attempt(64, 64), "");
    assert_eq!(attempt(65, 0), "/events");
}

/// Filters are looked at with each event, so that they are bounded together, and so is whatever else is kept.
#[test]
fn the_size_of_a_subscription_is_bounded() {
    let aef = function("AEF", Role::Aef, 1);
    let attempt = |count: usize, extra: usize| {
        let wanted = wire(json!({
            "events": ["SERVICE_API_AVAILABLE"],
            "eventFilters": [{ "apiIds": vec!["API0123456789"; count] }],
            "notificationDestination": DESTINATION,
            "supportedFeatures": "4",
            "vendorSpecific-000001": "x".repeat(extra),
        }));
        subscribe(Subscriber::Function(&aef), wanted, "SUB".into(), 0, &now())
    };
    assert!(attempt(1000, 1000).is_ok());
    for (count, extra) in [(10_000, 0), (1, 70_000)] {
        let refusal = attempt(count, extra).unwrap_err();
        assert!(matches!(refusal, Refusal::Malformed { .. }), "{refusal}");
    }
}
