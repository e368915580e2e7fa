//! Access control at the core function (R-ACL-01, R-ACL-02; TS 23.222 clause 8.23): what was allowed is exact whoever asks and
//! whatever happens, and AEFs hear of every change.

mod changes;
mod crashes;

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    World, eventually,
    people::{Domain, Party, RawInvoker},
    wire::Answer,
};

/// A provider with an API, and an invoker with a context there.
struct Scene {
    world: World,
    domain: Domain,
    weather: String,
    invoker: RawInvoker,
}

impl Scene {
    async fn new() -> Self {
        let world = World::start().await;
        let domain = world.domain("acme").await;
        let weather = domain.publish("weather", &["OAUTH"]).await;
        let invoker = world.raw_invoker(&[]).await;
        let scene = Self {
            world,
            domain,
            weather,
            invoker,
        };
        scene.negotiate(&scene.invoker).await;
        scene
    }

    async fn negotiate(&self, invoker: &RawInvoker) {
        let answer = invoker.negotiate(&self.domain.aef.id, &["OAUTH"]).await;
        assert_eq!(answer.status, StatusCode::CREATED);
    }

    /// Sets a policy of the API.
    async fn policy(&self, mut limits: Value) {
        limits["api"] = json!({ "id": self.weather });
        let (status, said) = self
            .world
            .operator(Method::POST, "/policies", Some(limits))
            .await;
        assert_eq!(status, StatusCode::OK, "{said}");
    }

    async fn remove(&self, invoker: Option<&str>) -> StatusCode {
        let body = json!({ "api": { "id": self.weather }, "invoker": invoker });
        let (status, _) = self
            .world
            .operator(Method::POST, "/policies/remove", Some(body))
            .await;
        status
    }

    async fn ask(&self, wanted: u64) -> Value {
        let answer = ask(&self.domain.aef, &self.weather, &self.invoker.id, wanted).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
        answer.json()
    }

    async fn granted(&self, wanted: u64) -> u64 {
        self.ask(wanted).await["granted"].as_u64().unwrap()
    }
}

fn path(api: &str) -> String {
    format!("/capif-allowances/v1/{api}")
}

async fn ask(aef: &Party, api: &str, invoker: &str, wanted: u64) -> Answer {
    let body = json!({ "apiInvokerId": invoker, "wanted": wanted });
    aef.post(&path(api), &body).await
}

/// R-ACL-01: eight askers at once, each for 1 to 7 calls at a time, get the total together, no more and no less.
#[tokio::test(flavor = "multi_thread")]
async fn askers_at_once_get_the_total_exactly() {
    const TOTAL: u64 = 500;
    let scene = Scene::new().await;
    scene.policy(json!({ "total": TOTAL })).await;
    let askers: Vec<_> = (0..8)
        .map(|asker: u64| {
            let aef = scene.domain.aef.clone();
            let (api, invoker) = (scene.weather.clone(), scene.invoker.id.clone());
            tokio::spawn(async move {
                let mut granted = 0;
                for round in 0.. {
                    let wanted = 1 + (asker * 3 + round) % 7;
                    let answer = ask(&aef, &api, &invoker, wanted).await;
                    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
                    let answer = answer.json();
                    let got = answer["granted"].as_u64().unwrap();
                    assert!(got <= wanted);
                    granted += got;
                    match answer.get("exhausted") {
                        None => assert_eq!(got, wanted),
                        Some(what) => {
                            assert_eq!(what, "total");
                            break;
                        }
                    }
                }
                granted
            })
        })
        .collect();
    let mut sum = 0;
    for asker in askers {
        sum += asker.await.unwrap();
    }
    assert_eq!(sum, TOTAL);
    assert_eq!(
        scene.ask(1).await,
        json!({ "granted": 0, "exhausted": "total" })
    );
    let rows = scene.world.list("policies").await;
    assert_eq!(rows[0]["used"], TOTAL);
}

/// R-ACL-01: each invoker has the total to itself, and a policy of its own comes in the place of everyone's.
#[tokio::test]
async fn a_total_is_each_invokers_own() {
    let scene = Scene::new().await;
    let second = scene.world.raw_invoker(&[]).await;
    scene.negotiate(&second).await;
    scene.policy(json!({ "total": 5 })).await;
    scene
        .policy(json!({ "invoker": second.id, "total": 2 }))
        .await;
    assert_eq!(scene.granted(9).await, 5);
    let answer = ask(&scene.domain.aef, &scene.weather, &second.id, 9).await;
    assert_eq!(answer.json(), json!({ "granted": 2, "exhausted": "total" }));
    // Without its own, everyone's counts, and with it what it has used.
    assert_eq!(scene.remove(Some(&second.id)).await, StatusCode::OK);
    let answer = ask(&scene.domain.aef, &scene.weather, &second.id, 9).await;
    assert_eq!(answer.json()["granted"], 3);
}

/// What was used counts against a new total, in both directions, unless the operator has it forgotten.
#[tokio::test]
async fn a_changed_total_counts_what_was_used() {
    let scene = Scene::new().await;
    scene.policy(json!({ "total": 10 })).await;
    assert_eq!(scene.granted(7).await, 7);
    scene.policy(json!({ "total": 5 })).await;
    assert_eq!(
        scene.ask(1).await,
        json!({ "granted": 0, "exhausted": "total" })
    );
    scene.policy(json!({ "total": 9 })).await;
    assert_eq!(scene.granted(5).await, 2);
    // Without a total nothing is counted, and nothing forgotten.
    scene.policy(json!({ "perSecond": 1000 })).await;
    assert_eq!(scene.ask(100).await, json!({ "granted": 100 }));
    scene.policy(json!({ "total": 10 })).await;
    assert_eq!(scene.granted(5).await, 1);
    scene.policy(json!({ "total": 10, "reset": true })).await;
    assert_eq!(scene.granted(50).await, 10);
}

/// R-ACL-01: any second holds no more calls than the rate, to the millisecond, and the answer says when to come back.
#[tokio::test]
async fn a_rate_is_exact_within_any_second() {
    let scene = Scene::new().await;
    let clock = &scene.world.clock;
    let advance = |milliseconds| clock.advance(time::Duration::milliseconds(milliseconds));
    scene.policy(json!({ "perSecond": 5 })).await;
    assert_eq!(scene.ask(3).await, json!({ "granted": 3 }));
    advance(400);
    let exhausted = |granted: u64, retry: u64| json!({ "granted": granted, "exhausted": "rate", "retryAfterMs": retry });
    assert_eq!(scene.ask(3).await, exhausted(2, 600));
    advance(599);
    assert_eq!(scene.ask(1).await, exhausted(0, 1));
    advance(1);
    assert_eq!(scene.ask(5).await, exhausted(3, 400));
    advance(400);
    assert_eq!(scene.ask(2).await, json!({ "granted": 2 }));
    assert_eq!(scene.ask(1).await, exhausted(0, 600));
    // A second invoker has its own second.
    let second = scene.world.raw_invoker(&[]).await;
    scene.negotiate(&second).await;
    let answer = ask(&scene.domain.aef, &scene.weather, &second.id, 5).await;
    assert_eq!(answer.json(), json!({ "granted": 5 }));
}

/// Both bounds at once: the smaller one counts, and the rate costs nothing of the total.
#[tokio::test]
async fn total_and_rate_count_together() {
    let scene = Scene::new().await;
    scene.policy(json!({ "total": 7, "perSecond": 5 })).await;
    assert_eq!(
        scene.ask(9).await,
        json!({ "granted": 5, "exhausted": "rate", "retryAfterMs": 1000 })
    );
    assert_eq!(scene.granted(9).await, 0);
    scene.world.clock.advance(time::Duration::SECOND);
    assert_eq!(
        scene.ask(9).await,
        json!({ "granted": 2, "exhausted": "total" })
    );
    scene.world.clock.advance(time::Duration::SECOND);
    assert_eq!(
        scene.ask(9).await,
        json!({ "granted": 0, "exhausted": "total" })
    );
}

/// Where there is no policy, there is nothing to count.
#[tokio::test]
async fn without_a_policy_all_is_granted() {
    let scene = Scene::new().await;
    assert_eq!(scene.ask(10_000).await, json!({ "granted": 10_000 }));
    assert!(scene.world.list("policies").await.is_empty());
}

/// P-20: only the AEFs of the API are answered, only about invokers that have to do with it there, and to others both look as if they
/// were not there.
#[tokio::test]
async fn only_the_aefs_of_the_api_are_answered() {
    let scene = Scene::new().await;
    scene.policy(json!({ "total": 10 })).await;
    let other = scene.world.domain("umbrella").await;
    let tides = other.publish("tides", &["OAUTH"]).await;
    let stranger = scene.world.raw_invoker(&[]).await;
    let details = |answer: &Answer| {
        (
            answer.status,
            answer.cause(),
            answer.json()["detail"].clone(),
        )
    };
    let foreign = ask(&other.aef, &scene.weather, &scene.invoker.id, 1).await;
    let unknown = ask(&other.aef, "API0", &scene.invoker.id, 1).await;
    assert_eq!(foreign.status, StatusCode::NOT_FOUND);
    assert_eq!(details(&foreign), details(&unknown));
    let without_context = ask(&scene.domain.aef, &scene.weather, &stranger.id, 1).await;
    let nobody = ask(&scene.domain.aef, &scene.weather, "INV0", 1).await;
    assert_eq!(without_context.status, StatusCode::NOT_FOUND);
    assert_eq!(details(&without_context), details(&nobody));
    assert_eq!(
        ask(&other.aef, &tides, &scene.invoker.id, 1).await.status,
        StatusCode::NOT_FOUND
    );
    for wanted in [
        json!(0),
        json!(10_001),
        json!(-1),
        json!(1.5),
        json!("1"),
        Value::Null,
    ] {
        let body = json!({ "apiInvokerId": scene.invoker.id, "wanted": wanted });
        let answer = scene.domain.aef.post(&path(&scene.weather), &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{wanted}");
        answer.cause();
    }
    assert_eq!(scene.granted(50).await, 10, "none of this was counted");

    // Who lost the API may not use it up either.
    scene.domain.aef.delete(&scene.invoker.context()).await;
    let revoked = ask(&scene.domain.aef, &scene.weather, &scene.invoker.id, 1).await;
    assert_eq!(details(&revoked), details(&nobody));
}

/// Deletion is whole: what an invoker may use and used goes with it, and with the API.
#[tokio::test]
async fn nothing_is_left_of_who_or_what_is_gone() {
    let scene = Scene::new().await;
    let second = scene.world.raw_invoker(&[]).await;
    scene.negotiate(&second).await;
    scene.policy(json!({ "total": 10 })).await;
    scene
        .policy(json!({ "invoker": second.id, "total": 10 }))
        .await;
    assert_eq!(scene.granted(4).await, 4);
    ask(&scene.domain.aef, &scene.weather, &second.id, 3).await;
    assert_eq!(scene.world.list("policies").await.len(), 2);
    let removal = format!("/invokers/{}", second.id);
    let (status, _) = scene.world.operator(Method::DELETE, &removal, None).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    let rows = scene.world.list("policies").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(
        rows[0]["usage"],
        json!([{ "apiInvokerId": scene.invoker.id, "calls": 4 }])
    );

    let api = format!("{}/{}", scene.domain.apis(), scene.weather);
    assert_eq!(
        scene.domain.apf.delete(&api).await.status,
        StatusCode::NO_CONTENT
    );
    assert!(scene.world.list("policies").await.is_empty());
    let mut scene = scene;
    eventually("what was used of it is forgotten", || async {
        !scene
            .world
            .list("usage")
            .await
            .iter()
            .any(|row| row["apiId"] == scene.weather.as_str())
    })
    .await;
    // And stays so.
    scene.world.stop().await;
    scene.world.resume().await;
    assert!(scene.world.list("usage").await.is_empty());
    assert!(scene.world.list("policies").await.is_empty());
}
