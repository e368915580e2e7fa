//! R-ACL-02: a policy that changes reaches the AEFs of the API that subscribed, with the list as it is afterwards, at once; nobody
//! else hears of it.

use http::StatusCode;
use serde_json::{Value, json};

use super::Scene;
use crate::support::{people::Domain, receiver::Receiver};

async fn subscribe(domain: &Domain, receiver: &Receiver) {
    for party in [&domain.aef, &domain.apf, &domain.amf] {
        let path = format!("/capif-events/v1/{}/subscriptions", party.id);
        let body = json!({
            "events": ["ACCESS_CONTROL_POLICY_UPDATE", "ACCESS_CONTROL_POLICY_UNAVAILABLE"],
            "notificationDestination": receiver.url(&format!("/{}", party.id)),
            "supportedFeatures": "4",
        });
        let answer = party.post(&path, &body).await;
        // Neither APF nor AMF enforces anything.
        let expected = if party.id == domain.aef.id {
            StatusCode::CREATED
        } else {
            StatusCode::FORBIDDEN
        };
        assert_eq!(answer.status, expected, "{}", answer.json());
    }
}

#[tokio::test]
async fn the_aefs_of_the_api_hear_of_every_change() {
    let scene = Scene::new().await;
    let (ours, theirs) = (Receiver::start(&scene.world), Receiver::start(&scene.world));
    subscribe(&scene.domain, &ours).await;
    let other = scene.world.domain("umbrella").await;
    other.publish("weather", &["OAUTH"]).await;
    subscribe(&other, &theirs).await;

    let (id, second) = (&scene.invoker.id, scene.world.raw_invoker(&[]).await);
    scene.policy(json!({ "total": 10, "perSecond": 2 })).await;
    scene
        .policy(json!({ "invoker": second.id, "times": [{ "from": "2026-01-01T00:00:00Z" }] }))
        .await;
    assert_eq!(scene.remove(None).await, StatusCode::OK);
    assert_eq!(scene.remove(Some(&second.id)).await, StatusCode::OK);
    assert_eq!(scene.remove(Some(&second.id)).await, StatusCode::NOT_FOUND);

    let everyones = json!({
        "apiInvokerId": id, "allowedTotalInvocations": 10, "allowedInvocationsPerSecond": 2,
    });
    let own = json!({
        "apiInvokerId": second.id,
        "allowedInvocationTimeRangeList": [{ "startTime": "2026-01-01T00:00:00Z" }],
    });
    let list = |policies: Value| json!({ "apiId": scene.weather, "apiInvokerPolicies": policies });
    let expected = [
        ("ACCESS_CONTROL_POLICY_UPDATE", list(json!([everyones]))),
        (
            "ACCESS_CONTROL_POLICY_UPDATE",
            list(json!([own, everyones])),
        ),
        ("ACCESS_CONTROL_POLICY_UPDATE", list(json!([own]))),
        (
            "ACCESS_CONTROL_POLICY_UNAVAILABLE",
            json!({ "apiId": scene.weather }),
        ),
    ];
    let told = ours.acknowledged(4).await;
    for (notice, (event, list)) in told.iter().zip(&expected) {
        assert_eq!(notice["events"], *event);
        assert_eq!(notice["eventDetail"]["accCtrlPolList"], *list);
    }
    assert!(theirs.seen().is_empty());
}

/// What is told in an event is what a GET answers then.
#[tokio::test]
async fn the_event_says_what_a_get_answers() {
    let scene = Scene::new().await;
    let receiver = Receiver::start(&scene.world);
    subscribe(&scene.domain, &receiver).await;
    scene.policy(json!({ "total": 3 })).await;
    let told = receiver.acknowledged(1).await.remove(0);
    let path = format!(
        "/access-control-policy/v1/accessControlPolicyList/{}?aef-id={}",
        scene.weather, scene.domain.aef.id
    );
    let list = scene.domain.aef.get(&path).await.json();
    assert_eq!(
        list["apiInvokerPolicies"],
        told["eventDetail"]["accCtrlPolList"]["apiInvokerPolicies"]
    );
}
