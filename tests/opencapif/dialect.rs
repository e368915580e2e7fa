//! What the profile lets pass, and what it does not, without any client at hand; beside it the same in strict mode.

use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use capif_ccf::config::Compat;
use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    World, eventually, keys,
    lines::Lines,
    people::{INVOKERS, RawInvoker, enrolment, function, wishes},
    raw,
    receiver::Receiver,
};

async fn worlds() -> [(bool, World); 2] {
    let lenient = World::with(|config| config.compat = Compat::Opencapif).await;
    let strict = World::with(|config| config.compat = Compat::None).await;
    [(true, lenient), (false, strict)]
}

async fn token(invoker: &RawInvoker, secret: &str) -> crate::support::wire::Answer {
    let form = [
        ("grant_type", "client_credentials"),
        ("client_id", &invoker.id),
        ("client_secret", secret),
    ];
    invoker.caller.form(&invoker.token_path(), &form).await
}

/// A token without the Onboard_Secret is had in the profile alone, with the invoker's own certificate alone; it names no audience, and the
/// key of the core function's certificate signed it.
#[tokio::test]
async fn the_certificate_alone_proves_who_asks() {
    for (lenient, world) in worlds().await {
        let acme = world.domain("acme").await;
        acme.publish("weather", &["OAUTH"]).await;
        let invoker = world.raw_invoker(&[]).await;
        let agreed = wishes(&[(&acme.aef.id, &["OAUTH"])]);
        let agreed = invoker.put(&invoker.context(), &agreed).await;
        assert_eq!(agreed.status, StatusCode::CREATED);
        let said = token(&invoker, "a guess").await;
        assert_eq!(said.status, StatusCode::UNAUTHORIZED, "{said:?}");
        let said = token(&invoker, "string").await;
        if !lenient {
            assert_eq!(said.status, StatusCode::UNAUTHORIZED);
            continue;
        }
        assert_eq!(said.status, StatusCode::OK, "{said:?}");
        let text = said.json()["access_token"].as_str().unwrap().to_owned();
        let (header, claims, _) = crate::support::jws::taken_apart(&text);
        assert_eq!(header["alg"], "RS256");
        assert!(claims.get("aud").is_none(), "{claims}");
        assert_eq!(claims["sub"], claims["iss"]);
        let keys = world.anonymous();
        let keys = keys
            .json(http::Method::GET, "/.well-known/jwks.json", None)
            .await;
        let has_key = |key: &Value| key["kid"] == header["kid"] && key["kty"] == "RSA";
        assert!(keys.json()["keys"].as_array().unwrap().iter().any(has_key));
        // Somebody else's certificate opens nothing.
        let other = world.raw_invoker(&[]).await;
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &invoker.id),
            ("client_secret", "string"),
        ];
        let said = other.caller.form(&invoker.token_path(), &form).await;
        assert_eq!(said.status, StatusCode::UNAUTHORIZED);
    }
}

/// The key of the certificate stays the same through restarts. In a compromise another one takes its place, in the certificate that is
/// shown too, and stays.
#[tokio::test]
async fn the_key_outlives_the_certificate() {
    let mut world = World::with(|config| config.compat = Compat::Opencapif).await;
    let keys = async |world: &World| {
        let caller = world.anonymous();
        let said = caller
            .json(http::Method::GET, "/.well-known/jwks.json", None)
            .await;
        let all = said.json()["keys"].as_array().unwrap().clone();
        all.into_iter().find(|key| key["kty"] == "RSA").unwrap()
    };
    let before = keys(&world).await;
    world.stop().await;
    world.resume().await;
    assert_eq!(keys(&world).await, before);

    let modulus = |key: &Value| {
        let text = key["n"].as_str().unwrap();
        BASE64_URL_SAFE_NO_PAD.decode(text).unwrap()
    };
    let shown = async |world: &World| {
        let address = world.ccf().local_addr();
        let stream = raw::tls(address, &world.root_pem(), None, b"http/1.1").await;
        let stream = stream.unwrap();
        let chain = stream.get_ref().1.peer_certificates().unwrap();
        chain[0].to_vec()
    };
    let holds = |certificate: Vec<u8>, part: Vec<u8>| {
        let mut places = certificate.windows(part.len());
        places.any(|place| place == part)
    };
    assert!(holds(shown(&world).await, modulus(&before)));
    let body = Some(json!({ "compromise": true }));
    let (status, answer) = world
        .operator(http::Method::POST, "/keys/rotate", body)
        .await;
    assert_eq!(status, StatusCode::OK, "{answer}");
    let after = keys(&world).await;
    assert_ne!(after, before);
    assert!(holds(shown(&world).await, modulus(&after)));
    world.stop().await;
    world.resume().await;
    assert_eq!(keys(&world).await, after);
}

/// Doubled slashes, booleans of Python, and destinations that nobody may be told at.
#[tokio::test]
async fn the_dialect_is_read_in_the_profile_alone() {
    for (lenient, world) in worlds().await {
        let acme = world.domain("acme").await;
        acme.publish("weather", &["OAUTH"]).await;
        let invoker = world.raw_invoker(&[]).await;
        let agreed = wishes(&[(&acme.aef.id, &["OAUTH"])]);
        invoker.put(&invoker.context(), &agreed).await;
        let path = format!(
            "/{}?authenticationInfo=True&authorizationInfo=True",
            invoker.context()
        );
        let expected = if lenient { 200 } else { 400 };
        assert_eq!(acme.aef.get(&path).await.status, expected, "{path}");

        let subscription = json!({
            "events": ["SERVICE_API_AVAILABLE"], "eventFilters": [], "eventReq": {},
            "notificationDestination": "http://127.0.0.1:9/callback", "requestTestNotification": true,
            "websockNotifConfig": { "websocketUri": "string", "requestWebsocketUri": true },
            // By the standard alone a WebSocket would be had for these features, and no address be needed.
            "supportedFeatures": if lenient { "fffffff" } else { "0" },
        });
        let path = format!("/capif-events/v1/{}/subscriptions", invoker.id);
        let said = invoker.post(&path, &subscription).await;
        let expected = if lenient { 201 } else { 400 };
        assert_eq!(said.status, expected, "{said:?}");
        if lenient {
            let answered = said.json();
            assert!(answered.get("websockNotifConfig").is_none(), "{answered}");
            assert_eq!(answered["supportedFeatures"], "c");
        }
    }
}

/// What happens under a subscription whose subscriber may not be told is forgotten, whatever it asks of its reports. The log says once
/// for each place why, and which line of the configuration would change that.
#[tokio::test]
async fn what_nobody_may_be_told_is_forgotten() {
    let lines = Lines::keep();
    let world = World::with(|config| config.compat = Compat::Opencapif).await;
    let acme = world.domain("acme").await;
    let invoker = world.raw_invoker(&[]).await;
    for wish in [json!({}), json!({ "maxReportNbr": 5 })] {
        let subscription = json!({
            "events": ["SERVICE_API_AVAILABLE"], "eventFilters": [], "eventReq": wish,
            "notificationDestination": "http://127.0.0.1:9/callback", "supportedFeatures": "fffffff",
        });
        let path = format!("/capif-events/v1/{}/subscriptions", invoker.id);
        let said = invoker.post(&path, &subscription).await;
        assert_eq!(said.status, StatusCode::CREATED, "{said:?}");
    }
    acme.publish("weather", &["OAUTH"]).await;
    eventually("nothing waits any more", || async {
        let rows = world.list("events").await;
        rows.len() == 2 && rows.iter().all(|row| row["waiting"] == 0)
    })
    .await;
    let said = lines.with("level", "WARN");
    let says = |line: &&Value| line["message"].as_str().unwrap().contains("127.0.0.1:9");
    let said: Vec<&Value> = said.iter().filter(says).collect();
    assert_eq!(said.len(), 1, "{said:?}");
    let said = said[0]["message"].as_str().unwrap();
    assert!(
        said.contains("`insecure_http = [\"127.0.0.1:9\"]` under [callbacks]"),
        "{said}"
    );
}

/// A provider that is updated without ids keeps them, for the same key or the same role in order; strictly it gets new functions.
#[tokio::test]
async fn functions_without_ids_are_those_that_there_are() {
    for (lenient, world) in worlds().await {
        let acme = world.domain("acme").await;
        let mut details = acme.details.clone();
        let before = ids(&details);
        let functions = details["apiProvFuncs"].as_array_mut().unwrap();
        for function in functions.iter_mut() {
            let function_map = function.as_object_mut().unwrap();
            function_map.remove("apiProvFuncId");
            if function_map["apiProvFuncRole"] != "AMF" {
                *function = self::function(
                    function["apiProvFuncRole"].as_str().unwrap(),
                    &keys::request(&keys::p256()),
                );
            }
        }
        functions.push(function("AEF", &keys::request(&keys::p256())));
        details.as_object_mut().unwrap().remove("apiProvDomId");
        let said = acme.amf.put(&acme.path(), &details).await;
        if !lenient {
            continue;
        }
        assert_eq!(said.status, StatusCode::OK, "{said:?}");
        let after = ids(&said.json());
        assert_eq!(after[..3], before[..], "{said:?}");
        assert!(!before.contains(&after[3]));
        for function in said.json()["apiProvFuncs"].as_array().unwrap() {
            assert!(function["regInfo"]["apiProvCert"].is_string(), "{function}");
        }
    }
}

fn ids(details: &Value) -> Vec<String> {
    let functions = details["apiProvFuncs"].as_array().unwrap().iter();
    functions
        .map(|function| function["apiProvFuncId"].as_str().unwrap().to_owned())
        .collect()
}

/// What is not part of the dialect is refused as ever.
#[tokio::test]
async fn beyond_the_dialect_all_is_strict() {
    let (_, world) = worlds().await.into_iter().next().unwrap();
    let body = enrolment(&keys::request(&keys::p256()));
    assert_eq!(world.onboard("no-credential", &body).await.status, 401);
    let invoker = world.raw_invoker(&[]).await;
    for path in ["/%2e%2e/x", "/a/../b", "/./x"] {
        let said = invoker.get(path).await;
        assert_eq!(said.status, StatusCode::BAD_REQUEST, "{path}");
    }
    let twice = http::Request::put(format!("{INVOKERS}/{}", invoker.id))
        .header("content-type", "application/json")
        .body(b"{\"a\":1,\"a\":2}".to_vec())
        .unwrap();
    assert_eq!(invoker.caller.send(twice).await.status, 400);
}

/// What the SDK subscribes with is told, where the operator lists its receiver: by POST over plain HTTP, without a test first, and with
/// what it is about although the SDK negotiates no feature.
#[tokio::test]
async fn a_deployed_receiver_hears_of_events() {
    let receiver = Receiver::without_tls();
    let listed = format!("127.0.0.1:{}", receiver.port());
    let world = World::with(|config| {
        config.compat = Compat::Opencapif;
        config.callbacks.insecure_http = vec![listed.parse().unwrap()];
    })
    .await;
    let acme = world.domain("acme").await;
    let invoker = world.raw_invoker(&[]).await;
    let callback = receiver.url("/callback");
    let mut subscriptions = Vec::new();
    for (party, event) in [
        (&invoker.party, "SERVICE_API_AVAILABLE"),
        (&acme.aef, "API_INVOKER_OFFBOARDED"),
    ] {
        let subscription = json!({
            "events": [event], "eventFilters": [], "eventReq": {}, "notificationDestination": callback,
            "requestTestNotification": true, "supportedFeatures": "0",
            "websockNotifConfig": { "websocketUri": callback, "requestWebsocketUri": true },
        });
        let path = format!("/capif-events/v1/{}/subscriptions", party.id);
        let said = party.post(&path, &subscription).await;
        assert_eq!(said.status, StatusCode::CREATED, "{said:?}");
        let location = said.headers["location"].to_str().unwrap();
        subscriptions.push(location.rsplit('/').next().unwrap().to_owned());
    }
    let api = acme.publish("weather", &["OAUTH"]).await;
    let agreed = wishes(&[(&acme.aef.id, &["OAUTH"])]);
    invoker.put(&invoker.context(), &agreed).await;
    receiver.acknowledged(1).await;
    let left = invoker.delete(&format!("{INVOKERS}/{}", invoker.id)).await;
    assert_eq!(left.status, StatusCode::NO_CONTENT);
    let heard = receiver.acknowledged(2).await;
    let about = |index: usize, event: &str, name: &str| {
        let notice: &Value = &heard[index];
        assert_eq!(notice["subscriptionId"], subscriptions[index].as_str());
        assert_eq!(notice["events"], event);
        notice["eventDetail"][name].clone()
    };
    assert_eq!(about(0, "SERVICE_API_AVAILABLE", "apiIds"), json!([api]));
    let gone = about(1, "API_INVOKER_OFFBOARDED", "apiInvokerIds");
    assert_eq!(gone, json!([invoker.id]));
}
