//! Delivery (P-07, R-6.8-10, R-6.8-13): at least once, in the order of the commits, until acknowledged.

use capif_procedures::state::Role;
use http::Method;
use serde_json::{Value, json};

use super::{subscribe, subscription};
use crate::support::{
    World, eventually,
    people::{other_authority, wishes},
    receiver::Receiver,
};

async fn nothing_waits(world: &World) {
    eventually("nothing waits any more", || async {
        world
            .list("events")
            .await
            .iter()
            .all(|row| row["waiting"] == 0)
    })
    .await;
}

fn names(notices: &[Value]) -> Vec<&str> {
    notices
        .iter()
        .map(|notice| notice["events"].as_str().unwrap())
        .collect()
}

/// Clause 8.3.4.2.3: every event comes by itself, as JSON, from the core function under its own certificate, with its details.
#[tokio::test]
async fn events_are_told_by_the_core_function_one_by_one() {
    let world = World::start().await;
    let receiver = Receiver::start(&world);
    let domain = world.domain("acme").await;
    let watched = [
        "SERVICE_API_AVAILABLE",
        "SERVICE_API_UPDATE",
        "SERVICE_API_UNAVAILABLE",
        "API_INVOKER_ONBOARDED",
        "API_INVOKER_AUTHORIZATION_REVOKED",
        "API_INVOKER_OFFBOARDED",
    ];
    let place = subscribe(
        &domain.aef,
        &subscription(&watched, &receiver.url("/capif/events")),
    )
    .await;
    let id = place.rsplit('/').next().unwrap();

    let api = domain.publish("weather", &["PKI"]).await;
    let api_path = format!("{}/{api}", domain.apis());
    domain
        .apf
        .patch(&api_path, &json!({ "description": "new" }))
        .await;
    let invoker = world.raw_invoker(&[]).await;
    invoker.negotiate(&domain.aef.id, &["PKI"]).await;
    domain.aef.delete(&invoker.context()).await;
    world
        .operator(Method::DELETE, &format!("/invokers/{}", invoker.id), None)
        .await;
    domain.apf.delete(&api_path).await;

    let notices = receiver.acknowledged(6).await;
    let order = [0, 1, 3, 4, 5, 2].map(|index| watched[index]);
    assert_eq!(names(&notices), order);
    let details = [
        ("apiIds", json!([api])),
        ("serviceAPIDescriptions", Value::Null),
        ("apiInvokerIds", json!([invoker.id])),
        ("apiInvokerIds", json!([invoker.id])),
        ("apiInvokerIds", json!([invoker.id])),
        ("apiIds", json!([api])),
    ];
    for (notice, (member, value)) in notices.iter().zip(details) {
        assert_eq!(notice["subscriptionId"], id);
        let detail = &notice["eventDetail"][member];
        if value.is_null() {
            assert_eq!(detail[0]["apiId"], api.as_str());
            assert_eq!(detail[0]["description"], "new");
        } else {
            assert_eq!(*detail, value, "{notice}");
        }
    }
    for seen in receiver.seen() {
        assert_eq!(
            (seen.method, seen.path.as_str()),
            (Method::POST, "/capif/events")
        );
        assert_eq!(seen.headers["content-type"], "application/json");
        let peer = seen.peer.certificate().unwrap();
        assert_eq!(
            peer.organizational_unit.as_deref(),
            Some(Role::Ccf.as_str())
        );
        let ccf = std::fs::read_to_string(world.dir.path().join("ccf-id")).unwrap();
        assert_eq!(peer.common_name, ccf.trim());
    }
    nothing_waits(&world).await;
    assert_eq!(
        receiver.seen().len(),
        6,
        "acknowledged ones are not repeated"
    );
}

/// P-07: a notification is offered until it is acknowledged, and those behind it wait, so that none is lost or overtaken; another
/// receiver does not wait.
#[tokio::test]
async fn a_notification_is_repeated_until_acknowledged_and_order_is_kept() {
    let world = World::start().await;
    let (slow, quick) = (Receiver::start(&world), Receiver::start(&world));
    let domain = world.domain("acme").await;
    slow.answer(&[500, 503, 404, 302, 204, 401, 429]);
    let watched = ["SERVICE_API_AVAILABLE", "SERVICE_API_UNAVAILABLE"];
    subscribe(
        &domain.aef,
        &subscription(&watched, &slow.url("/redirected")),
    )
    .await;
    subscribe(&domain.aef, &subscription(&watched, &quick.url("/"))).await;
    let mut ids = Vec::new();
    for name in ["a", "b", "c"] {
        let id = domain.publish(name, &["PKI"]).await;
        domain.apf.delete(&format!("{}/{id}", domain.apis())).await;
        ids.push(id);
    }
    let expected: Vec<Value> = ids
        .iter()
        .flat_map(|id| watched.map(|event| json!([event, [id]])))
        .collect();
    let told = |notices: &[Value]| -> Vec<Value> {
        notices
            .iter()
            .map(|notice| json!([notice["events"], notice["eventDetail"]["apiIds"]]))
            .collect()
    };
    assert_eq!(told(&quick.acknowledged(6).await), expected);
    assert!(slow.seen().len() < 11, "the other one is still being asked");
    assert_eq!(told(&slow.acknowledged(6).await), expected);
    nothing_waits(&world).await;
    let all = slow.seen();
    // The first was offered five times, the second three times, and nothing in between.
    let offered: Vec<Value> = all.iter().map(|notice| notice.body.clone()).collect();
    let offered = told(&offered);
    assert_eq!(offered.len(), 6 + 6);
    assert!(offered[..5].iter().all(|notice| *notice == expected[0]));
    assert!(offered[5..8].iter().all(|notice| *notice == expected[1]));
    assert_eq!(offered[8..], expected[2..]);
    assert!(
        all.iter().all(|notice| notice.path == "/redirected"),
        "P-34: but for 307 and 308, redirects are not followed"
    );
}

/// Clause 8.3.4.2.4: filters stand beside the events that they belong to; an empty one asks for nothing. Without the feature there
/// are neither filters nor details.
#[tokio::test]
async fn filters_and_details_belong_to_their_feature() {
    let world = World::start().await;
    let receiver = Receiver::start(&world);
    let domain = world.domain("acme").await;
    let invoker = world.raw_invoker(&[]).await;
    let weather = domain.publish("weather", &["PKI"]).await;
    let traffic = domain.publish("traffic", &["PKI"]).await;
    let watched = ["SERVICE_API_UPDATE", "API_INVOKER_OFFBOARDED"];
    let filtered = |filters: Value, path: &str, features: &str| {
        let mut body = subscription(&watched, &receiver.url(path));
        body["eventFilters"] = filters;
        body["supportedFeatures"] = json!(features);
        body
    };
    let of_traffic = json!([{ "apiIds": [traffic] }, {}]);
    subscribe(&domain.aef, &filtered(of_traffic.clone(), "/traffic", "4")).await;
    let of_nobody = json!([{}, { "apiInvokerIds": ["INV0"] }]);
    subscribe(&domain.aef, &filtered(of_nobody, "/nobody", "4")).await;
    subscribe(&domain.aef, &filtered(json!([]), "/all", "4")).await;
    subscribe(&domain.aef, &filtered(of_traffic, "/without", "0")).await;

    for api in [&weather, &traffic] {
        domain
            .apf
            .patch(
                &format!("{}/{api}", domain.apis()),
                &json!({ "description": "new" }),
            )
            .await;
    }
    world
        .operator(Method::DELETE, &format!("/invokers/{}", invoker.id), None)
        .await;
    receiver.acknowledged(2 + 2 + 3 + 3).await;
    nothing_waits(&world).await;
    let at = |path: &str| -> Vec<Value> {
        let seen = receiver
            .seen()
            .into_iter()
            .filter(|notice| notice.path == path);
        seen.map(|notice| {
            json!([
                notice.body["events"],
                notice.body["eventDetail"]["serviceAPIDescriptions"][0]["apiId"]
            ])
        })
        .collect()
    };
    let update = |api: &str| json!(["SERVICE_API_UPDATE", api]);
    let offboarded = json!(["API_INVOKER_OFFBOARDED", null]);
    assert_eq!(at("/traffic"), [update(&traffic), offboarded.clone()]);
    assert_eq!(at("/nobody"), [update(&weather), update(&traffic)]);
    assert_eq!(at("/all"), [update(&weather), update(&traffic), offboarded]);
    let bare = receiver
        .seen()
        .into_iter()
        .filter(|notice| notice.path == "/without");
    let bare: Vec<Value> = bare.map(|notice| notice.body).collect();
    assert_eq!(
        names(&bare),
        [
            "SERVICE_API_UPDATE",
            "SERVICE_API_UPDATE",
            "API_INVOKER_OFFBOARDED"
        ]
    );
    assert!(
        bare.iter()
            .all(|notice| notice.get("eventDetail").is_none())
    );
}

/// Clause 5.4.2.2.2: of invokers an invoker hears of itself alone.
#[tokio::test]
async fn an_invoker_hears_of_no_other_invoker() {
    let mut world = World::start().await;
    let receiver = Receiver::start(&world);
    world.allow(&[&receiver]).await;
    let domain = world.domain("acme").await;
    domain.publish("weather", &["PKI"]).await;
    let (one, other) = (world.raw_invoker(&[]).await, world.raw_invoker(&[]).await);
    for invoker in [&one, &other] {
        let destination = receiver.url(&format!("/{}", invoker.id));
        let mut body = subscription(&["API_INVOKER_AUTHORIZATION_REVOKED"], &destination);
        // Not even when it asks by name.
        body["eventFilters"] = json!([{ "apiInvokerIds": [one.id, other.id] }]);
        subscribe(&invoker.party, &body).await;
        invoker
            .put(&invoker.context(), &wishes(&[(&domain.aef.id, &["PKI"])]))
            .await;
    }
    domain.aef.delete(&other.context()).await;
    domain.aef.delete(&one.context()).await;
    receiver.acknowledged(2).await;
    nothing_waits(&world).await;
    for notice in receiver.seen() {
        let told = notice.body["eventDetail"]["apiInvokerIds"][0]
            .as_str()
            .unwrap()
            .to_owned();
        assert_eq!(notice.path, format!("/{told}"));
    }
}

/// P-07, R-6.8-13: what waits survives a restart of the core function, and goes to where the subscription points at the time.
#[tokio::test]
async fn what_waits_survives_a_restart_and_follows_the_subscription() {
    let mut world = World::start().await;
    let (down, up) = (Receiver::start(&world), Receiver::start(&world));
    down.always(Some(503));
    let domain = world.domain("acme").await;
    let watched = ["API_INVOKER_ONBOARDED", "API_INVOKER_OFFBOARDED"];
    let place = subscribe(&domain.aef, &subscription(&watched, &down.url("/"))).await;
    let invoker = world.raw_invoker(&[]).await;
    world
        .operator(Method::DELETE, &format!("/invokers/{}", invoker.id), None)
        .await;
    eventually("the receiver was asked", || async {
        !down.seen().is_empty()
    })
    .await;
    world.stop().await;
    let before = down.seen().len();
    world.resume().await;
    assert_eq!(world.list("events").await[0]["waiting"], 2);
    eventually("the receiver is asked again", || async {
        down.seen().len() > before
    })
    .await;
    assert!(
        down.seen()
            .iter()
            .all(|notice| notice.body["events"] == "API_INVOKER_ONBOARDED")
    );

    let aef = world.with_certificate(&domain.aef.pems);
    let answer = aef
        .json(
            Method::PUT,
            &place,
            Some(&subscription(&watched, &up.url("/"))),
        )
        .await;
    assert_eq!(answer.status, 200);
    assert_eq!(names(&up.acknowledged(2).await), watched);
    nothing_waits(&world).await;
}

/// Clause 5.4.2.4: with a subscription goes what waited under it.
#[tokio::test]
async fn with_a_subscription_goes_what_waited() {
    let world = World::start().await;
    let receiver = Receiver::start(&world);
    receiver.always(Some(500));
    let domain = world.domain("acme").await;
    let body = subscription(&["SERVICE_API_AVAILABLE"], &receiver.url("/"));
    let (one, other) = (
        subscribe(&domain.aef, &body).await,
        subscribe(&domain.aef, &body).await,
    );
    for name in ["a", "b", "c"] {
        domain.publish(name, &["PKI"]).await;
    }
    assert!(
        world
            .list("events")
            .await
            .iter()
            .all(|row| row["waiting"] == 3)
    );
    domain.aef.delete(&one).await;
    let rows = world.list("events").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["waiting"], 3);
    receiver.always(None);
    receiver.acknowledged(3).await;
    nothing_waits(&world).await;
    let id = other.rsplit('/').next().unwrap();
    let taken = receiver
        .seen()
        .into_iter()
        .filter(|notice| notice.status.is_success());
    assert!(
        taken
            .map(|notice| notice.body)
            .all(|body| body["subscriptionId"] == id)
    );
}

/// P-34: a receiver that another authority vouches for, or that is no AEF, is not spoken to: no octet of a notification reaches it.
#[tokio::test]
async fn a_receiver_that_is_no_aef_of_this_authority_hears_nothing() {
    let world = World::start().await;
    let folder = other_authority(&world);
    let own_authority = world.dir.path().join("ca/issuing");
    let strangers = [
        Receiver::with_authority(&world, &folder.path().join("ca/issuing"), "AEF"),
        Receiver::with_authority(&world, &own_authority, "APF"),
        Receiver::with_authority(&world, &own_authority, "API_INVOKER"),
        Receiver::with_authority(&world, &own_authority, "CCF"),
    ];
    let own = Receiver::start(&world);
    let domain = world.domain("acme").await;
    let events = ["SERVICE_API_AVAILABLE"];
    for stranger in &strangers {
        subscribe(&domain.aef, &subscription(&events, &stranger.url("/"))).await;
    }
    subscribe(&domain.apf, &subscription(&events, &own.url("/"))).await;
    domain.publish("weather", &["PKI"]).await;
    own.acknowledged(1).await;
    eventually("it waits for the others", || async {
        let rows = world.list("events").await;
        rows.iter().filter(|row| row["waiting"] == 1).count() == strangers.len()
    })
    .await;
    assert!(strangers.iter().all(|stranger| stranger.seen().is_empty()));
}
