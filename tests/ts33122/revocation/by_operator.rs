//! Revocation started by the core function (R-REV-02, R-REV-03; D-18): every AEF concerned is told until it acknowledges.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::{REVOKE, Scene, at, nothing_is_owed, publish_at, rights, subscribe};
use crate::support::{eventually, people::wishes, receiver::Receiver};

/// R-REV-02: the core function calls the AEF with invoker and APIs, under its own certificate; the AEF's acknowledgement ends it.
#[tokio::test]
async fn the_aef_is_called_with_invoker_and_apis() {
    let scene = Scene::new().await;
    // Whoever acknowledges as TS 29.222 has it answers 200; any success will do.
    scene.aef.always(Some(200));
    let by_name = json!({ "name": "weather" });
    let (status, said) = scene.verdict("/revocations", Some(by_name)).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    assert_eq!(said, json!({ "told": [scene.domain.aef.id] }));
    assert_eq!(
        scene.rights().await.unwrap(),
        (vec!["traffic".to_owned()], 2)
    );

    let info = |apis: Value| {
        json!({
            "revokeInfo": {
                "apiInvokerId": scene.invoker.id,
                "aefId": scene.domain.aef.id,
                "apiIds": apis,
                "cause": "AUTHORIZATION_ISSUE",
            },
            "supportedFeatures": "0",
        })
    };
    assert_eq!(scene.told(1).await, [info(json!([scene.weather]))]);

    let (status, _) = scene.verdict("/revocations", None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(scene.rights().await, None);
    assert_eq!(scene.told(2).await[1], info(json!([scene.traffic])));
    for seen in scene.aef.seen() {
        assert_eq!((seen.method, seen.path.as_str()), (Method::POST, REVOKE));
        assert_eq!(seen.headers["content-type"], "application/json");
        let peer = seen.peer.certificate().unwrap();
        assert_eq!(peer.organizational_unit.as_deref(), Some("CCF"));
    }

    // Nothing is left to take: nobody is told again.
    let (_, said) = scene.verdict("/revocations", None).await;
    assert_eq!(said, json!({ "told": [] }));
    assert_eq!(scene.aef.seen().len(), 2);
}

/// R-REV-02: an AEF that is down is tried again, through a restart of the core function; after a minute it is an alarm, which is
/// listed until the AEF acknowledges. Another interface of the same AEF does not wait for it.
#[tokio::test]
async fn an_aef_that_is_down_is_told_later_and_raises_an_alarm() {
    let mut scene = Scene::new().await;
    let second = Receiver::start(&scene.world);
    publish_at(&scene.domain, "tides", &[&scene.aef, &second]).await;
    scene.aef.always(Some(503));
    let (status, _) = scene.verdict("/revocations", None).await;
    assert_eq!(status, StatusCode::OK);
    second.acknowledged(1).await;
    eventually("the first interface was tried again", || async {
        scene.aef.seen().len() > 2
    })
    .await;
    assert!(scene.world.list("alarms").await.is_empty(), "not yet");

    scene.world.stop().await;
    scene.world.resume().await;
    let tried = scene.aef.seen().len();
    eventually("it is tried after a restart too", || async {
        scene.aef.seen().len() > tried
    })
    .await;
    scene.world.clock.advance(time::Duration::seconds(61));
    let alarms = scene.world.list("alarms").await;
    assert_eq!(alarms.len(), 1, "{alarms:?}");
    assert_eq!(alarms[0]["receiver"], scene.domain.aef.id.as_str());
    assert_eq!(alarms[0]["what"], "revoke-authorization");
    assert_eq!(alarms[0]["destination"], scene.aef.url(REVOKE));
    assert_eq!(alarms[0]["waiting"], 1);

    scene.aef.always(None);
    let told = scene.told(1).await;
    assert_eq!(
        told[0]["revokeInfo"]["apiInvokerId"],
        scene.invoker.id.as_str()
    );
    nothing_is_owed(&scene.world).await;
    assert_eq!(second.seen().len(), 1);
}

/// An event that nobody acknowledges is an alarm as well.
#[tokio::test]
async fn a_notification_that_is_not_acknowledged_is_listed_too() {
    let scene = Scene::new().await;
    subscribe(&scene.domain, "SERVICE_API_UNAVAILABLE", &scene.aef).await;
    scene.aef.always(Some(500));
    let path = format!("{}/{}", scene.domain.apis(), scene.traffic);
    assert_eq!(
        scene.domain.apf.delete(&path).await.status,
        StatusCode::NO_CONTENT
    );
    assert!(scene.world.list("alarms").await.is_empty());
    scene.world.clock.advance(time::Duration::seconds(61));
    let alarms = scene.world.list("alarms").await;
    assert_eq!(alarms.len(), 1);
    assert_eq!(alarms[0]["what"], "SERVICE_API_UNAVAILABLE");
    scene.aef.always(None);
    nothing_is_owed(&scene.world).await;
}

/// R-REV-02, R-REV-03: who was shut out negotiates in vain and gets no token, while discovery goes on as before; permitted, it
/// negotiates anew, and tokens of before stay dead.
#[tokio::test]
async fn who_was_shut_out_stays_out_until_permitted() {
    let scene = Scene::new().await;
    let invoker = &scene.invoker;
    let generation = async || scene.world.list("contexts").await[0]["generation"].clone();
    assert_eq!(generation().await, 1);
    let (status, _) = scene.verdict("/revocations", None).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        invoker.token(None).await.json()["error"],
        "unauthorized_client"
    );
    assert_eq!(scene.world.list("invokers").await[0]["barred"], "all");

    let answer = invoker.negotiate(&scene.domain.aef.id, &["OAUTH"]).await;
    assert_eq!(answer.status, StatusCode::CREATED, "no error (D-36)");
    let entry = &answer.json()["securityInfo"][0];
    assert!(entry.get("selSecurityMethod").is_none(), "{entry}");
    assert!(entry.get("authenticationInfo").is_none(), "{entry}");
    assert_eq!(
        invoker.token(None).await.json()["error"],
        "unauthorized_client"
    );
    assert_eq!(scene.rights().await.unwrap().0, [""; 0]);
    let discovery = format!(
        "/service-apis/v1/allServiceAPIs?api-invoker-id={}",
        invoker.id
    );
    let found = invoker.get(&discovery).await.json();
    assert_eq!(found["serviceAPIDescriptions"].as_array().unwrap().len(), 2);

    // Single APIs cannot be picked out of everything.
    let (status, said) = scene
        .verdict("/permissions", Some(json!({ "name": "weather" })))
        .await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{said}");
    let (status, said) = scene.verdict("/permissions", None).await;
    assert_eq!((status, said), (StatusCode::OK, json!({ "lifted": true })));
    let (_, said) = scene.verdict("/permissions", None).await;
    assert_eq!(said, json!({ "lifted": false }));
    assert_eq!(
        invoker.token(None).await.json()["error"],
        "unauthorized_client",
        "it has to negotiate first"
    );
    let answer = invoker.negotiate(&scene.domain.aef.id, &["OAUTH"]).await;
    assert_eq!(
        answer.json()["securityInfo"][0]["selSecurityMethod"],
        "OAUTH"
    );
    assert!(scene.scope().await.is_string());
    assert!(generation().await.as_u64().unwrap() > 1);
}

/// The same for one API: the rest goes on, at this AEF and by a new negotiation, and through a restart.
#[tokio::test]
async fn one_api_can_be_shut_off() {
    let mut scene = Scene::new().await;
    let by_id = json!({ "id": scene.weather });
    let (status, _) = scene.verdict("/revocations", Some(by_id.clone())).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(scene.scope().await, scene.scope_of("traffic"));
    scene.world.stop().await;
    scene.world.resume().await;
    let answer = scene
        .invoker
        .negotiate(&scene.domain.aef.id, &["OAUTH"])
        .await;
    assert_eq!(
        answer.json()["securityInfo"][0]["selSecurityMethod"],
        "OAUTH"
    );
    assert_eq!(scene.scope().await, scene.scope_of("traffic"));
    assert_eq!(scene.rights().await.unwrap().0, ["traffic"]);
    assert_eq!(
        scene.world.list("invokers").await[0]["barred"],
        json!([scene.weather])
    );

    // Asked about alone, with an entry of its own, it has no method.
    let body = json!({
        "securityInfo": [
            { "aefId": scene.domain.aef.id, "apiId": scene.weather, "prefSecurityMethods": ["OAUTH"] },
            { "aefId": scene.domain.aef.id, "apiId": scene.traffic, "prefSecurityMethods": ["OAUTH"] },
        ],
        "notificationDestination": "https://invoker.example/",
        "supportedFeatures": "4",
    });
    let answer = scene.invoker.put(&scene.invoker.context(), &body).await;
    let entries = answer.json();
    assert!(
        entries["securityInfo"][0]
            .get("selSecurityMethod")
            .is_none()
    );
    assert_eq!(entries["securityInfo"][1]["selSecurityMethod"], "OAUTH");

    let (_, said) = scene.verdict("/permissions", Some(by_id)).await;
    assert_eq!(said, json!({ "lifted": true }));
    scene
        .invoker
        .negotiate(&scene.domain.aef.id, &["OAUTH"])
        .await;
    assert_eq!(scene.rights().await.unwrap().0, ["traffic", "weather"]);
}

/// A name that several providers use is refused with the ids to choose from; what is not there is not there.
#[tokio::test]
async fn the_operator_says_which_api_is_meant() {
    let scene = Scene::new().await;
    let other = scene.world.domain("umbrella").await;
    let theirs = publish_at(&other, "weather", &[&scene.aef]).await;
    let both = wishes(&[
        (&scene.domain.aef.id, &["OAUTH"]),
        (&other.aef.id, &["OAUTH"]),
    ]);
    scene.invoker.put(&scene.invoker.context(), &both).await;
    let (status, said) = scene
        .verdict("/revocations", Some(json!({ "name": "weather" })))
        .await;
    assert_eq!(status, StatusCode::CONFLICT);
    let detail = said["detail"].as_str().unwrap();
    assert!(
        detail.contains(&theirs) && detail.contains(&scene.weather),
        "{detail}"
    );
    let (status, _) = scene
        .verdict("/revocations", Some(json!({ "id": theirs })))
        .await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(rights(&other, &scene.invoker).await, None);
    assert_eq!(scene.rights().await.unwrap().0, ["traffic", "weather"]);

    for body in [
        json!({ "invoker": "INV0" }),
        json!({ "invoker": scene.invoker.id, "api": { "name": "nothing" } }),
        json!({ "invoker": scene.invoker.id, "api": { "id": "API0" } }),
    ] {
        let (status, _) = scene
            .world
            .operator(Method::POST, "/revocations", Some(body.clone()))
            .await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
    }
    for body in [
        json!({}),
        json!({ "invoker": scene.invoker.id, "api": "weather" }),
        json!({ "invoker": scene.invoker.id, "apis": [] }),
    ] {
        let (status, _) = scene
            .world
            .operator(Method::POST, "/revocations", Some(body.clone()))
            .await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    }
}

/// D-18, R-6.8-10: an AEF that holds a context but never subscribed to offboardings is told by `revoke-authorization`; one that
/// subscribed hears the event alone.
#[tokio::test]
async fn an_aef_that_never_subscribed_is_told_of_an_offboarding() {
    let scene = Scene::new().await;
    let subscribed = Receiver::start(&scene.world);
    let other = scene.world.domain("umbrella").await;
    publish_at(&other, "tides", &[&subscribed]).await;
    subscribe(&other, "API_INVOKER_OFFBOARDED", &subscribed).await;
    let both = wishes(&[
        (&scene.domain.aef.id, &["OAUTH"]),
        (&other.aef.id, &["OAUTH"]),
    ]);
    scene.invoker.put(&scene.invoker.context(), &both).await;
    let path = format!(
        "/api-invoker-management/v1/onboardedInvokers/{}",
        scene.invoker.id
    );
    assert_eq!(
        scene.invoker.delete(&path).await.status,
        StatusCode::NO_CONTENT
    );
    let told = scene.told(1).await;
    let info = &told[0]["revokeInfo"];
    assert_eq!(info["apiInvokerId"], scene.invoker.id.as_str());
    let mut apis: Vec<&str> = info["apiIds"]
        .as_array()
        .unwrap()
        .iter()
        .map(|id| id.as_str().unwrap())
        .collect();
    apis.sort_unstable();
    let mut expected = [scene.weather.as_str(), scene.traffic.as_str()];
    expected.sort_unstable();
    assert_eq!(apis, expected);
    let heard = subscribed.acknowledged(1).await;
    assert_eq!(heard[0]["events"], "API_INVOKER_OFFBOARDED");
    assert!(at(&subscribed.seen(), REVOKE).is_empty());
}

/// What an AEF of a provider that is removed has yet to acknowledge goes along, and raises no alarm.
#[tokio::test]
async fn a_provider_that_is_removed_owes_nothing() {
    let scene = Scene::new().await;
    scene.aef.always(Some(503));
    scene.verdict("/revocations", None).await;
    scene.world.clock.advance(time::Duration::seconds(61));
    assert_eq!(scene.world.list("alarms").await.len(), 1);
    let path = format!("/providers/{}", scene.domain.id);
    let (status, _) = scene.world.operator(Method::DELETE, &path, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    nothing_is_owed(&scene.world).await;
}
