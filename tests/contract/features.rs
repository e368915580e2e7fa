//! TS 29.222 clause 7.8: members of a feature that was not agreed on are neither kept nor sent.

use http::StatusCode;
use serde_json::{Value, json};

use super::bodies;
use crate::support::{
    World,
    people::{enrolment, wishes},
};

/// A feature of the Publish API by its number, and where its members stand.
const PUBLISH: &[(u32, &[&str])] = &[
    (1, &["/apiSuppFeats"]),
    (4, &["/aefProfiles/0/versions/0/resources/0/custOperations"]),
    (6, &["/apiStatus"]),
    (
        7,
        &["/aefProfiles/0/serviceKpis", "/aefProfiles/0/ueIpRange"],
    ),
    (
        8,
        &[
            "/aefProfiles/0/grantTypes",
            "/aefProfiles/0/interfaceDescriptions/0/grantTypes",
        ],
    ),
    (10, &["/netSliceInfo"]),
];

fn there(document: &Value, pointer: &str) -> bool {
    document.pointer(pointer).is_some()
}

/// Published APIs, feature by feature: agreed on, the members are there, for the publisher and in discovery; else in neither.
#[tokio::test]
async fn what_was_not_agreed_on_is_not_there() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let invoker = world.raw_invoker(&[]).await;
    let mut number = 0;
    for (bit, places) in PUBLISH {
        for agreed in [true, false] {
            number += 1;
            let name = format!("api-{number}");
            let mut body = bodies::service_api(&name, &domain.aef.id);
            let mask: u32 = if agreed {
                0x3ff
            } else {
                0x3ff & !(1 << (bit - 1))
            };
            body["supportedFeatures"] = json!(format!("{mask:x}"));
            let answer = domain.apf.post(&domain.apis(), &body).await;
            assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
            let path = format!(
                "{}/{}",
                domain.apis(),
                answer.json()["apiId"].as_str().unwrap()
            );
            let found = invoker
                .get(&format!(
                    "/service-apis/v1/allServiceAPIs?api-invoker-id={}&api-name={name}&supported-features=F",
                    invoker.id
                ))
                .await
                .json();
            let read = domain.apf.get(&path).await.json();
            for place in *places {
                for (who, document) in [
                    ("the answer", &answer.json()),
                    ("GET", &read),
                    ("discovery", &found["serviceAPIDescriptions"][0]),
                ] {
                    assert_eq!(
                        there(document, place),
                        agreed,
                        "feature {bit}, {place}, {who}: {document:#}"
                    );
                }
            }
        }
    }
}

/// Subscriptions, enrolments, security contexts and reports.
#[tokio::test]
async fn other_features_gate_their_members_too() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let invoker = world.raw_invoker(&[]).await;
    let api = domain.publish("weather", &["OAUTH"]).await;

    let path = format!("/capif-events/v1/{}/subscriptions", domain.aef.id);
    for (features, agreed) in [("4", true), ("B", false), ("0", false)] {
        let mut body = bodies::subscription(features);
        body["supportedFeatures"] = json!(features);
        let answer = domain.aef.post(&path, &body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
        for place in ["/eventFilters", "/eventReq"] {
            assert_eq!(there(&answer.json(), place), agreed, "{features} {place}");
        }
    }

    for (features, agreed) in [("8", true), ("7", false)] {
        let mut body = enrolment(&crate::support::keys::request(&crate::support::keys::p256()));
        body["supportedFeatures"] = json!(features);
        body["expTime"] = json!("2099-12-31T23:59:59Z");
        let answer = world.onboard(&world.credential(&[]).await, &body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
        let asked = answer.json()["expTime"] == "2099-12-31T23:59:59Z";
        assert_eq!(asked, agreed, "{features}: {}", answer.json());
    }

    for (features, agreed) in [("4", true), ("3", false)] {
        let mut body = wishes(&[(&domain.aef.id, &["OAUTH"])]);
        body["securityInfo"][0]["apiId"] = json!(api);
        body["supportedFeatures"] = json!(features);
        let answer = invoker.put(&invoker.context(), &body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
        assert_eq!(
            there(&answer.json(), "/securityInfo/0/apiId"),
            agreed,
            "{features}"
        );
    }

    let path = format!("/api-invocation-logs/v1/{}/logs", domain.aef.id);
    for (features, agreed) in [("1", true), ("2", false)] {
        let mut body = bodies::log(&domain.aef.id, &invoker.id, &api);
        body["supportedFeatures"] = json!(features);
        let answer = domain.aef.post(&path, &body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
        assert_eq!(
            there(&answer.json(), "/logs/0/netSliceInfo"),
            agreed,
            "{features}"
        );
        let answered = if agreed { "1" } else { "0" };
        assert_eq!(answer.json()["supportedFeatures"], answered);
    }
}
