//! P-34 without TLS: deployed receivers that know nothing else are told at the places that the operator lists for that, nobody else is,
//! and never anything that holds a secret.

use capif_ccf::config::{Approval, Compat};
use http::{Method, StatusCode};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use super::{nothing_waits, publish, target, told, wanted};
use crate::{
    support::{
        World, eventually, keys,
        people::{INVOKERS, Party, enrolment, wishes},
        receiver::Receiver,
    },
    ts29222::events::{path, subscribe, subscription},
};

/// Lists places, those with TLS and those without, and starts the core function anew.
async fn list(world: &mut World, allow: &[String], insecure: &[String]) {
    let targets = |texts: &[String]| texts.iter().map(|text| text.parse().unwrap()).collect();
    world.stop().await;
    world.config.callbacks.allow = targets(allow);
    world.config.callbacks.insecure_http = targets(insecure);
    world.resume().await;
}

async fn strict() -> World {
    World::with(|config| config.compat = Compat::None).await
}

async fn nobody_comes(there: &TcpListener) {
    let while_ = std::time::Duration::from_millis(300);
    let dialled = tokio::time::timeout(while_, there.accept()).await;
    assert!(dialled.is_err(), "nobody came");
}

async fn refused(party: &Party, destination: &str, says: &str) {
    let answer = party.post(&path(party), &wanted(destination, "4")).await;
    let problem = answer.json();
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{problem}");
    let invalid = &problem["invalidParams"][0];
    assert_eq!(invalid["param"], "/notificationDestination", "{problem}");
    assert!(problem.to_string().contains(says), "{problem}");
}

/// Strictly it is refused unless host and port stand in the list for it: the other list says nothing, nor does the own domain.
#[tokio::test]
async fn it_is_refused_where_the_operator_does_not_list_it() {
    let mut world = strict().await;
    let domain = world.domain("acme").await;
    let invoker = world.raw_invoker(&[]).await;
    let here = "http://127.0.0.1:4711/events";
    for listed in [&[][..], &["127.0.0.1:4711".to_owned()]] {
        list(&mut world, listed, &["127.0.0.1:4712".to_owned()]).await;
        for party in [&domain.aef, &invoker.party] {
            refused(party, here, "callbacks.insecure_http").await;
        }
    }
    refused(&domain.aef, "ftp://127.0.0.1:4712/", "over https").await;
    assert!(world.list("events").await.is_empty());
    list(&mut world, &[], &["127.0.0.1:4711".to_owned()]).await;
    for party in [&domain.aef, &invoker.party] {
        subscribe(party, &wanted(here, "4")).await;
    }
    // What is listed without TLS is not thereby listed with it.
    let secure = "https://127.0.0.1:4711/events";
    let body = wanted(secure, "4");
    let answer = invoker.post(&path(&invoker.party), &body).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
}

/// A receiver without TLS hears what its subscriber asked for: the test first, then events, by POST; in both modes.
#[tokio::test]
async fn a_receiver_without_tls_hears_of_events() {
    for compat in [Compat::None, Compat::Opencapif] {
        let mut world = World::with(|config| config.compat = compat).await;
        let receiver = Receiver::without_tls();
        list(&mut world, &[], &[target(&receiver)]).await;
        let domain = world.domain("acme").await;
        let amy = world.raw_invoker(&[]).await;
        let bob = world.raw_invoker(&[]).await;
        let mut body = wanted(&receiver.url("/apis"), "5");
        body["requestTestNotification"] = json!(true);
        let apis = subscribe(&amy.party, &body).await;
        let place = format!("https://{}{apis}", world.address());
        let ids = publish(&domain, &["weather"]).await;
        let expected = [
            json!({ "subscription": place }),
            json!({
                "subscriptionId": apis.rsplit('/').next().unwrap(),
                "events": "SERVICE_API_AVAILABLE",
                "eventDetail": { "apiIds": ids },
            }),
        ];
        let plain = |notice: &Value| {
            let mut plain = notice.clone();
            let detail = plain.get_mut("eventDetail");
            if let Some(detail) = detail.and_then(Value::as_object_mut) {
                detail.retain(|name, _| name.starts_with("api"));
            }
            plain
        };
        let heard = receiver.acknowledged(2).await;
        let heard: Vec<Value> = heard.iter().map(plain).collect();
        assert_eq!(heard, expected);

        let gone = subscription(&["API_INVOKER_OFFBOARDED"], &receiver.url("/invokers"));
        let gone = subscribe(&domain.aef, &gone).await;
        bob.negotiate(&domain.aef.id, &["OAUTH"]).await;
        let answer = bob.delete(&format!("{INVOKERS}/{}", bob.id)).await;
        assert_eq!(answer.status, StatusCode::NO_CONTENT);
        let heard = receiver.acknowledged(3).await;
        let last = plain(heard.last().unwrap());
        assert_eq!(last["subscriptionId"], gone.rsplit('/').next().unwrap());
        assert_eq!(last["eventDetail"]["apiInvokerIds"], json!([bob.id]));
        let seen = receiver.seen();
        let last = seen.last().unwrap();
        assert_eq!(
            (last.method.as_str(), last.path.as_str()),
            ("POST", "/invokers")
        );
        assert_eq!(last.headers["content-type"], "application/json");
        nothing_waits(&world).await;
    }
}

/// An invoker hears without TLS that an AEF took authorization away.
#[tokio::test]
async fn a_receiver_without_tls_hears_of_revocations() {
    let mut world = World::start().await;
    let receiver = Receiver::without_tls();
    list(&mut world, &[], &[target(&receiver)]).await;
    let domain = world.domain("acme").await;
    let [weather] = publish(&domain, &["weather"]).await.try_into().unwrap();
    let invoker = world.raw_invoker(&[]).await;
    let mut body = wishes(&[(&domain.aef.id, &["OAUTH"])]);
    body["notificationDestination"] = json!(receiver.url("/revoked"));
    let answer = invoker.put(&invoker.context(), &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    domain.aef.delete(&invoker.context()).await;
    let told = receiver.acknowledged(1).await;
    assert_eq!(told[0]["apiIds"], json!([weather]));
    assert_eq!(receiver.seen()[0].path, "/revoked");
}

/// What is listed when it is sent counts, and the address that is dialled: not one that left the list, not one that a listed name
/// leads to, and none that the other list holds.
#[tokio::test]
async fn nothing_else_is_dialled_without_tls() {
    let mut world = World::with(|config| config.compat = Compat::Opencapif).await;
    let forbidden = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let there = forbidden.local_addr().unwrap();
    let by_name = format!("localhost:{}", there.port());
    let receiver = Receiver::without_tls();
    let domain = world.domain("acme").await;
    let insecure = [there.to_string(), by_name.clone(), target(&receiver)];
    list(&mut world, &[], &insecure).await;
    for destination in [format!("http://{there}/"), format!("http://{by_name}/")] {
        let invoker = world.raw_invoker(&[]).await;
        subscribe(&invoker.party, &wanted(&destination, "4")).await;
    }
    let invoker = world.raw_invoker(&[]).await;
    subscribe(&invoker.party, &wanted(&receiver.url("/"), "4")).await;
    list(&mut world, &[there.to_string()], &insecure[1..]).await;
    let ids = publish(&domain, &["weather"]).await;
    assert_eq!(told(&receiver.acknowledged(1).await), ids);
    nobody_comes(&forbidden).await;
}

/// A redirect leads out of http, or on within it where that is listed; never into it.
#[tokio::test]
async fn redirects_never_lead_out_of_tls() {
    let mut world = World::with(|config| config.events.retry_seconds_max = 1).await;
    let forbidden = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let unlisted = format!("http://{}/", forbidden.local_addr().unwrap());
    let (first, second) = (Receiver::without_tls(), Receiver::without_tls());
    let secure = Receiver::start(&world);
    let insecure = [target(&first), target(&second)];
    list(&mut world, &[target(&secure)], &insecure).await;
    let domain = world.domain("acme").await;
    let invoker = world.raw_invoker(&[]).await;
    let place = subscribe(&invoker.party, &wanted(&first.url("/"), "4")).await;

    let followed = [
        (second.url("/moved"), &second),
        (secure.url("/moved"), &secure),
        ("/elsewhere".to_owned(), &first),
    ];
    for (count, (location, end)) in followed.iter().enumerate() {
        first.redirect_to(location);
        first.answer(&[307]);
        let ids = publish(&domain, &[&format!("api-{count}")]).await;
        assert_eq!(told(&end.acknowledged(1).await), ids, "{location}");
    }
    // The second attempt is not redirected.
    first.redirect_to(&unlisted);
    first.answer(&[307]);
    publish(&domain, &["unlisted"]).await;
    first.acknowledged(2).await;
    nobody_comes(&forbidden).await;

    let replaced = invoker.put(&place, &wanted(&secure.url("/"), "4")).await;
    assert_eq!(replaced.status, StatusCode::OK, "{}", replaced.json());
    let before = second.seen().len();
    secure.redirect_to(&second.url("/moved"));
    secure.answer(&[308]);
    publish(&domain, &["secure"]).await;
    secure.acknowledged(2).await;
    assert_eq!(second.seen().len(), before, "not in the clear");
    nothing_waits(&world).await;
}

/// What becomes of an enrolment holds a certificate and an Onboard_Secret, and is never sent without TLS, wherever that is listed: it is
/// had by the same request once more. Who could not even send that is refused at once. A demand for renewal goes the same way.
#[tokio::test]
async fn secrets_never_travel_without_tls() {
    let mut world = World::with(|config| {
        config.compat = Compat::None;
        config.onboarding.approval = Approval::Operator;
    })
    .await;
    let plain = Receiver::without_tls();
    let secure = Receiver::start(&world);
    list(&mut world, &[target(&secure)], &[target(&plain)]).await;
    let key = keys::p256();
    let mut body = enrolment(&keys::request(&key));
    body["supportedFeatures"] = json!("D");
    body["notificationDestination"] = json!(plain.url("/onboarded"));
    let credential = world.credential(&[]).await;
    let answer = world.onboard(&credential, &body).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert!(answer.json().to_string().contains("over https"));

    body["vendorSpecific-capif"] = json!({ "attempt": "attempt-1", "features": ["renewal"] });
    // Neither is the way tested that is never gone.
    body["requestTestNotification"] = json!(true);
    let answer = world.onboard(&credential, &body).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.json());
    let id = world.list("pending").await[0]["id"].clone();
    let approve = async |id: &Value| {
        let body = Some(json!({ "id": id }));
        let (status, said) = world.operator(Method::POST, "/approvals", body).await;
        assert_eq!(status, StatusCode::OK, "{said}");
        said["told"].clone()
    };
    assert_eq!(approve(&id).await, false);
    let answer = world.onboard(&credential, &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let amy = world.invoker_of(&answer, &key);
    let demand = Some(json!({ "ids": [amy.id] }));
    let (status, _) = world.operator(Method::POST, "/renewals", demand).await;
    assert_eq!(status, StatusCode::OK);

    // One who is told over https, and leads elsewhere: the next attempt is not redirected.
    let mut other = enrolment(&keys::request(&keys::p256()));
    other["notificationDestination"] = json!(secure.url("/onboarded"));
    other["supportedFeatures"] = json!("C");
    let answer = world.onboard(&world.credential(&[]).await, &other).await;
    assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.json());
    secure.redirect_to(&plain.url("/onboarded"));
    secure.answer(&[307]);
    let id = world.list("pending").await[0]["id"].clone();
    assert_eq!(approve(&id).await, true);
    let heard = secure.acknowledged(1).await;
    assert_eq!(heard[0]["result"], true);
    assert_eq!(secure.seen().len(), 2);
    eventually("all is tried", || async {
        let rows = world.list("invokers").await;
        rows.len() == 2 && rows.iter().all(|row| row["waiting"] == 0)
    })
    .await;
    assert!(plain.seen().is_empty(), "{:?}", plain.seen());
}
