//! CAPIF_Events_API (TS 29.222 clauses 5.4 and 8.3, P-07): subscriptions, and the delivery of what was subscribed to.

pub(crate) mod catalogue;
mod delivery;
mod reporting;

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    World,
    people::{Domain, Party},
};

pub(super) fn path(party: &Party) -> String {
    format!("/capif-events/v1/{}/subscriptions", party.id)
}

pub(super) fn subscription(events: &[&str], destination: &str) -> Value {
    json!({ "events": events, "notificationDestination": destination, "supportedFeatures": "4" })
}

/// Subscribes and returns the path of the subscription.
pub(super) async fn subscribe(party: &Party, body: &Value) -> String {
    let answer = party.post(&path(party), body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let location = answer.headers["location"].to_str().unwrap();
    location[location.find("/capif-events").unwrap()..].to_owned()
}

fn everybody(domain: &Domain) -> [(&'static str, &Party); 3] {
    [
        ("AEF", &domain.aef),
        ("APF", &domain.apf),
        ("AMF", &domain.amf),
    ]
}

/// Clauses 5.4.2.2 to 5.4.2.5: made with 201 and its address, replaced with 200, gone with 204.
#[tokio::test]
async fn a_subscription_is_made_replaced_and_ended() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let mut body = subscription(&["API_INVOKER_OFFBOARDED"], "https://127.0.0.1:1/events");
    body["vendorSpecific-000001"] = json!({ "kept": true });
    let answer = domain.aef.post(&path(&domain.aef), &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let location = answer.headers["location"].to_str().unwrap().to_owned();
    let prefix = format!("https://{}{}/", world.address(), path(&domain.aef));
    assert!(location.starts_with(&prefix), "{location}");
    assert_eq!(answer.json(), body, "the subscription as it was taken");
    let rows = world.list("events").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["subscriber"], domain.aef.id.as_str());
    assert_eq!(
        rows[0]["subscriptionId"],
        location.strip_prefix(&prefix).unwrap()
    );
    assert_eq!(rows[0]["waiting"], 0);

    let place = location
        .strip_prefix(&format!("https://{}", world.address()))
        .unwrap();
    let other = subscription(&["SERVICE_API_UPDATE"], "https://127.0.0.1:1/elsewhere");
    let answer = domain.aef.put(place, &other).await;
    assert_eq!((answer.status, answer.json()), (StatusCode::OK, other));
    assert_eq!(
        world.list("events").await[0]["events"],
        json!(["SERVICE_API_UPDATE"])
    );

    assert_eq!(
        domain.aef.delete(place).await.status,
        StatusCode::NO_CONTENT
    );
    assert!(world.list("events").await.is_empty());
    for answer in [
        domain.aef.delete(place).await,
        domain.aef.put(place, &body).await,
    ] {
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.cause(), "SUBSCRIPTION_NOT_FOUND");
    }
}

/// Clause 7.8 and table 8.3.6-1: the answer names the features of both sides; what belongs to others is not answered.
#[tokio::test]
async fn features_are_negotiated() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    for (offered, agreed) in [
        ("4", "4"),
        ("F", "F"),
        ("C", "C"),
        ("ff04", "4"),
        // A WebSocket needs the test notification.
        ("2", "0"),
        ("30", "0"),
        ("0", "0"),
        ("", "0"),
    ] {
        let mut body = subscription(&["SERVICE_API_AVAILABLE"], "https://127.0.0.1:1/events");
        body["supportedFeatures"] = json!(offered);
        body["requestTestNotification"] = json!(true);
        body["websockNotifConfig"] = json!({ "requestWebsocketUri": true });
        body["eventFilters"] = json!([{}]);
        body["eventReq"] = json!({ "maxReportNbr": 1 });
        let answer = domain.aef.post(&path(&domain.aef), &body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{offered}");
        let made = answer.json();
        let said = made["supportedFeatures"].as_str().unwrap();
        assert_eq!(said.to_uppercase(), agreed, "{offered}");
        let bits = u32::from_str_radix(agreed, 16).unwrap();
        for (member, bit) in [
            ("requestTestNotification", 1),
            ("websockNotifConfig", 2),
            ("eventFilters", 4),
            ("eventReq", 4),
        ] {
            assert_eq!(
                made.get(member).is_some(),
                bits & bit != 0,
                "{offered} {member}"
            );
        }
    }
}

/// Clause 5.4.2.2.2: the right to each event is verified: an invoker hears of APIs and of itself, and of the functions of a provider each
/// of what is its own.
#[tokio::test]
async fn the_right_to_each_event_is_verified() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let invoker = world.raw_invoker(&[]).await;
    let destination = "https://127.0.0.1:1/events";
    for (event, allowed) in [
        ("SERVICE_API_INVOCATION_SUCCESS", ["AEF", "AMF"].as_slice()),
        ("ACCESS_CONTROL_POLICY_UPDATE", &["AEF"]),
        ("API_TOPOLOGY_HIDING_CREATED", &["AEF"]),
        (
            "SERVICE_API_ONBOARDED_BY_API_INVOKERS_COUNT",
            &["APF", "AMF"],
        ),
    ] {
        let mut parties = everybody(&domain).to_vec();
        parties.push(("invoker", &invoker.party));
        for (name, party) in parties {
            let answer = party
                .post(&path(party), &subscription(&[event], destination))
                .await;
            let created = answer.status == StatusCode::CREATED;
            assert_eq!(created, allowed.contains(&name), "{name} {event}");
            if created {
                let location = answer.headers["location"].to_str().unwrap();
                let place = &location[location.find("/capif-events").unwrap()..];
                party.delete(place).await;
            } else {
                assert_eq!(answer.status, StatusCode::FORBIDDEN, "{name} {event}");
                answer.cause();
            }
        }
    }
    for (event, functions, invokers) in [
        ("SERVICE_API_AVAILABLE", true, true),
        ("SERVICE_API_UNAVAILABLE", true, true),
        ("SERVICE_API_UPDATE", true, true),
        ("API_INVOKER_ONBOARDED", true, false),
        ("API_INVOKER_OFFBOARDED", true, false),
        ("API_INVOKER_UPDATED", true, true),
        ("API_INVOKER_AUTHORIZATION_REVOKED", true, true),
        ("FROM_ANOTHER_WORLD", false, false),
        ("service_api_available", false, false),
        ("", false, false),
    ] {
        for events in [&[event][..], &["SERVICE_API_AVAILABLE", event]] {
            let mut parties = everybody(&domain)
                .map(|(name, party)| (name, party, functions))
                .to_vec();
            parties.push(("invoker", &invoker.party, invokers));
            for (name, party, allowed) in parties {
                let answer = party
                    .post(&path(party), &subscription(events, destination))
                    .await;
                let expected = if allowed {
                    StatusCode::CREATED
                } else {
                    StatusCode::FORBIDDEN
                };
                assert_eq!(answer.status, expected, "{name} {events:?}");
                if allowed {
                    // Nor is it smuggled in later.
                    let location = answer.headers["location"].to_str().unwrap();
                    let place = &location[location.find("/capif-events").unwrap()..];
                    let answer = party
                        .put(place, &subscription(&["FROM_ANOTHER_WORLD"], destination))
                        .await;
                    assert_eq!(answer.status, StatusCode::FORBIDDEN);
                    party.delete(place).await;
                } else {
                    answer.cause();
                }
            }
        }
    }
    assert!(world.list("events").await.is_empty());
}

/// TS 29.122 clause 5.2.4.3, P-34: notifications go to absolute https addresses without credentials, query or fragment; lists are not
/// empty; the number of subscriptions is bounded.
#[tokio::test]
async fn subscriptions_that_cannot_be_are_refused() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let aef = &domain.aef;
    let good = subscription(&["SERVICE_API_AVAILABLE"], "https://127.0.0.1:1/events");
    let with = |member: &str, value: Value| {
        let mut body = good.clone();
        body[member] = value;
        body
    };
    let mut cases = vec![
        json!({}),
        json!({ "events": ["SERVICE_API_AVAILABLE"] }),
        json!({ "notificationDestination": "https://127.0.0.1:1/" }),
        with("events", json!([])),
        with("events", json!("SERVICE_API_AVAILABLE")),
        with("events", json!([1])),
        with("eventFilters", json!([{ "apiIds": [] }])),
        with("eventFilters", json!({})),
        with("supportedFeatures", json!("g")),
    ];
    for destination in [
        "",
        "/",
        "events",
        "http://127.0.0.1:1/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "https://",
        "https:///x",
        "https://user:secret@127.0.0.1/",
        "https://127.0.0.1/?a=b",
        "https://127.0.0.1/#x",
        "https://127.0.0.1:99999/",
        "https://127.0.0.1/a b",
        "https://127.0.0.1\r\nx: y",
        "https://[::1",
        "javascript:alert(1)",
        "HTTP://127.0.0.1/",
    ] {
        cases.push(with("notificationDestination", json!(destination)));
    }
    let mut taken = 0;
    for body in cases {
        let answer = aef.post(&path(aef), &body).await;
        // Deployed clients name receivers without TLS, and whatever else is the address of nobody; nothing is sent there.
        if world.is_lenient() && answer.status == StatusCode::CREATED {
            let destination = body["notificationDestination"].as_str().unwrap();
            assert!(destination.starts_with("http://"), "{body}");
            let place = answer.headers["location"].to_str().unwrap();
            let place = &place[place.find("/capif-events").unwrap()..];
            assert_eq!(aef.delete(place).await.status, StatusCode::NO_CONTENT);
            taken += 1;
            continue;
        }
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        assert!(answer.cause().starts_with("MANDATORY_IE_"), "{body}");
    }
    assert_eq!(taken, usize::from(world.is_lenient()));
    assert!(world.list("events").await.is_empty());

    for _ in 0..64 {
        subscribe(aef, &good).await;
    }
    let answer = aef.post(&path(aef), &good).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    answer.cause();
    // The bound is each subscriber's own.
    let place = subscribe(&domain.apf, &good).await;
    assert_eq!(
        domain.apf.delete(&place).await.status,
        StatusCode::NO_CONTENT
    );
}
