//! Lists of wanted APIs: granted one by one, and who hears of what was not.

use http::StatusCode;
use serde_json::{Value, json};

use super::path;
use crate::support::{World, keys, people::enrolment_for, receiver::Receiver};

fn list(names: &[&str]) -> Value {
    let apis: Vec<Value> = names
        .iter()
        .map(|name| json!({ "apiName": name }))
        .collect();
    json!({ "serviceAPIDescriptions": apis })
}

fn names(list: &Value) -> Vec<String> {
    let list = list["serviceAPIDescriptions"].as_array();
    let name = |api: &Value| api["apiName"].as_str().unwrap().to_owned();
    let mut names: Vec<String> = list.into_iter().flatten().map(name).collect();
    names.sort();
    names
}

/// Clauses 5.5.2.2.2, 5.5.2.5.2 and 8.4.4.2.2: what can be granted of a list is, by POST, PUT and PATCH, and each of the others is named
/// with its reason; where nothing can, the request is refused and nothing changes.
#[tokio::test]
async fn lists_are_granted_api_by_api() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    for (api, method) in [("weather", "PKI"), ("traffic", "OAUTH"), ("tides", "PKI")] {
        domain.publish(api, &[method]).await;
    }
    let credential = world.credential(&["weather", "traffic"]).await;
    let key = keys::p256();
    let mut body = enrolment_for(&keys::request(&key), &["tides"]);
    let beyond = world.onboard(&credential, &body).await;
    assert_eq!(beyond.status, StatusCode::FORBIDDEN, "{}", beyond.json());
    assert_eq!(beyond.cause(), "AUTHORIZATION_ISSUE");
    body["supportedFeatures"] = json!("4");
    body["apiList"] = list(&["traffic", "tides", "weather"]);
    body["onboardingInformation"]["onboardingCriteria"] = json!([{ "secMethods": ["PKI"] }]);
    let answer = world.onboard(&credential, &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let details = answer.json();
    assert_eq!(names(&details["apiList"]), ["weather"]);
    let reasons = json!([
        { "apiName": "tides", "failureCode": "AUTHORIZATION_ISSUE" },
        { "apiName": "traffic", "failureCode": "ONBOARDING_CRI_NOT_MET" },
    ]);
    assert_eq!(details["failureReasons"], reasons);
    assert_eq!(
        details["onboardingInformation"]["onboardingCriteria"],
        json!([{ "secMethods": ["PKI"] }])
    );

    let invoker = world.invoker_of(&answer, &key);
    let mut put = details.clone();
    put["apiList"] = list(&["tides", "traffic", "weather"]);
    let patch = json!({ "apiList": put["apiList"] });
    for answer in [
        invoker.put(&path(&invoker), &put).await,
        invoker.patch(&path(&invoker), &patch).await,
    ] {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
        assert_eq!(answer.json()["failureReasons"], reasons);
        assert_eq!(names(&answer.json()["apiList"]), ["weather"]);
    }
    let before = world.list("invokers").await;
    for (wanted, cause) in [
        ("tides", "AUTHORIZATION_ISSUE"),
        ("traffic", "ONBOARDING_CRI_NOT_MET"),
    ] {
        put["apiList"] = list(&[wanted]);
        let patch = json!({ "apiList": list(&[wanted]) });
        for answer in [
            invoker.put(&path(&invoker), &put).await,
            invoker.patch(&path(&invoker), &patch).await,
        ] {
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.json());
            assert_eq!(answer.cause(), cause);
            let place = &answer.json()["invalidParams"][0]["param"];
            assert_eq!(place, "/apiList/serviceAPIDescriptions");
        }
    }
    assert_eq!(world.list("invokers").await, before);
    // Other criteria, another outcome.
    put["apiList"] = list(&["traffic", "weather"]);
    put["onboardingInformation"]["onboardingCriteria"] = json!([{
        "secMethods": ["OAUTH"],
        "relatedCriteria": { "apis": [{ "apiName": "traffic" }] },
    }]);
    let answer = invoker.put(&path(&invoker), &put).await;
    assert_eq!(names(&answer.json()["apiList"]), ["traffic", "weather"]);
    assert_eq!(answer.json().get("failureReasons"), None);
}

/// A request of which nothing comes uses no credential up: whoever sends it again and again fills nobody's line with it.
#[tokio::test]
async fn providers_hear_of_vain_repetitions_a_few_times() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    domain.publish("weather", &["PKI"]).await;
    let receiver = Receiver::start(&world);
    let subscription = json!({
        "events": [
            "API_INVOKER_ONBOARDING_CRITERIA_FAILED",
            "SERVICE_API_ONBOARDED_BY_API_INVOKERS_COUNT",
        ],
        "notificationDestination": receiver.url("/events"),
        "supportedFeatures": "4",
    });
    let path = format!("/capif-events/v1/{}/subscriptions", domain.amf.id);
    let answer = domain.amf.post(&path, &subscription).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let credential = world.credential(&[]).await;
    let mut body = enrolment_for(&keys::request(&keys::p256()), &["weather"]);
    body["onboardingInformation"]["onboardingCriteria"] = json!([{ "secMethods": ["PSK"] }]);
    for _ in 0..15 {
        let denied = world.onboard(&credential, &body).await;
        assert_eq!(denied.cause(), "ONBOARDING_CRI_NOT_MET");
    }
    world.raw_invoker(&["weather"]).await;
    let told = receiver.acknowledged(11).await;
    let last = "SERVICE_API_ONBOARDED_BY_API_INVOKERS_COUNT";
    let others = told.iter().filter(|told| told["events"] != last);
    assert_eq!((others.count(), &told[10]["events"]), (10, &json!(last)));
}

/// Clauses 5.4 and 8.3.4.3.3: the functions of the domains concerned hear of criteria that are not met, of an onboarding that is
/// refused for them too, and of how many enrolments there are for their APIs.
#[tokio::test]
async fn providers_hear_of_criteria_and_counts() {
    let world = World::start().await;
    let domains = [world.domain("acme").await, world.domain("other").await];
    let weather = domains[0].publish("weather", &["PKI"]).await;
    domains[1].publish("tides", &["PKI"]).await;
    let receiver = Receiver::start(&world);
    let other = Receiver::start(&world);
    for (domain, receiver) in domains.iter().zip([&receiver, &other]) {
        let subscription = json!({
            "events": [
                "API_INVOKER_ONBOARDING_CRITERIA_FAILED",
                "SERVICE_API_ONBOARDED_BY_API_INVOKERS_COUNT",
            ],
            "notificationDestination": receiver.url("/events"),
            "supportedFeatures": "4",
        });
        let path = format!("/capif-events/v1/{}/subscriptions", domain.amf.id);
        let answer = domain.amf.post(&path, &subscription).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    }
    let credential = world.credential(&[]).await;
    let mut body = enrolment_for(&keys::request(&keys::p256()), &["weather"]);
    body["onboardingInformation"]["onboardingCriteria"] = json!([{ "secMethods": ["PSK"] }]);
    let denied = world.onboard(&credential, &body).await;
    assert_eq!(denied.status, StatusCode::FORBIDDEN, "{}", denied.json());
    assert_eq!(denied.cause(), "ONBOARDING_CRI_NOT_MET");
    let told = receiver.acknowledged(1).await.remove(0);
    assert_eq!(told["events"], "API_INVOKER_ONBOARDING_CRITERIA_FAILED");
    assert_eq!(
        told["eventDetail"],
        json!({ "apiIds": [weather], "onboardingCriteria": [{ "secMethods": ["PSK"] }] })
    );

    for count in [1, 2] {
        world.raw_invoker(&["weather"]).await;
        let told = receiver.acknowledged(1 + count).await.remove(count);
        assert_eq!(
            told["events"],
            "SERVICE_API_ONBOARDED_BY_API_INVOKERS_COUNT"
        );
        assert_eq!(
            told["eventDetail"],
            json!({ "onboardedCount": [{ "apiId": weather, "count": count }] })
        );
    }
    assert!(other.seen().is_empty(), "{:?}", other.seen());
}
