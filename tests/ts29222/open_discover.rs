//! CAPIF_Open_Discover_Service_API (TS 29.222 clause 8.11): discovery before onboarding.

use http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::support::{World, wire::Answer};

/// What is asked, and who or what is found.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

const PATH: &str = "/open-api-disc/v1/service-apis";

async fn ask(world: &World, query: &[(&str, &str)]) -> Answer {
    let query = serde_urlencoded::to_string(query).unwrap();
    let path = format!("{PATH}?{query}");
    world.anonymous().json(Method::GET, &path, None).await
}

async fn seen(world: &World, query: &[(&str, &str)]) -> Value {
    let answer = ask(world, query).await;
    assert_eq!(answer.status, StatusCode::OK, "{query:?} {}", answer.json());
    answer.json()
}

fn names(found: &Value) -> Vec<&str> {
    let found = found["discApis"].as_array().unwrap().iter();
    let mut names: Vec<&str> = found.map(|api| api["apiName"].as_str().unwrap()).collect();
    names.sort_unstable();
    names
}

/// TS 23.222 annex E: as long as the operator lays nothing open, nobody sees anything, and is told so with an empty list.
#[tokio::test]
async fn nothing_lies_open_by_itself() {
    let world = World::start().await;
    let acme = world.domain("acme").await;
    acme.publish("weather", &["PKI"]).await;
    assert_eq!(seen(&world, &[]).await, json!({ "discApis": [] }));
    assert_eq!(
        seen(&world, &[("api-names", "weather")]).await,
        json!({ "discApis": [] })
    );
    let asking = seen(&world, &[("supported-features", "f")]).await;
    assert_eq!(asking, json!({ "discApis": [], "suppFeat": "0" }));
}

/// TS 29.222 clause 8.11.4.2: anyone sees what lies open, without addresses and security methods, whether with a certificate or without.
#[tokio::test]
async fn anyone_sees_the_reduced_view_of_what_lies_open() {
    let world = World::with(|config| {
        config.discovery.open_apis = ["weather".to_owned(), "sea".to_owned()].into();
    })
    .await;
    let acme = world.domain("acme").await;
    let mut weather = acme.description("weather", &["PKI"]);
    weather["description"] = json!("for people");
    weather["shareableInfo"] = json!({ "isShareable": true });
    weather["vendorSpecific-000001"] = json!("https://192.0.2.1");
    let answer = acme.apf.post(&acme.apis(), &weather).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    acme.publish("traffic", &["PKI"]).await;
    let expected = json!({ "discApis": [{
        "apiName": "weather",
        "apiId": answer.json()["apiId"],
        "description": "for people",
        "aefProfiles": [{
            "aefId": acme.aef.id,
            "versions": [{ "apiVersion": "v1" }],
            "protocol": "HTTP_1_1",
            "dataFormat": "JSON",
        }],
    }]});
    assert_eq!(seen(&world, &[]).await, expected);
    let amy = world.raw_invoker(&["traffic"]).await;
    assert_eq!(amy.get(PATH).await.json(), expected);
    // Of whichever provider, and as soon as it is published; no longer than that.
    let other = world.domain("other").await;
    let sea = other.publish("sea", &["OAUTH"]).await;
    assert_eq!(names(&seen(&world, &[]).await), ["sea", "weather"]);
    let path = format!("{}/{sea}", other.apis());
    assert_eq!(other.apf.delete(&path).await.status, StatusCode::NO_CONTENT);
    assert_eq!(names(&seen(&world, &[]).await), ["weather"]);
}

/// TS 23.222 annex E: what lies open can be said by command too, by name, category or id, without a restart.
#[tokio::test]
async fn the_operator_lays_open_by_command() {
    let world = World::with(|config| {
        config.discovery.open_apis = ["traffic".to_owned()].into();
    })
    .await;
    let acme = world.domain("acme").await;
    for name in ["traffic", "sea"] {
        acme.publish(name, &["PKI"]).await;
    }
    let mut weather = acme.description("weather", &["PKI"]);
    weather["serviceAPICategory"] = json!("sky");
    let answer = acme.apf.post(&acme.apis(), &weather).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    let say = |what: &'static str, scope: Value| {
        let mut body = json!({ "audience": "anyone", "scope": scope });
        if what.is_empty() {
            body["shows"] = json!(true);
        }
        world.operator(
            Method::POST,
            if what.is_empty() {
                "/discovery-policies"
            } else {
                what
            },
            Some(body),
        )
    };
    assert_eq!(names(&seen(&world, &[]).await), ["traffic"]);
    let category = json!({ "category": "sky" });
    assert_eq!(say("", category.clone()).await.0, StatusCode::OK);
    assert_eq!(names(&seen(&world, &[]).await), ["traffic", "weather"]);
    assert_eq!(say("", json!("all")).await.0, StatusCode::OK);
    assert_eq!(
        names(&seen(&world, &[]).await),
        ["sea", "traffic", "weather"]
    );
    let remove = "/discovery-policies/remove";
    for scope in [json!("all"), category] {
        assert_eq!(say(remove, scope).await.0, StatusCode::OK);
    }
    assert_eq!(names(&seen(&world, &[]).await), ["traffic"]);
    let listed = world.list("discovery-policies").await;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0]["from"], "configuration");
    // It is for those who are not onboarded: an invoker is shown what it reaches.
    let amy = world.raw_invoker(&["sea"]).await;
    let path = format!("/service-apis/v1/allServiceAPIs?api-invoker-id={}", amy.id);
    let found = amy.get(&path).await.json();
    assert_eq!(found["serviceAPIDescriptions"][0]["apiName"], "sea");
}

/// Table 8.11.2.2.3.1-1: every parameter, objects in each of the forms that libraries give them.
#[tokio::test]
async fn every_parameter_tells_apis_apart() {
    let world = World::with(|config| {
        config.discovery.open_apis = ["one".to_owned(), "other".to_owned()].into();
    })
    .await;
    let domain = world.domain("acme").await;
    let mut one = domain.description("one", &["PKI"]);
    one["serviceAPICategory"] = json!("sky");
    one["apiProvName"] = json!("Acme Ltd.");
    one["apiSuppFeats"] = json!("5");
    let profile = &mut one["aefProfiles"][0];
    profile["aefLocation"] = json!({ "dcId": "east" });
    profile["serviceKpis"] = json!({ "maxReqRate": 100, "avalMem": "2 GB" });
    profile["versions"] = json!([{
        "apiVersion": "v2",
        "resources": [{ "resourceName": "r", "commType": "REQUEST_RESPONSE", "uri": "/r" }],
    }]);
    let mut other = domain.description("other", &["PKI"]);
    other["serviceAPICategory"] = json!("sea");
    other["aefProfiles"][0]["protocol"] = json!("MQTT");
    other["aefProfiles"][0]["dataFormat"] = json!("XML");
    let hidden = domain.description("hidden", &["PKI"]);
    let mut ids = Vec::new();
    for body in [&one, &other, &hidden] {
        let answer = domain.apf.post(&domain.apis(), body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
        ids.push(answer.json()["apiId"].as_str().unwrap().to_owned());
    }
    let all = ids.join(",");
    let both = &["one", "other"][..];
    let cases: [Case<'_>; 25] = [
        (&[], both),
        (&[("api-names", "one,hidden")], &["one"]),
        (&[("api-names", "one,other")], both),
        (&[("api-versions", r#"{"one":["v1"]}"#)], &["other"]),
        (
            &[("api-versions", r#"{"one":["v1","v2"],"other":["v1"]}"#)],
            both,
        ),
        (&[("api-versions[other]", "v9")], &["one"]),
        (&[("other", "v9,v8")], &["one"]),
        (&[("comm-type", "REQUEST_RESPONSE")], &["one"]),
        (&[("protocols", "MQTT,WEBSOCKET")], &["other"]),
        (&[("protocols", "MQTT,HTTP_1_1")], both),
        (&[("data-format", "XML")], &["other"]),
        (&[("api-cats", "sky,earth")], &["one"]),
        (&[("preferred-aef-loc", r#"{"dcId":"east"}"#)], &["one"]),
        (&[("preferred-aef-loc", r#"{"dcId":"west"}"#)], both),
        (&[("api-prov-names", "Acme Ltd.")], &["one"]),
        (
            &[
                ("api-names", "one"),
                ("api-supported-features", r#"{"one":"4"}"#),
            ],
            &["one"],
        ),
        (&[("api-names", "one"), ("one", "2")], &[]),
        (&[("service-kpis", r#"{"maxReqRate":100}"#)], &["one"]),
        (&[("maxReqRate", "101")], &[]),
        (&[("avalMem", "1 GB"), ("maxReqRate", "1")], &["one"]),
        (&[("api-ids", &all)], both),
        (
            &[("api-ids", &ids[1]), ("api-names", "one,other")],
            &["other"],
        ),
        (
            &[
                ("api-names", "one,other"),
                ("res-ops", r#"[{"resource":"/r"}]"#),
            ],
            &["one"],
        ),
        (&[("unknown", "1")], both),
        (&[("api-cats", "sky"), ("protocols", "MQTT")], &[]),
    ];
    for (query, expected) in cases {
        assert_eq!(names(&seen(&world, query).await), expected, "{query:?}");
    }
    for (query, parameter, cause) in [
        (
            [("api-supported-features", r#"{"one":"4"}"#), ("x", "")],
            "api-supported-features",
            "INVALID_QUERY_PARAM",
        ),
        (
            [
                ("api-supported-features", r#"{"one":"4"}"#),
                ("api-names", "other"),
            ],
            "api-supported-features",
            "INVALID_QUERY_PARAM",
        ),
        (
            [("res-ops", r#"[{"resource":"/r"}]"#), ("x", "")],
            "res-ops",
            "INVALID_QUERY_PARAM",
        ),
        (
            [("service-kpis", "{}"), ("x", "")],
            "service-kpis",
            "OPTIONAL_QUERY_PARAM_INCORRECT",
        ),
        (
            [("api-versions", r#"{"one":[]}"#), ("x", "")],
            "api-versions",
            "OPTIONAL_QUERY_PARAM_INCORRECT",
        ),
        (
            [("protocols", ""), ("x", "")],
            "protocols",
            "OPTIONAL_QUERY_PARAM_INCORRECT",
        ),
    ] {
        let answer = ask(&world, &query).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query:?}");
        assert_eq!(answer.cause(), cause);
        assert_eq!(answer.json()["invalidParams"][0]["param"], parameter);
    }
}
