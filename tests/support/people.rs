//! Invokers and provider domains that enrol by raw requests, with their certificates at hand.

use std::ops::Deref;

use capif_transport::Clock;
use http::{Method, StatusCode};
use rcgen::KeyPair;
use serde_json::{Value, json};

use super::{
    World, keys,
    raw::Pems,
    reveal,
    wire::{Answer, Caller},
};

pub const INVOKERS: &str = "/api-invoker-management/v1/onboardedInvokers";
pub const REGISTRATIONS: &str = "/api-provider-management/v1/registrations";

/// Somebody with a certificate of the core function.
#[derive(Clone)]
pub struct Party {
    pub id: String,
    pub pems: Pems,
    pub caller: Caller,
}

impl Party {
    fn new(world: &World, id: &str, key: &KeyPair, chain_pem: &str) -> Self {
        let pems = Pems {
            chain: chain_pem.to_owned(),
            key: key.serialize_pem(),
        };
        Self {
            id: id.to_owned(),
            caller: world.with_certificate(&pems),
            pems,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.caller.json(Method::GET, path, None).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.caller.json(Method::POST, path, Some(body)).await
    }

    pub async fn put(&self, path: &str, body: &Value) -> Answer {
        self.caller.json(Method::PUT, path, Some(body)).await
    }

    pub async fn patch(&self, path: &str, body: &Value) -> Answer {
        self.caller.json(Method::PATCH, path, Some(body)).await
    }

    pub async fn delete(&self, path: &str) -> Answer {
        self.caller.json(Method::DELETE, path, None).await
    }
}

/// An onboarded invoker.
pub struct RawInvoker {
    pub party: Party,
    pub secret: Option<String>,
    pub details: Value,
}

impl Deref for RawInvoker {
    type Target = Party;

    fn deref(&self) -> &Party {
        &self.party
    }
}

impl RawInvoker {
    /// The path of its security context.
    pub fn context(&self) -> String {
        format!("/capif-security/v1/trustedInvokers/{}", self.id)
    }

    /// Negotiates these methods at an AEF.
    pub async fn negotiate(&self, aef: &str, methods: &[&str]) -> Answer {
        self.put(&self.context(), &wishes(&[(aef, methods)])).await
    }

    /// Asks for a token with the right secret.
    pub async fn token(&self, scope: Option<&str>) -> Answer {
        let mut form = vec![
            ("grant_type", "client_credentials"),
            ("client_id", &self.id),
            ("client_secret", self.secret.as_deref().unwrap_or_default()),
        ];
        form.extend(scope.map(|scope| ("scope", scope)));
        self.caller.form(&self.token_path(), &form).await
    }

    pub fn token_path(&self) -> String {
        format!("/capif-security/v1/securities/{}/token", self.id)
    }
}

/// The request for a security context.
pub fn wishes(wishes: &[(&str, &[&str])]) -> Value {
    let entries: Vec<Value> = wishes
        .iter()
        .map(|(aef, methods)| json!({ "aefId": aef, "prefSecurityMethods": methods }))
        .collect();
    json!({ "securityInfo": entries, "notificationDestination": "https://invoker.example/notify" })
}

/// A registered domain with one function of each role.
pub struct Domain {
    pub id: String,
    pub amf: Party,
    pub apf: Party,
    pub aef: Party,
    pub details: Value,
}

impl Domain {
    pub fn path(&self) -> String {
        format!("{REGISTRATIONS}/{}", self.id)
    }

    pub fn apis(&self) -> String {
        format!("/published-apis/v1/{}/service-apis", self.apf.id)
    }

    /// The description of an API that the domain's AEF exposes.
    pub fn description(&self, api: &str, methods: &[&str]) -> Value {
        json!({
            "apiName": api,
            "aefProfiles": [profile(&self.aef.id, methods)],
            "supportedFeatures": "3ff",
        })
    }

    /// Publishes an API and returns its id.
    pub async fn publish(&self, api: &str, methods: &[&str]) -> String {
        let answer = self
            .apf
            .post(&self.apis(), &self.description(api, methods))
            .await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
        answer.json()["apiId"].as_str().unwrap().to_owned()
    }
}

/// An AEF profile with one interface.
pub fn profile(aef: &str, methods: &[&str]) -> Value {
    json!({
        "aefId": aef,
        "versions": [{ "apiVersion": "v1" }],
        "protocol": "HTTP_1_1",
        "dataFormat": "JSON",
        "securityMethods": methods,
        "interfaceDescriptions": [{ "ipv4Addr": "127.0.0.1", "port": 8443 }],
    })
}

/// The least that an invoker sends to be onboarded.
pub fn enrolment(public_key: &str) -> Value {
    json!({
        "onboardingInformation": { "apiInvokerPublicKey": public_key },
        "notificationDestination": "https://invoker.example/notify",
    })
}

/// The same, with the APIs that it wants.
pub fn enrolment_for(public_key: &str, apis: &[&str]) -> Value {
    let mut body = enrolment(public_key);
    let apis: Vec<Value> = apis.iter().map(|api| json!({ "apiName": api })).collect();
    body["apiList"] = json!({ "serviceAPIDescriptions": apis });
    body
}

/// One function of a registration.
pub fn function(role: &str, public_key: &str) -> Value {
    json!({ "apiProvFuncRole": role, "regInfo": { "apiProvPubKey": public_key } })
}

/// What a provider sends to register.
pub fn registration(credential: &str, functions: &[Value]) -> Value {
    json!({ "regSec": credential, "apiProvFuncs": functions })
}

impl World {
    /// The time on the world's clock, in seconds since 1970.
    pub fn now(&self) -> i64 {
        self.clock.now().unix_timestamp()
    }

    /// Somebody without a certificate, on a connection of its own.
    pub fn anonymous(&self) -> Caller {
        Caller::new(self, self.address(), None)
    }

    /// Somebody with any certificate at all.
    pub fn with_certificate(&self, pems: &Pems) -> Caller {
        Caller::new(self, self.address(), Some(pems.identity()))
    }

    /// An onboarding credential for these APIs; for all if there are none.
    pub async fn credential(&self, apis: &[&str]) -> String {
        reveal(&self.invite(apis).await.credential).to_owned()
    }

    /// A registration credential.
    pub async fn registration_credential(&self, name: &str) -> String {
        reveal(&self.bundle(name).await.credential).to_owned()
    }

    /// Sends an onboarding request on a connection of its own.
    pub async fn onboard(&self, credential: &str, body: &Value) -> Answer {
        self.anonymous()
            .bearer(Method::POST, INVOKERS, credential, Some(body))
            .await
    }

    /// Sends a registration on a connection of its own.
    pub async fn register(&self, credential: &str, functions: &[Value]) -> Answer {
        let body = registration(credential, functions);
        self.anonymous()
            .bearer(Method::POST, REGISTRATIONS, credential, Some(&body))
            .await
    }

    /// An onboarded invoker whose credential is for these APIs; for all if there are none.
    pub async fn raw_invoker(&self, apis: &[&str]) -> RawInvoker {
        let credential = self.credential(apis).await;
        self.raw_invoker_by(&credential, &[]).await
    }

    /// An invoker onboarded with this credential, who asks for these APIs.
    pub async fn raw_invoker_by(&self, credential: &str, apis: &[&str]) -> RawInvoker {
        let key = keys::p256();
        let request = keys::request(&key);
        let body = if apis.is_empty() {
            enrolment(&request)
        } else {
            enrolment_for(&request, apis)
        };
        let answer = self.onboard(credential, &body).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
        self.invoker_of(&answer, &key)
    }

    /// The invoker that an onboarding made.
    pub fn invoker_of(&self, answer: &Answer, key: &KeyPair) -> RawInvoker {
        let details = answer.json();
        let information = &details["onboardingInformation"];
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let id = text(&details["apiInvokerId"]).unwrap();
        let chain = text(&information["apiInvokerCertificate"]).unwrap();
        RawInvoker {
            party: Party::new(self, &id, key, &chain),
            secret: text(&information["onboardingSecret"]),
            details,
        }
    }

    /// Somebody with this key and this certificate.
    pub fn party(&self, id: &str, key: &KeyPair, chain_pem: &str) -> Party {
        Party::new(self, id, key, chain_pem)
    }

    /// A registered domain.
    pub async fn domain(&self, name: &str) -> Domain {
        let credential = self.registration_credential(name).await;
        let keys: Vec<KeyPair> = (0..3).map(|_| keys::p256()).collect();
        let functions: Vec<Value> = ["AMF", "APF", "AEF"]
            .iter()
            .zip(&keys)
            .map(|(role, key)| {
                let mut function = function(role, &keys::request(key));
                if *role == "AEF" {
                    // Where its notifications are taken.
                    function["vendorSpecific-capif"] = json!({ "hosts": ["127.0.0.1"] });
                }
                function
            })
            .collect();
        let answer = self.register(&credential, &functions).await;
        assert_eq!(answer.status, StatusCode::CREATED, "{}", answer.json());
        let details = answer.json();
        let party = |index: usize| self.function_of(&details, index, &keys[index]);
        Domain {
            id: details["apiProvDomId"].as_str().unwrap().to_owned(),
            amf: party(0),
            apf: party(1),
            aef: party(2),
            details,
        }
    }

    /// The function at a place of an answer to a registration.
    pub fn function_of(&self, details: &Value, index: usize, key: &KeyPair) -> Party {
        let function = &details["apiProvFuncs"][index];
        let chain = function["regInfo"]["apiProvCert"].as_str().unwrap();
        Party::new(
            self,
            function["apiProvFuncId"].as_str().unwrap(),
            key,
            chain,
        )
    }
}

/// The folder of another core function, with another authority.
pub fn other_authority(world: &World) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    capif_ccf::init::init(folder.path(), world.clock.as_ref()).unwrap();
    folder
}
