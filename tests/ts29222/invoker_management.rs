//! CAPIF_API_Invoker_Management_API (TS 29.222 clauses 5.5 and 8.4): what clause 6.1 and clause 6.8 of TS 33.122 do not tell already.

mod lists;

use std::sync::Arc;

use http::{HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use tokio::sync::Barrier;

use crate::support::{
    World, keys,
    people::{INVOKERS, Party, RawInvoker, enrolment, function, wishes},
    wire::{Answer, request},
};

fn path(invoker: &RawInvoker) -> String {
    format!("{INVOKERS}/{}", invoker.id)
}

/// Clause 5.5.2.4: DELETE answers 204 without content, once; the session ends with it.
#[tokio::test]
async fn an_invoker_offboards_itself_once() {
    let world = World::start().await;
    let invoker = world.raw_invoker(&[]).await;
    let other = world.raw_invoker(&[]).await;
    let answer = invoker.delete(&path(&invoker)).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert!(answer.body.is_empty());
    let rows = world.list("invokers").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["apiInvokerId"], other.id.as_str());
    assert!(
        !world
            .list("invokers")
            .await
            .iter()
            .any(|row| row["apiInvokerId"] == invoker.id.as_str())
    );
    let again = world
        .with_certificate(&invoker.pems)
        .json(Method::DELETE, &path(&invoker), None)
        .await;
    assert_eq!(again.status, StatusCode::UNAUTHORIZED);
    again.cause();
}

/// R-6.8-14: the operator removes an invoker in the same way; an unknown one is 404.
#[tokio::test]
async fn the_operator_offboards_an_invoker() {
    let world = World::start().await;
    let invoker = world.raw_invoker(&[]).await;
    let operator_path = format!("/invokers/{}", invoker.id);
    let (status, body) = world.operator(Method::DELETE, &operator_path, None).await;
    assert_eq!((status, body.is_null()), (StatusCode::NO_CONTENT, true));
    let (status, problem) = world.operator(Method::DELETE, &operator_path, None).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    assert!(problem["requestId"].is_string());
    let gone = world
        .with_certificate(&invoker.pems)
        .json(Method::GET, "/.well-known/jwks.json", None)
        .await;
    assert_eq!(
        gone.status,
        StatusCode::OK,
        "what anyone may see, a former invoker may see too"
    );
}

/// Clause 5.5.2.5: PUT says the whole of the profile and is answered with it; what is sent back as it was answered changes nothing.
#[tokio::test]
async fn put_replaces_the_profile() {
    let world = World::start().await;
    world
        .domain("acme")
        .await
        .publish("weather", &["OAUTH"])
        .await;
    let invoker = world.raw_invoker(&[]).await;
    let again = invoker.put(&path(&invoker), &invoker.details).await;
    assert_eq!(again.status, StatusCode::OK, "{}", again.json());
    let mut expected = invoker.details.clone();
    expected["onboardingInformation"]
        .as_object_mut()
        .unwrap()
        .remove("onboardingSecret");
    assert_eq!(again.json(), expected);
    assert_eq!(again.headers["content-type"], "application/json");

    let mut details = invoker.details.clone();
    details["apiInvokerInformation"] = json!("changed");
    details["notificationDestination"] = json!("https://other.example/notify");
    details["vendorSpecific-000001"] = json!({ "kept": true });
    let answer = invoker.put(&path(&invoker), &details).await;
    for member in [
        "apiInvokerInformation",
        "notificationDestination",
        "vendorSpecific-000001",
    ] {
        assert_eq!(answer.json()[member], details[member], "{member}");
    }
    let least = json!({
        "onboardingInformation": {
            "apiInvokerPublicKey": details["onboardingInformation"]["apiInvokerPublicKey"],
        },
        "notificationDestination": "https://other.example/notify",
    });
    let answer = invoker.put(&path(&invoker), &least).await;
    assert_eq!(
        answer.json().get("apiInvokerInformation"),
        None,
        "left out is taken away"
    );
    assert_eq!(answer.json()["apiInvokerId"], invoker.id.as_str());
    assert_eq!(
        invoker.token(None).await.status,
        StatusCode::BAD_REQUEST,
        "the secret is as it was"
    );
}

/// Clause 7.8, table 8.4.6-1: PATCH is for who agreed to PatchUpdate, an end for who agreed to ExpirationTime; a PUT agrees too.
#[tokio::test]
async fn features_are_negotiated() {
    let world = World::start().await;
    let invoker = world.raw_invoker(&[]).await;
    let patch = json!({ "apiInvokerInformation": "changed" });
    let refused = invoker.patch(&path(&invoker), &patch).await;
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert_eq!(refused.cause(), "MODIFICATION_NOT_ALLOWED");
    let mut details = invoker.details.clone();
    for (asked, agreed) in [("fffffff", "f"), ("4", "4"), ("0", "0"), ("4", "4")] {
        details["supportedFeatures"] = json!(asked);
        let answer = invoker.put(&path(&invoker), &details).await;
        assert_eq!(
            answer.json()["supportedFeatures"],
            agreed,
            "{}",
            answer.json()
        );
    }
    let served = invoker.patch(&path(&invoker), &patch).await;
    assert_eq!(served.status, StatusCode::OK, "{}", served.json());
    assert_eq!(served.json()["supportedFeatures"], "4");
    let end = json!({ "expTime": "2999-01-01T00:00:00Z" });
    let ignored = invoker.patch(&path(&invoker), &end).await;
    assert_eq!(
        (ignored.status, ignored.json().get("expTime")),
        (StatusCode::OK, None)
    );
    details["supportedFeatures"] = json!("C");
    details["expTime"] = end["expTime"].clone();
    let answer = invoker.put(&path(&invoker), &details).await;
    assert_eq!(answer.json()["expTime"], "2999-01-01T00:00:00Z");
    let never = invoker
        .patch(&path(&invoker), &json!({ "expTime": null }))
        .await;
    assert_eq!(
        (never.status, never.json().get("expTime")),
        (StatusCode::OK, None)
    );
    let past = invoker
        .patch(
            &path(&invoker),
            &json!({ "expTime": "2001-01-01T00:00:00Z" }),
        )
        .await;
    assert_eq!(past.status, StatusCode::BAD_REQUEST);
    assert_eq!(past.json()["invalidParams"][0]["param"], "/expTime");
}

/// Clause 5.5.2.5, RFC 7396: PATCH changes what it names and leaves the rest.
#[tokio::test]
async fn patch_merges() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    domain.publish("weather", &["PKI"]).await;
    domain.publish("traffic", &["PKI"]).await;
    let invoker = updatable(&world).await;
    let answer = invoker
        .patch(&path(&invoker), &json!({ "apiInvokerInformation": "one" }))
        .await;
    assert_eq!(answer.status, StatusCode::OK);
    let answer = invoker
        .patch(
            &path(&invoker),
            &json!({ "notificationDestination": "https://two.example" }),
        )
        .await;
    assert_eq!(answer.json()["apiInvokerInformation"], "one");
    let list = json!({ "apiList": { "serviceAPIDescriptions": [{ "apiName": "traffic" }] } });
    let answer = invoker.patch(&path(&invoker), &list).await;
    let names = |answer: &Answer| -> Vec<String> {
        let list = answer.json()["apiList"]["serviceAPIDescriptions"].clone();
        let list = list.as_array().cloned().unwrap_or_default();
        list.iter()
            .map(|api| api["apiName"].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(names(&answer), ["traffic"]);
    assert_eq!(
        answer.json()["notificationDestination"],
        "https://two.example"
    );
    let discovery = format!(
        "/service-apis/v1/allServiceAPIs?api-invoker-id={}",
        invoker.id
    );
    let found = invoker.get(&discovery).await;
    assert_eq!(
        found.json()["serviceAPIDescriptions"]
            .as_array()
            .unwrap()
            .len(),
        1
    );
    // A choice within the credential, made again, not a loss.
    let list = json!({ "apiList": { "serviceAPIDescriptions": [{ "apiName": "weather" }] } });
    let answer = invoker.patch(&path(&invoker), &list).await;
    assert_eq!(names(&answer), ["weather"]);
    let untouched = invoker.patch(&path(&invoker), &json!({})).await;
    assert_eq!(untouched.json(), answer.json());
}

/// An invoker that may send PATCH.
async fn updatable(world: &World) -> RawInvoker {
    let mut invoker = world.raw_invoker(&[]).await;
    invoker.details["supportedFeatures"] = json!("C");
    let answer = invoker.put(&path(&invoker), &invoker.details).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    invoker
}

/// RFC 7240 section 4.2: who prefers no answer gets none, but whatever it would learn in no other way.
#[tokio::test]
async fn a_preference_hides_nothing_new() {
    let world = World::start().await;
    let key = keys::p256();
    let mut body = enrolment(&keys::request(&key));
    body["supportedFeatures"] = json!("C");
    body["vendorSpecific-capif"] = json!({ "features": ["renewal"] });
    let answer = world.onboard(&world.credential(&[]).await, &body).await;
    let invoker = world.invoker_of(&answer, &key);
    let minimal = async |caller: &Party, method: Method, path: &str, body: &Value| {
        let mut request = request(method, path, None, Some(body));
        let value = HeaderValue::from_static("return=minimal");
        request.headers_mut().insert("prefer", value);
        caller.caller.send(request).await
    };
    let told = json!({ "apiInvokerInformation": "one" });
    let answer = minimal(&invoker, Method::PATCH, &path(&invoker), &told).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.json());
    assert!(answer.body.is_empty() && !answer.headers.contains_key("content-type"));
    assert_eq!(answer.headers["preference-applied"], "return=minimal");

    // A certificate, and the same once more.
    let renewal = json!({ "onboardingInformation": {
        "apiInvokerPublicKey": keys::request(&keys::p256()),
        "vendorSpecific-capif": { "renewal": "one" },
    } });
    for _ in 0..2 {
        let answer = minimal(&invoker, Method::PATCH, &path(&invoker), &renewal).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
        let information = &answer.json()["onboardingInformation"];
        assert!(information["apiInvokerCertificate"].is_string());
        assert!(!answer.headers.contains_key("preference-applied"));
    }

    // A function that is new, and one that is not done.
    let domain = world.domain("acme").await;
    let mut details = domain.details.clone();
    let answer = minimal(&domain.amf, Method::PUT, &domain.path(), &details).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.json());
    let functions = details["apiProvFuncs"].as_array_mut().unwrap();
    functions.push(function("AEF", &keys::request(&keys::p256())));
    let answer = minimal(&domain.amf, Method::PUT, &domain.path(), &details).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    let mut details = answer.json();
    let functions = details["apiProvFuncs"].as_array_mut().unwrap();
    functions.push(function("AEF", "no key"));
    let answer = minimal(&domain.amf, Method::PUT, &domain.path(), &details).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    assert!(answer.json()["failReason"].is_string());

    // The address of a WebSocket, once.
    let subscriptions = format!("/capif-events/v1/{}/subscriptions", domain.aef.id);
    let mut wanted = json!({
        "events": ["API_INVOKER_OFFBOARDED"],
        "notificationDestination": "https://127.0.0.1:1/",
        "supportedFeatures": "3",
    });
    let answer = domain.aef.post(&subscriptions, &wanted).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let location = answer.headers["location"].to_str().unwrap();
    let (_, id) = location.rsplit_once('/').unwrap();
    let subscription = format!("{subscriptions}/{id}");
    wanted["websockNotifConfig"] = json!({ "requestWebsocketUri": true });
    let answer = minimal(&domain.aef, Method::PUT, &subscription, &wanted).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    assert!(answer.json()["websockNotifConfig"]["websocketUri"].is_string());
    let events = json!({ "events": ["API_INVOKER_OFFBOARDED"] });
    let answer = minimal(&domain.aef, Method::PATCH, &subscription, &events).await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT, "{}", answer.json());
}

/// TS 29.500 clause 5.2.7.2: each operation has its media type, and says which.
#[tokio::test]
async fn each_update_has_its_media_type() {
    let world = World::start().await;
    let invoker = updatable(&world).await;
    let types = [
        "application/json",
        "application/merge-patch+json",
        "application/json-patch+json",
        "text/plain",
    ];
    for (method, own) in [(Method::PUT, types[0]), (Method::PATCH, types[1])] {
        for media_type in types {
            let mut request = request(
                method.clone(),
                &path(&invoker),
                None,
                Some(&invoker.details),
            );
            request
                .headers_mut()
                .insert("content-type", media_type.parse().unwrap());
            let answer = invoker.caller.send(request).await;
            if media_type == own {
                assert_eq!(
                    answer.status,
                    StatusCode::OK,
                    "{method} {media_type}: {}",
                    answer.json()
                );
                continue;
            }
            assert_eq!(
                answer.status,
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "{method} {media_type}"
            );
            let accepted = answer
                .headers
                .get("accept-patch")
                .map(|value| value.to_str().unwrap());
            assert_eq!(accepted, (method == Method::PATCH).then_some(own));
        }
    }
}

/// Clause 5.5.2.5.2, D-14, D-21: ids, and key, certificate and secret without the feature for it, are not changed by an update;
/// nobody updates anybody else.
#[tokio::test]
async fn what_may_not_change_does_not() {
    let world = World::start().await;
    let invoker = updatable(&world).await;
    let other = updatable(&world).await;
    let before = world.list("invokers").await;
    for (method, target) in [
        (Method::PUT, path(&other)),
        (Method::PATCH, path(&other)),
        (Method::PUT, format!("{INVOKERS}/INV0")),
    ] {
        let answer = invoker
            .caller
            .json(method, &target, Some(&invoker.details))
            .await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        answer.cause();
    }
    let mut renamed = invoker.details.clone();
    renamed["apiInvokerId"] = json!(other.id);
    let answer = invoker.put(&path(&invoker), &renamed).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.cause(), "MODIFICATION_NOT_ALLOWED");
    let changes = [
        ("apiInvokerPublicKey", json!(keys::request(&keys::p256()))),
        ("apiInvokerPublicKey", json!("no key at all")),
        (
            "apiInvokerCertificate",
            other.details["onboardingInformation"]["apiInvokerCertificate"].clone(),
        ),
        ("onboardingSecret", json!("a secret of its own")),
    ];
    for (member, value) in changes {
        let mut changed = invoker.details.clone();
        changed["onboardingInformation"][member] = value;
        let patch = json!({ "onboardingInformation": changed["onboardingInformation"] });
        for answer in [
            invoker.put(&path(&invoker), &changed).await,
            invoker.patch(&path(&invoker), &patch).await,
        ] {
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{member}");
            assert_eq!(answer.cause(), "MODIFICATION_NOT_ALLOWED");
            assert_eq!(
                answer.json()["invalidParams"][0]["param"],
                "/onboardingInformation"
            );
        }
    }
    assert_eq!(world.list("invokers").await, before);
}

/// P-22: whatever stands in a body, the answer is a problem that names the place, and nothing changes.
#[tokio::test]
async fn hostile_updates_change_nothing() {
    let world = World::start().await;
    let invoker = updatable(&world).await;
    let before = world.list("invokers").await;
    let many: Vec<_> = (0..300)
        .map(|number| json!({ "apiName": format!("a{number}") }))
        .collect();
    let information = &invoker.details["onboardingInformation"];
    let members = [
        json!([]),
        json!(null),
        json!("text"),
        json!({ "onboardingInformation": null }),
        json!({ "onboardingInformation": [] }),
        json!({ "onboardingInformation": {} }),
        json!({ "onboardingInformation": { "apiInvokerPublicKey": 1 } }),
        json!({ "onboardingInformation": { "apiInvokerPublicKey": "x".repeat(70_000) } }),
        json!({ "notificationDestination": null }),
        json!({ "notificationDestination": "javascript:alert(1)" }),
        json!({ "notificationDestination": 7 }),
        json!({ "apiList": null }),
        json!({ "apiList": { "serviceAPIDescriptions": [] } }),
        json!({ "apiList": { "serviceAPIDescriptions": many } }),
        json!({ "apiInvokerInformation": null }),
        json!({ "expTime": "tomorrow" }),
        json!({ "vendorSpecific-capif": "renewal" }),
        json!({ "vendorSpecific-capif": { "features": 1 } }),
        json!({ "vendorSpecific-capif": { "features": ["renewal"] }, "onboardingInformation": {
            "apiInvokerPublicKey": information["apiInvokerPublicKey"],
            "vendorSpecific-capif": { "renewal": "../../etc" },
        } }),
    ];
    for members in members {
        let mut whole = json!({
            "onboardingInformation": { "apiInvokerPublicKey": information["apiInvokerPublicKey"] },
            "notificationDestination": "https://invoker.example/notify",
        });
        match members.as_object() {
            Some(object) => {
                for (name, value) in object {
                    whole[name] = value.clone();
                }
            }
            None => whole = members.clone(),
        }
        for answer in [
            invoker.put(&path(&invoker), &whole).await,
            invoker.patch(&path(&invoker), &members).await,
        ] {
            let said = members.to_string().chars().take(80).collect::<String>();
            assert_eq!(
                answer.status,
                StatusCode::BAD_REQUEST,
                "{said}: {}",
                answer.json()
            );
            answer.cause();
        }
    }
    let deep = format!("{}1{}", "[".repeat(500), "]".repeat(500));
    for text in ["", "{", "{\"a\":1,\"a\":2}", &deep, "{} {}", "\u{feff}{}"] {
        for (method, media_type) in [
            (Method::PUT, "application/json"),
            (Method::PATCH, "application/merge-patch+json"),
        ] {
            let request = http::Request::builder()
                .method(method)
                .uri(path(&invoker))
                .header("content-type", media_type)
                .body(text.as_bytes().to_vec())
                .unwrap();
            let answer = invoker.caller.send(request).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{text:.20}");
            answer.cause();
        }
    }
    assert_eq!(world.list("invokers").await, before);
}

/// P-08, B-23: updates of one profile that come at once all happen, one after the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn updates_at_once_all_happen() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    domain.publish("weather", &["PKI"]).await;
    let invoker = updatable(&world).await;
    let changes = [
        json!({ "apiInvokerInformation": "one" }),
        json!({ "notificationDestination": "https://two.example" }),
        json!({ "expTime": "2999-01-01T00:00:00Z" }),
        json!({ "apiList": { "serviceAPIDescriptions": [{ "apiName": "weather" }, { "apiName": "later" }] } }),
    ];
    let target = path(&invoker);
    let tries = changes.iter().map(|change| invoker.patch(&target, change));
    for answer in futures_util::future::join_all(tries).await {
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    }
    let whole = invoker.patch(&target, &json!({})).await.json();
    for change in &changes[..3] {
        for (member, value) in change.as_object().unwrap() {
            assert_eq!(whole[member], *value);
        }
    }
}

/// B-23, P-08: an invoker that is offboarded while it negotiates, subscribes and asks for tokens leaves nothing behind, whoever comes
/// first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_race_with_offboarding_leaves_nothing_behind() {
    let world = Arc::new(World::start().await);
    let domain = world.domain("acme").await;
    domain.publish("weather", &["OAUTH"]).await;
    for round in 0..15 {
        let invoker = Arc::new(world.raw_invoker(&[]).await);
        let context = wishes(&[(&domain.aef.id, &["OAUTH"])]);
        assert_eq!(
            invoker.put(&invoker.context(), &context).await.status,
            StatusCode::CREATED
        );
        let subscription = json!({
            "events": ["SERVICE_API_AVAILABLE"], "notificationDestination": "https://127.0.0.1:1/events"
        });
        let requests = [
            request(Method::PUT, &invoker.context(), None, Some(&context)),
            request(
                Method::POST,
                &format!("{}/update", invoker.context()),
                None,
                Some(&context),
            ),
            request(
                Method::POST,
                &format!("/capif-events/v1/{}/subscriptions", invoker.id),
                None,
                Some(&subscription),
            ),
            request(Method::DELETE, &path(&invoker), None, None),
            request(Method::DELETE, &path(&invoker), None, None),
        ];
        let barrier = Arc::new(Barrier::new(requests.len() + 1));
        let mut tries = Vec::new();
        for request in requests {
            // Each on a connection of its own, which stands already.
            let caller = world.with_certificate(&invoker.pems);
            caller
                .json(Method::GET, "/.well-known/jwks.json", None)
                .await;
            let barrier = Arc::clone(&barrier);
            tries.push(tokio::spawn(async move {
                barrier.wait().await;
                caller.try_send(request).await
            }));
        }
        let by_operator = format!("/invokers/{}", invoker.id);
        barrier.wait().await;
        let (operator, _) = world.operator(Method::DELETE, &by_operator, None).await;
        let mut removed = usize::from(operator == StatusCode::NO_CONTENT);
        for (number, one) in tries.into_iter().enumerate() {
            // The connections of who is removed are closed, perhaps before an answer.
            let Some(answer) = one.await.unwrap() else {
                continue;
            };
            assert!(
                !answer.status.is_server_error(),
                "round {round}: {} {}",
                answer.status,
                answer.json()
            );
            removed += usize::from(number >= 3 && answer.status == StatusCode::NO_CONTENT);
        }
        assert!(removed <= 1, "round {round}: removed {removed} times");
        assert!(world.list("invokers").await.is_empty(), "round {round}");
        assert!(world.list("contexts").await.is_empty(), "round {round}");
        assert!(world.list("events").await.is_empty(), "round {round}");
    }
}
