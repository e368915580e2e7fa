//! Invokers and provider domains that enrol by raw requests, as many as a measurement needs.

use std::net::SocketAddr;

use http::{Method, StatusCode};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::{
    process::{Machine, Service},
    wire::{Answer, Party, Tls, Wire, request},
};

/// The core function as those who enrol see it.
#[derive(Clone)]
pub struct Core {
    pub address: SocketAddr,
    pub anchors_pem: String,
    /// Of those who have no certificate yet.
    pub anonymous: Tls,
}

impl Core {
    pub async fn of(machine: &Machine, service: &Service) -> Self {
        let address = service.word_after("serving at ");
        let anchors_pem = machine.invite().await.anchors_pem;
        Self {
            address: address.trim_end_matches(';').parse().unwrap(),
            anonymous: Tls::new(&anchors_pem, None),
            anchors_pem,
        }
    }

    /// Sends a credential and a body, on a connection of its own.
    async fn enrol(&self, path: &str, credential: &str, body: &Value) -> Answer {
        let mut wire = Wire::connect(self.address, &self.anonymous).await.unwrap();
        let bearer = format!("Bearer {credential}");
        let text = body.to_string();
        let headers = [("authorization", bearer.as_str())];
        let body = Some(("application/json", text.as_str()));
        wire.exchange(&request("POST", path, &headers, body))
            .await
            .unwrap()
    }
}

/// The resource of onboarding.
pub const INVOKERS: &str = "/api-invoker-management/v1/onboardedInvokers";

/// A PKCS#10 request for a key.
pub fn signing_request(key: &KeyPair) -> String {
    let request = CertificateParams::default().serialize_request(key);
    request.unwrap().pem().unwrap()
}

/// What an invoker sends to be onboarded.
pub fn enrolment(signing_request: &str) -> Value {
    json!({
        "onboardingInformation": { "apiInvokerPublicKey": signing_request },
        "notificationDestination": "https://invoker.example/notify",
    })
}

/// An onboarding credential for some APIs, or for all.
pub async fn credential(machine: &Machine, apis: Option<&[&str]>) -> String {
    let body = apis.map_or_else(|| json!({}), |apis| json!({ "apis": apis }));
    let (status, parts) = machine.operator(Method::POST, "/invites", Some(body)).await;
    assert_eq!(status, StatusCode::CREATED, "{parts}");
    parts["credential"].as_str().unwrap().to_owned()
}

/// An onboarded invoker.
pub struct Invoker {
    pub party: Party,
    pub secret: String,
}

impl Invoker {
    /// Onboards somebody who may use these APIs, or all.
    pub async fn onboard(machine: &Machine, core: &Core, apis: Option<&[&str]>) -> Self {
        let credential = credential(machine, apis).await;
        let key = KeyPair::generate().unwrap();
        let body = enrolment(&signing_request(&key));
        let details = core.enrol(INVOKERS, &credential, &body).await.expect(201);
        let information = &details["onboardingInformation"];
        let id = details["apiInvokerId"].as_str().unwrap();
        let chain = information["apiInvokerCertificate"].as_str().unwrap();
        let secret = information["onboardingSecret"].as_str();
        Self {
            party: Party::new(&core.anchors_pem, id, chain, key),
            secret: secret.unwrap_or_default().to_owned(),
        }
    }

    /// Agrees with an AEF on a method.
    pub async fn negotiate(&self, core: &Core, aef: &str, method: &str) {
        let body = json!({
            "securityInfo": [{ "aefId": aef, "prefSecurityMethods": [method] }],
            "notificationDestination": "https://invoker.example/notify",
        });
        let path = format!("/capif-security/v1/trustedInvokers/{}", self.party.id);
        let answer = self.party.send(core.address, "PUT", &path, &body).await;
        answer.expect(201);
    }
}

/// A registered domain.
pub struct Domain {
    pub apf: Party,
    pub aefs: Vec<Party>,
}

impl Domain {
    /// Registers a domain with so many AEFs, all of this machine.
    pub async fn register(machine: &Machine, core: &Core, name: &str, aefs: usize) -> Self {
        let bundle = json!({ "name": name });
        let (status, parts) = machine
            .operator(Method::POST, "/providers", Some(bundle))
            .await;
        assert_eq!(status, StatusCode::CREATED, "{parts}");
        let credential = parts["credential"].as_str().unwrap();
        let roles = ["AMF", "APF"]
            .into_iter()
            .chain(std::iter::repeat_n("AEF", aefs));
        let keys: Vec<(&str, KeyPair)> = roles
            .map(|role| (role, KeyPair::generate().unwrap()))
            .collect();
        let functions: Vec<Value> = keys
            .iter()
            .map(|(role, key)| {
                let mut function = json!({
                    "apiProvFuncRole": role,
                    "regInfo": { "apiProvPubKey": signing_request(key) },
                });
                if *role == "AEF" {
                    function["vendorSpecific-capif"] = json!({ "hosts": ["127.0.0.1"] });
                }
                function
            })
            .collect();
        let body = json!({ "regSec": credential, "apiProvFuncs": functions });
        let path = "/api-provider-management/v1/registrations";
        let details = core.enrol(path, credential, &body).await.expect(201);
        let mut parties = keys.into_iter().enumerate().map(|(index, (_, key))| {
            let function = &details["apiProvFuncs"][index];
            let id = function["apiProvFuncId"].as_str().unwrap();
            let chain = function["regInfo"]["apiProvCert"].as_str().unwrap();
            Party::new(&core.anchors_pem, id, chain, key)
        });
        let (_amf, apf) = (parties.next(), parties.next().unwrap());
        Self {
            apf,
            aefs: parties.collect(),
        }
    }

    /// Publishes an API of the first AEF.
    pub async fn publish(&self, core: &Core, api: &str, methods: &[&str]) {
        let path = format!("/published-apis/v1/{}/service-apis", self.apf.id);
        let body = description(&self.aefs[0].id, api, methods);
        let answer = self.apf.send(core.address, "POST", &path, &body).await;
        answer.expect(201);
    }
}

/// What a provider publishes of an API.
pub fn description(aef: &str, api: &str, methods: &[&str]) -> Value {
    json!({
        "apiName": api,
        "aefProfiles": [{
            "aefId": aef,
            "versions": [{ "apiVersion": "v1" }],
            "protocol": "HTTP_1_1",
            "dataFormat": "JSON",
            "securityMethods": methods,
            "interfaceDescriptions": [{ "ipv4Addr": "127.0.0.1", "port": 8443 }],
        }],
    })
}
