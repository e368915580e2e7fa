//! Revocation of authorization (R-REV-01 to R-REV-05; TS 23.222 clause 8.23, TS 29.222 clauses 5.6.2.5 and 6.2.2.3): started by an
//! AEF here, by the core function in [`by_operator`]; who is told and where, in [`callbacks`].

mod by_operator;
mod callbacks;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    World, eventually,
    people::{Domain, RawInvoker, profile, wishes},
    receiver::{Notice, Receiver},
};

const REVOKE: &str = "/aef-security/v1/revoke-authorization";

/// A provider whose AEF is a receiver, with two APIs there, and an invoker who negotiated about the whole AEF.
struct Scene {
    world: World,
    domain: Domain,
    aef: Receiver,
    weather: String,
    traffic: String,
    invoker: RawInvoker,
}

impl Scene {
    async fn new() -> Self {
        let world = World::with(|config| config.events.retry_seconds_max = 1).await;
        let domain = world.domain("acme").await;
        let aef = Receiver::start(&world);
        let weather = publish_at(&domain, "weather", &[&aef]).await;
        let traffic = publish_at(&domain, "traffic", &[&aef]).await;
        let invoker = world.raw_invoker(&[]).await;
        let answer = invoker.negotiate(&domain.aef.id, &["OAUTH"]).await;
        assert_eq!(answer.status, StatusCode::CREATED);
        Self {
            world,
            domain,
            aef,
            weather,
            traffic,
            invoker,
        }
    }

    /// What the AEF is told that the invoker may do: the APIs, and the generation. Nothing if there is nothing.
    async fn rights(&self) -> Option<(Vec<String>, u64)> {
        rights(&self.domain, &self.invoker).await
    }

    /// The APIs in the scope of a new token.
    async fn scope(&self) -> Value {
        self.invoker.token(None).await.json()["scope"].clone()
    }

    fn scope_of(&self, apis: &str) -> String {
        format!("3gpp#{}:{apis}", self.domain.aef.id)
    }

    async fn revoke_some(&self, body: &Value) -> StatusCode {
        let path = format!("{}/delete", self.invoker.context());
        self.domain.aef.post(&path, body).await.status
    }

    fn notice(&self, apis: &[&str]) -> Value {
        json!({ "apiInvokerId": self.invoker.id, "apiIds": apis, "cause": "OVERLIMIT_USAGE" })
    }

    /// Revokes or permits as the operator.
    async fn verdict(&self, path: &str, api: Option<Value>) -> (StatusCode, Value) {
        let mut body = json!({ "invoker": self.invoker.id });
        if let Some(api) = api {
            body["api"] = api;
        }
        self.world.operator(Method::POST, path, Some(body)).await
    }

    /// The calls of `revoke-authorization` that the AEF acknowledged, once there are this many.
    async fn told(&self, count: usize) -> Vec<Value> {
        self.aef.acknowledged(count).await
    }
}

async fn rights(domain: &Domain, invoker: &RawInvoker) -> Option<(Vec<String>, u64)> {
    let path = format!("{}?authorizationInfo=true", invoker.context());
    let answer = domain.aef.get(&path).await;
    if answer.status == StatusCode::NOT_FOUND {
        return None;
    }
    let text = &answer.json()["securityInfo"][0]["authorizationInfo"];
    let rights: Value = serde_json::from_str(text.as_str().unwrap()).unwrap();
    let mut apis: Vec<String> = serde_json::from_value(rights["apis"].clone()).unwrap();
    apis.sort();
    Some((apis, rights["gen"].as_u64().unwrap()))
}

/// Publishes an API whose interfaces are these receivers.
async fn publish_at(domain: &Domain, api: &str, receivers: &[&Receiver]) -> String {
    let interfaces: Vec<Value> = receivers
        .iter()
        .map(|receiver| json!({ "ipv4Addr": "127.0.0.1", "port": receiver.port() }))
        .collect();
    let mut profile = profile(&domain.aef.id, &["PKI", "OAUTH"]);
    profile["interfaceDescriptions"] = interfaces.into();
    let description = json!({ "apiName": api, "aefProfiles": [profile] });
    let answer = domain.apf.post(&domain.apis(), &description).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    answer.json()["apiId"].as_str().unwrap().to_owned()
}

async fn subscribe(domain: &Domain, event: &str, receiver: &Receiver) {
    let path = format!("/capif-events/v1/{}/subscriptions", domain.aef.id);
    let body = json!({
        "events": [event],
        "notificationDestination": receiver.url("/events"),
        "supportedFeatures": "4",
    });
    let answer = domain.aef.post(&path, &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
}

/// What came to a path.
fn at<'a>(notices: &'a [Notice], path: &str) -> Vec<&'a Notice> {
    notices
        .iter()
        .filter(|notice| notice.path == path)
        .collect()
}

/// R-REV-01: an AEF that asks to revoke a part takes exactly that part: the other APIs of an entry about the whole AEF go on, tokens
/// of before are of an older generation, and a new one holds the rest.
#[tokio::test]
async fn a_partial_revocation_leaves_the_other_apis_of_the_aef() {
    let scene = Scene::new().await;
    let both = scene.scope_of("traffic,weather");
    let before = scene.scope().await;
    assert!(
        before == both || before == scene.scope_of("weather,traffic"),
        "{before}"
    );
    assert_eq!(
        scene.rights().await.unwrap(),
        (vec!["traffic".to_owned(), "weather".to_owned()], 1)
    );

    let status = scene.revoke_some(&scene.notice(&[&scene.weather])).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(
        scene.rights().await.unwrap(),
        (vec!["traffic".to_owned()], 2)
    );
    assert_eq!(scene.scope().await, scene.scope_of("traffic"));
    let beyond = scene.invoker.token(Some(&scene.scope_of("weather"))).await;
    assert_eq!(beyond.json()["error"], "invalid_scope");

    // What is gone cannot be taken again; the rest can, and then there is nothing.
    let again = scene.revoke_some(&scene.notice(&[&scene.weather])).await;
    assert_eq!(again, StatusCode::NOT_FOUND);
    assert_eq!(scene.rights().await.unwrap().1, 2);
    let status = scene.revoke_some(&scene.notice(&[&scene.traffic])).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(scene.rights().await, None);
    assert_eq!(
        scene.invoker.token(None).await.json()["error"],
        "unauthorized_client"
    );

    // An AEF bars nobody: what was taken is granted anew by a negotiation, and the number counts on.
    let answer = scene
        .invoker
        .negotiate(&scene.domain.aef.id, &["OAUTH"])
        .await;
    assert_eq!(
        answer.json()["securityInfo"][0]["selSecurityMethod"],
        "OAUTH"
    );
    assert_eq!(
        scene.rights().await.unwrap(),
        (vec!["traffic".to_owned(), "weather".to_owned()], 3)
    );
    // An AEF that revokes is not told what it said itself.
    assert!(at(&scene.aef.seen(), REVOKE).is_empty());
}

/// R-REV-01: the order of the steps: the core function invalidates, then answers, and subscribers hear of what is already so, of a
/// part with the part.
#[tokio::test]
async fn what_subscribers_hear_is_already_so() {
    let scene = Scene::new().await;
    subscribe(
        &scene.domain,
        "API_INVOKER_AUTHORIZATION_REVOKED",
        &scene.aef,
    )
    .await;
    let status = scene.revoke_some(&scene.notice(&[&scene.traffic])).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(scene.rights().await.unwrap().0, ["weather"]);
    let path = scene.invoker.context();
    assert_eq!(
        scene.domain.aef.delete(&path).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(scene.rights().await, None);
    let details: Vec<Value> = scene
        .told(2)
        .await
        .into_iter()
        .map(|notice| notice["eventDetail"].clone())
        .collect();
    assert_eq!(
        details,
        [
            json!({ "apiInvokerIds": [scene.invoker.id], "apiIds": [scene.traffic] }),
            json!({ "apiInvokerIds": [scene.invoker.id] }),
        ]
    );
}

/// R-REV-05: an AEF takes away nothing that it does not expose, in nobody's name but its own; every such try changes nothing.
#[tokio::test]
async fn an_aef_revokes_nothing_of_others() {
    let scene = Scene::new().await;
    let other = scene.world.domain("umbrella").await;
    let tides = publish_at(&other, "tides", &[&scene.aef]).await;
    let both = wishes(&[
        (&scene.domain.aef.id, &["OAUTH"]),
        (&other.aef.id, &["OAUTH"]),
    ]);
    let invoker = &scene.invoker;
    assert_eq!(
        invoker.put(&invoker.context(), &both).await.status,
        StatusCode::CREATED
    );
    let before = (
        rights(&scene.domain, invoker).await,
        rights(&other, invoker).await,
    );
    let path = format!("{}/delete", invoker.context());
    let mut in_anothers_name = scene.notice(&[&scene.weather]);
    in_anothers_name["aefId"] = json!(scene.domain.aef.id);
    for (body, status) in [
        (scene.notice(&[&scene.weather]), StatusCode::NOT_FOUND),
        (
            scene.notice(&[&scene.weather, &scene.traffic]),
            StatusCode::NOT_FOUND,
        ),
        (scene.notice(&["API0"]), StatusCode::NOT_FOUND),
        (in_anothers_name, StatusCode::FORBIDDEN),
    ] {
        let answer = other.aef.post(&path, &body).await;
        assert_eq!(answer.status, status, "{body}");
        answer.cause();
    }
    for role in [&other.amf, &other.apf, &scene.domain.apf, &invoker.party] {
        let answer = role.post(&path, &scene.notice(&[&tides])).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
    let after = (
        rights(&scene.domain, invoker).await,
        rights(&other, invoker).await,
    );
    assert_eq!(after, before);
    // Of a list that names one of its own too, that one alone is taken.
    let mixed = scene.notice(&[&scene.weather, &tides]);
    assert_eq!(
        other.aef.post(&path, &mixed).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(rights(&other, invoker).await, None);
    assert_eq!(
        rights(&scene.domain, invoker).await.unwrap().0,
        ["traffic", "weather"]
    );
}

/// Waits until nobody owes an acknowledgement and nothing is listed.
async fn nothing_is_owed(world: &World) {
    eventually("nothing is owed any more", || async {
        world.list("alarms").await.is_empty()
    })
    .await;
}
