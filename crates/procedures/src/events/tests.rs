use serde_json::{Value, json};

use super::*;
use crate::{
    changes::{Key, Kind, Record},
    fixtures::*,
};

/// Who hears of an occurrence.
fn hearers(occurrence: Occurrence, subscriptions: &[Subscription]) -> Vec<String> {
    let mut changes = Changes::new();
    raise(&mut changes, occurrence, subscriptions.iter(), &now());
    notified(&changes)
        .into_iter()
        .map(|(subscriber, _, _)| subscriber)
        .collect()
}

fn hears(subscription: &Subscription, occurrence: Occurrence) -> bool {
    !hearers(occurrence, std::slice::from_ref(subscription)).is_empty()
}

/// A subscription of an AEF with filters beside its events; `null` is a list without filters.
fn filtered(events: &[&str], filters: Value) -> Subscription {
    let mut subscription = subscription("AEF", Role::Aef, events);
    subscription.subscription.event_filters = wire(filters);
    subscription
}

fn offboarded(id: &str) -> Occurrence {
    of_invoker(CapifEvent::ApiInvokerOffboarded, &id.into())
}

fn published(id: &str) -> Occurrence {
    let api = api(id, "weather", &[profile("AEF", &[Oauth])]);
    of_api(CapifEvent::ServiceApiAvailable, &api)
}

/// TS 29.222 clause 8.3.4.2.2: a filter belongs to the event at the same place in the list; an empty object stands for no
/// filter, and so does a place that the list does not reach.
#[test]
fn filters_stand_beside_their_events() {
    let both = ["SERVICE_API_AVAILABLE", "API_INVOKER_OFFBOARDED"];
    let of_inv1 = json!({ "apiInvokerIds": ["INV1"] });
    let of_api1 = json!({ "apiIds": ["API1"] });
    // Whether the subscriber hears of INV1, INV2, API1 and API2.
    let cases = [
        (json!(null), [true, true, true, true]),
        (json!([]), [true, true, true, true]),
        (json!([{}]), [true, true, true, true]),
        (json!([{}, {}]), [true, true, true, true]),
        (json!([{}, of_inv1]), [true, false, true, true]),
        (json!([of_api1]), [true, true, true, false]),
        (json!([of_api1, of_inv1]), [true, false, true, false]),
        (json!([of_api1, {}]), [true, true, true, false]),
        // What a filter asks of things that its event is not about is no filter.
        (json!([of_inv1, of_api1]), [true, true, true, true]),
        (
            json!([{ "apiIds": ["API9", "API2"] }, { "apiInvokerIds": ["INV1", "INV2"] }]),
            [true, true, false, true],
        ),
        (
            json!([{}, { "apiInvokerIds": ["inv1"] }]),
            [false, false, true, true],
        ),
    ];
    for (filters, expected) in cases {
        let subscription = filtered(&both, filters.clone());
        let heard = [
            hears(&subscription, offboarded("INV1")),
            hears(&subscription, offboarded("INV2")),
            hears(&subscription, published("API1")),
            hears(&subscription, published("API2")),
        ];
        assert_eq!(heard, expected, "{filters}");
    }
}

/// TS 29.222 clause 8.3.4.2.2: an event may be listed with several filters, and is told once.
#[test]
fn one_notification_for_an_event_listed_twice() {
    let twice = ["API_INVOKER_OFFBOARDED", "API_INVOKER_OFFBOARDED"];
    let filters = json!([{ "apiInvokerIds": ["INV1"] }, { "apiInvokerIds": ["INV2"] }]);
    let subscription = [filtered(&twice, filters)];
    for (id, count) in [("INV1", 1), ("INV2", 1), ("INV3", 0)] {
        assert_eq!(hearers(offboarded(id), &subscription).len(), count, "{id}");
    }
    let subscription = [filtered(&twice, json!(null))];
    assert_eq!(hearers(offboarded("INV1"), &subscription).len(), 1);
}

/// TS 29.222 table 8.3.6-1: without Enhanced_event_report a notification says no more than the event, and there are no
/// filters.
#[test]
fn filters_and_details_need_their_feature() {
    let filters = json!([{ "apiInvokerIds": ["INV9"] }]);
    let mut deaf = filtered(&["API_INVOKER_OFFBOARDED"], filters);
    assert!(!hears(&deaf, offboarded("INV1")));
    for features in [None, Some("0"), Some("3"), Some("8")] {
        deaf.subscription.supported_features = features.map(SupportedFeatures::from);
        let mut changes = Changes::new();
        raise(
            &mut changes,
            offboarded("INV1"),
            [&deaf].into_iter(),
            &now(),
        );
        assert_eq!(
            notified(&changes),
            [(
                "AEF".to_owned(),
                "API_INVOKER_OFFBOARDED".to_owned(),
                Value::Null
            )]
        );
    }
}

/// TS 29.222 clause 8.3.4.2.5: the detail of an event about an invoker holds its id; about an API its id, for an update the
/// description as invokers may see it.
#[test]
fn details_say_what_it_is_about() {
    let mut weather = api("API1", "weather", &[profile("AEF", &[Oauth])]);
    weather.description.shareable_info = Some(wire(json!({ "isShareable": false })));
    let shown = json!({
        "serviceAPIDescriptions": [{
            "apiName": "weather",
            "apiId": "API1",
            "aefProfiles": [{
                "aefId": "AEF",
                "versions": [{ "apiVersion": "v1" }],
                "domainName": "aef.example",
                "securityMethods": ["OAUTH"],
            }],
        }],
    });
    let inv1 = ApiInvokerId::from("INV1");
    let cases = [
        (
            of_invoker(CapifEvent::ApiInvokerOnboarded, &inv1),
            json!({ "apiInvokerIds": ["INV1"] }),
        ),
        (
            of_invoker(CapifEvent::ApiInvokerAuthorizationRevoked, &inv1),
            json!({ "apiInvokerIds": ["INV1"] }),
        ),
        (
            of_api(CapifEvent::ServiceApiAvailable, &weather),
            json!({ "apiIds": ["API1"] }),
        ),
        (
            of_api(CapifEvent::ServiceApiUnavailable, &weather),
            json!({ "apiIds": ["API1"] }),
        ),
        (of_api(CapifEvent::ServiceApiUpdate, &weather), shown),
    ];
    for (occurrence, expected) in cases {
        let event = occurrence.event.to_string();
        let subscription = subscription("AEF", Role::Aef, &[&event]);
        let mut changes = Changes::new();
        raise(
            &mut changes,
            occurrence,
            [&subscription].into_iter(),
            &now(),
        );
        assert_eq!(notified(&changes), [("AEF".to_owned(), event, expected)]);
    }
}

/// TS 29.222 clause 5.4: a notification goes to each subscription that asks for its event, in the order of commits.
#[test]
fn each_subscription_that_asks_is_told() {
    let mut second = subscription("AEF", Role::Aef, &["API_INVOKER_OFFBOARDED"]);
    second.id = "SUB2".into();
    let subscriptions = [
        subscription("AEF", Role::Aef, &["API_INVOKER_OFFBOARDED"]),
        second,
        subscription("APF", Role::Apf, &["API_INVOKER_ONBOARDED"]),
        subscription(
            "AMF",
            Role::Amf,
            &["API_INVOKER_ONBOARDED", "API_INVOKER_OFFBOARDED"],
        ),
    ];
    let mut world = World::default();
    for id in ["INV1", "INV2"] {
        let mut changes = Changes::new();
        raise(&mut changes, offboarded(id), subscriptions.iter(), &now());
        world.commit(changes).unwrap();
    }
    let ids = world.ids(Kind::Notification);
    assert_eq!(ids.len(), 6);
    for (prefix, expected) in [
        ("AEF/SUB/", ["INV1", "INV2"]),
        ("AEF/SUB2/", ["INV1", "INV2"]),
    ] {
        let of_one: Vec<String> = ids
            .iter()
            .filter(|id| id.starts_with(prefix))
            .map(|id| {
                let held = world.held::<Notification>(id).unwrap().record;
                assert_eq!(held.raised, now());
                let detail = held.notification.event_detail.unwrap();
                detail.api_invoker_ids.unwrap()[0].to_string()
            })
            .collect();
        assert_eq!(of_one, expected);
    }
}

/// TS 23.222 clause 8.8: an invoker hears of invokers what concerns itself, whatever a filter asks for; functions of a
/// provider hear of all.
#[test]
fn an_invoker_sees_only_itself() {
    let event = "API_INVOKER_AUTHORIZATION_REVOKED";
    let mut curious = subscription("INV1", Role::ApiInvoker, &[event]);
    curious.subscription.event_filters =
        Some(vec![wire(json!({ "apiInvokerIds": ["INV1", "INV2"] }))]);
    for role in [Role::Aef, Role::Apf, Role::Amf] {
        // A function that happens to have a name like an invoker's is not held to it.
        let function = subscription("INV1", role, &[event]);
        for (id, expected) in [("INV1", true), ("INV2", false), ("INV10", false)] {
            let occurrence = || of_invoker(CapifEvent::ApiInvokerAuthorizationRevoked, &id.into());
            assert_eq!(hears(&curious, occurrence()), expected, "{id}");
            assert!(hears(&function, occurrence()), "{id}");
        }
    }
}

/// TS 33.122 clause 6.3, TS 23.222 clause 8.7: what an invoker may not discover it does not hear of either.
#[test]
fn an_invoker_hears_of_apis_within_its_reach() {
    let events = [
        "SERVICE_API_AVAILABLE",
        "SERVICE_API_UPDATE",
        "SERVICE_API_UNAVAILABLE",
    ];
    let weather = api("API1", "weather", &[profile("AEF", &[Oauth])]);
    let traffic = api("API2", "traffic", &[profile("AEF", &[Oauth])]);
    let abroad = elsewhere(
        api("API3", "weather", &[profile("AEF9", &[Oauth])]),
        "APF9",
        "DOM9",
    );
    let cases = [
        (ApiReach::default(), [true, true, true]),
        (names(&["weather"]), [true, false, true]),
        (domain_only("DOM"), [true, true, false]),
        (names(&[]), [false, false, false]),
    ];
    for (reach, expected) in cases {
        let invoker = invoker_within("INV", reach.clone());
        let wanted = wire(json!({ "events": events, "notificationDestination": DESTINATION }));
        let subscriber = Subscriber::Invoker(&invoker);
        let (_, held) = subscribe(subscriber, wanted, "SUB".into(), 0).unwrap();
        for event in events {
            let heard = [&weather, &traffic, &abroad]
                .map(|api| hears(&held, of_api(CapifEvent::from(event), api)));
            assert_eq!(heard, expected, "{event} within {reach:?}");
        }
    }
    let aef = function("AEF", Role::Aef, 1);
    let wanted = wire(json!({ "events": events, "notificationDestination": DESTINATION }));
    let (_, held) = subscribe(Subscriber::Function(&aef), wanted, "SUB".into(), 0).unwrap();
    // TS 23.222 AR-4.3.3-c: of another provider's APIs a function hears nothing.
    assert!(hears(&held, of_api(CapifEvent::ServiceApiUpdate, &weather)));
    assert!(!hears(&held, of_api(CapifEvent::ServiceApiUpdate, &abroad)));
}

/// TS 29.222 clause 5.4.2.2: the CCF checks the right to each event. One that the standard does not name is nobody's.
#[test]
fn rights_to_events() {
    let may = |subscriber: Subscriber<'_>, event: &str| {
        let wanted = wire(json!({
            "events": ["SERVICE_API_AVAILABLE", event],
            "notificationDestination": DESTINATION,
        }));
        match subscribe(subscriber, wanted, "SUB".into(), 0) {
            Ok(_) => true,
            Err(Refusal::EventNotAllowed { event: refused }) => {
                assert_eq!(refused, event);
                false
            }
            Err(refusal) => panic!("{event}: {refusal}"),
        }
    };
    let for_invokers = [
        "SERVICE_API_AVAILABLE",
        "SERVICE_API_UNAVAILABLE",
        "SERVICE_API_UPDATE",
        "API_INVOKER_AUTHORIZATION_REVOKED",
        "API_INVOKER_UPDATED",
    ];
    let invoker = invoker("INV");
    for event in CapifEvent::KNOWN {
        assert_eq!(
            may(Subscriber::Invoker(&invoker), event),
            for_invokers.contains(event),
            "{event}"
        );
        for role in [Role::Aef, Role::Apf, Role::Amf] {
            let function = function("F", role, 1);
            assert!(may(Subscriber::Function(&function), event), "{event}");
        }
    }
    assert!(!may(Subscriber::Invoker(&invoker), "SOMETHING_ELSE"));
    let aef = function("AEF", Role::Aef, 1);
    assert!(!may(Subscriber::Function(&aef), "SOMETHING_ELSE"));
    // Who takes the calls alone has to know by whom certificates and tokens are believed.
    assert!(may(Subscriber::Function(&aef), TRUST_UPDATED));
    assert!(!may(Subscriber::Invoker(&invoker), TRUST_UPDATED));
    for role in [Role::Apf, Role::Amf] {
        let function = function("F", role, 1);
        assert!(!may(Subscriber::Function(&function), TRUST_UPDATED));
    }
}

/// TS 29.222 clause 7.3: notifications go over TLS.
#[test]
fn destinations_are_https() {
    let aef = function("AEF", Role::Aef, 1);
    let subscriber = Subscriber::Function(&aef);
    let cases = [
        ("https://receiver.example/notify", true),
        ("http://receiver.example/notify", false),
        ("http://receiver.example/https://", false),
        ("ftp://receiver.example/", false),
        ("https:/receiver.example", false),
        ("//receiver.example/", false),
        ("", false),
    ];
    for (destination, good) in cases {
        let wanted = || -> EventSubscription {
            wire(json!({
                "events": ["SERVICE_API_AVAILABLE"],
                "notificationDestination": destination,
            }))
        };
        let held = versioned(subscription("AEF", Role::Aef, &["SERVICE_API_AVAILABLE"]));
        let outcomes = [
            subscribe(subscriber, wanted(), "SUB".into(), 0),
            replace(subscriber, &held, wanted()),
        ];
        for outcome in outcomes {
            match outcome {
                Ok(_) => assert!(good, "{destination}"),
                Err(Refusal::Malformed { pointer, .. }) => {
                    assert!(!good, "{destination}");
                    assert_eq!(pointer, "/notificationDestination");
                }
                Err(refusal) => panic!("{destination}: {refusal}"),
            }
        }
    }
}

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
    for (wanted, agreed) in [(None, None), (Some("3"), Some("0")), (Some("F"), Some("4"))] {
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
        let (changes, held) = subscribe(subscriber, wire(document), "SUB".into(), 0).unwrap();
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
        let (changes, held) = subscribe(subscriber, wanted, "SUB".into(), 0).unwrap();
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
    let (changes, after) = replace(Subscriber::Function(&aef), &held, wanted.clone()).unwrap();
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
        replace(Subscriber::Function(&aef), &held, refused).unwrap_err(),
        Refusal::EventNotAllowed {
            event: "SOMETHING_ELSE".to_owned()
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
