//! CAPIF_Auditing_API (TS 29.222 clauses 5.9 and 8.8): an API management function looks at the invocation logs of its domain.

use http::StatusCode;
use serde_json::{Value, json};

use crate::support::{World, people::Domain, wire::Answer};

/// What is asked, and who or what is found.
type Case<'a> = (&'a [(&'a str, &'a str)], &'a [&'a str]);

async fn ask(domain: &Domain, query: &[(&str, &str)]) -> Answer {
    let query = serde_urlencoded::to_string(query).unwrap();
    domain
        .amf
        .get(&format!("/logs/v1/apiInvocationLogs?{query}"))
        .await
}

/// The names of the resources that an answer tells of, one text for each log.
fn told(answer: &Answer) -> Vec<String> {
    if answer.status == StatusCode::NOT_FOUND {
        return Vec::new();
    }
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    let body = answer.json();
    let logs = body.get("multipleInvocationLogs").and_then(Value::as_array);
    let logs = logs.cloned().unwrap_or_else(|| vec![body]);
    let resources = |log: &Value| -> Vec<String> {
        let entries = log["logs"].as_array().unwrap().iter();
        entries
            .map(|entry| entry["resourceName"].as_str().unwrap().to_owned())
            .collect()
    };
    logs.iter().map(|log| resources(log).join(" ")).collect()
}

async fn report(domain: &Domain, invoker: &str, api: &str, entries: Vec<Value>) {
    let entries: Vec<Value> = entries
        .into_iter()
        .map(|members| {
            let mut entry = json!({
                "apiId": api, "apiName": "weather", "apiVersion": "v1", "resourceName": "r", "protocol": "HTTP_1_1", "result": "200",
            });
            entry.as_object_mut().unwrap().extend(members.as_object().unwrap().clone());
            entry
        })
        .collect();
    let path = format!("/api-invocation-logs/v1/{}/logs", domain.aef.id);
    // Network slices are a feature, which is agreed on with each report.
    let body = json!({ "aefId": domain.aef.id, "apiInvokerId": invoker, "logs": entries, "supportedFeatures": "1" });
    let answer = domain.aef.post(&path, &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
}

/// Table 8.8.2.2.3.1-1: each of the 15 parameters, alone and together; all that are given must hold.
#[tokio::test]
async fn every_parameter_narrows_the_answer() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let api = domain.publish("weather", &["PKI"]).await;
    let second = domain.publish("traffic", &["PKI"]).await;
    report(
        &domain,
        "INV1",
        &api,
        vec![
            json!({
                "resourceName": "a", "operation": "GET", "invocationTime": "2026-01-31T12:00:00Z",
                "srcInterface": { "ipv4Addr": "192.0.2.1", "port": 1000 }, "netSliceInfo": { "nsiId": "one" },
            }),
            json!({
                "resourceName": "b", "operation": "POST", "result": "403", "invocationTime": "2026-01-31T13:00:00+00:00",
                "destInterface": { "fqdn": "gateway.example" },
            }),
        ],
    )
    .await;
    report(
        &domain,
        "INV2",
        &second,
        vec![json!({
            "resourceName": "c", "apiName": "traffic", "apiVersion": "v2", "protocol": "HTTP_2",
            "invocationTime": "2026-01-31T14:00:00Z", "netSliceInfo": { "ensi": "two" },
        })],
    )
    .await;
    let aef = domain.aef.id.as_str();
    let cases: [Case<'_>; 32] = [
        (&[], &["a b", "c"]),
        (&[("aef-id", aef)], &["a b", "c"]),
        (&[("aef-id", "AEF0")], &[]),
        (&[("api-invoker-id", "INV1")], &["a b"]),
        (&[("api-invoker-id", "INV3")], &[]),
        (&[("time-range-start", "2026-01-31T13:00:00Z")], &["b", "c"]),
        (
            &[("time-range-start", "2026-01-31T13:00:00.000001Z")],
            &["c"],
        ),
        (&[("time-range-end", "2026-01-31T14:00:00+01:00")], &["a b"]),
        (&[("time-range-end", "2026-01-31T12:59:59.999999Z")], &["a"]),
        (
            &[
                ("time-range-start", "2026-01-31T12:30:00Z"),
                ("time-range-end", "2026-01-31T13:30:00Z"),
            ],
            &["b"],
        ),
        (&[("api-id", &api)], &["a b"]),
        (&[("api-id", "API0")], &[]),
        (&[("api-name", "traffic")], &["c"]),
        (&[("api-version", "v1")], &["a b"]),
        (&[("protocol", "HTTP_2")], &["c"]),
        (&[("operation", "POST")], &["b"]),
        (&[("operation", "DELETE")], &[]),
        (&[("result", "403")], &["b"]),
        (&[("result", "4")], &[]),
        (&[("resource-name", "a")], &["a"]),
        (&[("src-interface", r#"{"ipv4Addr":"192.0.2.1"}"#)], &["a"]),
        (
            &[("src-interface", r#"{"ipv4Addr":"192.0.2.1","port":1001}"#)],
            &[],
        ),
        (
            &[("dest-interface", r#"{"fqdn":"gateway.example"}"#)],
            &["b"],
        ),
        (&[("dest-interface", r#"{"ipv4Addr":"192.0.2.1"}"#)], &[]),
        (&[("net-slice-info", r#"[{"nsiId":"one"}]"#)], &["a"]),
        (
            &[("net-slice-info", r#"[{"nsiId":"one"},{"ensi":"two"}]"#)],
            &["a", "c"],
        ),
        (&[("net-slice-info", r#"[{"nsiId":"two"}]"#)], &[]),
        (&[("api-name", "weather"), ("result", "200")], &["a"]),
        (
            &[
                ("api-name", "weather"),
                ("result", "403"),
                ("operation", "POST"),
                ("aef-id", aef),
            ],
            &["b"],
        ),
        (&[("api-name", "traffic"), ("api-invoker-id", "INV1")], &[]),
        (&[("unknown", "1"), ("resource-name", "c")], &["c"]),
        (&[("resource-name", "A")], &[]),
    ];
    for (query, expected) in cases {
        let mut query = query.to_vec();
        query.push(("supported-features", "3"));
        assert_eq!(told(&ask(&domain, &query).await), expected, "{query:?}");
    }
    for (name, value) in [
        ("time-range-start", "yesterday"),
        ("time-range-end", "2026-01-31T12:00:00"),
        ("src-interface", "{}"),
        ("src-interface", r#"{"ipv4Addr":"192.0.2.1","fqdn":"x"}"#),
        ("dest-interface", "192.0.2.1"),
        ("net-slice-info", "[]"),
        ("supported-features", "x"),
    ] {
        let answer = ask(&domain, &[(name, value)]).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{name}={value}");
        assert_eq!(answer.cause(), "OPTIONAL_QUERY_PARAM_INCORRECT");
        assert_eq!(answer.json()["invalidParams"][0]["param"], name);
    }
    let range = [
        ("time-range-start", "2026-01-31T12:00:01Z"),
        ("time-range-end", "2026-01-31T12:00:00Z"),
    ];
    assert_eq!(ask(&domain, &range).await.status, StatusCode::BAD_REQUEST);
}

/// Clause 8.8.4: calls of one API invoker at one AEF come as one log; of several as several, to those who know the feature
/// EnQueryInvokeLog. Who does not is asked to say which one, and nothing found is 404.
#[tokio::test]
async fn one_log_or_several() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let api = domain.publish("weather", &["PKI"]).await;
    let answer = ask(&domain, &[]).await;
    assert_eq!(answer.status, StatusCode::NOT_FOUND);
    report(
        &domain,
        "INV1",
        &api,
        vec![json!({ "vendorSpecific-000001": "kept" }), json!({})],
    )
    .await;
    for (features, agreed) in [("", None), ("0", Some("0")), ("3", Some("3"))] {
        let query = [("supported-features", features)];
        let answer = ask(&domain, &query[usize::from(features.is_empty())..]).await;
        assert_eq!(answer.status, StatusCode::OK);
        let log = answer.json();
        assert_eq!(log["aefId"], domain.aef.id.as_str());
        assert_eq!(log["apiInvokerId"], "INV1");
        assert_eq!(log["logs"].as_array().unwrap().len(), 2);
        assert_eq!(log["logs"][0]["vendorSpecific-000001"], "kept");
        assert_eq!(log.get("supportedFeatures").and_then(Value::as_str), agreed);
    }
    report(&domain, "INV2", &api, vec![json!({})]).await;
    let several = ask(&domain, &[("supported-features", "1")]).await.json();
    assert_eq!(several["supportedFeatures"], "1");
    let logs = several["multipleInvocationLogs"].as_array().unwrap();
    let invokers: Vec<&Value> = logs.iter().map(|log| &log["apiInvokerId"]).collect();
    assert_eq!(invokers, ["INV1", "INV2"]);
    for query in [&[][..], &[("supported-features", "2")]] {
        let answer = ask(&domain, query).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{}", answer.json());
        assert_eq!(
            answer.json()["invalidParams"][0]["param"],
            "supported-features"
        );
    }
    assert_eq!(
        told(&ask(&domain, &[("api-invoker-id", "INV2")]).await),
        ["r"]
    );
}

/// TS 23.222 clause 4.3.3: providers are kept apart. What another domain logged is not there, whoever is named.
#[tokio::test]
async fn providers_are_kept_apart() {
    let world = World::start().await;
    let (acme, other) = (world.domain("acme").await, world.domain("other").await);
    let api = acme.publish("weather", &["PKI"]).await;
    let foreign = other.publish("weather", &["PKI"]).await;
    report(&acme, "INV1", &api, vec![json!({ "resourceName": "ours" })]).await;
    report(
        &other,
        "INV1",
        &foreign,
        vec![json!({ "resourceName": "theirs" })],
    )
    .await;
    let nothing = ask(&acme, &[("aef-id", "AEF0")]).await;
    for (domain, stranger, expected) in [(&acme, &other, "ours"), (&other, &acme, "theirs")] {
        for query in [
            &[][..],
            &[("supported-features", "1")],
            &[("api-invoker-id", "INV1")],
            &[("api-name", "weather")],
        ] {
            assert_eq!(told(&ask(domain, query).await), [expected]);
        }
        // An AEF of the other domain is as unknown as one that nobody has.
        let answer = ask(domain, &[("aef-id", &stranger.aef.id)]).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.json()["detail"], nothing.json()["detail"]);
    }
    assert!(told(&ask(&acme, &[("api-id", &foreign)]).await).is_empty());
    // Nobody else asks.
    let amy = world.raw_invoker(&[]).await;
    for party in [&acme.aef, &acme.apf, &amy.party] {
        let answer = party.get("/logs/v1/apiInvocationLogs").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN);
    }
}

/// Many entries are found beyond the first page that is read, and an answer is never cut.
#[tokio::test]
async fn long_logs() {
    let world = World::start().await;
    let domain = world.domain("acme").await;
    let api = domain.publish("weather", &["PKI"]).await;
    for round in 0..11 {
        let entries = (0..1000)
            .map(|number| json!({ "resourceName": format!("r{}", round * 1000 + number), "result": round.to_string() }));
        report(&domain, "INV1", &api, entries.collect()).await;
    }
    assert_eq!(
        told(&ask(&domain, &[("resource-name", "r10999")]).await),
        ["r10999"]
    );
    let many = told(&ask(&domain, &[("result", "7")]).await);
    assert_eq!(many[0].split(' ').count(), 1000);
    assert!(many[0].starts_with("r7000 ") && many[0].ends_with(" r7999"));
    let answer = ask(&domain, &[]).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert!(answer.json()["detail"].as_str().unwrap().contains("10000"));
}
