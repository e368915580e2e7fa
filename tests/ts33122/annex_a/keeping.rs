//! How long a key lives, where it is kept, and where it never appears (R-6.5.2.1-06, D-03, D-07, D-09, P-11).

use capif_ccf::sealing;
use time::Duration;

use super::*;

struct Scene {
    world: World,
    domain: Domain,
    invoker: RawInvoker,
}

async fn scene() -> Scene {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    publish(&domain, "weather", &["PSK", "PKI"], &[on(8443)]).await;
    let invoker = world.raw_invoker(&[]).await;
    Scene {
        world,
        domain,
        invoker,
    }
}

impl Scene {
    async fn negotiated(&self, methods: &[&str]) -> Answer {
        let entries = [wish(&self.domain, methods)];
        negotiate(&self.world, &self.invoker, false, &entries).await
    }

    async fn given(&self) -> Value {
        seen(&self.domain, &self.invoker).await.remove(0)
    }
}

fn text(key: [u8; 32]) -> Value {
    json!(BASE64_URL_SAFE_NO_PAD.encode(key))
}

/// D-03, D-07, R-6.3-13: negotiating anew makes a new key under a new number; the one before is good for a minute more, so that a
/// handshake that is about to begin gets through.
#[tokio::test]
async fn negotiating_anew_replaces_the_key() {
    let scene = scene().await;
    let first = keys(&scene.negotiated(&["PSK"]).await)[0];
    assert_eq!(scene.given().await.get("previous"), None);
    scene.world.clock.advance(Duration::minutes(10));
    let second = keys(&scene.negotiated(&["PSK"]).await)[0];
    assert_ne!(first, second);
    let given = scene.given().await;
    let named = |number: u8| json!(format!("3GPP-CAPIF.{}.{number}", scene.invoker.id));
    assert_eq!((&given["pskId"], &given["psk"]), (&named(2), &text(second)));
    assert_eq!(
        given["previous"],
        json!({ "pskId": named(1), "psk": text(first), "exp": scene.world.now() + 60 })
    );
    scene.world.clock.advance(Duration::seconds(59));
    assert_eq!(scene.given().await["previous"]["psk"], text(first));
    scene.world.clock.advance(Duration::seconds(1));
    let given = scene.given().await;
    assert_eq!(given.get("previous"), None);
    assert_eq!(given["psk"], text(second));

    // The same by `update`, over the session that carries it.
    let caller = keeper(&scene.world, &scene.invoker, false);
    let body = json!({
        "securityInfo": [wish(&scene.domain, &["PSK"])],
        "notificationDestination": "https://invoker.example/notify",
    });
    let path = format!("{}/update", scene.invoker.context());
    let third = keys(&caller.json(Method::POST, &path, Some(&body)).await)[0];
    assert_eq!(scene.given().await["psk"], text(third));
    assert_eq!(scene.given().await["previous"]["psk"], text(second));
}

/// R-6.5.2.1-06: the method going takes its keys at once, so does a revocation, and numbers do not begin anew after either.
#[tokio::test]
async fn keys_go_with_the_method_and_with_the_authorization() {
    let scene = scene().await;
    let first = keys(&scene.negotiated(&["PSK"]).await)[0];
    let answer = scene.negotiated(&["PKI"]).await;
    assert_eq!(answer.json()["securityInfo"][0]["selSecurityMethod"], "PKI");
    let given = scene.given().await;
    assert!(given.get("psk").is_none() && given.get("previous").is_none());

    let second = keys(&scene.negotiated(&["PSK"]).await)[0];
    let given = scene.given().await;
    assert_eq!(
        (&given["psk"], given.get("previous")),
        (&text(second), None)
    );
    assert_eq!(given["pskId"], format!("3GPP-CAPIF.{}.2", scene.invoker.id));
    let revoked = scene.domain.aef.delete(&scene.invoker.context()).await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    let path = format!("{}?authenticationInfo=true", scene.invoker.context());
    assert_eq!(
        scene.domain.aef.get(&path).await.status,
        StatusCode::NOT_FOUND
    );
    let third = keys(&scene.negotiated(&["PSK"]).await)[0];
    let given = scene.given().await;
    assert_eq!(given["pskId"], format!("3GPP-CAPIF.{}.3", scene.invoker.id));
    assert_eq!((&given["psk"], given.get("previous")), (&text(third), None));
    assert!(first != second && second != third);

    // TS 33.122 clause 6.8: nothing is left of an invoker that is gone.
    let gone = scene
        .invoker
        .delete(&format!(
            "{}/{}",
            crate::support::people::INVOKERS,
            scene.invoker.id
        ))
        .await;
    assert_eq!(gone.status, StatusCode::NO_CONTENT);
    assert_eq!(
        scene.domain.aef.get(&path).await.status,
        StatusCode::NOT_FOUND
    );
}

/// D-07: a key ends after a day, and is not handed over from then on.
#[tokio::test]
async fn a_key_ends() {
    let scene = scene().await;
    let key = keys(&scene.negotiated(&["PSK"]).await)[0];
    scene.world.clock.advance(Duration::seconds(86_399));
    assert_eq!(scene.given().await["psk"], text(key));
    scene.world.clock.advance(Duration::seconds(1));
    assert_eq!(scene.given().await, Value::Null);
    let key = keys(&scene.negotiated(&["PSK"]).await)[0];
    let given = scene.given().await;
    assert_eq!((&given["psk"], given.get("previous")), (&text(key), None));
}

/// TS 33.122 clause 6.7: when the interface no longer takes PSK, its AEF still has the key, so that the handshake can finish and it
/// can be said that another method counts.
#[tokio::test]
async fn an_outdated_entry_keeps_its_key() {
    let scene = scene().await;
    let key = keys(&scene.negotiated(&["PSK"]).await)[0];
    let apis = scene.domain.apf.get(&scene.domain.apis()).await.json();
    let id = apis[0]["apiId"].as_str().unwrap().to_owned();
    let profile = profile(&scene.domain.aef.id, &["PKI"]);
    let body = json!({ "apiName": "weather", "aefProfiles": [profile] });
    let path = format!("{}/{id}", scene.domain.apis());
    let answer = scene.domain.apf.put(&path, &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    let path = format!(
        "{}?authenticationInfo=true&authorizationInfo=true",
        scene.invoker.context()
    );
    let entry = scene.domain.aef.get(&path).await.json()["securityInfo"][0].clone();
    assert_eq!(told(&entry)["psk"], text(key));
    let rights: Value = serde_json::from_str(entry["authorizationInfo"].as_str().unwrap()).unwrap();
    assert_eq!(rights["apis"], json!([]));
    assert_eq!(rights["outdated"], json!(["weather"]));
}

/// P-11: keys outlive a restart, and lie in the store sealed by a key that is not in it. Without that key, or with another one, they
/// count as absent, and everything else goes on.
#[tokio::test]
async fn keys_are_kept_sealed() {
    let mut scene = scene().await;
    let first = keys(&scene.negotiated(&["PSK"]).await)[0];
    let second = keys(&scene.negotiated(&["PSK"]).await)[0];
    let before = scene.given().await;
    for spelling in [first, second].iter().flat_map(|key| spellings(key)) {
        assert!(!scene.world.store_holds(&spelling));
    }
    scene.world.stop().await;
    for spelling in [first, second].iter().flat_map(|key| spellings(key)) {
        assert!(!scene.world.store_holds(&spelling));
    }
    scene.world.resume().await;
    assert_eq!(scene.given().await, before);

    let file = scene.world.dir.path().join(sealing::FILE);
    let sealing = std::fs::read_to_string(&file).unwrap();
    assert!(!scene.world.store_holds(sealing.trim().as_bytes()));
    for lost in [true, false] {
        scene.world.stop().await;
        std::fs::remove_file(&file).unwrap();
        if !lost {
            let other = crate::support::people::other_authority(&scene.world);
            std::fs::copy(other.path().join(sealing::FILE), &file).unwrap();
        }
        scene.world.resume().await;
        assert_ne!(std::fs::read_to_string(&file).unwrap(), sealing);
        assert_eq!(scene.given().await, Value::Null);
        let key = keys(&scene.negotiated(&["PSK"]).await)[0];
        let given = scene.given().await;
        assert_eq!((&given["psk"], given.get("previous")), (&text(key), None));
    }
}

/// D-09, R-A-05: no answer but the AEF's holds a key: neither what the invoker is told, nor what others discover, nor what the
/// operator lists, nor an event.
#[tokio::test]
async fn a_key_is_in_no_other_answer() {
    let scene = scene().await;
    let Scene {
        world,
        domain,
        invoker,
    } = &scene;
    let events = [
        "API_INVOKER_AUTHORIZATION_REVOKED",
        "API_INVOKER_UPDATED",
        "SERVICE_API_UPDATE",
    ];
    let subscription = json!({
        "events": events, "notificationDestination": "https://127.0.0.1:1/events"
    });
    let path = format!("/capif-events/v1/{}/subscriptions", domain.aef.id);
    let answer = domain.aef.post(&path, &subscription).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());

    let mut answers = Vec::new();
    let mut secrets = Vec::new();
    for _ in 0..2 {
        let answer = scene.negotiated(&["PSK"]).await;
        secrets.push(keys(&answer)[0]);
        answers.push(answer.body);
    }
    let plain = format!("{}?authorizationInfo=true", invoker.context());
    answers.push(domain.aef.get(&plain).await.body);
    let found = format!(
        "/service-apis/v1/allServiceAPIs?api-invoker-id={}",
        invoker.id
    );
    answers.push(invoker.get(&found).await.body);
    answers.push(invoker.token(None).await.body);
    answers.push(domain.apf.get(&domain.apis()).await.body);
    for what in [
        "invokers",
        "providers",
        "apis",
        "contexts",
        "events",
        "logs",
    ] {
        let rows = world.list(what).await;
        answers.push(serde_json::to_vec(&rows).unwrap());
    }
    let revoked = domain.aef.delete(&invoker.context()).await;
    assert_eq!(revoked.status, StatusCode::NO_CONTENT);
    answers.push(revoked.body);
    for secret in &secrets {
        for answer in &answers {
            assert!(
                !holds(answer, secret),
                "{}",
                String::from_utf8_lossy(answer)
            );
        }
        // Events wait in the store, as texts.
        for spelling in spellings(secret) {
            assert!(!world.store_holds(&spelling));
        }
    }
}
