//! The test notification (TS 29.122 clause 5.2.5.3): right after a resource is made or replaced that asks for one, and before
//! anything else.

use http::StatusCode;
use serde_json::{Value, json};

use super::{nothing_waits, publish, wanted};
use crate::{
    support::{
        World, keys,
        people::{INVOKERS, enrolment, wishes},
        receiver::Receiver,
    },
    ts29222::events::path,
};

fn tested(mut body: Value) -> Value {
    body["requestTestNotification"] = json!(true);
    body
}

fn bodies(receiver: &Receiver) -> Vec<Value> {
    let seen = receiver.seen().into_iter();
    seen.map(|notice| notice.body).collect()
}

/// The test comes first, names the subscription, and comes again with a replacement, ahead of what waits.
#[tokio::test]
async fn a_subscription_is_tested_before_anything_else() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let receiver = Receiver::start(&world);
    let body = tested(wanted(&receiver.url("/events"), "5"));
    let answer = domain.aef.post(&path(&domain.aef), &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    assert_eq!(answer.json(), body);
    let link = answer.headers["location"].to_str().unwrap().to_owned();
    publish(&domain, &["weather"]).await;
    let all = receiver.acknowledged(2).await;
    assert_eq!(all[0], json!({ "subscription": link }));
    assert_eq!(all[1]["events"], "SERVICE_API_AVAILABLE");
    nothing_waits(&world).await;

    // What waits is overtaken by the test of a replacement.
    receiver.always(Some(503));
    publish(&domain, &["traffic", "maps"]).await;
    let place = &link[link.find("/capif-events").unwrap()..];
    assert_eq!(domain.aef.put(place, &body).await.status, StatusCode::OK);
    let before = receiver.seen().len();
    receiver.always(None);
    let all = receiver.acknowledged(5).await;
    assert_eq!(all[2], json!({ "subscription": link }), "{before}");
    assert!(all[3..].iter().all(|told| told.get("events").is_some()));
    // A change of the subscription asks for none.
    let change = json!({ "events": ["SERVICE_API_UPDATE"] });
    let answer = domain.aef.patch(place, &change).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    nothing_waits(&world).await;
    assert_eq!(receiver.acknowledged(5).await.len(), 5);
}

/// Without the feature the member is neither obeyed nor answered (clause 7.8).
#[tokio::test]
async fn without_the_feature_there_is_no_test() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let receiver = Receiver::start(&world);
    for features in ["4", "0", "6"] {
        let body = tested(wanted(&receiver.url("/events"), features));
        let answer = domain.aef.post(&path(&domain.aef), &body).await;
        assert_eq!(answer.status, StatusCode::CREATED);
        assert!(answer.json().get("requestTestNotification").is_none());
    }
    publish(&domain, &["weather"]).await;
    receiver.acknowledged(3).await;
    nothing_waits(&world).await;
    let told = bodies(&receiver);
    assert!(
        told.iter().all(|told| told.get("subscription").is_none()),
        "{told:?}"
    );
}

/// The same features of the APIs of API invokers: a profile and a security context are tested at their destinations, where the
/// operator lets callbacks go; elsewhere the wish is refused.
#[tokio::test]
async fn profiles_and_security_contexts_are_tested_too() {
    let mut world = World::start().await;
    let receiver = Receiver::start(&world);
    let domain = world.domain("acme").await;
    publish(&domain, &["weather"]).await;
    let request = keys::request(&keys::p256());
    let mut details = tested(enrolment(&request));
    details["supportedFeatures"] = json!("F");
    let credential = world.credential(&[]).await;
    let answer = world.onboard(&credential, &details).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.json());
    answer.cause();

    world.allow(&[&receiver]).await;
    details["notificationDestination"] = json!(receiver.url("/enrolment"));
    let key = keys::p256();
    details["onboardingInformation"]["apiInvokerPublicKey"] = json!(keys::request(&key));
    let answer = world.onboard(&credential, &details).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    assert_eq!(answer.json()["requestTestNotification"], true);
    let invoker = world.invoker_of(&answer, &key);
    let told = receiver.acknowledged(1).await;
    let place = |path: &str| format!("https://{}{path}", world.address());
    let profile = format!("{INVOKERS}/{}", invoker.id);
    assert_eq!(told, [json!({ "subscription": place(&profile) })]);

    let mut context = tested(wishes(&[(&domain.aef.id, &["OAUTH"])]));
    context["notificationDestination"] = json!(receiver.url("/revoked"));
    context["supportedFeatures"] = json!("7");
    let answer = invoker.put(&invoker.context(), &context).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let told = receiver.acknowledged(2).await;
    assert_eq!(
        told[1],
        json!({ "subscription": place(&invoker.context()) })
    );
    let paths: Vec<String> = receiver.seen().into_iter().map(|seen| seen.path).collect();
    assert_eq!(paths, ["/enrolment", "/revoked"]);
}
