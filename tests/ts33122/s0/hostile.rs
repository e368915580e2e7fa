//! What somebody can try who holds old material, or means ill with good material (S0): none of it may get him more, keep old
//! material alive, or cost the core function more than it is worth.

use capif_ccf::config::Overdue;
use http::{Method, StatusCode, header};
use serde_json::{Value, json};
use time::Duration;

use super::renewable::{
    VENDOR, ask, compromised, counts, renewable, renewable_with, renewal, renewed, resource, status,
};
use crate::support::{
    World, eventually, keys,
    people::{Party, enrolment},
};

/// Each certificate is a line of the revocation list for as long as it would have lived: nobody gets them without end. What was
/// handed over is given again all the same, and time brings more.
#[tokio::test]
async fn certificates_are_not_given_without_end() {
    let world = World::start().await;
    let amy = renewable(&world).await;
    let mut last = None;
    let mut count = 0;
    let refused = loop {
        let key = keys::p256();
        let body = json!({ "onboardingInformation": {
            "apiInvokerPublicKey": keys::request(&key),
            VENDOR: { "renewal": format!("r{count}") },
        } });
        let answer = amy.patch(&resource(&amy), &body).await;
        if answer.status != StatusCode::OK {
            break answer;
        }
        last = Some((body, answer.json()));
        count += 1;
        assert!(count < 100, "no end to it");
    };
    assert_eq!(refused.status, StatusCode::TOO_MANY_REQUESTS);
    let wait: i64 = refused.headers[header::RETRY_AFTER]
        .to_str()
        .unwrap()
        .parse()
        .unwrap();
    assert!(wait <= 301, "{wait}");
    assert_eq!(count, 60);

    let (body, answered) = last.unwrap();
    let again = amy.patch(&resource(&amy), &body).await;
    assert_eq!(again.status, StatusCode::OK);
    assert_eq!(again.json(), answered);
    let bob = renewable(&world).await;
    assert_eq!(renewal(&bob, "r").await.0.status, StatusCode::OK);
    world.clock.advance(Duration::seconds(wait));
    assert_eq!(renewal(&amy, "later").await.0.status, StatusCode::OK);
    assert_eq!(
        renewal(&amy, "too-soon").await.0.status,
        StatusCode::TOO_MANY_REQUESTS
    );
}

/// The same for the functions of a provider, all together.
#[tokio::test]
async fn a_provider_is_not_given_certificates_without_end() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let mut functions = domain.details["apiProvFuncs"].clone();
    let mut rounds = 0;
    loop {
        for function in functions.as_array_mut().unwrap() {
            function["regInfo"] = json!({ "apiProvPubKey": keys::request(&keys::p256()) });
        }
        let body = json!({ "apiProvFuncs": functions });
        let answer = domain.amf.patch(&domain.path(), &body).await;
        if answer.status == StatusCode::TOO_MANY_REQUESTS {
            assert!(answer.headers.contains_key(header::RETRY_AFTER));
            break;
        }
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
        rounds += 1;
        assert!(rounds < 200, "no end to it");
    }
    assert_eq!(counts(&world, &domain.amf).await, StatusCode::OK);
}

/// The AMF in a compromise may renew and nothing else, by no operation: whoever holds its old key leaves no function out, brings
/// none in, and certifies none while it keeps its own certificate.
#[tokio::test]
async fn a_compromised_amf_changes_nothing_but_its_certificate() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let thief = compromised(&world, &domain.amf).await;
    let all = domain.details["apiProvFuncs"].clone();
    let place = |id: &str| {
        let mut functions = all.as_array().unwrap().iter();
        functions
            .position(|held| held["apiProvFuncId"] == id)
            .unwrap()
    };
    let new_key = || json!({ "apiProvPubKey": keys::request(&keys::p256()) });

    let amf_alone = json!([all[place(&domain.amf.id)]]);
    let mut another_aef = all.clone();
    another_aef[place(&domain.aef.id)]["regInfo"] = new_key();
    let mut renewed_amf_alone = amf_alone.clone();
    renewed_amf_alone[0]["regInfo"] = new_key();
    let mut one_more = all.clone();
    one_more[place(&domain.amf.id)]["regInfo"] = new_key();
    one_more
        .as_array_mut()
        .unwrap()
        .push(json!({ "regInfo": new_key(), "apiProvFuncRole": "AMF" }));
    for functions in [
        amf_alone,
        all.clone(),
        another_aef,
        renewed_amf_alone,
        one_more,
    ] {
        for method in [Method::PATCH, Method::PUT] {
            let body = json!({ "apiProvFuncs": functions, "regSec": "none" });
            let answer = match method {
                Method::PUT => thief.put(&domain.path(), &body).await,
                _ => {
                    let body = json!({ "apiProvFuncs": functions });
                    thief.patch(&domain.path(), &body).await
                }
            };
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{functions}");
            assert_eq!(answer.cause(), "RENEWAL_REQUIRED", "{functions}");
        }
    }
    let bare = thief
        .patch(&domain.path(), &json!({ "apiProvDomInfo": "mine" }))
        .await;
    assert_eq!(bare.cause(), "RENEWAL_REQUIRED");
    for function in [&domain.apf, &domain.aef] {
        assert_eq!(counts(&world, function).await, StatusCode::OK);
    }

    // The old key is good for no certificate, not for other hosts either.
    let mut hosts = all.clone();
    hosts[place(&domain.amf.id)][VENDOR] = json!({ "hosts": ["amf.example"] });
    let answer = thief
        .patch(&domain.path(), &json!({ "apiProvFuncs": hosts }))
        .await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.json());

    let mut renewed = all.clone();
    renewed[place(&domain.amf.id)]["regInfo"] = new_key();
    let body = json!({ "apiProvFuncs": renewed });
    let answer = thief.patch(&domain.path(), &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    let again = thief.patch(&domain.path(), &body).await;
    assert_eq!(again.json(), answer.json());
}

/// Where the overdue are offboarded, so are those who could do nothing but renew already.
#[tokio::test]
async fn who_is_compromised_and_does_not_follow_is_offboarded_too() {
    let world = World::with(|config| config.renewal.overdue = Overdue::Offboard).await;
    let amy = renewable(&world).await;
    let body = json!({ "ids": [amy.id], "compromise": true, "withinSeconds": 3600 });
    assert_eq!(ask(&world, body).await.0, StatusCode::OK);
    world.clock.advance(Duration::minutes(59));
    assert_eq!(counts(&world, &amy).await, StatusCode::OK);
    world.clock.advance(Duration::minutes(1));
    eventually("the invoker is offboarded", || async {
        world.list("invokers").await.is_empty()
    })
    .await;
    assert_eq!(counts(&world, &amy).await, StatusCode::UNAUTHORIZED);
}

/// A token that was got just before a renewal is over with the overlap, however long tokens may be.
#[tokio::test]
async fn no_token_outlives_the_overlap() {
    let world = World::with(|config| {
        config.security.token_seconds = 86_400;
        config.renewal.overlap_minutes = 10;
    })
    .await;
    let domain = world.domain("acme").await;
    domain.publish("weather", &["OAUTH"]).await;
    let amy = renewable(&world).await;
    let answer = amy.negotiate(&domain.aef.id, &["OAUTH"]).await;
    assert_eq!(answer.status, StatusCode::CREATED);
    let token = amy.token(None).await;
    assert_eq!(token.status, StatusCode::OK);
    assert_eq!(token.json()["expires_in"], 600);
    let next = renewed(&world, &amy, "r").await;
    assert_eq!(counts(&world, &next).await, StatusCode::OK);
    let bob = world.raw_invoker(&[]).await;
    bob.negotiate(&domain.aef.id, &["OAUTH"]).await;
    let token = bob.token(None).await;
    assert_eq!(
        token.json()["expires_in"],
        86_400,
        "nothing of his is replaced"
    );
}

/// Somebody else's renewal cannot be asked for again: not by his id, and not by another invoker with the same words.
#[tokio::test]
async fn nobody_else_is_given_the_answer_again() {
    let world = World::start().await;
    let [amy, bob] = [renewable(&world).await, renewable(&world).await];
    let key = keys::p256();
    let body = json!({ "onboardingInformation": {
        "apiInvokerPublicKey": keys::request(&key),
        VENDOR: { "renewal": "the-same" },
    } });
    let answer = amy.patch(&resource(&amy), &body).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(
        bob.patch(&resource(&amy), &body).await.status,
        StatusCode::FORBIDDEN
    );
    let own = bob.patch(&resource(&bob), &body).await;
    let secret = |answer: &Value| answer["onboardingInformation"]["onboardingSecret"].clone();
    assert_ne!(secret(&own.json()), secret(&answer.json()));
    assert_eq!(own.json()["apiInvokerId"], bob.id.as_str());

    let taken = json!({ "onboardingInformation": {
        "apiInvokerPublicKey": keys::request(&keys::p256()),
        VENDOR: { "renewal": "the-same" },
    } });
    let refused = amy.patch(&resource(&amy), &taken).await;
    assert!(refused.status.is_client_error(), "{}", refused.json());
    let told = refused.json().to_string();
    assert!(!told.contains(secret(&answer.json()).as_str().unwrap()));
}

/// Bodies that nobody would send are refused or understood; none is a fault of the core function, and none changes who counts.
#[tokio::test]
async fn odd_bodies_are_no_fault_of_the_core_function() {
    let world = World::start().await;
    let amy = renewable_with(&world, |body| {
        body["expTime"] = json!("9999-12-31T23:59:59.999999999-23:59");
    })
    .await;
    let request = keys::request(&keys::p256());
    let information = |vendor: Value| json!({ "onboardingInformation": { "apiInvokerPublicKey": request, VENDOR: vendor } });
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    let bodies = [
        json!({}),
        json!([]),
        json!(null),
        json!("text"),
        json!({ "onboardingInformation": null }),
        json!({ "onboardingInformation": [] }),
        json!({ "onboardingInformation": { "apiInvokerPublicKey": null } }),
        json!({ "onboardingInformation": { "apiInvokerPublicKey": "" } }),
        json!({ "onboardingInformation": { "apiInvokerPublicKey": "x".repeat(500_000) } }),
        information(json!(null)),
        information(json!([])),
        information(json!({ "renewal": null })),
        information(json!({ "renewal": 1 })),
        information(json!({ "renewal": "" })),
        information(json!({ "renewal": "a b" })),
        information(json!({ "renewal": "a".repeat(65) })),
        information(json!({ "renewal": "é" })),
        information(json!({ "renewal": "r", "overlapSeconds": -1 })),
        information(json!({ "renewal": "r", "certificateExpires": "never" })),
        json!({ VENDOR: null }),
        json!({ VENDOR: [] }),
        json!({ VENDOR: { "features": null } }),
        json!({ VENDOR: { "features": "renewal" } }),
        json!({ VENDOR: { "features": vec!["renewal"; 17] } }),
        json!({ VENDOR: { "features": [], "attempt": "x", "more": deep } }),
        json!({ VENDOR: { "trust": { "anchors": "none" } } }),
        json!({ "expTime": null }),
        json!({ "expTime": 1 }),
        json!({ "expTime": "0000-01-01T00:00:00+23:59" }),
        json!({ "expTime": "9999-12-31T23:59:59.999999999-23:59" }),
        json!({ "expTime": "9999-12-31T23:59:60Z" }),
        json!({ "supportedFeatures": "F".repeat(1000) }),
        json!({ "supportedFeatures": null }),
        json!({ "apiInvokerId": null, "notificationDestination": null }),
    ];
    for body in bodies {
        for method in [Method::PATCH, Method::PUT] {
            let mut body = body.clone();
            if let (&Method::PUT, Some(members)) = (&method, body.as_object_mut()) {
                members
                    .entry("notificationDestination")
                    .or_insert(json!("https://invoker.example"));
            }
            let answer = match method {
                Method::PUT => amy.put(&resource(&amy), &body).await,
                _ => amy.patch(&resource(&amy), &body).await,
            };
            let text = body.to_string();
            let shown = text.get(..200).unwrap_or(&text);
            assert!(
                answer.status.is_success() || answer.status.is_client_error(),
                "{method} {shown}: {}",
                answer.status
            );
            assert_eq!(counts(&world, &amy).await, StatusCode::OK, "{shown}");
        }
    }
    status(&amy).await;
    let path = format!("/capif-renewal/v1/{}", amy.id);
    for query in ["?a=1", "?entityId=INV0", "?a=1&a=2"] {
        let answer = amy.get(&format!("{path}{query}")).await;
        assert!(!answer.status.is_server_error(), "{query}");
    }
}

/// A demand in a compromise takes everything at once from connections that stand open, also those of HTTP/2, and from a
/// negotiation of before; what is left is to renew, and a new key is asked for.
#[tokio::test]
async fn a_compromise_leaves_the_renewal_alone() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    domain.publish("weather", &["OAUTH", "PSK"]).await;
    let amy = renewable(&world).await;
    assert_eq!(
        amy.negotiate(&domain.aef.id, &["PSK"]).await.status,
        StatusCode::CREATED
    );
    // Handed over and never used: whoever holds it has no more than the rest.
    let pending = renewed(&world, &amy, "pending").await;
    ask(&world, json!({ "ids": [amy.id], "compromise": true })).await;
    let context = format!(
        "{}?authenticationInfo=true&authorizationInfo=true",
        amy.context()
    );
    let told = domain.aef.get(&context).await;
    assert_eq!(told.status, StatusCode::NOT_FOUND);
    for party in [&amy, &pending] {
        let caller = Party {
            caller: world.with_certificate(&party.pems),
            ..party.party.clone()
        };
        assert_eq!(status(&caller).await["demand"]["reason"], "COMPROMISE");
        let wishes = crate::support::people::wishes(&[(&domain.aef.id, &["PSK", "OAUTH"])]);
        let answer = caller.put(&amy.context(), &wishes).await;
        assert_eq!(answer.cause(), "RENEWAL_REQUIRED");
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", amy.id.as_str()),
            ("client_secret", party.secret.as_deref().unwrap()),
        ];
        let answer = caller.caller.form(&amy.token_path(), &form).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
        // Neither the answer of before nor another certificate for the old key.
        for name in ["pending", "another"] {
            let body = json!({ "onboardingInformation": {
                "apiInvokerPublicKey": party.details["onboardingInformation"]["apiInvokerPublicKey"],
                VENDOR: { "renewal": name },
            } });
            let answer = caller.patch(&resource(&amy), &body).await;
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.json());
        }
    }
    let caller = Party {
        caller: world.with_certificate(&amy.pems),
        ..amy.party.clone()
    };
    let next = renewed(&world, &caller, "after").await;
    assert_eq!(counts(&world, &next).await, StatusCode::OK);
    for party in [&amy, &pending] {
        assert_eq!(counts(&world, party).await, StatusCode::UNAUTHORIZED);
    }
    let told = domain.aef.get(&context).await;
    assert_eq!(told.status, StatusCode::OK);
    let text = told.json().to_string();
    assert!(
        !text.contains("\\\"psk\\\""),
        "the key of before is gone: {text}"
    );
}

/// The answer to an onboarding is given again after a restart as well, but not once what was handed out may be in other hands, nor
/// when the invoker is gone: the credential, its name and the request are then good for nothing.
#[tokio::test]
async fn an_onboarding_is_not_repeated_for_a_thief() {
    let mut world = World::start().await;
    for compromise in [true, false] {
        let credential = world.credential(&[]).await;
        let mut body = enrolment(&keys::request(&keys::p256()));
        body[VENDOR] = json!({ "attempt": "a-1", "features": ["renewal"] });
        let first = world.onboard(&credential, &body).await;
        assert_eq!(first.status, StatusCode::CREATED, "{}", first.json());
        world.stop().await;
        world.resume().await;
        let again = world.onboard(&credential, &body).await;
        assert_eq!(again.status, StatusCode::CREATED, "{}", again.json());
        assert_eq!(again.json(), first.json());

        let id = first.json()["apiInvokerId"].clone();
        if compromise {
            ask(&world, json!({ "ids": [id], "compromise": true })).await;
        } else {
            let path = format!("/invokers/{}", id.as_str().unwrap());
            let (code, _) = world.operator(Method::DELETE, &path, None).await;
            assert!(code.is_success(), "{code}");
        }
        let late = world.onboard(&credential, &body).await;
        assert_eq!(late.status, StatusCode::UNAUTHORIZED, "{}", late.json());
        let secret = first.json()["onboardingInformation"]["onboardingSecret"].clone();
        let told = late.json().to_string();
        assert!(!told.contains(secret.as_str().unwrap()));
    }
}
