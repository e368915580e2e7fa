//! Method 1: keys derived from the negotiation (TS 33.122 clauses 6.5.2.1 and A.1).

use capif_client::{Error, ErrorKind, Invoker, Wish};
use capif_spec::{publish_service::SecurityMethod, vendor::PskProfile};
use capif_transport::{Body, empty};
use http::{Request, Response, StatusCode};
use serde_json::{Value, json};
use time::Duration;

use crate::world::{AEF, API_ID, INVOKER, World, answer, problem};

const PATH: &str = "/weather/v1/today";
const CHECK: &str = "/aef-security/v1/check-authentication";
const CONTEXT: &str = "/capif-security/v1/trustedInvokers/invoker-1";
const UPDATE: &str = "/capif-security/v1/trustedInvokers/invoker-1/update";

async fn world() -> World {
    let world = World::new().await;
    world.facts.lock().unwrap().method = Some("PSK");
    world
}

async fn try_call(invoker: &Invoker) -> Result<Response<Body>, Error> {
    let request = Request::get(PATH).body(empty()).unwrap();
    invoker.call("weather", request).await
}

async fn call(invoker: &Invoker) {
    assert_eq!(try_call(invoker).await.unwrap().status(), StatusCode::OK);
}

/// By which keys the API was called.
fn used(world: &World) -> Vec<Option<String>> {
    let calls = world
        .aef
        .seen()
        .into_iter()
        .filter(|seen| seen.path == PATH);
    calls.map(|seen| seen.key).collect()
}

fn identity(number: u64) -> Option<String> {
    Some(format!("3GPP-CAPIF.{INVOKER}.{number}"))
}

#[tokio::test]
async fn a_call_goes_by_a_key_that_never_travelled() {
    let world = world().await;
    let invoker = world.onboarded().await;
    call(&invoker).await;
    call(&invoker).await;
    assert_eq!(used(&world), [identity(1), identity(1)]);
    let seen = world.aef.seen();
    // The AEF heard beforehand who is coming, once and from nobody in particular.
    assert!(seen[0].is("POST", CHECK));
    assert_eq!((&seen[0].peer, &seen[0].key), (&None, &None));
    assert_eq!(
        seen[0].json(),
        json!({ "apiInvokerId": INVOKER, "supportedFeatures": "0" })
    );
    assert_eq!(world.aef.count("POST", CHECK), 1);
    assert_eq!(seen[1].header("authorization"), None);
    assert_eq!(seen[1].peer, None);
    assert_eq!(world.ccf.count("PUT", CONTEXT), 1);
    assert_eq!(world.ccf.count("POST", UPDATE), 0);

    // It is shown by its name alone.
    let agreed = invoker.agreements();
    assert_eq!(agreed.len(), 1);
    let key = agreed[0].psk.as_ref().unwrap();
    assert_eq!(Some(&key.identity), identity(1).as_ref());
    assert_eq!(key.interface, format!("https://{}", world.aef.address));
    assert_eq!(key.profile, PskProfile::A1Exporter);
    let secret = held_keys(&world)[0]["key"].as_str().unwrap().to_owned();
    assert_eq!(secret.len(), 43);
    for text in [
        format!("{agreed:?} {invoker:?}"),
        serde_json::to_string(&invoker.security_context()).unwrap(),
    ] {
        assert!(!text.contains(&secret), "{text}");
    }
    for seen in world.ccf.seen() {
        assert!(!String::from_utf8_lossy(&seen.body).contains(&secret));
    }
}

fn held_keys(world: &World) -> Vec<Value> {
    let (_, state) = world
        .files()
        .into_iter()
        .find(|(name, _)| name == "capif-invoker.json")
        .unwrap();
    let state: Value = serde_json::from_str(&state).unwrap();
    state["onboarded"]["keys"].as_array().unwrap().clone()
}

#[tokio::test]
async fn a_later_process_uses_the_key_that_was_kept() {
    let world = world().await;
    let invoker = world.onboarded().await;
    call(&invoker).await;
    drop(invoker);
    world.ccf.forget();
    world.aef.forget();
    let later = Invoker::open(world.keystore(), world.clock())
        .await
        .unwrap();
    call(&later).await;
    assert_eq!(used(&world), [identity(1)]);
    assert_eq!(world.aef.count("POST", CHECK), 0);
    assert_eq!(world.ccf.count("POST", UPDATE), 0);
}

#[tokio::test]
async fn nothing_depends_on_the_announcement() {
    let world = world().await;
    let invoker = world.onboarded().await;
    world.aef.script(|seen| {
        if seen.path == CHECK {
            problem(501, "not served")
        } else {
            answer(200, &json!({}))
        }
    });
    call(&invoker).await;
    assert_eq!(used(&world), [identity(1)]);
}

#[tokio::test]
async fn each_negotiation_brings_another_key() {
    let world = world().await;
    let invoker = world.onboarded().await;
    for number in 1..=3 {
        invoker.negotiate(&[Wish::at(AEF.into())]).await.unwrap();
        call(&invoker).await;
        assert_eq!(used(&world).last(), Some(&identity(number)));
    }
    let keys = world.keys.0.lock().unwrap();
    let mut octets: Vec<_> = keys.values().map(|key| *key.expose()).collect();
    octets.sort_unstable();
    octets.dedup();
    assert_eq!(octets.len(), 3);
    // Those that were replaced are not kept.
    assert_eq!(held_keys(&world).len(), 1);
}

#[tokio::test]
async fn the_literal_profile_is_derived_over_tls_1_2() {
    let world = world().await;
    let invoker = world.onboarded().await;
    let literal = Wish {
        preferred: vec![SecurityMethod::Psk],
        profile: Some(PskProfile::A1Tls12),
        ..Wish::at(AEF.into())
    };
    invoker.negotiate(&[literal]).await.unwrap();
    call(&invoker).await;
    assert_eq!(used(&world), [identity(1)]);
    let key = invoker.agreements().remove(0).psk.unwrap();
    assert_eq!(key.profile, PskProfile::A1Tls12);
    // It is wished for again whenever wishes are repeated.
    invoker
        .negotiate(&[Wish {
            api_id: Some(API_ID.into()),
            ..Wish::at(AEF.into())
        }])
        .await
        .unwrap();
    let sent = world
        .ccf
        .seen()
        .into_iter()
        .rfind(|seen| seen.is("POST", UPDATE));
    assert_eq!(
        sent.unwrap().json()["securityInfo"],
        json!([
            { "aefId": AEF, "apiId": API_ID, "prefSecurityMethods": ["PKI", "OAUTH", "PSK"] },
            {
                "aefId": AEF,
                "prefSecurityMethods": ["PSK"],
                "vendorSpecific-capif": { "pskProfile": "a1-tls12" },
            },
        ])
    );
    call(&invoker).await;
}

#[tokio::test]
async fn what_does_not_fit_is_refused_and_not_kept() {
    let world = world().await;
    let invoker = world.onboarded().await;
    type Alteration = fn(&mut Value);
    let alterations: [(Alteration, &str); 14] = [
        (|value| value["profile"] = json!("a2"), "profile"),
        (|value| value["profile"] = json!("a1-tls12"), "TLS 1.2"),
        (|value| value["method"] = json!("PKI"), "another method"),
        (
            |value| value["pskId"] = json!("3GPP-CAPIF.invoker-2.1"),
            "this invoker",
        ),
        (|value| value["pskId"] = json!("invoker-1"), "this invoker"),
        (
            |value| value["pskId"] = json!("3GPP-CAPIF.invoker-1.01"),
            "this invoker",
        ),
        (|value| value["exp"] = json!(1_000), "expired"),
        (|value| value["exp"] = json!("tomorrow"), "cannot be read"),
        (|value| value["tls"] = json!("1.1"), "TLS"),
        (
            |value| value["interface"] = json!("https://127.0.0.1:1"),
            "interface",
        ),
        (
            |value| value["interface"] = json!("https://evil.example:443"),
            "interface",
        ),
        (
            |value| drop(value.as_object_mut().unwrap().remove("pskId")),
            "cannot be read",
        ),
        (
            |value| drop(value.as_object_mut().unwrap().remove("interface")),
            "cannot be read",
        ),
        (|value| *value = json!("PSK"), "cannot be read"),
    ];
    for (altered, word) in alterations {
        world.facts.lock().unwrap().altered = altered;
        let error = invoker
            .negotiate(&[Wish::at(AEF.into())])
            .await
            .unwrap_err();
        assert!(matches!(error, Error::BadAnswer { .. }), "{word}: {error}");
        assert!(error.to_string().contains(word), "{word}: {error}");
        let agreed = invoker.agreements();
        assert_eq!(
            (&agreed[0].method, &agreed[0].psk),
            (&None, &None),
            "{word}"
        );
        assert_eq!(held_keys(&world), [Value::Null; 0], "{word}");
        let error = try_call(&invoker).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Network, "{word}: {error}");
    }
    assert!(used(&world).is_empty());
}

/// Another profile than the one asked for is refused even where it could be derived.
#[tokio::test]
async fn only_the_profile_that_was_asked_for_is_taken() {
    let world = world().await;
    let invoker = world.onboarded().await;
    world.facts.lock().unwrap().altered = |value| value["profile"] = json!("a1-exporter");
    let literal = Wish {
        profile: Some(PskProfile::A1Tls12),
        ..Wish::at(AEF.into())
    };
    let error = invoker.negotiate(&[literal]).await.unwrap_err();
    assert!(error.to_string().contains("than was asked for"), "{error}");
    // The wish itself is kept, and serves as soon as the answer does.
    world.facts.lock().unwrap().altered = |_| {};
    call(&invoker).await;
    let agreed = invoker.agreements();
    assert_eq!(agreed[0].psk.as_ref().unwrap().profile, PskProfile::A1Tls12);
}

#[tokio::test]
async fn a_key_that_was_selected_without_a_word_is_refused() {
    let world = world().await;
    let invoker = world.onboarded().await;
    world.unusual(|seen| {
        let mut security: Value = serde_json::from_slice(&seen.body).ok()?;
        security["securityInfo"][0]["selSecurityMethod"] = json!("PSK");
        (seen.path == CONTEXT).then(|| answer(201, &security))
    });
    let error = try_call(&invoker).await.unwrap_err();
    assert!(error.to_string().contains("says nothing"), "{error}");
}

/// D-06: an AEF with several interfaces is answered by one entry for each.
#[tokio::test]
async fn entries_are_divided_by_interface() {
    let world = world().await;
    let invoker = world.onboarded().await;
    world.facts.lock().unwrap().divided = true;
    call(&invoker).await;
    assert_eq!(used(&world), [identity(1)]);
    let agreed = invoker.agreements();
    let methods: Vec<_> = agreed.iter().map(|one| one.method.clone()).collect();
    assert_eq!(
        methods,
        [Some(SecurityMethod::Oauth), Some(SecurityMethod::Psk)]
    );
    assert!(agreed.iter().all(|one| one.aef_id == Some(AEF.into())));
    // The wish is repeated by AEF, once.
    invoker
        .negotiate(&[Wish {
            preferred: vec![SecurityMethod::Oauth],
            ..Wish::at(AEF.into())
        }])
        .await
        .unwrap();
    let sent = world
        .ccf
        .seen()
        .into_iter()
        .rfind(|seen| seen.is("POST", UPDATE));
    assert_eq!(
        sent.unwrap().json()["securityInfo"],
        json!([
            { "aefId": AEF, "prefSecurityMethods": ["OAUTH"] },
            { "aefId": AEF, "apiId": API_ID, "prefSecurityMethods": ["PKI", "OAUTH", "PSK"] },
        ])
    );
}

/// Keys of one negotiation differ by interface alone: two AEFs that claim the same one would hold the same key.
#[tokio::test]
async fn two_aefs_do_not_share_a_key() {
    let world = world().await;
    let invoker = world.onboarded().await;
    let port = world.aef.port;
    world.unusual(move |seen| {
        seen.path.ends_with("aef-id=aef-2").then(|| {
            answer(
                200,
                &json!({ "serviceAPIDescriptions": [{
                    "apiName": "other",
                    "aefProfiles": [{
                        "aefId": "aef-2",
                        "versions": [{ "apiVersion": "v1" }],
                        "interfaceDescriptions": [{ "ipv4Addr": "127.0.0.1", "port": port }],
                    }],
                }]}),
            )
        })
    });
    let both = [Wish::at(AEF.into()), Wish::at("aef-2".into())];
    let error = invoker.negotiate(&both).await.unwrap_err();
    assert!(error.to_string().contains("same interface"), "{error}");
    assert_eq!(held_keys(&world), [Value::Null; 0]);
    assert!(invoker.agreements().iter().all(|one| one.method.is_none()));
}

/// D-07: a key is replaced before it ends, and meanwhile stays in use.
#[tokio::test]
async fn a_key_is_renewed_before_it_ends() {
    let world = world().await;
    let invoker = world.onboarded().await;
    call(&invoker).await;
    // A tenth of the day is left at 21:36.
    world.clock.advance(Duration::minutes(21 * 60 + 35));
    call(&invoker).await;
    assert_eq!(world.ccf.count("POST", UPDATE), 0);
    world.clock.advance(Duration::minutes(2));
    // As long as it is good, a failure to renew it is no failure of the call.
    world.unusual(|seen| (seen.path == UPDATE).then(|| problem(503, "busy")));
    call(&invoker).await;
    call(&invoker).await;
    // And is not tried again at once.
    assert_eq!(world.ccf.count("POST", UPDATE), 1);
    assert_eq!(used(&world).last(), Some(&identity(1)));

    world.as_usual();
    let later = Invoker::open(world.keystore(), world.clock())
        .await
        .unwrap();
    call(&later).await;
    assert_eq!(used(&world).last(), Some(&identity(2)));
    call(&later).await;
    assert_eq!(world.ccf.count("POST", UPDATE), 2);
    // The other process takes up what this one agreed on.
    world.clock.advance(Duration::hours(3));
    call(&invoker).await;
    assert_eq!(used(&world).last(), Some(&identity(2)));
    assert_eq!(world.ccf.count("POST", UPDATE), 2);
}

#[tokio::test]
async fn an_expired_key_is_not_used() {
    let world = world().await;
    let invoker = world.onboarded().await;
    call(&invoker).await;
    world.clock.advance(Duration::hours(24));
    world.unusual(|seen| (seen.path == UPDATE).then(|| problem(503, "busy")));
    try_call(&invoker).await.unwrap_err();
    assert_eq!(used(&world).len(), 1);
    world.as_usual();
    call(&invoker).await;
    assert_eq!(used(&world), [identity(1), identity(2)]);
}

#[tokio::test]
async fn a_short_life_does_not_make_it_ask_at_each_call() {
    let world = world().await;
    world.facts.lock().unwrap().key_seconds = 60;
    let invoker = world.onboarded().await;
    for _ in 0..10 {
        call(&invoker).await;
    }
    assert_eq!(world.ccf.count("POST", UPDATE), 0);
    world.clock.advance(Duration::seconds(30));
    call(&invoker).await;
    assert_eq!(world.ccf.count("POST", UPDATE), 1);
}

#[tokio::test]
async fn leaving_erases_the_key() {
    let world = world().await;
    let invoker = world.onboarded().await;
    call(&invoker).await;
    invoker.offboard().await.unwrap();
    assert!(!world.folder().exists());
}
