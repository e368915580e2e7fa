//! The core function asks for a renewal (R-U-02): by the operator's wish, or in a compromise; and what becomes of who does not
//! follow.

use capif_ccf::config::{CallbacksSection, Overdue};
use http::StatusCode;
use serde_json::{Value, json};
use time::Duration;

use super::renewable::{VENDOR, ask, counts, renewable, renewable_with, renewed, resource, status};
use crate::support::{
    World, eventually,
    people::{Party, RawInvoker},
    receiver::Receiver,
};

/// Has somebody told of API_INVOKER_UPDATED at a receiver.
async fn subscribe(party: &Party, receiver: &Receiver, path: &str) {
    let body = json!({
        "events": ["API_INVOKER_UPDATED"],
        "notificationDestination": receiver.url(path),
        "supportedFeatures": "4",
    });
    let subscriptions = format!("/capif-events/v1/{}/subscriptions", party.id);
    let answer = party.post(&subscriptions, &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
}

async fn row(world: &World, party: &Party) -> Option<Value> {
    let rows = world.list("renewals").await;
    rows.into_iter().find(|row| row["id"] == party.id.as_str())
}

/// Whether somebody is served with something that is none of the renewal's.
async fn is_served(party: &Party) -> bool {
    let status = party.get(&discovery(party)).await.status;
    ![StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED].contains(&status)
}

fn discovery(party: &Party) -> String {
    format!(
        "/service-apis/v1/allServiceAPIs?api-invoker-id={}",
        party.id
    )
}

/// R-U-02: the operator asks; the invoker sees it in its status and under its own subscription, never with a secret, and renews like
/// one that began itself. Its first use of the new meets the demand.
#[tokio::test]
async fn the_operator_asks_and_the_invoker_follows() {
    let mut world = World::start().await;
    let receiver = Receiver::start(&world);
    world.allow(&[&receiver]).await;
    let amy = renewable(&world).await;
    let bob = renewable(&world).await;
    subscribe(&amy, &receiver, "/amy").await;
    subscribe(&bob, &receiver, "/bob").await;
    assert_eq!(status(&amy).await.get("demand"), None);

    let (code, asked) = ask(&world, json!({ "ids": [amy.id], "withinSeconds": 3600 })).await;
    assert_eq!(code, StatusCode::OK, "{asked}");
    assert_eq!(asked["asked"], json!([amy.id]));
    assert_eq!(asked["unable"], json!([]));
    let demand = &status(&amy).await["demand"];
    assert_eq!(demand["reason"], "OPERATOR");
    assert_eq!(demand["deadline"], asked["deadline"]);
    let heard = receiver.acknowledged(1).await;
    assert_eq!(heard[0]["events"], "API_INVOKER_UPDATED");
    assert_eq!(
        heard[0]["eventDetail"],
        json!({ "apiInvokerIds": [amy.id] })
    );
    assert_eq!(receiver.seen()[0].path, "/amy");
    let listed = row(&world, &amy).await.unwrap();
    assert_eq!(
        (&listed["reason"], &listed["overdue"], &listed["handedOver"]),
        (&json!("OPERATOR"), &json!(false), &json!(false))
    );
    assert_eq!(row(&world, &bob).await, None);

    // All goes on until then.
    assert!(is_served(&amy).await);
    let next = renewed(&world, &amy, "r1").await;
    let listed = row(&world, &amy).await.unwrap();
    assert_eq!(listed["handedOver"], true, "not yet seen in use");
    assert_eq!(status(&next).await.get("demand"), None);
    assert_eq!(row(&world, &amy).await, None);
    assert_eq!(
        counts(&world, &amy).await,
        StatusCode::OK,
        "old and new overlap"
    );
}

/// What cannot be asked is not: nobody at all, somebody who is not there, and who never agreed to renew.
#[tokio::test]
async fn who_can_be_asked() {
    let world = World::start().await;
    let amy = renewable(&world).await;
    let old = world.raw_invoker(&[]).await;
    let domain = world.domain("acme").await;
    for wrong in [
        json!({}),
        json!({ "ids": [] }),
        json!({ "ids": [amy.id], "all": true }),
        json!({ "all": true, "withinSeconds": 59 }),
        json!({ "all": true, "within": 60 }),
    ] {
        let (code, _) = ask(&world, wrong.clone()).await;
        assert_eq!(code, StatusCode::BAD_REQUEST, "{wrong}");
    }
    for unknown in [
        json!({ "ids": [amy.id, "INV0"] }),
        json!({ "provider": "nobody" }),
    ] {
        assert_eq!(ask(&world, unknown).await.0, StatusCode::NOT_FOUND);
    }
    assert_eq!(
        world.list("renewals").await,
        [] as [Value; 0],
        "all or none"
    );

    let ids = |answer: &Value, which: &str| -> Vec<String> {
        let mut ids: Vec<String> = serde_json::from_value(answer[which].clone()).unwrap();
        ids.sort();
        ids
    };
    let mut functions = vec![
        domain.amf.id.clone(),
        domain.apf.id.clone(),
        domain.aef.id.clone(),
    ];
    functions.sort();
    for whole in [json!({ "ids": [domain.id] }), json!({ "provider": "acme" })] {
        let (_, asked) = ask(&world, whole).await;
        assert_eq!(ids(&asked, "asked"), functions);
    }
    let (_, asked) = ask(&world, json!({ "all": true })).await;
    let mut everyone = functions.clone();
    everyone.push(amy.id.clone());
    everyone.sort();
    assert_eq!(ids(&asked, "asked"), everyone);
    assert_eq!(ids(&asked, "unable"), std::slice::from_ref(&old.id));
    assert_eq!(world.list("renewals").await.len(), 4);
}

/// R-U-05, R-U-06: in a compromise the secret, the tokens and everything but the renewal are gone with the answer to the operator;
/// the AEF is told and finds nothing. After the renewal the context counts again, and the old certificate is refused at once.
#[tokio::test]
async fn a_compromise_leaves_nothing_but_the_renewal() {
    let world = World::with(|config| config.events.retry_seconds_max = 1).await;
    let domain = world.domain("acme").await;
    domain.publish("weather", &["PKI", "OAUTH"]).await;
    let amy = renewable(&world).await;
    let answer = amy.negotiate(&domain.aef.id, &["OAUTH"]).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    assert_eq!(amy.token(None).await.status, StatusCode::OK);
    let aef = Receiver::start(&world);
    subscribe(&domain.aef, &aef, "/events").await;
    let rights = format!(
        "{}?authenticationInfo=true&authorizationInfo=true",
        amy.context()
    );
    assert_eq!(domain.aef.get(&rights).await.status, StatusCode::OK);
    let generation = |answer: &Value| -> u64 {
        let text = answer["securityInfo"][0]["authorizationInfo"]
            .as_str()
            .unwrap();
        serde_json::from_str::<Value>(text).unwrap()["gen"]
            .as_u64()
            .unwrap()
    };
    let before = generation(&domain.aef.get(&rights).await.json());

    let (code, _) = ask(&world, json!({ "ids": [amy.id], "compromise": true })).await;
    assert_eq!(code, StatusCode::OK);
    let heard = aef.acknowledged(1).await;
    assert_eq!(heard[0]["events"], "API_INVOKER_UPDATED");
    assert_ne!(domain.aef.get(&rights).await.status, StatusCode::OK);
    let amy = RawInvoker {
        party: Party {
            caller: world.with_certificate(&amy.pems),
            ..amy.party
        },
        ..amy
    };
    assert_ne!(amy.token(None).await.status, StatusCode::OK);
    for refused in [
        amy.get(&discovery(&amy)).await,
        amy.negotiate(&domain.aef.id, &["OAUTH"]).await,
    ] {
        assert_eq!(refused.status, StatusCode::FORBIDDEN);
        assert_eq!(refused.cause(), "RENEWAL_REQUIRED");
    }
    assert_eq!(status(&amy).await["demand"]["reason"], "COMPROMISE");

    let next = renewed(&world, &amy, "r1").await;
    assert_eq!(
        counts(&world, &amy).await,
        StatusCode::OK,
        "its way to the renewal"
    );
    assert_eq!(status(&next).await.get("demand"), None);
    assert_eq!(
        counts(&world, &amy).await,
        StatusCode::UNAUTHORIZED,
        "no overlap"
    );
    assert_eq!(next.token(None).await.status, StatusCode::OK);
    let after = domain.aef.get(&rights).await;
    assert_eq!(after.status, StatusCode::OK);
    assert!(
        generation(&after.json()) > before,
        "tokens from before are dead"
    );
}

/// R-U-02: where the operator lets callbacks go, the invoker is told at the destination of its onboarding, without any secret.
#[tokio::test]
async fn the_notice_goes_to_the_notification_destination() {
    let mut world = World::start().await;
    let authority = crate::support::people::other_authority(&world);
    let issuing = authority.path().join("ca/issuing");
    let hook = Receiver::with_authority(&world, &issuing, "anything");
    let destination = hook.url("/onboarding");
    let amy = renewable_with(&world, |body| {
        body["notificationDestination"] = json!(destination);
    })
    .await;
    ask(&world, json!({ "ids": [amy.id] })).await;
    world.stop().await;
    world.config.callbacks = CallbacksSection {
        allow: vec![format!("127.0.0.1:{}", hook.port()).parse().unwrap()],
        ca_file: authority.path().join("ca/root.pem"),
        ..CallbacksSection::default()
    };
    world.resume().await;

    let (_, asked) = ask(&world, json!({ "ids": [amy.id] })).await;
    let [notice] = hook.acknowledged(1).await.try_into().unwrap();
    assert_eq!(
        notice,
        json!({
            "result": true,
            "resourceLocation": format!("https://{}{}", world.address(), resource(&amy)),
            VENDOR: { "renewal": { "reason": "OPERATOR", "deadline": asked["deadline"] } },
        })
    );
    assert_eq!(hook.seen()[0].path, "/onboarding");
}

/// R-U-02: who has not followed by the deadline is listed as overdue, and from that very moment on can do nothing but renew. A
/// renewal ends it.
#[tokio::test]
async fn who_is_overdue_is_suspended() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    domain.publish("weather", &["OAUTH"]).await;
    let amy = renewable(&world).await;
    amy.negotiate(&domain.aef.id, &["OAUTH"]).await;
    ask(&world, json!({ "ids": [amy.id], "withinSeconds": 60 })).await;
    world.clock.advance(Duration::seconds(59));
    assert_eq!(amy.token(None).await.status, StatusCode::OK);
    assert_eq!(row(&world, &amy).await.unwrap()["overdue"], false);

    world.clock.advance(Duration::seconds(1));
    let refused = amy.get(&discovery(&amy)).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(refused.cause(), "RENEWAL_REQUIRED");
    assert_ne!(amy.token(None).await.status, StatusCode::OK);
    eventually("it is written down", || async {
        let row = row(&world, &amy).await.unwrap();
        row["overdue"] == true && row["suspended"] == true
    })
    .await;

    let next = renewed(&world, &amy, "r1").await;
    assert_eq!(next.token(None).await.status, StatusCode::OK);
    assert_eq!(row(&world, &amy).await, None);
    assert_eq!(
        counts(&world, &amy).await,
        StatusCode::OK,
        "no compromise: they overlap"
    );
}

/// By policy, who is overdue is offboarded like everyone else, or only listed.
#[tokio::test]
async fn overdue_by_policy() {
    for policy in [Overdue::Offboard, Overdue::List] {
        let world = World::with(|config| {
            config.renewal.overdue = policy;
            config.retention.offboarded_days = 1;
        })
        .await;
        let amy = renewable(&world).await;
        let bob = renewable(&world).await;
        ask(&world, json!({ "ids": [amy.id], "withinSeconds": 60 })).await;
        world.clock.advance(Duration::seconds(60));
        if policy == Overdue::List {
            // Whatever is due is done by the time that something later is.
            ask(&world, json!({ "ids": [bob.id], "withinSeconds": 60 })).await;
            assert_eq!(row(&world, &amy).await.unwrap()["overdue"], true);
            assert_eq!(counts(&world, &amy).await, StatusCode::OK);
            assert!(is_served(&amy).await);
            continue;
        }
        eventually("it is offboarded", || async {
            world.list("invokers").await.len() == 1
        })
        .await;
        assert_eq!(counts(&world, &amy).await, StatusCode::UNAUTHORIZED);
        let [gone] = world.list("offboarded").await.try_into().unwrap();
        assert_eq!(
            (&gone["apiInvokerId"], &gone["reason"]),
            (&json!(amy.id), &json!("overdue"))
        );
        assert_eq!(counts(&world, &bob).await, StatusCode::OK);
    }
}
