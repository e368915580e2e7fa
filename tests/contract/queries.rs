//! Every query parameter of every GET: with a value that its schema takes, with one that it does not, and left out where it must be
//! there.

use capif_ccf::api::operations::{CallerKind, OPERATIONS};
use http::{Method, Request};
use serde_json::{Value, json};

use super::{
    descriptions::Described,
    record::Record,
    walk::{Ready, Walk},
};
use crate::{
    support::{World, wire::Answer},
    ts29222::scene::Scene,
};

/// Values that mean something, by the name of the parameter; any text where there is none.
fn sample(name: &str) -> Option<String> {
    let text = match name {
        "comm-type" => "REQUEST_RESPONSE".to_owned(),
        "protocol" | "protocols" => "HTTP_1_1".to_owned(),
        "data-format" => "JSON".to_owned(),
        "operation" => "GET".to_owned(),
        "result" => "200".to_owned(),
        "time-range-start" | "time-range-end" => "2026-01-31T12:00:00Z".to_owned(),
        "preferred-aef-loc" => json!({ "dcId": "frankfurt-1" }).to_string(),
        "ue-ip-addr" => json!({ "ipv4Addr": "10.0.0.1" }).to_string(),
        "service-kpis" => json!({ "maxReqRate": 1 }).to_string(),
        "net-slice-info" => json!([{ "ensi": "slice" }]).to_string(),
        "grant-types" => json!(["CLIENT_CREDENTIALS"]).to_string(),
        "res-ops" => json!([{ "resource": "/today", "operations": ["GET"] }]).to_string(),
        "src-interface" | "dest-interface" => json!({ "ipv4Addr": "10.0.0.1" }).to_string(),
        "api-versions" => json!({ "weather": "v1" }).to_string(),
        "api-supported-features" => "1".to_owned(),
        "supported-features" | "supp-feat" => "F".to_owned(),
        "authenticationInfo" | "authorizationInfo" => "true".to_owned(),
        _ => return None,
    };
    Some(text)
}

/// Parameters that another one must go with (TS 29.222 clauses 8.1.2 and 8.11.2).
fn companions(operation: &str, name: &str) -> &'static [(&'static str, &'static str)] {
    match (operation, name) {
        ("GetPubServAPIs", "api-supported-features") => &[("api-name", "weather")],
        ("GetServAPIs", "res-ops" | "api-versions" | "api-supported-features") => {
            &[("api-names", "weather")]
        }
        _ => &[],
    }
}

/// Texts that the schema of a parameter refuses.
fn refused(record: &Record, described: &Described, parameter: &Value) -> Vec<&'static str> {
    if parameter["content"]["application/json"].is_object() {
        return vec!["", "{", "nothing", "[", "7"];
    }
    let schema = record
        .descriptions
        .resolved(described, &parameter["schema"]);
    if schema["type"] == "boolean" {
        return vec!["", "maybe", "7", "TRUE"];
    }
    if schema["format"] == "date-time" {
        return vec!["", "yesterday", "2026-13-01T00:00:00Z", "2026-01-31"];
    }
    if schema["pattern"] == "^[A-Fa-f0-9]*$" {
        return vec!["x", "0x1", "-"];
    }
    if schema["type"] == "array" {
        return vec!["", ","];
    }
    Vec::new()
}

struct Asked<'a> {
    walk: &'a Walk<'a>,
    ready: Ready,
}

impl Asked<'_> {
    async fn ask(&self, parameters: &[(&str, &str)], without: Option<&str>) -> Answer {
        let mut request: Request<Vec<u8>> = self.ready.request(self.walk.scene);
        let uri = request.uri().clone();
        let mut pairs: Vec<(String, String)> =
            serde_urlencoded::from_str(uri.query().unwrap_or_default()).unwrap();
        pairs.retain(|(name, _)| {
            Some(name.as_str()) != without && parameters.iter().all(|(given, _)| given != name)
        });
        pairs.extend(
            parameters
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned())),
        );
        let query = serde_urlencoded::to_string(&pairs).unwrap();
        *request.uri_mut() = format!("{}?{query}", uri.path()).parse().unwrap();
        let operation = self.ready.operation;
        let answer = self
            .ready
            .who
            .send(self.walk.world, operation, request)
            .await;
        let what = format!("{parameters:?} without {without:?}");
        self.walk.record.answered(operation.id, &what, &answer);
        answer
    }
}

pub(super) async fn every_parameter(record: &Record) {
    let world = World::start().await;
    let scene = Scene::new(&world, ["acme", "umbrella"]).await;
    let walk = Walk {
        record,
        world: &world,
        scene: &scene,
    };
    let mut parameters = 0;
    for operation in OPERATIONS {
        let Some(described) = record.descriptions.operation(operation.id) else {
            continue;
        };
        if operation.method != Method::GET {
            continue;
        }
        let asked = Asked {
            walk: &walk,
            ready: walk.ready(operation).await,
        };
        for parameter in described
            .parameters
            .iter()
            .filter(|parameter| parameter["in"] == "query")
        {
            let name = parameter["name"].as_str().unwrap();
            let mandatory = parameter["required"] == true;
            parameters += 1;
            let companions = companions(operation.id, name);
            let value = match (operation.id, name) {
                ("GetAccContPolList", "api-invoker-id") => scene.invokers[0].id.clone(),
                ("GetServAPIs", "api-supported-features") => json!({ "weather": "1" }).to_string(),
                _ => sample(name).unwrap_or_else(|| "some".to_owned()),
            };
            if !mandatory {
                let mut given = companions.to_vec();
                given.push((name, &value));
                let answer = asked.ask(&given, None).await;
                let fine =
                    answer.status == 200 || answer.status == 404 && operation.id == "GetAPIInvLogs";
                if !fine {
                    record.mistake(format!(
                        "{} {given:?}: {} {}",
                        operation.id,
                        answer.status,
                        answer.json()
                    ));
                }
            }
            for value in refused(record, described, parameter) {
                let mut given = companions.to_vec();
                given.push((name, value));
                let answer = asked.ask(&given, None).await;
                names(record, operation.id, name, &answer, "INCORRECT");
            }
            if mandatory {
                let answer = asked.ask(&[], Some(name)).await;
                names(record, operation.id, name, &answer, "MISSING");
            }
        }
        // What vendors ask for does no harm where it means nothing (TS 29.222 clause 7.11).
        let target = json!({ "target": "/nothing", "value": 1 }).to_string();
        let answer = asked.ask(&[("vend-spec-x", &target)], None).await;
        assert!(
            is_fine(operation.id, &answer),
            "{}: {}",
            operation.id,
            answer.json()
        );
        assert!(operation.callers != [CallerKind::OnboardingCredential]);
    }
    assert!(parameters > 50, "{parameters}");
}

/// An audit that finds nothing says so.
fn is_fine(id: &str, answer: &Answer) -> bool {
    answer.status == 200 || id == "GetAPIInvLogs" && answer.status == 404
}

/// A refusal says which parameter, and whether it is wrong or missing.
fn names(record: &Record, id: &str, name: &str, answer: &Answer, ending: &str) {
    let problem = answer.json();
    let cause = problem["cause"].as_str().unwrap_or_default();
    let told = problem["invalidParams"][0]["param"] == name;
    if answer.status != 400 || !told || !(cause.ends_with(ending) || cause == "INVALID_QUERY_PARAM")
    {
        record.mistake(format!("{id} {name} {ending}: {} {problem}", answer.status));
    }
}
