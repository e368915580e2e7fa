//! What an AEF learns about an invoker and what it may take away (R-6.3-14, R-REV-01, R-REV-05, D-08; TS 29.222 clauses 5.6.2.4
//! and 5.6.2.5): its own entries, never another AEF's.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::without_request_id;
use crate::support::{
    World, keys,
    people::{Domain, RawInvoker, wishes},
    wire::Answer,
};

struct Scene {
    world: World,
    acme: Domain,
    umbrella: Domain,
    weather: String,
    traffic: String,
    invoker: RawInvoker,
}

/// An invoker with the AEFs of two domains: Method 3 here, Method 2 there.
async fn scene() -> Scene {
    let world = World::start().await;
    let (acme, umbrella) = (world.domain("acme").await, world.domain("umbrella").await);
    let weather = acme.publish("weather", &["OAUTH"]).await;
    let traffic = umbrella.publish("traffic", &["PKI"]).await;
    let invoker = world.raw_invoker(&[]).await;
    let both = wishes(&[
        (&acme.aef.id, &["PKI", "OAUTH"]),
        (&umbrella.aef.id, &["PKI", "OAUTH"]),
    ]);
    assert_eq!(
        invoker.put(&invoker.context(), &both).await.status,
        StatusCode::CREATED
    );
    Scene {
        world,
        acme,
        umbrella,
        weather,
        traffic,
        invoker,
    }
}

fn text(entry: &Value, member: &str) -> Value {
    serde_json::from_str(entry[member].as_str().unwrap()).unwrap()
}

async fn full(domain: &Domain, invoker: &RawInvoker) -> Answer {
    domain
        .aef
        .get(&format!(
            "{}?authenticationInfo=true&authorizationInfo=true",
            invoker.context()
        ))
        .await
}

/// R-6.3-14, D-08: an AEF gets what it needs to authenticate and authorize at its own interfaces, and nothing of another's.
#[tokio::test]
async fn an_aef_sees_its_own_entries_alone() {
    let Scene {
        world,
        acme,
        umbrella,
        invoker,
        ..
    } = scene().await;
    let answer = full(&acme, &invoker).await;
    assert_eq!(answer.status, StatusCode::OK);
    let seen = answer.json();
    let entries = seen["securityInfo"].as_array().unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["aefId"], acme.aef.id.as_str());
    assert_eq!(entries[0]["selSecurityMethod"], "OAUTH");
    assert_eq!(
        text(&entries[0], "authenticationInfo"),
        json!({
            "jwksUri": format!("https://{}/.well-known/jwks.json", world.address()),
            "issuer": invoker.id,
            "alg": [if world.is_lenient() { "RS256" } else { "ES256" }],
        })
    );
    let rights = text(&entries[0], "authorizationInfo");
    assert_eq!(rights["scope"], format!("3gpp#{}:weather", acme.aef.id));
    assert_eq!(rights["apis"], json!(["weather"]));
    assert_eq!(rights["gen"], 1);

    let seen = full(&umbrella, &invoker).await.json();
    let entries = seen["securityInfo"].as_array().unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["aefId"], umbrella.aef.id.as_str());
    let proof = text(&entries[0], "authenticationInfo");
    assert_eq!(
        keys::der(proof["caPem"][0].as_str().unwrap()),
        keys::der(&world.root_pem())
    );
    let leaf = pem::parse_many(&invoker.pems.chain)
        .unwrap()
        .remove(0)
        .into_contents();
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &leaf);
    let digest: String = digest
        .as_ref()
        .iter()
        .map(|octet| format!("{octet:02x}"))
        .collect();
    assert_eq!(proof["x5t#S256"], digest);
    // No secret is ever handed over here.
    let secret = invoker.secret.as_deref().unwrap();
    assert!(!seen.to_string().contains(secret) && !seen.to_string().contains("weather"));
}

/// TS 29.222 table 8.5.2.3.3.1-1: each kind of information is given only where it is asked for.
#[tokio::test]
async fn information_is_given_where_it_is_asked_for() {
    let Scene {
        world: _world,
        acme,
        invoker,
        ..
    } = scene().await;
    for (query, authentication, authorization) in [
        ("", false, false),
        ("?authenticationInfo=true", true, false),
        ("?authorizationInfo=true", false, true),
        (
            "?authenticationInfo=false&authorizationInfo=false",
            false,
            false,
        ),
        (
            "?authenticationInfo=true&authorizationInfo=true",
            true,
            true,
        ),
        ("?unknown=1", false, false),
    ] {
        let answer = acme.aef.get(&format!("{}{query}", invoker.context())).await;
        assert_eq!(answer.status, StatusCode::OK, "{query}");
        let entry = &answer.json()["securityInfo"][0];
        assert_eq!(
            entry.get("authenticationInfo").is_some(),
            authentication,
            "{query}"
        );
        assert_eq!(
            entry.get("authorizationInfo").is_some(),
            authorization,
            "{query}"
        );
    }
    for query in [
        "?authenticationInfo=1",
        "?authorizationInfo=",
        "?authenticationInfo=TRUE",
    ] {
        let answer = acme.aef.get(&format!("{}{query}", invoker.context())).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(answer.cause(), "INVALID_QUERY_PARAM");
    }
}

/// P-20: an invoker that has nothing to do with an AEF and one that does not exist are the same to it.
#[tokio::test]
async fn unknown_and_foreign_invokers_look_the_same() {
    let Scene {
        world,
        acme,
        umbrella,
        weather,
        ..
    } = scene().await;
    let bystander = world.raw_invoker(&[]).await;
    let elsewhere = world.raw_invoker(&[]).await;
    assert_eq!(
        elsewhere.negotiate(&umbrella.aef.id, &["PKI"]).await.status,
        StatusCode::CREATED
    );
    let ids = [
        bystander.id.clone(),
        elsewhere.id.clone(),
        format!("INV{}", "0".repeat(32)),
        acme.aef.id.clone(),
    ];
    for (method, tail) in [
        (Method::GET, "?authenticationInfo=true"),
        (Method::DELETE, ""),
        (Method::POST, "/delete"),
    ] {
        let mut first: Option<Value> = None;
        for id in &ids {
            let notice =
                json!({ "apiInvokerId": id, "apiIds": [weather], "cause": "UNEXPECTED_REASON" });
            let path = format!("/capif-security/v1/trustedInvokers/{id}{tail}");
            let body = (method == Method::POST).then_some(&notice);
            let answer = acme.aef.caller.json(method.clone(), &path, body).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{method} {id}");
            answer.cause();
            let problem = without_request_id(&answer.json());
            assert_eq!(
                *first.get_or_insert(problem.clone()),
                problem,
                "{method} {id}"
            );
        }
    }
    assert_eq!(
        full(&umbrella, &elsewhere).await.status,
        StatusCode::OK,
        "nothing was taken away"
    );
}

/// R-REV-01, R-REV-05: an AEF revokes what concerns itself; what others granted stays, and tokens issued before are dead.
#[tokio::test]
async fn an_aef_revokes_its_own_part_alone() {
    let Scene {
        world,
        acme,
        umbrella,
        invoker,
        traffic,
        weather,
    } = scene().await;
    assert_eq!(
        acme.aef.delete(&invoker.context()).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(full(&acme, &invoker).await.status, StatusCode::NOT_FOUND);
    let seen = full(&umbrella, &invoker).await.json();
    assert_eq!(
        text(&seen["securityInfo"][0], "authorizationInfo")["gen"],
        2
    );
    assert_eq!(
        acme.aef.delete(&invoker.context()).await.status,
        StatusCode::NOT_FOUND,
        "there is no more"
    );

    // By list: an API of another AEF cannot be taken away, nor in another AEF's name, nor from another invoker than the path's.
    let path = format!("{}/delete", invoker.context());
    let notice = |id: &str, apis: Value| json!({ "apiInvokerId": id, "apiIds": apis, "cause": "OVERLIMIT_USAGE" });
    let answer = acme
        .aef
        .post(&path, &notice(&invoker.id, json!([traffic])))
        .await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    let mut wrong = notice(&invoker.id, json!([traffic]));
    wrong["aefId"] = json!(umbrella.aef.id);
    assert_eq!(
        acme.aef.post(&path, &wrong).await.status,
        StatusCode::FORBIDDEN
    );
    let wrong = notice("INV0", json!([traffic]));
    assert_eq!(
        umbrella.aef.post(&path, &wrong).await.status,
        StatusCode::BAD_REQUEST
    );
    for wrong in [
        json!({}),
        json!({ "apiInvokerId": invoker.id, "apiIds": [traffic] }),
        notice(&invoker.id, json!([])),
        notice(&invoker.id, json!("x")),
    ] {
        assert_eq!(
            umbrella.aef.post(&path, &wrong).await.status,
            StatusCode::BAD_REQUEST,
            "{wrong}"
        );
    }
    assert_eq!(full(&umbrella, &invoker).await.status, StatusCode::OK);
    let answer = umbrella
        .aef
        .post(&path, &notice(&invoker.id, json!([traffic])))
        .await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert_eq!(
        full(&umbrella, &invoker).await.status,
        StatusCode::NOT_FOUND
    );
    assert!(world.list("contexts").await.is_empty());
    assert_eq!(
        invoker.token(None).await.status,
        StatusCode::BAD_REQUEST,
        "no token any more: {weather}"
    );
}

/// R-REV-01: with entries for single APIs a partial revocation leaves the other APIs of the AEF working.
#[tokio::test]
async fn a_partial_revocation_leaves_the_rest() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let weather = domain.publish("weather", &["OAUTH"]).await;
    let traffic = domain.publish("traffic", &["OAUTH"]).await;
    let invoker = world.raw_invoker(&[]).await;
    let entry = |api: &str| json!({ "aefId": domain.aef.id, "apiId": api, "prefSecurityMethods": ["OAUTH"] });
    let body = json!({
        "securityInfo": [entry(&weather), entry(&traffic)],
        "notificationDestination": "https://invoker.example/",
        "supportedFeatures": "4",
    });
    assert_eq!(
        invoker.put(&invoker.context(), &body).await.status,
        StatusCode::CREATED
    );
    let notice = json!({ "apiInvokerId": invoker.id, "apiIds": [weather, "API0"], "cause": "AUTHORIZATION_ISSUE" });
    let answer = domain
        .aef
        .post(&format!("{}/delete", invoker.context()), &notice)
        .await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    let seen = full(&domain, &invoker).await.json();
    let entries = seen["securityInfo"].as_array().unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0]["apiId"], traffic.as_str());
    let token = invoker.token(None).await;
    assert_eq!(
        token.json()["scope"],
        format!("3gpp#{}:traffic", domain.aef.id)
    );
    let beyond = invoker
        .token(Some(&format!("3gpp#{}:weather", domain.aef.id)))
        .await;
    assert_eq!(beyond.json()["error"], "invalid_scope");
}

/// P-26: what is withdrawn or renamed is out of what an AEF is told at once.
#[tokio::test]
async fn withdrawn_apis_are_out_of_the_rights_at_once() {
    let Scene {
        world: _world,
        acme,
        invoker,
        weather,
        ..
    } = scene().await;
    acme.publish("tides", &["OAUTH"]).await;
    let rights = |answer: &Answer| text(&answer.json()["securityInfo"][0], "authorizationInfo");
    let mut apis: Vec<String> =
        serde_json::from_value(rights(&full(&acme, &invoker).await)["apis"].clone()).unwrap();
    apis.sort();
    assert_eq!(apis, ["tides", "weather"]);
    assert_eq!(
        acme.apf
            .delete(&format!("{}/{weather}", acme.apis()))
            .await
            .status,
        StatusCode::NO_CONTENT
    );
    let seen = rights(&full(&acme, &invoker).await);
    assert_eq!(seen["apis"], json!(["tides"]));
    assert_eq!(seen["scope"], format!("3gpp#{}:tides", acme.aef.id));
}
