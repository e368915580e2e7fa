//! CAPIF_Discover_Service_API (TS 29.222 clauses 5.2 and 8.1).

mod counts;
mod policy;

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{
    World, keys,
    people::{RawInvoker, function, profile},
};

fn names(found: &Value) -> Vec<&str> {
    let mut names: Vec<&str> = found["serviceAPIDescriptions"]
        .as_array()
        .into_iter()
        .flatten()
        .map(|api| api["apiName"].as_str().unwrap())
        .collect();
    names.sort_unstable();
    names
}

async fn discover(invoker: &RawInvoker, query: &str) -> Value {
    let path = format!(
        "/service-apis/v1/allServiceAPIs?api-invoker-id={}{query}",
        invoker.id
    );
    let answer = invoker.get(&path).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    answer.json()
}

/// TS 29.222 clause 5.2.2.2: criteria are ANDed, only matching profiles are shown, nothing found is an empty object.
#[tokio::test]
async fn discovery_filters() {
    let world = World::start().await;
    let acme = world.domain("acme").await;
    let other = world.domain("other").await;
    let weather = acme.publish("weather", &["PKI"]).await;
    acme.publish("traffic", &["OAUTH"]).await;
    other.publish("sea", &["PKI"]).await;
    let amy = world.raw_invoker(&[]).await;
    let (aef, other_aef) = (&acme.aef.id, &other.aef.id);
    for (query, expected) in [
        (String::new(), vec!["sea", "traffic", "weather"]),
        ("&api-name=weather".to_owned(), vec!["weather"]),
        (format!("&api-name=weather&aef-id={aef}"), vec!["weather"]),
        (format!("&api-name=sea&aef-id={aef}"), vec![]),
        (format!("&aef-id={other_aef}"), vec!["sea"]),
        ("&api-name=traffic&protocol=HTTP_2".to_owned(), vec![]),
        (
            "&protocol=HTTP_1_1&data-format=JSON".to_owned(),
            vec!["sea", "traffic", "weather"],
        ),
        ("&api-version=v2".to_owned(), vec![]),
        (format!("&api-ids={weather}"), vec!["weather"]),
        ("&api-name=Weather".to_owned(), vec![]),
        (
            "&unknown-parameter=1".to_owned(),
            vec!["sea", "traffic", "weather"],
        ),
    ] {
        let found = discover(&amy, &query).await;
        assert_eq!(names(&found), expected, "{query}");
        if expected.is_empty() {
            assert!(found.get("serviceAPIDescriptions").is_none(), "{query}");
        }
    }
    for query in [
        format!("&api-ids={weather}&api-name=weather"),
        "&api-supported-features=1".to_owned(),
        "&api-name=a&api-name=b".to_owned(),
    ] {
        let path = format!(
            "/service-apis/v1/allServiceAPIs?api-invoker-id={}{query}",
            amy.id
        );
        let answer = amy.get(&path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(answer.cause(), "INVALID_QUERY_PARAM");
    }
    // R-6.3-11: in one's own name only.
    let answer = amy
        .get(&format!(
            "/service-apis/v1/allServiceAPIs?api-invoker-id={aef}"
        ))
        .await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    let answer = amy.get("/service-apis/v1/allServiceAPIs").await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    assert_eq!(answer.cause(), "MANDATORY_QUERY_PARAM_MISSING");
    assert_eq!(answer.json()["invalidParams"][0]["param"], "api-invoker-id");
}

/// R-6.2-03: an invoker discovers what its enrolment reaches.
#[tokio::test]
async fn discovery_ends_where_the_enrolment_ends() {
    let world = World::start().await;
    let acme = world.domain("acme").await;
    acme.publish("weather", &["PKI"]).await;
    acme.publish("traffic", &["PKI"]).await;
    let amy = world.raw_invoker(&["weather"]).await;
    assert_eq!(names(&discover(&amy, "").await), ["weather"]);
    assert_eq!(
        names(&discover(&amy, "&api-name=traffic").await),
        Vec::<&str>::new()
    );
    // Published later, and within reach.
    let ben = world.raw_invoker(&["sea"]).await;
    assert_eq!(names(&discover(&ben, "").await), Vec::<&str>::new());
    acme.publish("sea", &["PKI"]).await;
    assert_eq!(names(&discover(&ben, "").await), ["sea"]);
}

/// Table 8.1.2.2.3.1-1: every criterion that is served, each against an API that meets it and one that does not.
#[tokio::test]
async fn every_criterion_tells_apis_apart() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let mut one = domain.description("one", &["PKI"]);
    one["serviceAPICategory"] = json!("sky");
    one["apiProvName"] = json!("Acme Ltd.");
    one["apiSuppFeats"] = json!("5");
    one["aefProfiles"][0]["versions"] = json!([
        { "apiVersion": "v1" },
        {
            "apiVersion": "v2",
            "resources": [{ "resourceName": "r", "commType": "REQUEST_RESPONSE", "uri": "/r" }],
        },
    ]);
    let mut other = domain.description("other", &["PKI"]);
    other["serviceAPICategory"] = json!("sea");
    other["apiProvName"] = json!("Other Ltd.");
    other["apiSuppFeats"] = json!("2");
    other["aefProfiles"][0]["protocol"] = json!("HTTP_2");
    other["aefProfiles"][0]["dataFormat"] = json!("XML");
    other["aefProfiles"][0]["versions"] = json!([{
        "apiVersion": "v3",
        "custOperations": [{ "commType": "SUBSCRIBE_NOTIFY", "custOpName": "watch" }],
    }]);
    let mut ids = Vec::new();
    for body in [&one, &other] {
        let answer = domain.apf.post(&domain.apis(), body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
        ids.push(answer.json()["apiId"].as_str().unwrap().to_owned());
    }
    let amy = world.raw_invoker(&[]).await;
    let both = format!("&api-ids={},{}", ids[0], ids[1]);
    for (query, expected) in [
        ("&api-name=one", &["one"][..]),
        ("&api-name=other", &["other"]),
        ("&api-version=v2", &["one"]),
        ("&api-version=v3", &["other"]),
        ("&api-version=V3", &[]),
        ("&comm-type=REQUEST_RESPONSE", &["one"]),
        ("&comm-type=SUBSCRIBE_NOTIFY", &["other"]),
        ("&protocol=HTTP_1_1", &["one"]),
        ("&protocol=HTTP_2", &["other"]),
        ("&protocol=MQTT", &[]),
        ("&data-format=JSON", &["one"]),
        ("&data-format=XML", &["other"]),
        ("&api-cat=sky", &["one"]),
        ("&api-cat=sea", &["other"]),
        ("&req-api-prov-name=Acme%20Ltd.", &["one"]),
        ("&req-api-prov-name=Acme+Ltd.", &["one"]),
        ("&req-api-prov-name=Acme", &[]),
        (
            "&api-name=one&api-supported-features=1&supported-features=1",
            &["one"],
        ),
        (
            "&api-name=one&api-supported-features=05&supported-features=1",
            &["one"],
        ),
        (
            "&api-name=one&api-supported-features=2&supported-features=1",
            &[],
        ),
        (
            "&api-name=other&api-supported-features=2&supported-features=1",
            &["other"],
        ),
        ("&api-name=one&api-cat=sea", &[]),
        (
            "&api-version=v2&protocol=HTTP_1_1&data-format=JSON&api-cat=sky",
            &["one"],
        ),
        (both.as_str(), &["one", "other"]),
        ("&api-ids=nothing", &[]),
        ("&supported-features=1", &["one", "other"]),
        ("&service-kpis=%7B%7D", &["one", "other"]),
    ] {
        assert_eq!(names(&discover(&amy, query).await), expected, "{query}");
    }
    for (offered, agreed) in [("1", "1"), ("ff", "f"), ("6", "6"), ("10", "0")] {
        let found = discover(&amy, &format!("&supported-features={offered}")).await;
        assert_eq!(found["suppFeat"], agreed);
    }
    assert!(discover(&amy, "").await.get("suppFeat").is_none());
    for query in [
        "&supported-features=x",
        "&api-name=one&api-supported-features=g",
    ] {
        let path = format!(
            "/service-apis/v1/allServiceAPIs?api-invoker-id={}{query}",
            amy.id
        );
        let answer = amy.get(&path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{query}");
        assert_eq!(answer.cause(), "OPTIONAL_QUERY_PARAM_INCORRECT");
    }
}

/// Table 8.1.2.2.3.1-1, note: of an API that matches, only the AEF profiles that match are shown.
#[tokio::test]
async fn only_the_profiles_that_match_are_shown() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let key = keys::p256();
    let mut functions = domain.details["apiProvFuncs"].as_array().unwrap().clone();
    functions.push(function("AEF", &keys::request(&key)));
    let answer = domain
        .amf
        .patch(&domain.path(), &json!({ "apiProvFuncs": functions }))
        .await;
    let second = world.function_of(&answer.json(), 3, &key);
    let mut other = profile(&second.id, &["OAUTH"]);
    other["protocol"] = json!("HTTP_2");
    let body =
        json!({ "apiName": "weather", "aefProfiles": [profile(&domain.aef.id, &["PKI"]), other] });
    assert_eq!(
        domain.apf.post(&domain.apis(), &body).await.status,
        StatusCode::CREATED
    );
    let amy = world.raw_invoker(&[]).await;
    let aefs = |found: Value| -> Vec<String> {
        let profiles = found["serviceAPIDescriptions"][0]["aefProfiles"].clone();
        let profiles = profiles.as_array().cloned().unwrap_or_default();
        profiles
            .iter()
            .map(|profile| profile["aefId"].as_str().unwrap().to_owned())
            .collect()
    };
    let (first, second) = (domain.aef.id.clone(), second.id.clone());
    assert_eq!(
        aefs(discover(&amy, "").await),
        [first.clone(), second.clone()]
    );
    assert_eq!(
        aefs(discover(&amy, &format!("&aef-id={second}")).await),
        std::slice::from_ref(&second)
    );
    assert_eq!(
        aefs(discover(&amy, "&protocol=HTTP_1_1").await),
        std::slice::from_ref(&first)
    );
    let nothing = discover(&amy, &format!("&aef-id={first}&protocol=HTTP_2")).await;
    assert!(nothing.get("serviceAPIDescriptions").is_none());
}

/// Clause 5.2.2.2.2: how an API may be shared stays among core functions; methods that stand on interfaces alone are summed up on the
/// profile.
#[tokio::test]
async fn invokers_see_what_concerns_them() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let mut body = domain.description("weather", &[]);
    body["aefProfiles"][0]
        .as_object_mut()
        .unwrap()
        .remove("securityMethods");
    body["aefProfiles"][0]["interfaceDescriptions"] = json!([
        { "ipv4Addr": "192.0.2.1", "securityMethods": ["PKI"] },
        { "ipv6Addr": "2001:db8::1", "securityMethods": ["OAUTH", "PKI"] },
    ]);
    body["shareableInfo"] = json!({ "isShareable": true, "capifProvDoms": ["umbrella"] });
    body["pubApiPath"] = json!({ "ccfIds": ["CCF1"] });
    body["vendorSpecific-000001"] = json!({ "kept": true });
    let answer = domain.apf.post(&domain.apis(), &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    assert_eq!(
        answer.json()["shareableInfo"],
        body["shareableInfo"],
        "the publisher sees what it said"
    );
    let amy = world.raw_invoker(&[]).await;
    let found = discover(&amy, "").await["serviceAPIDescriptions"][0].clone();
    assert!(found.get("shareableInfo").is_none());
    assert!(found.get("pubApiPath").is_none());
    assert_eq!(
        found["vendorSpecific-000001"],
        body["vendorSpecific-000001"]
    );
    let methods = &found["aefProfiles"][0]["securityMethods"];
    assert_eq!(*methods, json!(["PKI", "OAUTH"]));
    assert_eq!(
        found["aefProfiles"][0]["interfaceDescriptions"],
        body["aefProfiles"][0]["interfaceDescriptions"]
    );
}

/// A parameter with its value, as it stands in a query.
fn pair(name: &str, value: &str) -> String {
    let pair = serde_urlencoded::to_string([(name, value)]).unwrap();
    format!("&{pair}")
}

/// Table 8.1.2.2.3.1-1: the criteria that are JSON documents, lists and vendor members, each against an API that meets it and one that
/// does not; those of optional features count once the feature is agreed on (clause 7.8).
#[tokio::test]
async fn structured_criteria_tell_apis_apart() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let mut one = domain.description("one", &["OAUTH"]);
    one["netSliceInfo"] = json!([{ "snssai": { "sst": 1, "sd": "00000a" } }]);
    one["vendorSpecific-000001"] = json!({ "grade": "gold" });
    let profile = &mut one["aefProfiles"][0];
    profile["aefLocation"] = json!({ "dcId": "east" });
    profile["serviceKpis"] = json!({ "maxReqRate": 100, "avalMem": "2 GB" });
    profile["ueIpRange"] =
        json!({ "ueIpv4AddrRanges": [{ "start": "10.0.0.1", "end": "10.0.0.9" }] });
    profile["grantTypes"] = json!(["AUTHORIZATION_CODE"]);
    profile["versions"] = json!([{
        "apiVersion": "v1",
        "resources": [{
            "resourceName": "r", "commType": "REQUEST_RESPONSE", "uri": "/r", "operations": ["GET", "PUT"],
        }],
    }]);
    let mut other = domain.description("other", &["OAUTH"]);
    other["netSliceInfo"] = json!([{ "nsiId": "two" }]);
    other["aefProfiles"][0]["vendorSpecific-000001"] = json!(["silver", "bronze"]);
    other["aefProfiles"][0]["aefLocation"] = json!({ "civicAddr": { "country": "DE" } });
    for body in [&one, &other] {
        let answer = domain.apf.post(&domain.apis(), body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    }
    let amy = world.raw_invoker(&[]).await;
    let (both, grade) = (["one", "other"], "vend-spec-grade");
    let vendor = "vend-spec-vendorSpecific-000001";
    for (feature, name, value, expected) in [
        ("", "preferred-aef-loc", r#"{"dcId":"east"}"#, &["one"][..]),
        (
            "",
            "preferred-aef-loc",
            r#"{"civicAddr":{"country":"DE"}}"#,
            &["other"],
        ),
        ("", "preferred-aef-loc", r#"{"dcId":"north"}"#, &both),
        (
            "",
            "service-kpis",
            r#"{"maxReqRate":100,"avalMem":"1500 MB"}"#,
            &["one"],
        ),
        ("", "service-kpis", r#"{"maxReqRate":101}"#, &[]),
        ("", "ue-ip-addr", r#"{"ipv4Addr":"10.0.0.9"}"#, &both),
        ("", "ue-ip-addr", r#"{"ipv4Addr":"10.0.0.10"}"#, &["other"]),
        (
            "",
            "res-ops",
            r#"[{"resource":"/r","operations":["GET"]}]"#,
            &["one"],
        ),
        (
            "",
            "res-ops",
            r#"{"resource":"/r","operations":["POST"]}"#,
            &[],
        ),
        ("4", "grant-types", r#"["AUTHORIZATION_CODE"]"#, &["one"]),
        ("4", "grant-types", r#"["CLIENT_CREDENTIALS"]"#, &["other"]),
        ("8", "net-slice-info", r#"[{"nsiId":"two"}]"#, &["other"]),
        (
            "8",
            "net-slice-info",
            r#"[{"snssai":{"sst":1,"sd":"00000A"}}]"#,
            &["one"],
        ),
        (
            "2",
            grade,
            r#"{"target":"/vendorSpecific-000001","value":"gold"}"#,
            &["one"],
        ),
        (
            "2",
            vendor,
            r#"{"target":"/aefProfiles","value":"bronze"}"#,
            &["other"],
        ),
        (
            "2",
            vendor,
            r#"{"target":"/aefProfiles","value":"gold"}"#,
            &[],
        ),
    ] {
        let query = pair(name, value);
        let agreed = if feature.is_empty() {
            String::new()
        } else {
            pair("supported-features", feature)
        };
        let found = discover(&amy, &format!("{query}{agreed}")).await;
        assert_eq!(names(&found), expected, "{name}={value}");
        if !feature.is_empty() {
            assert_eq!(found["suppFeat"], feature);
            assert_eq!(
                names(&discover(&amy, &query).await),
                both,
                "{name} is not obeyed"
            );
        }
    }
    // What belongs to a feature is shown to those who know it.
    for (features, slices, grants) in [("", false, false), ("&supported-features=c", true, true)] {
        let found = discover(&amy, &format!("&api-name=one{features}")).await;
        let api = &found["serviceAPIDescriptions"][0];
        assert_eq!(api.get("netSliceInfo").is_some(), slices);
        assert_eq!(api["aefProfiles"][0].get("grantTypes").is_some(), grants);
    }
}

/// TS 29.500 table 5.2.7.2-1: each kind of mistake in a parameter is refused under its name, also where the parameter would not count.
#[tokio::test]
async fn mistakes_in_criteria_are_named() {
    let world = World::start().await;
    let amy = world.raw_invoker(&[]).await;
    let long = vec!["API1"; 300].join(",");
    for (name, value) in [
        ("preferred-aef-loc", "{}"),
        ("preferred-aef-loc", "east"),
        ("ue-ip-addr", r#"{"ipv4Addr":"x"}"#),
        ("service-kpis", r#"{"avalMem":"2"}"#),
        ("service-kpis", r#"{"maxReqRate":1,"maxReqRate":2}"#),
        ("net-slice-info", "[]"),
        ("grant-types", "[1]"),
        ("api-ids", ""),
        ("api-ids", &long),
        ("res-ops", "[{\"operations\":[]}]"),
        ("vend-spec-x", r#"{"target":"x","value":1}"#),
        ("supported-features", "z"),
    ] {
        let path = format!(
            "/service-apis/v1/allServiceAPIs?api-invoker-id={}{}",
            amy.id,
            pair(name, value)
        );
        let answer = amy.get(&path).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}={value}");
        assert_eq!(answer.cause(), "OPTIONAL_QUERY_PARAM_INCORRECT");
        assert_eq!(answer.json()["invalidParams"][0]["param"], name);
    }
}
