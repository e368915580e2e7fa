//! Requests that use nearly every member that the schemas have, what their vendor members become, and what becomes of requests that
//! the schemas refuse.

use capif_ccf::api::operations::{BodyKind, OPERATIONS};
use http::{Method, StatusCode};
use serde_json::{Map, Value, json};

use super::{
    record::Record,
    walk::{Ready, Walk},
};
use crate::{
    support::{
        World, keys,
        people::{INVOKERS, enrolment, function, registration, wishes},
        wire::Answer,
    },
    ts29222::scene::Scene,
};

const VENDOR: &str = "vendorSpecific-012345";

/// A published API with every member that it can have.
pub(super) fn service_api(name: &str, aef: &str) -> Value {
    let custom = json!({
        "commType": "SUBSCRIBE_NOTIFY", "custOpName": "warn", "operations": ["POST"], "description": "warns of storms",
    });
    json!({
        "apiName": name,
        "apiStatus": { "aefIds": [aef] },
        "aefProfiles": [{
            "aefId": aef,
            "versions": [{
                "apiVersion": "v1",
                "expiry": "2099-12-31T23:59:59Z",
                "resources": [{
                    "resourceName": "today", "commType": "REQUEST_RESPONSE", "uri": "/today", "custOpName": "look",
                    "custOperations": [custom], "operations": ["GET", "REPORT"], "description": "what it is like",
                }],
                "custOperations": [custom],
            }],
            "protocol": "HTTP_2",
            "dataFormat": "CBOR",
            "securityMethods": ["PKI", "OAUTH"],
            "grantTypes": ["CLIENT_CREDENTIALS"],
            "interfaceDescriptions": [
                { "ipv4Addr": "127.0.0.1", "port": 8443, "apiPrefix": "/de", "securityMethods": ["OAUTH"], "grantTypes": ["CLIENT_CREDENTIALS"] },
                { "ipv6Addr": "2001:db8::1", "port": 443 },
                { "fqdn": "weather.example" },
            ],
            "aefLocation": {
                "civicAddr": { "country": "DE", "A1": "HE" },
                "geoArea": { "shape": "POINT", "point": { "lon": 8.6, "lat": 50.1 } },
                "dcId": "frankfurt-1",
            },
            "serviceKpis": {
                "maxReqRate": 10, "maxRestime": 1, "availability": 99, "avalComp": "1.5 GFLOPS", "avalGraComp": "2 TFLOPS",
                "avalMem": "16 GB", "avalStor": "1 TB", "conBand": 1000,
            },
            "ueIpRange": {
                "ueIpv4AddrRanges": [{ "start": "10.0.0.0", "end": "10.0.0.255" }],
                "ueIpv6AddrRanges": [{ "start": "2001:db8::", "end": "2001:db8::ff" }],
            },
        }],
        "description": "weather",
        "supportedFeatures": "3FF",
        "shareableInfo": { "isShareable": true, "capifProvDoms": ["elsewhere"] },
        "serviceAPICategory": "weather",
        "apiSuppFeats": "1",
        "apiProvName": "acme",
        "netSliceInfo": [{ "snssai": { "sst": 1, "sd": "00000a" } }],
    })
}

pub(super) fn subscription(features: &str) -> Value {
    json!({
        "events": ["SERVICE_API_AVAILABLE", "SERVICE_API_UPDATE"],
        "eventFilters": [{ "apiIds": ["some"] }, {}],
        "eventReq": { "notifMethod": "ON_EVENT_DETECTION", "maxReportNbr": 1000, "monDur": "2099-12-31T23:59:59Z" },
        "notificationDestination": "https://127.0.0.1:1/events",
        "supportedFeatures": features,
    })
}

pub(super) fn log(aef: &str, invoker: &str, api: &str) -> Value {
    json!({
        "aefId": aef,
        "apiInvokerId": invoker,
        "supportedFeatures": "1",
        "logs": [{
            "apiId": api, "apiName": "weather", "apiVersion": "v1", "resourceName": "today", "uri": "https://127.0.0.1/weather/v1/today",
            "protocol": "HTTP_1_1", "operation": "GET", "result": "200", "invocationTime": "2026-01-01T00:00:00Z",
            "invocationLatency": 12, "inputParameters": { "a": [1] }, "outputParameters": "sun",
            "srcInterface": { "ipv4Addr": "10.0.0.1", "port": 40000 }, "destInterface": { "fqdn": "weather.example" },
            "fwdInterface": "192.0.2.60", "netSliceInfo": { "ensi": "slice" },
        }],
    })
}

/// A rich body for an operation; nothing where the plain one is all there is.
fn rich(ready: &Ready, scene: &Scene) -> Option<Value> {
    let domain = &scene.domains[0];
    let invoker = &scene.invokers[0];
    let plain: Value = serde_json::from_slice(ready.request(scene).body()).ok()?;
    Some(match ready.operation.id {
        "CreateAPFPubAPIs" => service_api("rich", &domain.aef.id),
        "UpdateIndAPFPubAPI" => service_api("weather-of-acme", &domain.aef.id),
        "ModifyIndAPFPubAPI" => {
            let mut body = service_api("", &domain.aef.id);
            for name in [
                "apiName",
                "apiProvName",
                "netSliceInfo",
                "supportedFeatures",
            ] {
                body.as_object_mut()?.remove(name);
            }
            body
        }
        "CreateEventSubsc" | "UpdateIndEventSubsc" => subscription("4"),
        "ModifyIndEventSubsc" => {
            let mut body = subscription("4");
            body.as_object_mut()?.remove("supportedFeatures");
            body
        }
        "CreateLogEntServAPIInv" => log(&domain.aef.id, &invoker.id, &scene.apis[0]),
        "CreateOnboardedAPIInvoker" => {
            let mut body = plain;
            body["apiInvokerInformation"] = json!("an invoker");
            body["supportedFeatures"] = json!("F");
            body["expTime"] = json!("2099-12-31T23:59:59Z");
            body["apiList"] =
                json!({ "serviceAPIDescriptions": [{ "apiName": "weather-of-acme" }] });
            body["requestTestNotification"] = json!(false);
            body["websockNotifConfig"] = json!({ "requestWebsocketUri": false });
            body
        }
        _ => plain,
    })
}

/// What is taken though its schema refuses it: deployed clients always send the member.
const TAKEN: [&str; 1] = ["/eventFilters = []"];

/// Every place of a document with the value there.
fn places(document: &Value) -> Vec<(String, Value)> {
    let mut all = vec![(String::new(), document.clone())];
    let children: Vec<(String, &Value)> = match document {
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.replace('~', "~0").replace('/', "~1"), value))
            .collect(),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .map(|(index, item)| (index.to_string(), item))
            .collect(),
        _ => Vec::new(),
    };
    for (name, child) in children {
        let below = places(child).into_iter();
        all.extend(below.map(|(pointer, value)| (format!("/{name}{pointer}"), value)));
    }
    all
}

/// A document without the member at a place.
fn without(document: &Value, pointer: &str) -> Option<Value> {
    let (parent, name) = pointer.rsplit_once('/')?;
    let mut changed = document.clone();
    changed
        .pointer_mut(parent)?
        .as_object_mut()?
        .remove(&name.replace("~1", "/").replace("~0", "~"))?;
    Some(changed)
}

/// What is put in the place of a value.
fn wrong_values() -> [Value; 10] {
    [
        Value::Null,
        json!(true),
        json!(-1),
        json!(1.5),
        json!(70_000),
        json!(""),
        json!("\u{7f}?"),
        json!([]),
        json!({}),
        json!([null]),
    ]
}

/// Whatever the published schema refuses of a request, the core function refuses too; nothing it is sent ends in 5xx. Every answer
/// is one that is described.
pub(super) async fn what_schemas_refuse(record: &Record) {
    let world = World::start().await;
    let scene = Scene::new(&world, ["acme", "umbrella"]).await;
    let walk = Walk {
        record,
        world: &world,
        scene: &scene,
    };
    let mut refused = 0;
    for operation in OPERATIONS {
        let json_body = matches!(operation.body, BodyKind::Json | BodyKind::MergePatch);
        let Some(described) = record.descriptions.operation(operation.id) else {
            continue;
        };
        if !json_body {
            continue;
        }
        let ready = walk.ready(operation).await;
        let good = rich(&ready, &scene).unwrap();
        let (_, schema) = described.takes.as_ref().unwrap();
        let mistakes = record.descriptions.mistakes(described, schema, &good);
        assert!(mistakes.is_empty(), "{}: {mistakes:?}", operation.id);
        let patch = operation.body == BodyKind::MergePatch;
        for (pointer, _) in places(&good) {
            let mut changed: Vec<(String, Value)> = Vec::new();
            for wrong in wrong_values() {
                // A merge patch takes members away by `null`, and names part of an object (RFC 7396).
                if patch && (wrong.is_null() || wrong == json!({})) {
                    continue;
                }
                let mut body = good.clone();
                *body.pointer_mut(&pointer).unwrap() = wrong.clone();
                changed.push((format!("{pointer} = {wrong}"), body));
            }
            if let (Some(body), false) = (without(&good, &pointer), patch) {
                changed.push((format!("{pointer} left out"), body));
            }
            for (what, body) in changed {
                let mistakes = record.descriptions.mistakes(described, schema, &body);
                if mistakes.is_empty() || TAKEN.contains(&what.as_str()) {
                    continue;
                }
                let mut request = ready.request(&scene);
                *request.body_mut() = body.to_string().into_bytes();
                let answer = ready.who.send(&world, operation, request).await;
                record.answered(operation.id, &what, &answer);
                if !answer.status.is_client_error() {
                    record.mistake(format!(
                        "{}, {what}: {} though {}",
                        operation.id,
                        answer.status.as_u16(),
                        mistakes[0]
                    ));
                    continue;
                }
                refused += 1;
                names_the_place(record, operation.id, &what, &answer);
            }
        }
    }
    assert!(refused > 1000, "{refused}");
}

/// A refusal of a document says where the mistake is.
fn names_the_place(record: &Record, id: &str, what: &str, answer: &Answer) {
    if answer.status != StatusCode::BAD_REQUEST {
        return;
    }
    let problem = answer.json();
    let cause = problem["cause"].as_str().unwrap_or_default();
    let named = problem["invalidParams"][0]["param"].is_string();
    let known = [
        "INVALID_MSG_FORMAT",
        "MANDATORY_IE_INCORRECT",
        "MANDATORY_IE_MISSING",
        "OPTIONAL_IE_INCORRECT",
        "MODIFICATION_NOT_ALLOWED",
    ];
    if !named
        && !problem["detail"]
            .as_str()
            .unwrap_or_default()
            .contains("public key")
        || !known.contains(&cause)
    {
        record.mistake(format!("{id}, {what}: {problem}"));
    }
}

/// Gives every object of a document a vendor member of its own, and says where; not to those that hold no more than data of others.
fn marked(document: &mut Value) -> Vec<(String, Value)> {
    let mut marks = Vec::new();
    for (number, (pointer, value)) in places(document).into_iter().enumerate() {
        let free = ["inputParameters", "outputParameters", "vendorSpecific-"];
        if !value.is_object() || free.iter().any(|name| pointer.contains(name)) {
            continue;
        }
        let mark = json!({ "number": number, "list": [null, "x"] });
        let object = document.pointer_mut(&pointer).unwrap();
        object
            .as_object_mut()
            .unwrap()
            .insert(VENDOR.to_owned(), mark.clone());
        marks.push((format!("{pointer}/{VENDOR}"), mark));
    }
    marks
}

fn kept(what: &str, marks: &[(String, Value)], document: &Value) {
    let lost: Vec<&String> = marks
        .iter()
        .filter(|(pointer, mark)| document.pointer(pointer) != Some(mark))
        .map(|(pointer, _)| pointer)
        .collect();
    assert!(lost.is_empty(), "{what} loses {lost:?}: {document:#}");
}

/// TS 29.222 clause 7.11: vendor members survive in every data model, at every depth: in the answer, in what is read later, and in what
/// others are told.
#[tokio::test]
async fn vendor_members_survive_everywhere() {
    let world = World::start().await;
    let scene = Scene::new(&world, ["acme", "umbrella"]).await;
    let (domain, invoker) = (&scene.domains[0], &scene.invokers[0]);

    // A published API: published, read, replaced, patched, discovered.
    let mut body = service_api("marked", &domain.aef.id);
    let marks = marked(&mut body);
    let answer = domain.apf.post(&domain.apis(), &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    kept("CreateAPFPubAPIs", &marks, &answer.json());
    let path = format!(
        "{}/{}",
        domain.apis(),
        answer.json()["apiId"].as_str().unwrap()
    );
    kept(
        "GetIndAPFPubAPI",
        &marks,
        &domain.apf.get(&path).await.json(),
    );
    let answer = domain.apf.put(&path, &body).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    kept("UpdateIndAPFPubAPI", &marks, &answer.json());
    let patch = json!({ "description": "patched", VENDOR: { "patched": true } });
    let answer = domain.apf.patch(&path, &patch).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    // A merge patch merges (RFC 7396).
    assert_eq!(answer.json()[VENDOR]["patched"], true);
    assert_eq!(answer.json()[VENDOR]["list"], json!([null, "x"]));
    assert_eq!(domain.apf.put(&path, &body).await.status, StatusCode::OK);
    let query = format!(
        "/service-apis/v1/allServiceAPIs?api-invoker-id={}&api-name=marked&supported-features=F",
        invoker.id
    );
    let found = invoker.get(&query).await.json();
    let shown: Vec<(String, Value)> = marks
        .iter()
        .filter(|(pointer, _)| !pointer.starts_with("/shareableInfo"))
        .cloned()
        .collect();
    kept(
        "GetPubServAPIs",
        &shown,
        &found["serviceAPIDescriptions"][0],
    );

    // An enrolment.
    let mut body = enrolment(&keys::request(&keys::p256()));
    body["supportedFeatures"] = json!("F");
    body["websockNotifConfig"] = json!({ "requestWebsocketUri": false });
    let mut marks = marked(&mut body);
    let answer = world.onboard(&world.credential(&[]).await, &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    // How notifications are sent belongs to a feature.
    marks.retain(|(pointer, _)| !pointer.starts_with("/websock"));
    kept("CreateOnboardedAPIInvoker", &marks, &answer.json());
    let mut details = invoker.details.clone();
    details.as_object_mut().unwrap().remove("apiList");
    details["supportedFeatures"] = json!("C");
    let marks = marked(&mut details);
    let path = format!("{INVOKERS}/{}", invoker.id);
    let answer = invoker.put(&path, &details).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    kept("UpdateIndOnboardedAPIInvoker", &marks, &answer.json());
    let answer = invoker.patch(&path, &json!({ VENDOR: "patched" })).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    assert_eq!(answer.json()[VENDOR], "patched");

    // A registration.
    let credential = world.registration_credential("marked").await;
    let key = keys::request(&keys::p256());
    let mut body = registration(&credential, &[function("AMF", &key)]);
    let marks = marked(&mut body);
    let answer = world
        .anonymous()
        .bearer(
            Method::POST,
            crate::support::people::REGISTRATIONS,
            &credential,
            Some(&body),
        )
        .await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    kept("CreateApiProvRegist", &marks, &answer.json());
    let mut details = domain.details.clone();
    details["suppFeat"] = json!("1");
    let marks = marked(&mut details);
    let answer = domain.amf.put(&domain.path(), &details).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.json());
    kept("UpdateIndApiProvDomainRegist", &marks, &answer.json());
    let answer = domain
        .amf
        .patch(&domain.path(), &json!({ VENDOR: "patched" }))
        .await;
    assert_eq!(answer.json()[VENDOR], "patched", "{}", answer.json());

    // A subscription.
    let path = format!("/capif-events/v1/{}/subscriptions", domain.aef.id);
    let mut body = subscription("4");
    let marks = marked(&mut body);
    let answer = domain.aef.post(&path, &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    kept("CreateEventSubsc", &marks, &answer.json());
    let location = answer.headers["location"].to_str().unwrap().to_owned();
    let path = format!("{path}/{}", location.rsplit('/').next().unwrap());
    let answer = domain.aef.put(&path, &body).await;
    kept("UpdateIndEventSubsc", &marks, &answer.json());

    // A security context.
    let mut body = wishes(&[(&domain.aef.id, &["OAUTH"])]);
    let marks = marked(&mut body);
    for (method, path) in [
        (Method::PUT, invoker.context()),
        (Method::POST, format!("{}/update", invoker.context())),
    ] {
        let answer = invoker.caller.json(method, &path, Some(&body)).await;
        assert!(answer.status.is_success(), "{}", answer.json());
        kept("trustedInvokers", &marks, &answer.json());
    }
    let answer = domain.aef.get(&invoker.context()).await;
    kept("GetSecIndTrustedAPIInv", &marks, &answer.json());

    // A report and what an audit finds of it.
    let mut body = log(&domain.aef.id, &invoker.id, &scene.apis[0]);
    let marks = marked(&mut body);
    let path = format!("/api-invocation-logs/v1/{}/logs", domain.aef.id);
    let answer = domain.aef.post(&path, &body).await;
    assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
    kept("CreateLogEntServAPIInv", &marks, &answer.json());
    let path = "/logs/v1/apiInvocationLogs?api-name=weather&time-range-end=2026-01-02T00:00:00Z&supported-features=3";
    let found = domain.amf.get(path).await;
    assert_eq!(found.status, StatusCode::OK, "{}", found.json());
    let mut of_entries = Map::new();
    of_entries.insert("logs".to_owned(), found.json()["logs"].clone());
    let of_entries = Value::Object(of_entries);
    let marks: Vec<(String, Value)> = marks
        .into_iter()
        .filter(|(pointer, _)| pointer.starts_with("/logs"))
        .collect();
    kept("GetAPIInvLogs", &marks, &of_entries);
}
