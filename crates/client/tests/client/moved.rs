//! A core function that has moved (TS 29.500 clause 6.10.9): it is followed with the same request, and what it says for good is kept.

use std::sync::Arc;

use capif_client::{Enrolment, Error, ErrorKind, Invoker, OnboardingRequest};
use http::Request;
use serde_json::Value;

use crate::world::{Authority, CREDENTIAL, INVOKER, Peer, Reply, Seen, World, answer, usual};

const ONBOARDING: &str = "/api-invoker-management/v1/onboardedInvokers";
const TODAY: &str = "/weather/v1/today";

/// Sends on to another address, by this status.
pub(crate) fn on(status: u16, to: &str, seen: &Seen) -> Reply {
    answer(status, &Value::Null).with("location", &format!("https://{to}{}", seen.path))
}

/// The same core function at another address.
pub(crate) async fn elsewhere(world: &World) -> Peer {
    let facts = Arc::clone(&world.facts);
    peer(world, move |seen| usual(&facts, seen)).await
}

async fn peer(world: &World, script: impl FnMut(&Seen) -> Reply + Send + 'static) -> Peer {
    let identity = world.authority.server("ccf");
    Peer::new(identity, world.authority.anchors(), world.clock(), script).await
}

/// The core function of the world says of everything that it is elsewhere.
fn moves(world: &World, status: u16, to: &str) {
    let to = to.to_owned();
    world.unusual(move |seen| Some(on(status, &to, seen)));
}

/// The address that the folder holds.
fn kept(world: &World) -> String {
    let path = world.folder().join("capif-invoker.json");
    let state: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    state["onboarded"]["address"].as_str().unwrap().to_owned()
}

async fn opened(world: &World) -> Invoker {
    let invoker = Invoker::open(world.keystore(), world.clock());
    invoker.await.unwrap().without_upkeep()
}

#[tokio::test]
async fn for_the_time_being_it_is_followed_each_time() {
    let world = World::new().await;
    let new = elsewhere(&world).await;
    moves(&world, 307, &new.address);
    let enrolment = Enrolment::from_code(&world.code(), world.clock())
        .await
        .unwrap();
    let request = OnboardingRequest::default();
    let invoker = Invoker::onboard(world.keystore(), &enrolment, request, world.clock())
        .await
        .unwrap();

    // Method, body and credential are the same at both.
    assert_eq!(world.ccf.count("POST", ONBOARDING), 1);
    let (asked, answered) = (&world.ccf.seen()[0], &new.seen()[0]);
    assert!(answered.is("POST", ONBOARDING));
    assert_eq!(asked.body, answered.body);
    let credential = format!("Bearer {CREDENTIAL}");
    assert_eq!(answered.header("authorization"), Some(&*credential));
    assert_eq!(answered.header("content-type"), Some("application/json"));

    let answer = invoker.call("weather", get()).await.unwrap();
    assert_eq!(answer.status(), 200);
    let of = |peer: &Peer| {
        let seen = peer.seen();
        let asked = seen
            .iter()
            .map(|seen| (seen.method.clone(), seen.path.clone()));
        asked.collect::<Vec<_>>()
    };
    assert_eq!(of(&world.ccf), of(&new));
    assert!(new.seen().len() > 3);
    assert_eq!(new.seen()[1].peer.as_deref(), Some(INVOKER));
    assert_eq!(kept(&world), world.ccf.address);
}

#[tokio::test]
async fn for_good_it_is_kept() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    let new = elsewhere(&world).await;
    moves(&world, 308, &new.address);
    world.ccf.forget();
    invoker.discover(&Default::default()).await.unwrap();
    assert_eq!(invoker.ccf_address(), new.address);
    assert_eq!(kept(&world), new.address);
    invoker.call("weather", get()).await.unwrap();
    assert_eq!(world.ccf.seen().len(), 1);

    // Who comes later, and who holds a code with the old address, goes to the new one at once.
    opened(&world)
        .await
        .discover(&Default::default())
        .await
        .unwrap();
    let again = world.onboarded().await;
    assert_eq!(again.ccf_address(), new.address);
    again.offboard().await.unwrap();
    assert_eq!(world.ccf.seen().len(), 1);
}

#[tokio::test]
async fn an_enrolment_that_is_sent_on_for_good_is_made_at_the_new_address() {
    let world = World::new().await;
    let new = elsewhere(&world).await;
    moves(&world, 308, &new.address);
    world.onboarded().await;
    assert_eq!(kept(&world), new.address);
    assert_eq!(new.count("POST", ONBOARDING), 1);
    // The credential has served: with the same code the enrolment is merely opened.
    assert_eq!(world.onboarded().await.ccf_address(), new.address);
    assert_eq!(new.count("POST", ONBOARDING), 1);
}

#[tokio::test]
async fn of_several_only_what_is_for_good_is_kept() {
    let world = World::new().await;
    let invoker = world.onboarded().await;
    let last = elsewhere(&world).await;
    let to = last.address.clone();
    let second = peer(&world, move |seen| on(307, &to, seen)).await;
    moves(&world, 308, &second.address);
    invoker.discover(&Default::default()).await.unwrap();
    assert_eq!(kept(&world), second.address);
    assert_eq!(last.seen().len(), 1);
}

#[tokio::test]
async fn a_renewal_on_the_way_keeps_the_new_address() {
    let world = World::new().await;
    world.facts.lock().unwrap().renewing = Some(Default::default());
    let invoker = world.onboarded().await;
    let new = elsewhere(&world).await;
    moves(&world, 308, &new.address);
    let renewed = invoker.renew(Default::default()).await.unwrap();
    assert!(renewed.confirmed);
    assert_eq!(kept(&world), new.address);
}

/// Method 1 is derived from the session of the negotiation: of the core function that answered it.
#[tokio::test]
async fn keys_are_of_the_session_that_was_answered() {
    for status in [307, 308] {
        let world = World::new().await;
        world.facts.lock().unwrap().method = Some("PSK");
        let invoker = world.onboarded().await;
        let new = elsewhere(&world).await;
        moves(&world, status, &new.address);
        let answer = invoker.call("weather", get()).await.unwrap();
        assert_eq!(answer.status(), 200);
        let seen = world.aef.seen();
        assert!(seen.last().unwrap().key.is_some());
    }
}

#[tokio::test]
async fn a_circle_is_seen_and_a_long_way_is_not_gone() {
    let world = World::new().await;
    let invoker = world.onboarded().await.without_upkeep();
    let discover = || async { invoker.discover(&Default::default()).await.unwrap_err() };
    let own = world.ccf.address.clone();
    moves(&world, 308, &own);
    let error = discover().await;
    assert!(error.to_string().contains("circle"), "{error}");
    assert_eq!(error.kind(), ErrorKind::Network);

    let back = peer(&world, move |seen| on(307, &own, seen)).await;
    moves(&world, 307, &back.address);
    let error = discover().await;
    assert!(error.to_string().contains("circle"), "{error}");

    let mut far = elsewhere(&world).await;
    let mut way = Vec::new();
    for _ in 0..3 {
        let to = far.address.clone();
        way.push(far);
        far = peer(&world, move |seen| on(307, &to, seen)).await;
    }
    moves(&world, 307, &far.address);
    let error = discover().await;
    assert!(error.to_string().contains("after 3 others"), "{error}");
    assert!(way[0].seen().is_empty());
    // One less is gone.
    moves(&world, 307, &way[2].address);
    invoker.discover(&Default::default()).await.unwrap();
}

#[tokio::test]
async fn nobody_is_followed_to_who_is_no_core_function() {
    let world = World::new().await;
    let invoker = world.onboarded().await.without_upkeep();
    let strange = Authority::new("another root");
    let identity = strange.server("ccf");
    let stranger = Peer::new(identity, strange.anchors(), world.clock(), |_| {
        answer(200, &Value::Null)
    })
    .await;
    for peer in [&world.aef, &stranger] {
        for status in [307, 308] {
            moves(&world, status, &peer.address);
            let error = invoker.discover(&Default::default()).await.unwrap_err();
            assert!(matches!(error, Error::Untrusted { .. }), "{error}");
            assert!(error.to_string().contains(&peer.address), "{error}");
            assert!(peer.seen().is_empty());
            assert_eq!(kept(&world), world.ccf.address);
            assert_eq!(invoker.ccf_address(), world.ccf.address);
        }
    }
}

#[tokio::test]
async fn what_is_not_the_same_resource_elsewhere_is_no_place_to_go() {
    let world = World::new().await;
    let invoker = world.onboarded().await.without_upkeep();
    let new = elsewhere(&world).await;
    let address = new.address.clone();
    for (status, location) in [
        (
            308,
            format!("http://{address}/service-apis/v1/allServiceAPIs"),
        ),
        (307, format!("https://{address}/elsewhere")),
        (
            307,
            format!("https://me@{address}/service-apis/v1/allServiceAPIs"),
        ),
        (307, "/service-apis/v1/allServiceAPIs".to_owned()),
        (
            301,
            format!("https://{address}/service-apis/v1/allServiceAPIs"),
        ),
        (
            302,
            format!("https://{address}/service-apis/v1/allServiceAPIs"),
        ),
        (
            303,
            format!("https://{address}/service-apis/v1/allServiceAPIs"),
        ),
    ] {
        let said = location.clone();
        world.unusual(move |_| Some(answer(status, &Value::Null).with("location", &said)));
        let error = invoker.discover(&Default::default()).await.unwrap_err();
        assert!(!error.to_string().is_empty(), "{status} {location}");
        assert!(new.seen().is_empty(), "{status} {location}");
        assert_eq!(kept(&world), world.ccf.address);
    }
}

fn get() -> Request<capif_transport::Body> {
    Request::get(TODAY).body(capif_transport::empty()).unwrap()
}
