//! Selection of the method for CAPIF-2/2e (R-6.3-05 to R-6.3-08, R-6.3-13, D-34 to D-36; TS 29.222 clauses 5.6.2.2 and 8.5).

use capif_spec::publish_service::SecurityMethod;
use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{
    World, eventually,
    people::{Domain, RawInvoker, profile, wishes},
};

/// Publishes an API with these AEF profiles.
async fn publish(domain: &Domain, api: &str, profiles: Value) -> String {
    let body = json!({ "apiName": api, "aefProfiles": profiles });
    let answer = domain.apf.post(&domain.apis(), &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    answer.json()["apiId"].as_str().unwrap().to_owned()
}

async fn selected(invoker: &RawInvoker, entry: Value) -> Value {
    let body = json!({
        "securityInfo": [entry],
        "notificationDestination": "https://invoker.example/notify",
        "supportedFeatures": "4",
    });
    let answer = invoker.put(&invoker.context(), &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    answer.json()["securityInfo"][0].clone()
}

/// R-6.3-07, D-35, D-36: the method is the first of the operator's order that the invoker prefers and the AEF accepts; if there is
/// none, the entry is answered without one, which is no error.
#[tokio::test]
async fn the_method_is_in_every_partys_set_and_first_in_the_operators_order() {
    for order in [
        &[SecurityMethod::Pki, SecurityMethod::Oauth][..],
        &[SecurityMethod::Oauth, SecurityMethod::Pki],
        &[SecurityMethod::Oauth],
        &[SecurityMethod::Pki, SecurityMethod::Psk],
    ] {
        let world = World::with(|config| config.security.methods = order.to_vec()).await;
        let domain = world.domain("acme").await;
        let invoker = world.raw_invoker(&[]).await;
        let id = publish(
            &domain,
            "weather",
            json!([profile(&domain.aef.id, &["PKI"])]),
        )
        .await;
        let sets: [&[&str]; 6] = [
            &["PKI"],
            &["OAUTH"],
            &["PSK"],
            &["PKI", "OAUTH"],
            &["OAUTH", "PKI"],
            &["PSK", "OAUTH", "FUTURE"],
        ];
        for offered in sets {
            let body =
                json!({ "apiName": "weather", "aefProfiles": [profile(&domain.aef.id, offered)] });
            let answer = domain
                .apf
                .put(&format!("{}/{id}", domain.apis()), &body)
                .await;
            assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
            for preferred in sets {
                let expected = order
                    .iter()
                    .map(SecurityMethod::as_str)
                    .find(|method| offered.contains(method) && preferred.contains(method));
                let entry = json!({ "aefId": domain.aef.id, "prefSecurityMethods": preferred });
                let answer = selected(&invoker, entry).await;
                let case = format!("{order:?} {offered:?} {preferred:?}");
                assert_eq!(
                    answer.get("selSecurityMethod").and_then(Value::as_str),
                    expected,
                    "{case}"
                );
                assert_eq!(answer["prefSecurityMethods"], json!(preferred), "{case}");
                assert_eq!(answer["aefId"], domain.aef.id.as_str());
                // Before the AEF asks, the invoker learns the method and no key (D-08, D-09).
                let information = answer
                    .get("authenticationInfo")
                    .map(|text| serde_json::from_str::<Value>(text.as_str().unwrap()).unwrap());
                if expected == Some("PSK") {
                    let information = information.unwrap();
                    assert_eq!(information["method"], "PSK");
                    assert!(information.get("psk").is_none());
                } else {
                    assert_eq!(
                        information,
                        expected.map(|method| json!({ "method": method })),
                        "{case}"
                    );
                }
                assert!(answer.get("authorizationInfo").is_none(), "{case}");
            }
        }
    }
}

/// D-34: what an interface says wins over its profile; an entry for the whole AEF needs a method that every interface accepts, an
/// entry for one interface only that one's.
#[tokio::test]
async fn what_an_interface_accepts_wins_over_its_profile() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let invoker = world.raw_invoker(&[]).await;
    let inner = json!({ "ipv4Addr": "192.0.2.1", "port": 443 });
    let outer = json!({ "fqdn": "gw.example", "apiPrefix": "/outer" });
    let with = |interface: &Value, methods: &[&str]| {
        let mut interface = interface.clone();
        interface["securityMethods"] = json!(methods);
        interface
    };
    let mut both = profile(&domain.aef.id, &["PKI"]);
    both["interfaceDescriptions"] = json!([inner, with(&outer, &["OAUTH"])]);
    publish(&domain, "weather", json!([both])).await;

    let any = json!(["PKI", "OAUTH"]);
    let of =
        |interface: &Value| json!({ "interfaceDetails": interface, "prefSecurityMethods": any });
    let answer = selected(&invoker, of(&inner)).await;
    assert_eq!(answer["selSecurityMethod"], "PKI");
    assert_eq!(answer["interfaceDetails"], inner);
    assert!(answer.get("aefId").is_none());
    assert_eq!(
        selected(&invoker, of(&outer)).await["selSecurityMethod"],
        "OAUTH"
    );
    let whole = json!({ "aefId": domain.aef.id, "prefSecurityMethods": any });
    assert!(
        selected(&invoker, whole)
            .await
            .get("selSecurityMethod")
            .is_none(),
        "no method that both accept"
    );

    // An interface that nobody published is out of reach; so is one that differs in a detail.
    for change in [
        ("port", json!(444)),
        ("apiPrefix", json!("/")),
        ("ipv4Addr", json!("192.0.2.2")),
    ] {
        let mut other = inner.clone();
        other[change.0] = change.1;
        let body = json!({ "securityInfo": [of(&other)], "notificationDestination": "https://invoker.example/" });
        let answer = invoker.put(&invoker.context(), &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{other}");
        assert_eq!(answer.cause(), "MANDATORY_IE_INCORRECT");
    }
}

/// TS 29.222 table 8.5.6-1: with the feature SecurityInfoPerAPI an entry can name one API and is answered with it; without the
/// feature the member is ignored.
#[tokio::test]
async fn entries_name_single_apis_where_the_feature_is_agreed_on() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let invoker = world.raw_invoker(&[]).await;
    let weather = domain.publish("weather", &["PKI"]).await;
    let traffic = domain.publish("traffic", &["OAUTH"]).await;
    let entry = |api: &str| json!({ "aefId": domain.aef.id, "apiId": api, "prefSecurityMethods": ["PKI", "OAUTH"] });
    let mut body = json!({
        "securityInfo": [entry(&weather), entry(&traffic)],
        "notificationDestination": "https://invoker.example/",
        "supportedFeatures": "fF",
    });
    let answer = invoker.put(&invoker.context(), &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let answered = answer.json();
    assert_eq!(answered["supportedFeatures"], "7");
    for (index, (api, method)) in [(&weather, "PKI"), (&traffic, "OAUTH")]
        .into_iter()
        .enumerate()
    {
        assert_eq!(answered["securityInfo"][index]["apiId"], api.as_str());
        assert_eq!(answered["securityInfo"][index]["selSecurityMethod"], method);
    }
    // An API of no AEF in reach.
    body["securityInfo"][1]["apiId"] = json!("API0");
    let answer = invoker.put(&invoker.context(), &body).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);

    body["securityInfo"] = json!([entry(&weather)]);
    for features in [Value::Null, json!("3"), json!("0")] {
        match features {
            Value::Null => drop(body.as_object_mut().unwrap().remove("supportedFeatures")),
            features => body["supportedFeatures"] = features,
        }
        let answer = invoker.put(&invoker.context(), &body).await;
        assert_eq!(answer.status, StatusCode::CREATED);
        let entry = answer.json()["securityInfo"][0].clone();
        assert!(entry.get("apiId").is_none(), "{entry}");
        assert!(
            entry.get("selSecurityMethod").is_none(),
            "one of the two APIs accepts each method: {entry}"
        );
    }
}

/// R-6.3-08 and R-6.3-13, TS 29.222 clause 5.6.2.2: PUT makes the context (201, Location), `update` changes one that is there (200)
/// and no other (404).
#[tokio::test]
async fn a_context_is_made_by_put_and_changed_by_update() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    domain.publish("weather", &["PKI", "OAUTH"]).await;
    let invoker = world.raw_invoker(&[]).await;
    let update = format!("{}/update", invoker.context());
    let body = wishes(&[(&domain.aef.id, &["OAUTH"])]);
    let early = invoker.post(&update, &body).await;
    assert_eq!(early.status, StatusCode::NOT_FOUND);
    assert_eq!(early.cause(), "RESOURCE_URI_STRUCTURE_NOT_FOUND");
    assert!(world.list("contexts").await.is_empty());

    let made = invoker.put(&invoker.context(), &body).await;
    assert_eq!(made.status, StatusCode::CREATED);
    assert_eq!(
        made.headers["location"],
        format!("https://{}{}", world.address(), invoker.context())
    );
    assert_eq!(made.headers["cache-control"], "no-store");
    assert_eq!(
        made.json()["notificationDestination"],
        body["notificationDestination"]
    );

    let body = wishes(&[(&domain.aef.id, &["PKI"])]);
    let changed = invoker.post(&update, &body).await;
    assert_eq!(changed.status, StatusCode::OK);
    assert!(changed.headers.get("location").is_none());
    assert_eq!(
        changed.json()["securityInfo"][0]["selSecurityMethod"],
        "PKI"
    );
    let rows = world.list("contexts").await;
    assert_eq!(rows.len(), 1);
    assert_eq!(rows[0]["selSecurityMethod"], "PKI");

    // Once everything was revoked there is nothing to update, until a PUT makes it anew.
    assert_eq!(
        domain.aef.delete(&invoker.context()).await.status,
        StatusCode::NO_CONTENT
    );
    assert_eq!(
        invoker.post(&update, &body).await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(
        invoker.put(&invoker.context(), &body).await.status,
        StatusCode::CREATED
    );
}

async fn generation(world: &World) -> u64 {
    world.list("contexts").await[0]["generation"]
        .as_u64()
        .unwrap()
}

/// P-08, R-6.3-13, R-REV-03: repeating a negotiation or adding to it kills no token; taking something away ends the tokens issued
/// before, for good.
#[tokio::test]
async fn the_generation_grows_when_something_is_taken_away_and_only_then() {
    let world = World::start().await;
    let (acme, umbrella) = (world.domain("acme").await, world.domain("umbrella").await);
    acme.publish("weather", &["PKI", "OAUTH"]).await;
    umbrella.publish("traffic", &["PKI", "OAUTH"]).await;
    let invoker = world.raw_invoker(&[]).await;
    let (a, b) = (acme.aef.id.as_str(), umbrella.aef.id.as_str());
    let update = format!("{}/update", invoker.context());
    let mut last = None;
    for (entries, grows) in [
        (&[(a, &["OAUTH"][..])][..], false),
        (&[(a, &["OAUTH"])], false),
        // Another wish with the same outcome.
        (&[(a, &["OAUTH", "PSK"])], false),
        // Something more.
        (&[(a, &["OAUTH"]), (b, &["OAUTH"])], false),
        (&[(b, &["OAUTH"]), (a, &["OAUTH"])], false),
        // Another method; the same again; an AEF less.
        (&[(b, &["PKI"]), (a, &["OAUTH"])], true),
        (&[(b, &["PKI"]), (a, &["OAUTH"])], false),
        (&[(a, &["OAUTH"])], true),
        // A method no longer possible, and possible again.
        (&[(a, &["PSK"])], true),
        (&[(a, &["OAUTH"])], false),
    ] {
        for by_update in [false, true] {
            let answer = if by_update {
                invoker.post(&update, &wishes(entries)).await
            } else {
                invoker.put(&invoker.context(), &wishes(entries)).await
            };
            assert!(answer.status.is_success(), "{}", answer.json());
            let now = generation(&world).await;
            let expected = last.map_or(now, |last: u64| last + u64::from(grows && !by_update));
            assert_eq!(now, expected, "{entries:?}");
            last = Some(now);
        }
    }
    // Revoked by the AEF and negotiated anew: tokens of before stay dead.
    let before = last.unwrap();
    assert_eq!(
        acme.aef.delete(&invoker.context()).await.status,
        StatusCode::NO_CONTENT
    );
    assert!(world.list("contexts").await.is_empty());
    assert_eq!(
        invoker.negotiate(a, &["OAUTH"]).await.status,
        StatusCode::CREATED
    );
    assert!(generation(&world).await > before);
}

/// R-6.3-06, TS 29.222 table 8.5.4.2.3-1: each entry names exactly one of `aefId` and `interfaceDetails` and at least one method; an
/// AEF that is out of reach and one that does not exist are refused alike.
#[tokio::test]
async fn malformed_wishes_are_refused_and_change_nothing() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let other = world.domain("umbrella").await;
    domain.publish("weather", &["PKI"]).await;
    other.publish("traffic", &["PKI"]).await;
    let invoker = world.raw_invoker(&["weather"]).await;
    let aef = domain.aef.id.as_str();
    let interface = json!({ "ipv4Addr": "127.0.0.1", "port": 8443 });
    assert_eq!(
        invoker.negotiate(aef, &["PKI"]).await.status,
        StatusCode::CREATED
    );
    let before = world.list("contexts").await;
    let good = json!({ "aefId": aef, "prefSecurityMethods": ["PKI"] });
    let of = |entries: Value| json!({ "securityInfo": entries, "notificationDestination": "https://invoker.example/" });
    let cases = [
        json!({}),
        json!([]),
        of(json!([])),
        of(json!({})),
        of(json!([{ "prefSecurityMethods": ["PKI"] }])),
        of(
            json!([{ "aefId": aef, "interfaceDetails": interface, "prefSecurityMethods": ["PKI"] }]),
        ),
        of(json!([{ "aefId": aef }])),
        of(json!([{ "aefId": aef, "prefSecurityMethods": [] }])),
        of(json!([{ "aefId": aef, "prefSecurityMethods": "PKI" }])),
        of(json!([{ "aefId": 7, "prefSecurityMethods": ["PKI"] }])),
        of(json!([{ "interfaceDetails": {}, "prefSecurityMethods": ["PKI"] }])),
        of(
            json!([{ "interfaceDetails": { "ipv4Addr": "127.0.0.1", "fqdn": "x" }, "prefSecurityMethods": ["PKI"] }]),
        ),
        of(json!([good, { "aefId": other.aef.id, "prefSecurityMethods": ["PKI"] }])),
        of(json!(vec![good.clone(); 257])),
        json!({ "securityInfo": [good] }),
        json!({ "securityInfo": [good], "notificationDestination": "https://h/?q=1" }),
    ];
    for body in cases {
        for update in [false, true] {
            let answer = if update {
                invoker
                    .post(&format!("{}/update", invoker.context()), &body)
                    .await
            } else {
                invoker.put(&invoker.context(), &body).await
            };
            assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
            assert!(
                answer.cause().starts_with("MANDATORY_IE_"),
                "{}",
                answer.json()
            );
        }
    }
    assert_eq!(world.list("contexts").await, before);

    let beyond = |id: &str| wishes(&[(id, &["PKI"])]);
    let known = invoker
        .put(&invoker.context(), &beyond(&other.aef.id))
        .await;
    let unknown_id = format!("AEF{}", "0".repeat(32));
    let unknown = invoker.put(&invoker.context(), &beyond(&unknown_id)).await;
    assert_eq!(
        (known.status, unknown.status),
        (StatusCode::BAD_REQUEST, StatusCode::BAD_REQUEST)
    );
    let plain = |body: &Value, id: &str| {
        super::without_request_id(body)
            .to_string()
            .replace(id, "AEF")
    };
    assert_eq!(
        plain(&known.json(), &other.aef.id),
        plain(&unknown.json(), &unknown_id)
    );
}

/// OWASP API3: the members that the core function decides on are not taken from the request.
#[tokio::test]
async fn an_invoker_cannot_select_its_own_method() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    domain.publish("weather", &["OAUTH"]).await;
    let invoker = world.raw_invoker(&[]).await;
    let entry = json!({
        "aefId": domain.aef.id,
        "prefSecurityMethods": ["OAUTH"],
        "selSecurityMethod": "PSK",
        "authenticationInfo": "mine",
        "authorizationInfo": "everything",
        "grantType": ["AUTHORIZATION_CODE"],
        "vendorSpecific-000001": "kept",
    });
    let answer = selected(&invoker, entry).await;
    assert_eq!(answer["selSecurityMethod"], "OAUTH");
    assert_eq!(
        answer["authenticationInfo"],
        json!({ "method": "OAUTH" }).to_string()
    );
    assert!(answer.get("authorizationInfo").is_none());
    assert!(answer.get("grantType").is_none());
    assert_eq!(answer["vendorSpecific-000001"], "kept");
    let seen = domain
        .aef
        .get(&format!("{}?authorizationInfo=true", invoker.context()))
        .await
        .json();
    assert!(!seen.to_string().contains("everything"));
}

/// R-6.3-10: the session of a negotiation may be released at once; what was agreed on stays.
#[tokio::test]
async fn what_was_negotiated_outlives_its_session() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    domain.publish("weather", &["PKI", "OAUTH"]).await;
    let invoker = world.raw_invoker(&[]).await;
    let session = world.with_certificate(&invoker.pems);
    let body = wishes(&[(&domain.aef.id, &["PKI"])]);
    let answer = session
        .json(Method::PUT, &invoker.context(), Some(&body))
        .await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    drop(session);
    let live = || {
        let connections = world.ccf().connections().live();
        let peers = connections
            .iter()
            .filter_map(|live| live.peer.certificate());
        peers.filter(|peer| peer.common_name == invoker.id).count()
    };
    eventually("the end of the session", || async { live() == 0 }).await;

    let path = format!("{}?authorizationInfo=true", invoker.context());
    let known = domain.aef.get(&path).await;
    assert_eq!(known.status, StatusCode::OK, "{}", known.json());
    assert_eq!(known.json()["securityInfo"][0]["selSecurityMethod"], "PKI");
}
