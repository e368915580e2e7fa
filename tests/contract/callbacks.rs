//! What the core function sends of its own accord fits the descriptions of the callbacks.

use std::collections::BTreeSet;

use capif_ccf::config::CallbacksSection;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{bodies, descriptions::Descriptions};
use crate::support::{
    World, eventually, keys,
    people::{INVOKERS, enrolment_for, wishes},
    receiver::{Notice, Receiver},
};
use crate::ts29222::events::catalogue::OF_AEF;

/// What an AMF may hear beside that.
const OF_AMF: [&str; 3] = [
    "API_INVOKER_ONBOARDING_CRITERIA_FAILED",
    "SERVICE_API_ONBOARDED_BY_API_INVOKERS_COUNT",
    "SERVICE_API_DISCOVERY_BY_API_INVOKERS_COUNT",
];

/// The core function with a receiver that the operator lets everything go to.
async fn world() -> (World, Receiver) {
    let mut world = World::with(|config| {
        config.events.retry_seconds_max = 1;
        config.discovery.count_seconds = 1;
    })
    .await;
    let receiver = Receiver::start(&world);
    world.stop().await;
    let target = format!("127.0.0.1:{}", receiver.port());
    world.config.callbacks = CallbacksSection {
        allow: vec![target.parse().unwrap()],
        ca_file: world.dir.path().join("ca/root.pem"),
        ..CallbacksSection::default()
    };
    world.resume().await;
    (world, receiver)
}

fn check(descriptions: &Descriptions, schema: &str, notices: &[Notice]) {
    let described = descriptions.callback(schema);
    let (media, schema) = described.takes.as_ref().unwrap();
    for notice in notices {
        assert_eq!(notice.method, Method::POST);
        assert_eq!(notice.headers["content-type"], media.as_str());
        let mistakes = descriptions.mistakes(described, schema, &notice.body);
        assert!(mistakes.is_empty(), "{mistakes:?}: {:#}", notice.body);
    }
}

fn at(receiver: &Receiver, path: &str) -> Vec<Notice> {
    let mut seen = receiver.seen();
    seen.retain(|notice| notice.path == path);
    seen
}

/// TS 29.222 clause 8.3.4.2: every event that comes, with its details.
#[tokio::test]
async fn every_callback_fits_its_description() {
    let Some(descriptions) = Descriptions::find("every_callback_fits_its_description") else {
        return;
    };
    let (world, receiver) = world().await;
    let domain = world.domain("acme").await;
    for (party, events) in [(&domain.aef, &OF_AEF[..]), (&domain.amf, &OF_AMF[..])] {
        let body = json!({
            "events": events, "notificationDestination": receiver.url("/events"), "supportedFeatures": "C",
        });
        let path = format!("/capif-events/v1/{}/subscriptions", party.id);
        let answer = party.post(&path, &body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    }

    let mut api = bodies::service_api("weather", &domain.aef.id);
    let answer = domain.apf.post(&domain.apis(), &api).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let id = answer.json()["apiId"].as_str().unwrap().to_owned();
    let path = format!("{}/{id}", domain.apis());
    api["description"] = json!("changed");
    assert_eq!(domain.apf.put(&path, &api).await.status, StatusCode::OK);
    let policy = json!({ "api": { "id": id }, "total": 1000 });
    let (status, said) = world
        .operator(Method::POST, "/policies", Some(policy))
        .await;
    assert_eq!(status, StatusCode::OK, "{said}");
    let policy = json!({ "api": { "id": id } });
    let (status, said) = world
        .operator(Method::POST, "/policies/remove", Some(policy))
        .await;
    assert!(status.is_success(), "{said}");
    let mut refused = enrolment_for(&keys::request(&keys::p256()), &["weather"]);
    refused["onboardingInformation"]["onboardingCriteria"] = json!([{ "secMethods": ["PSK"] }]);
    let answer = world.onboard(&world.credential(&[]).await, &refused).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN, "{}", answer.json());

    let hiding = json!({
        "what": { "api": { "id": id } },
        "aefId": domain.aef.id,
        "interfaces": [{ "ipv4Addr": "127.0.0.1", "port": 9443 }],
        "securityMethods": ["OAUTH"],
    });
    for path in ["/hidden", "/hidden/remove"] {
        let body = if path == "/hidden" {
            hiding.clone()
        } else {
            json!({ "what": hiding["what"] })
        };
        let (status, said) = world.operator(Method::POST, path, Some(body)).await;
        assert!(status.is_success(), "{path}: {said}");
    }

    let invoker = world.raw_invoker(&[]).await;
    let search = format!(
        "/service-apis/v1/allServiceAPIs?api-invoker-id={}",
        invoker.id
    );
    assert_eq!(invoker.get(&search).await.status, StatusCode::OK);
    let missed = || -> BTreeSet<&str> {
        let came = at(&receiver, "/events");
        let came: Vec<&Value> = came.iter().map(|notice| &notice.body["events"]).collect();
        let all = OF_AEF.iter().chain(&OF_AMF).copied();
        all.filter(|event| !came.iter().any(|name| *name == event))
            .collect()
    };
    // It is told of while the API is there.
    eventually("the count of discoveries came", || async {
        !missed().contains("SERVICE_API_DISCOVERY_BY_API_INVOKERS_COUNT")
    })
    .await;
    let mut wish = wishes(&[(&domain.aef.id, &["OAUTH"])]);
    wish["notificationDestination"] = json!(receiver.url("/revoked"));
    let answer = invoker.put(&invoker.context(), &wish).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    for result in ["200", "503"] {
        let mut report = bodies::log(&domain.aef.id, &invoker.id, &id);
        report["logs"][0]["result"] = json!(result);
        let path = format!("/api-invocation-logs/v1/{}/logs", domain.aef.id);
        assert_eq!(
            domain.aef.post(&path, &report).await.status,
            StatusCode::CREATED
        );
    }
    let mut details = invoker.details.clone();
    details.as_object_mut().unwrap().remove("apiList");
    details["apiInvokerInformation"] = json!("changed");
    let answer = invoker
        .put(&format!("{INVOKERS}/{}", invoker.id), &details)
        .await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    let answer = domain.aef.delete(&invoker.context()).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let answer = invoker.put(&invoker.context(), &wish).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let answer = invoker.delete(&format!("{INVOKERS}/{}", invoker.id)).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(
        domain.apf.delete(&path).await.status,
        StatusCode::NO_CONTENT
    );

    for _ in 0..1000 {
        if missed().is_empty() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    }
    assert_eq!(missed(), BTreeSet::new());
    check(descriptions, "EventNotification", &at(&receiver, "/events"));
    eventually("the invoker was told", || async {
        !at(&receiver, "/revoked").is_empty()
    })
    .await;
    check(
        descriptions,
        "SecurityNotification",
        &at(&receiver, "/revoked"),
    );
}

/// TS 29.222 clause 8.4.4.2.6: what an operator decides later, for and against.
#[tokio::test]
async fn the_result_of_a_delayed_onboarding_fits_its_description() {
    let test = "the_result_of_a_delayed_onboarding_fits_its_description";
    let Some(descriptions) = Descriptions::find(test) else {
        return;
    };
    let (mut world, receiver) = world().await;
    world.stop().await;
    world.config.onboarding.approval = capif_ccf::config::Approval::Operator;
    world.resume().await;
    let domain = world.domain("acme").await;
    domain.publish("weather", &["OAUTH"]).await;
    for decision in ["approve", "reject"] {
        let credential = world.credential(&[]).await;
        let mut body = enrolment_for(&keys::request(&keys::p256()), &["weather"]);
        body["notificationDestination"] = json!(receiver.url("/onboarded"));
        body["supportedFeatures"] = json!("F");
        let answer = world.onboard(&credential, &body).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.json());
        assert!(answer.body.is_empty());
        let pending = world.list("pending").await;
        let id = pending[0]["id"].as_str().unwrap().to_owned();
        let (status, said) = decide(&world, decision, &id).await;
        assert!(status.is_success(), "{status} {said}");
    }
    eventually("both results came", || async {
        at(&receiver, "/onboarded").len() >= 2
    })
    .await;
    let notices = at(&receiver, "/onboarded");
    check(descriptions, "OnboardingNotification", &notices);
    let results: Vec<&Value> = notices
        .iter()
        .map(|notice| &notice.body["result"])
        .collect();
    assert!(results.contains(&&json!(true)) && results.contains(&&json!(false)));
    for notice in &notices {
        let there = notice.body["result"] == true;
        for member in ["resourceLocation", "apiInvokerEnrolmentDetails"] {
            assert_eq!(
                notice.body.get(member).is_some(),
                there,
                "{:#}",
                notice.body
            );
        }
    }
}

async fn decide(world: &World, decision: &str, id: &str) -> (StatusCode, Value) {
    let path = if decision == "approve" {
        "/approvals"
    } else {
        "/rejections"
    };
    world
        .operator(Method::POST, path, Some(json!({ "id": id })))
        .await
}
