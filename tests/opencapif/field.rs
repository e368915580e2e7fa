//! What clients in the field put on the wire, member by member, and what they read of the answers: the parts of their dialect that no
//! standard asks for, sent as they send it.

use capif_ccf::config::Compat;
use http::StatusCode;
use rcgen::KeyPair;
use serde_json::{Value, json};

use crate::support::{
    World, keys,
    people::{INVOKERS, Party, REGISTRATIONS, RawInvoker, registration},
    wire::Answer,
};

const MONITORING: &str = "/nef/api/v1/3gpp-monitoring-event/";
const STATION: &str = "Weather station API";

/// A provider of the field with two AEFs, and an invoker.
struct Field {
    world: World,
    domain: String,
    functions: Vec<Party>,
    amf_key: KeyPair,
    invoker: RawInvoker,
}

/// What every request about notifications carries.
fn with_delivery(mut body: Value) -> Value {
    body["notificationDestination"] = json!("https://mynotificationdest.com");
    body["requestTestNotification"] = json!(true);
    body["websockNotifConfig"] = json!({ "websocketUri": "string", "requestWebsocketUri": true });
    body
}

fn functions_of(roles: &[&str], keys: &[&KeyPair]) -> Vec<Value> {
    let each = roles.iter().zip(keys);
    each.map(|(role, key)| {
        json!({
            "regInfo": { "apiProvPubKey": keys::request(key) },
            "apiProvFuncRole": role, "apiProvFuncInfo": role.to_lowercase(),
        })
    })
    .collect()
}

fn provider(credential: &str, functions: &[Value]) -> Value {
    let mut body = registration(credential, functions);
    body["apiProvDomInfo"] = json!("This is provider");
    body["suppFeat"] = json!("fff");
    body["failReason"] = json!("string");
    body
}

fn description(name: &str, aef: &str) -> Value {
    json!({
        "apiName": name,
        "aefProfiles": [{
            "aefId": aef,
            "versions": [{
                "apiVersion": "v1", "expiry": "2021-11-30T10:32:02.004Z",
                "resources": [{
                    "resourceName": "MONITORING_SUBSCRIPTIONS", "commType": "SUBSCRIBE_NOTIFY",
                    "uri": "/{scsAsId}/subscriptions", "custOpName": "http_get", "operations": ["GET", "POST"],
                }],
                "custOperations": [{
                    "commType": "REQUEST_RESPONSE", "custOpName": "check-authentication", "operations": ["POST"],
                }],
            }],
            "protocol": "HTTP_1_1", "dataFormat": "JSON",
            "interfaceDescriptions": [
                { "ipv4Addr": "nef.example", "port": 8888, "securityMethods": ["Oauth"] },
                { "ipv4Addr": "192.0.2.1", "port": 8888, "securityMethods": ["PSK", "Oauth"] },
            ],
        }],
        "description": "an API of the field", "supportedFeatures": "fffff", "apiSuppFeats": "fffff",
        "shareableInfo": { "isShareable": true, "capifProvDoms": ["string"] },
        "serviceAPICategory": "string", "pubApiPath": { "ccfIds": ["string"] }, "ccfId": "string",
    })
}

fn onboarding(request: &str) -> Value {
    with_delivery(json!({
        "supportedFeatures": "fffffff", "apiInvokerInformation": "invoker_app",
        "onboardingInformation": {
            "apiInvokerPublicKey": request, "apiInvokerCertificate": "string", "onboardingSecret": "string",
        },
    }))
}

fn roles(details: &Value) -> Vec<&str> {
    let functions = details["apiProvFuncs"].as_array().unwrap().iter();
    functions
        .map(|function| function["apiProvFuncRole"].as_str().unwrap())
        .collect()
}

impl Field {
    async fn start() -> Self {
        let world = World::with(|config| config.compat = Compat::Opencapif).await;
        let credential = world.registration_credential("acme").await;
        let [amf, one, two, apf] = std::array::from_fn(|_| keys::rsa_2048());
        let order = ["AEF", "AEF", "APF", "AMF"];
        let functions = functions_of(&order, &[&one, &two, &apf, &amf]);
        let said = world
            .anonymous()
            .bearer(
                http::Method::POST,
                REGISTRATIONS,
                &credential,
                Some(&provider(&credential, &functions)),
            )
            .await;
        assert_eq!(said.status, StatusCode::CREATED, "{said:?}");
        let details = said.json();
        assert_eq!(roles(&details), order, "in the order of the request");
        assert!(details.get("failReason").is_none(), "{details}");
        let parties = [&one, &two, &apf, &amf].into_iter().enumerate();
        let functions = parties
            .map(|(index, key)| world.function_of(&details, index, key))
            .collect();
        let invoker_key = keys::rsa_2048();
        let credential = world.credential(&[]).await;
        let onboarded = world
            .onboard(&credential, &onboarding(&keys::request(&invoker_key)))
            .await;
        assert_eq!(onboarded.status, StatusCode::CREATED, "{onboarded:?}");
        let invoker = world.invoker_of(&onboarded, &invoker_key);
        Self {
            domain: details["apiProvDomId"].as_str().unwrap().to_owned(),
            functions,
            amf_key: amf,
            invoker,
            world,
        }
    }

    fn aef(&self) -> &Party {
        &self.functions[0]
    }

    fn apis(&self) -> String {
        format!("/published-apis/v1/{}/service-apis", self.functions[2].id)
    }

    async fn publish(&self, name: &str, aef: usize) -> Answer {
        let body = description(name, &self.functions[aef].id);
        self.functions[2].post(&self.apis(), &body).await
    }

    /// The request for a security context at these AEFs and APIs.
    fn context(&self, wishes: &[(usize, &str)]) -> Value {
        let entries: Vec<Value> = wishes
            .iter()
            .map(|(aef, api)| {
                json!({
                    "prefSecurityMethods": ["Oauth"], "authenticationInfo": "string", "authorizationInfo": "string",
                    "aefId": self.functions[*aef].id, "apiId": api,
                })
            })
            .collect();
        with_delivery(json!({ "securityInfo": entries, "supportedFeatures": "fff" }))
    }

    async fn token(&self, scope: &str) -> Answer {
        let form = [
            ("grant_type", "client_credentials"),
            ("client_id", &self.invoker.id),
            ("client_secret", "string"),
            ("scope", scope),
        ];
        self.invoker
            .caller
            .form(&self.invoker.token_path(), &form)
            .await
    }
}

/// An update names no ids, keeps the AMF's request, and has more or fewer functions than before; each is answered with a certificate.
#[tokio::test]
async fn a_provider_grows_and_shrinks() {
    let field = Field::start().await;
    let credential = field.world.registration_credential("again").await;
    let path = format!("{REGISTRATIONS}/{}", field.domain);
    let amf = &field.functions[3];
    let before: Vec<&str> = field.functions.iter().map(|one| one.id.as_str()).collect();
    for others in [&["AEF", "APF"][..], &["AEF", "AEF", "AEF", "APF", "APF"]] {
        let fresh: Vec<KeyPair> = others.iter().map(|_| keys::p256()).collect();
        let order = [&["AMF"], others].concat();
        let keys: Vec<&KeyPair> = std::iter::once(&field.amf_key).chain(&fresh).collect();
        let body = provider(&credential, &functions_of(&order, &keys));
        let said = amf
            .caller
            .bearer(http::Method::PUT, &path, &credential, Some(&body))
            .await;
        assert_eq!(said.status, StatusCode::OK, "{said:?}");
        let details = said.json();
        assert_eq!(roles(&details), order);
        let functions = details["apiProvFuncs"].as_array().unwrap();
        for function in functions {
            assert!(function["regInfo"]["apiProvCert"].is_string(), "{function}");
        }
        assert_eq!(functions[0]["apiProvFuncId"], before[3]);
        assert_eq!(functions[1]["apiProvFuncId"], before[0]);
        // What was certified works at once.
        let apf = order.iter().position(|role| *role == "APF").unwrap();
        let apf = field.world.function_of(&details, apf, keys[apf]);
        let apis = format!("/published-apis/v1/{}/service-apis", apf.id);
        assert_eq!(apf.get(&apis).await.status, StatusCode::OK);
    }
    assert_eq!(amf.delete(&path).await.status, StatusCode::NO_CONTENT);
    let gone = amf.delete(&path).await;
    assert_eq!(gone.status, StatusCode::UNAUTHORIZED, "{gone:?}");
}

/// Free names, placeholders, host names as addresses, methods at the interfaces alone; a name twice is refused in the words that two
/// deployed providers compare.
#[tokio::test]
async fn what_is_published_is_found() {
    let field = Field::start().await;
    let mut ids = Vec::new();
    for name in [MONITORING, "/tsn/api/", STATION] {
        let said = field.publish(name, 0).await;
        assert_eq!(said.status, StatusCode::CREATED, "{said:?}");
        assert_eq!(said.json()["apiName"], name);
        ids.push(said.json()["apiId"].as_str().unwrap().to_owned());
    }
    for aef in [0, 1] {
        let said = field.publish(MONITORING, aef).await;
        assert_eq!(said.status, StatusCode::FORBIDDEN, "{said:?}");
        let words = "Already registered service with same api name";
        assert_eq!(said.json()["detail"], words);
    }
    let one = format!("{}/{}", field.apis(), ids[0]);
    let body = description(MONITORING, &field.aef().id);
    let said = field.functions[2].put(&one, &body).await;
    assert_eq!(said.json()["apiId"], ids[0].as_str(), "{said:?}");

    let discover = async |query: &str| {
        let path = format!(
            "/service-apis/v1/allServiceAPIs?api-invoker-id={}{query}",
            field.invoker.id
        );
        let request = http::Request::get(path).header("content-type", "application/json");
        let said = field.invoker.caller.send(request.body(Vec::new()).unwrap());
        let said = said.await;
        assert_eq!(said.status, StatusCode::OK, "{said:?}");
        said.json()
    };
    assert_eq!(discover("&api-name=nothing").await, json!({}));
    let found = discover("&api-name=Weather+station+API").await;
    let found = found["serviceAPIDescriptions"].as_array().unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    let profile = &found[0]["aefProfiles"][0];
    assert_eq!(profile["securityMethods"], json!(["OAUTH", "PSK"]));
    let resource = &profile["versions"][0]["resources"][0];
    assert_eq!(resource["uri"], "/{scsAsId}/subscriptions");
    let all = discover("").await;
    let all = all["serviceAPIDescriptions"].as_array().unwrap();
    assert_eq!(all.len(), 3);
}

/// `update` before there is a context is exactly 404, afterwards 200; said again it ends no token. A scope has its names as they are.
#[tokio::test]
async fn contexts_and_tokens() {
    let field = Field::start().await;
    let mut apis = Vec::new();
    for (name, aef) in [(MONITORING, 0), (STATION, 0), ("other", 1)] {
        let said = field.publish(name, aef).await.json();
        apis.push(said["apiId"].as_str().unwrap().to_owned());
    }
    let path = field.invoker.context();
    let update = format!("{path}/update");
    let wanted = field.context(&[(0, &apis[0]), (0, &apis[1]), (1, &apis[2])]);
    let said = field.invoker.post(&update, &wanted).await;
    assert_eq!(said.status, StatusCode::NOT_FOUND, "{said:?}");
    let said = field.invoker.put(&path, &wanted).await;
    assert_eq!(said.status, StatusCode::CREATED, "{said:?}");
    for entry in said.json()["securityInfo"].as_array().unwrap() {
        assert_eq!(entry["selSecurityMethod"], "OAUTH", "{entry}");
    }
    let (one, two) = (&field.functions[0].id, &field.functions[1].id);
    for scope in [
        format!("3gpp#{one}:{MONITORING}"),
        format!("3gpp#{one}:{MONITORING};{one}:{STATION};{two}:other"),
        format!("3gpp#{one}:{MONITORING},{STATION};{two}:other"),
    ] {
        let said = field.token(&scope).await;
        assert_eq!(said.status, StatusCode::OK, "{scope}: {said:?}");
        let said = said.json();
        assert!(said["expires_in"].is_u64() && said["token_type"] == "Bearer");
        let names = scope.matches([',', ';']).count();
        let told = said["scope"].as_str().unwrap();
        assert_eq!(told.matches([',', ';']).count(), names, "{told}");
    }
    for scope in [
        format!("3gpp#{one}:other"),
        format!("3gpp#{one}"),
        "3gpp#nobody:nothing".to_owned(),
        "nothing".to_owned(),
    ] {
        let said = field.token(&scope).await;
        assert_eq!(said.status, StatusCode::BAD_REQUEST, "{scope}");
        assert_eq!(said.json()["error"], "invalid_scope", "{scope}");
    }
    let token = field.token(&format!("3gpp#{one}:{MONITORING}")).await;
    let token = token.json()["access_token"].as_str().unwrap().to_owned();
    for _ in 0..2 {
        let said = field.invoker.post(&update, &wanted).await;
        assert_eq!(said.status, StatusCode::OK, "{said:?}");
    }
    let counts = async || {
        let path = "/capif-token-introspection/v1/introspect";
        let form = [("token", token.as_str())];
        let asked = field.aef().caller.form(path, &form).await;
        asked.json()["active"] == true
    };
    assert!(counts().await);

    // The same request again, with what was never filled in: nothing changes, neither certificate nor tokens.
    let own = format!("{INVOKERS}/{}", field.invoker.id);
    let same = field.invoker.details["onboardingInformation"]["apiInvokerPublicKey"].clone();
    let same = onboarding(same.as_str().unwrap());
    let said = field.invoker.put(&own, &same).await;
    assert_eq!(said.status, StatusCode::OK, "{said:?}");
    assert!(counts().await);
    let another = onboarding(&keys::request(&keys::p256()));
    let said = field.invoker.put(&own, &another).await;
    assert_eq!(said.status, StatusCode::BAD_REQUEST, "{said:?}");
    let said = field.invoker.delete(&own).await;
    assert_eq!(said.status, StatusCode::NO_CONTENT);
    assert!(!counts().await);
    let said = field.invoker.post(&update, &wanted).await;
    assert_eq!(said.status, StatusCode::UNAUTHORIZED, "{said:?}");
}

/// Logs as the older SDKs write them, and 201 with a body.
#[tokio::test]
async fn logs_come_as_they_are_written() {
    let field = Field::start().await;
    let api = field.publish(MONITORING, 0).await.json()["apiId"].clone();
    let entry = json!({
        "apiId": api, "apiName": MONITORING, "apiVersion": "v1", "resourceName": "MONITORING_SUBSCRIPTIONS",
        "uri": "/{scsAsId}/subscriptions", "protocol": "HTTP_1_1", "operation": "POST", "result": "200",
        "invocationTime": "2023-01-24 12:20:00", "invocationLatency": 10, "inputParameters": " ", "outputParameters": {},
    });
    let changed = |change: fn(&mut Value)| {
        let mut entry = entry.clone();
        change(&mut entry);
        entry
    };
    let entries = [
        entry.clone(),
        changed(|entry| entry["result"] = json!(200)),
        changed(|entry| entry["invocationTime"] = json!("2023-01-24T12:20:00+00:00")),
        changed(|entry| {
            let members = entry.as_object_mut().unwrap();
            members.retain(|name, _| !name.starts_with("invocation"));
        }),
    ];
    let aef = field.aef();
    let body = json!({
        "aefId": aef.id, "apiInvokerId": field.invoker.id, "logs": entries, "supportedFeatures": "fffffff",
    });
    let path = format!("//api-invocation-logs/v1/{}/logs", aef.id);
    let said = aef.post(&path, &body).await;
    assert_eq!(said.status, StatusCode::CREATED, "{said:?}");
    let answered = said.json();
    assert_eq!(answered["logs"].as_array().unwrap().len(), 4, "{answered}");
    assert_eq!(answered["logs"][1]["result"], "200");
    let path = format!("/logs/v1/apiInvocationLogs?aef-id={}", aef.id);
    let read = field.functions[3].get(&path).await;
    assert_eq!(read.status, StatusCode::OK, "{read:?}");
    assert_eq!(read.json()["logs"].as_array().unwrap().len(), 4);
}

/// What is left unset arrives as an empty text: the refusal names it, in its words too, since these are what clients show.
#[tokio::test]
async fn what_is_left_unset_is_named() {
    let field = Field::start().await;
    let path = format!("/capif-events/v1/{}/subscriptions", field.invoker.id);
    for member in ["eventFilters", "websockNotifConfig", "eventReq", "events"] {
        let mut body = with_delivery(json!({
            "events": ["SERVICE_API_AVAILABLE"], "eventFilters": [], "eventReq": {}, "supportedFeatures": "0",
        }));
        body[member] = json!("");
        let said = field.invoker.post(&path, &body).await;
        assert_eq!(said.status, StatusCode::BAD_REQUEST, "{member}: {said:?}");
        let problem = said.json();
        let pointer = format!("/{member}");
        assert_eq!(problem["invalidParams"][0]["param"], pointer.as_str());
        let detail = problem["detail"].as_str().unwrap();
        assert!(
            detail.starts_with(&format!("{pointer}: expected a")),
            "{detail}"
        );
    }
}
