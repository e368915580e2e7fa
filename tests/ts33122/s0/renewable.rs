//! Invokers that agreed to renew, by raw requests.

use http::{Method, StatusCode};
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::support::{
    World, keys,
    people::{INVOKERS, Party, RawInvoker, enrolment},
    wire::Answer,
};

pub(crate) const VENDOR: &str = "vendorSpecific-capif";

/// The path of an invoker's resource.
pub(crate) fn resource(invoker: &Party) -> String {
    format!("{INVOKERS}/{}", invoker.id)
}

/// An onboarded invoker that agreed to renew; `change` says more in its request.
pub(crate) async fn renewable_with(world: &World, change: impl FnOnce(&mut Value)) -> RawInvoker {
    let key = keys::p256();
    let mut body = enrolment(&keys::request(&key));
    body[VENDOR] = json!({ "features": ["renewal"] });
    // PatchUpdate and ExpirationTime.
    body["supportedFeatures"] = json!("C");
    change(&mut body);
    let answer = world.onboard(&world.credential(&[]).await, &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    assert_eq!(answer.json()[VENDOR]["features"], json!(["renewal"]));
    world.invoker_of(&answer, &key)
}

pub(crate) async fn renewable(world: &World) -> RawInvoker {
    renewable_with(world, |_| {}).await
}

/// Sends a renewal for a new key.
pub(crate) async fn renewal(invoker: &Party, id: &str) -> (Answer, KeyPair) {
    let key = keys::p256();
    let body = json!({ "onboardingInformation": {
        "apiInvokerPublicKey": keys::request(&key),
        VENDOR: { "renewal": id },
    } });
    let answer = invoker.patch(&resource(invoker), &body).await;
    (answer, key)
}

/// The invoker with the material of a renewal, which it has not used yet.
pub(crate) async fn renewed(world: &World, invoker: &Party, id: &str) -> RawInvoker {
    let (answer, key) = renewal(invoker, id).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    world.invoker_of(&answer, &key)
}

/// The state of renewal of somebody, as the core function tells it.
pub(crate) async fn status(party: &Party) -> Value {
    let answer = party.get(&format!("/capif-renewal/v1/{}", party.id)).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    answer.json()
}

/// Whether somebody's certificate counts: for something that everybody may ask of every such caller.
pub(crate) async fn counts(world: &World, party: &Party) -> StatusCode {
    // On a connection of its own, so that the certificate is shown now.
    let caller = world.with_certificate(&party.pems);
    let path = format!("/capif-renewal/v1/{}", party.id);
    let answer = caller.try_send(crate::support::wire::request(
        Method::GET,
        &path,
        None,
        None,
    ));
    answer
        .await
        .map_or(StatusCode::UNAUTHORIZED, |answer| answer.status)
}

/// Asks for renewals as the operator.
pub(crate) async fn ask(world: &World, body: Value) -> (StatusCode, Value) {
    world.operator(Method::POST, "/renewals", Some(body)).await
}

/// Declares what somebody holds compromised: the same somebody, on a connection of its own under that certificate.
pub(crate) async fn compromised(world: &World, party: &Party) -> Party {
    let (status, answer) = ask(world, json!({ "ids": [party.id], "compromise": true })).await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    Party {
        caller: world.with_certificate(&party.pems),
        ..party.clone()
    }
}
