//! Who hears of what.

mod details;
mod gathering;
mod model;
mod present;
mod reporting;
mod subscriptions;

use capif_spec::{
    common::{AefId, ApiInvokerId, DateTime, SupportedFeatures},
    events::{CapifEvent, EventSubscription},
};
use serde_json::{Value, json};

use super::{occurrence::for_aef, *};
use crate::{
    changes::{Changes, Expect, Key, Kind, Record},
    fixtures::*,
    refusal::Refusal,
    state::{ApiReach, Notification, Role, Subscription},
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
    of_invoker(CapifEvent::ApiInvokerOffboarded, &id.into(), everyone())
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
    for features in [None, Some("0"), Some("3"), Some("8"), Some("B")] {
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
            let occurrence = || of_revocation(&id.into(), None, everyone());
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
        let (_, held) = subscribe(subscriber, wanted, "SUB".into(), 0, &now()).unwrap();
        for event in events {
            let heard = [&weather, &traffic, &abroad]
                .map(|api| hears(&held, of_api(CapifEvent::from(event), api)));
            assert_eq!(heard, expected, "{event} within {reach:?}");
        }
    }
    let aef = function("AEF", Role::Aef, 1);
    let wanted = wire(json!({ "events": events, "notificationDestination": DESTINATION }));
    let (_, held) = subscribe(Subscriber::Function(&aef), wanted, "SUB".into(), 0, &now()).unwrap();
    // TS 23.222 AR-4.3.3-c: of another provider's APIs a function hears nothing.
    assert!(hears(&held, of_api(CapifEvent::ServiceApiUpdate, &weather)));
    assert!(!hears(&held, of_api(CapifEvent::ServiceApiUpdate, &abroad)));
}

/// TS 29.222 clause 5.4.2.2: the CCF checks the right to each event. Whoever may not subscribe to it hears of it neither, however the
/// subscription came about. An event that the standard does not name is nobody's.
#[test]
fn rights_to_events() {
    let may = |subscriber: Subscriber<'_>, event: &str| {
        let wanted = wire(json!({
            "events": [event],
            "notificationDestination": DESTINATION,
        }));
        match subscribe(subscriber, wanted, "SUB".into(), 0, &now()) {
            Ok(_) => true,
            Err(Refusal::EventNotAllowed { event: refused, .. }) => {
                assert_eq!(refused, event);
                false
            }
            Err(refusal) => panic!("{event}: {refusal}"),
        }
    };
    // Invoker, AEF, APF, AMF.
    let table = [
        ("SERVICE_API_AVAILABLE", "IEPM"),
        ("SERVICE_API_UNAVAILABLE", "IEPM"),
        ("SERVICE_API_UPDATE", "IEPM"),
        ("API_INVOKER_ONBOARDED", "EPM"),
        ("API_INVOKER_OFFBOARDED", "EPM"),
        ("SERVICE_API_INVOCATION_SUCCESS", "EM"),
        ("SERVICE_API_INVOCATION_FAILURE", "EM"),
        ("ACCESS_CONTROL_POLICY_UPDATE", "E"),
        ("ACCESS_CONTROL_POLICY_UNAVAILABLE", "E"),
        ("API_INVOKER_AUTHORIZATION_REVOKED", "IEPM"),
        ("API_INVOKER_UPDATED", "IEPM"),
        ("API_TOPOLOGY_HIDING_CREATED", "E"),
        ("API_TOPOLOGY_HIDING_REVOKED", "E"),
        ("API_INVOKER_ONBOARDING_CRITERIA_FAILED", "PM"),
        ("SERVICE_API_ONBOARDED_BY_API_INVOKERS_COUNT", "PM"),
        ("SERVICE_API_DISCOVERY_BY_API_INVOKERS_COUNT", "PM"),
        // Who takes the calls alone has to know by whom certificates and tokens are believed.
        (TRUST_UPDATED, "E"),
        ("SOMETHING_ELSE", ""),
        ("service_api_available", ""),
        ("", ""),
    ];
    let named: Vec<&str> = table[..16].iter().map(|(event, _)| *event).collect();
    assert_eq!(named, CapifEvent::KNOWN);
    let invoker = invoker("X");
    let functions = [
        ('E', function("X", Role::Aef, 1)),
        ('P', function("X", Role::Apf, 1)),
        ('M', function("X", Role::Amf, 1)),
    ];
    for (event, allowed) in table {
        let mut parties = vec![('I', Subscriber::Invoker(&invoker), Role::ApiInvoker)];
        let others = functions.iter();
        parties.extend(others.map(|(letter, of)| (*letter, Subscriber::Function(of), of.role)));
        for (letter, subscriber, role) in parties {
            let expected = allowed.contains(letter);
            assert_eq!(may(subscriber, event), expected, "{event} {letter}");
            // About the subscriber itself, at an AEF of its id, so that nothing but the right is asked.
            let occurrence = for_aef(CapifEvent::from(event), &"X".into(), &"X".into());
            let held = subscription("X", role, &[event]);
            assert_eq!(hears(&held, occurrence), expected, "{event} {letter}");
        }
    }
}

/// TS 23.222 AR-4.3.3-c: of an invoker hear the functions of the domains that it reaches and the AEFs that it agreed with something,
/// and nobody else's.
#[test]
fn an_invoker_concerns_whom_it_reaches() {
    let apis = [
        api("API1", "weather", &[profile("AEF", &[Oauth])]),
        elsewhere(
            api("API2", "traffic", &[profile("AEF9", &[Oauth])]),
            "APF9",
            "DOM9",
        ),
    ];
    let agreed = context("INV", vec![entry_at("AEF9", Some(Oauth))]);
    let event = "API_INVOKER_OFFBOARDED";
    let of = |id: &str, role, domain: &str| {
        let mut held = subscription(id, role, &[event]);
        held.reach = domain_only(domain);
        held
    };
    let subscriptions = [
        of("AEF", Role::Aef, "DOM"),
        of("AMF", Role::Amf, "DOM"),
        of("AEF9", Role::Aef, "DOM9"),
        // Has the id of an AEF and is none.
        of("AEF9", Role::Amf, "DOM9"),
    ];
    let all = [true, true, true, true];
    let cases = [
        (ApiReach::default(), None, all),
        (domain_only("DOM"), None, [true, true, false, false]),
        (names(&["weather"]), None, [true, true, false, false]),
        (
            names(&["traffic", "maps"]),
            None,
            [false, false, true, true],
        ),
        (names(&["maps"]), None, [false; 4]),
        (names(&["maps"]), Some(&agreed), [false, false, true, false]),
        (domain_only("DOM"), Some(&agreed), [true, true, true, false]),
    ];
    for (reach, context, expected) in cases {
        let circle = Circle::of(&reach, context, apis.iter());
        let heard = subscriptions.clone().map(|held| {
            let occurrence = of_invoker(
                CapifEvent::ApiInvokerOffboarded,
                &"INV".into(),
                circle.clone(),
            );
            hears(&held, occurrence)
        });
        assert_eq!(heard, expected, "{reach:?}");
    }
    let both = Circle::of(&domain_only("DOM"), None, apis.iter()).join(Circle::of(
        &domain_only("DOM9"),
        None,
        apis.iter(),
    ));
    let occurrence = of_invoker(CapifEvent::ApiInvokerOffboarded, &"INV".into(), both);
    assert_eq!(hearers(occurrence, &subscriptions).len(), 4);
}

/// An AEF that is to act on an event is taken to be told by it only if it is told at once and without a limit.
#[test]
fn an_event_that_may_wait_or_end_is_not_relied_on() {
    let event = CapifEvent::ApiInvokerOffboarded;
    let mut held = subscription("AEF", Role::Aef, &["API_INVOKER_OFFBOARDED"]);
    let inv = ApiInvokerId::from("INV");
    assert!(is_told_of_invoker(&held, event.clone(), &inv));
    for (wish, expected) in [
        (json!({}), true),
        (
            json!({ "notifMethod": "ON_EVENT_DETECTION", "immRep": true }),
            true,
        ),
        (json!({ "notifMethod": "ONE_TIME" }), false),
        (json!({ "notifMethod": "PERIODIC", "repPeriod": 5 }), false),
        (json!({ "maxReportNbr": 9 }), false),
        (json!({ "monDur": "2030-01-01T00:00:00Z" }), false),
    ] {
        held.subscription.event_req = Some(wire(wish.clone()));
        assert_eq!(
            is_told_of_invoker(&held, event.clone(), &inv),
            expected,
            "{wish}"
        );
    }
    let other = subscription("AEF", Role::Aef, &["API_INVOKER_ONBOARDED"]);
    assert!(!is_told_of_invoker(&other, event, &inv));
}
