//! P-34: notifications go to hosts of the subscriber's own domain, and to whom the operator lists; what can go nowhere is refused
//! when it is asked for.

use http::StatusCode;
use serde_json::json;
use tokio::net::TcpListener;

use super::{nothing_waits, publish, target, told, wanted};
use crate::{
    support::{
        World, keys,
        people::{Party, function},
        receiver::Receiver,
    },
    ts29222::events::{path, subscribe},
};

async fn asked(party: &Party, destination: &str) -> StatusCode {
    let answer = party.post(&path(party), &wanted(destination, "4")).await;
    if answer.status == StatusCode::FORBIDDEN {
        answer.cause();
        let problem = answer.json();
        let param = &problem["invalidParams"][0]["param"];
        assert_eq!(param, "/notificationDestination", "{problem}");
        assert!(
            problem["detail"]
                .as_str()
                .unwrap()
                .contains("callbacks.allow")
        );
    }
    answer.status
}

/// What becomes of the wish to be told where nobody may be: strictly it is refused; for deployed clients, who always ask for something
/// of the kind, it is taken and nothing is sent.
fn refused(world: &World, taken: StatusCode) -> StatusCode {
    if world.is_lenient() {
        taken
    } else {
        StatusCode::FORBIDDEN
    }
}

/// A function of a provider is notified at hosts for which AEFs of its own domain are certified, at whatever port; an invoker, and
/// everybody at other hosts, where the operator says so. Whoever replaces or changes a subscription is judged alike.
#[tokio::test]
async fn what_can_never_be_reached_is_refused_at_once() {
    let world = World::with(|config| {
        config.callbacks.allow = vec!["hooks.example.com:443".parse().unwrap()];
    })
    .await;
    let domain = world.domain("acme").await;
    let invoker = world.raw_invoker(&[]).await;
    let nowhere = refused(&world, StatusCode::CREATED);
    let (own, listed) = (
        "https://127.0.0.1:4711/events",
        "https://hooks.example.com/x",
    );
    for (destination, functions, invokers) in [
        (own, StatusCode::CREATED, nowhere),
        (listed, StatusCode::CREATED, StatusCode::CREATED),
        ("https://hooks.example.com:8443/", nowhere, nowhere),
        ("https://127.0.0.2/", nowhere, nowhere),
        ("https://localhost/", nowhere, nowhere),
        ("https://169.254.169.254/latest", nowhere, nowhere),
        ("https://example.org/", nowhere, nowhere),
    ] {
        for party in [&domain.aef, &domain.apf, &domain.amf] {
            assert_eq!(asked(party, destination).await, functions, "{destination}");
        }
        assert_eq!(
            asked(&invoker.party, destination).await,
            invokers,
            "{destination}"
        );
    }
    let held = world.list("events").await.len();
    let place = subscribe(&invoker.party, &wanted(listed, "4")).await;
    let nowhere = refused(&world, StatusCode::OK);
    let answer = invoker.put(&place, &wanted(own, "4")).await;
    assert_eq!(answer.status, nowhere);
    let change = json!({ "notificationDestination": own });
    let answer = invoker.patch(&place, &change).await;
    assert_eq!(answer.status, nowhere, "{}", answer.json());
    assert_eq!(world.list("events").await.len(), held + 1);
}

/// The hosts of another domain are none of its own: what one provider is certified for opens nothing to another.
#[tokio::test]
async fn hosts_are_those_of_the_own_domain() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let credential = world.registration_credential("elsewhere").await;
    let keys = [keys::p256(), keys::p256(), keys::p256()];
    let mut aef = function("AEF", &keys::request(&keys[1]));
    aef["vendorSpecific-capif"] = json!({ "hosts": ["gateway.example"] });
    let functions = [
        function("APF", &keys::request(&keys[0])),
        aef,
        function("AMF", &keys::request(&keys[2])),
    ];
    let answer = world.register(&credential, &functions).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let apf = world.function_of(&answer.json(), 0, &keys[0]);
    let theirs = "https://gateway.example:9443/events";
    assert_eq!(asked(&apf, theirs).await, StatusCode::CREATED);
    let nowhere = refused(&world, StatusCode::CREATED);
    assert_eq!(asked(&apf, "https://127.0.0.1/").await, nowhere);
    assert_eq!(asked(&domain.apf, theirs).await, nowhere);
}

/// An invoker hears of events where the operator lets it.
#[tokio::test]
async fn an_invoker_hears_where_the_operator_lets_it() {
    let mut world = World::start().await;
    let receiver = Receiver::start(&world);
    let domain = world.domain("acme").await;
    let invoker = world.raw_invoker(&[]).await;
    let destination = receiver.url("/events");
    let first = asked(&invoker.party, &destination).await;
    assert_eq!(first, refused(&world, StatusCode::CREATED));
    // What was taken all the same is told nothing until then.
    publish(&domain, &["unheard"]).await;
    nothing_waits(&world).await;
    world.allow(&[&receiver]).await;
    subscribe(&invoker.party, &wanted(&destination, "4")).await;
    let ids = publish(&domain, &["weather"]).await;
    let subscriptions = 1 + usize::from(world.is_lenient());
    let mut told = told(&receiver.acknowledged(subscriptions).await);
    told.dedup();
    assert_eq!(told, ids);
    nothing_waits(&world).await;
}

/// What counts is the policy at the time of sending: a place that was taken off the list is not dialled any more, and what is to be
/// told waits until it is listed again; for deployed clients it is forgotten.
#[tokio::test]
async fn a_place_that_is_taken_off_the_list_is_not_dialled() {
    let mut world = World::start().await;
    let domain = world.domain("acme").await;
    let invoker = world.raw_invoker(&[]).await;
    let forbidden = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = forbidden.local_addr().unwrap().to_string();
    world.stop().await;
    world.config.callbacks.allow = vec![there.parse().unwrap()];
    world.resume().await;
    let destination = format!("https://{there}/events");
    subscribe(&invoker.party, &wanted(&destination, "4")).await;
    world.allow(&[]).await;
    let receiver = Receiver::start(&world);
    subscribe(&domain.aef, &wanted(&receiver.url("/"), "4")).await;
    publish(&domain, &["weather"]).await;
    receiver.acknowledged(1).await;
    let dialled = std::time::Duration::from_millis(300);
    let dialled = tokio::time::timeout(dialled, forbidden.accept()).await;
    assert!(dialled.is_err(), "nobody came");
    let rows = world.list("events").await;
    let row = rows
        .iter()
        .find(|row| row["subscriber"] == invoker.id.as_str());
    let waits = u32::from(!world.is_lenient());
    assert_eq!(row.unwrap()["waiting"], waits);
}

/// A listed name that leads to this machine is not dialled unless the address is listed too, for events as for any callback.
#[tokio::test]
async fn a_listed_name_does_not_lead_to_this_machine() {
    let mut world = World::start().await;
    let domain = world.domain("acme").await;
    let invoker = world.raw_invoker(&[]).await;
    let forbidden = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let receiver = Receiver::start(&world);
    let by_name = format!("localhost:{}", forbidden.local_addr().unwrap().port());
    world.stop().await;
    let allow = [by_name.clone(), target(&receiver)];
    world.config.callbacks.allow = allow.map(|target| target.parse().unwrap()).to_vec();
    world.resume().await;
    subscribe(&invoker.party, &wanted(&format!("https://{by_name}/"), "4")).await;
    subscribe(&invoker.party, &wanted(&receiver.url("/"), "4")).await;
    publish(&domain, &["weather"]).await;
    receiver.acknowledged(1).await;
    let dialled = std::time::Duration::from_millis(300);
    let dialled = tokio::time::timeout(dialled, forbidden.accept()).await;
    assert!(dialled.is_err(), "nobody came");
}
