//! API invokers by raw requests, so that a measurement holds their certificates, tokens and keys in its own hands.

use std::{net::SocketAddr, sync::Arc};

use capif_procedures::aefpsk::{self, Facts, Profile, SESSION_ID_LABEL, SESSION_KEY_LABEL};
use capif_spec::publish_service::InterfaceDescription;
use capif_transport::{
    Anchors, Client, ClientLimits, ClientTls, Identity, Psk, PskCredential, PskVersion, Session,
    SessionLabels, SystemClock, collect, empty, full,
};
use http::{Method, Request, Response, StatusCode, header};
use rcgen::{CertificateParams, KeyPair};
use serde_json::{Value, json};

use crate::{SOON, process::Machine};

/// An AEF with its one interface.
#[derive(Clone)]
pub struct Target {
    pub aef_id: String,
    pub api: String,
    pub address: SocketAddr,
}

/// How a call proves who makes it.
#[derive(Clone)]
pub enum Proof {
    Certificate,
    Token(String),
    /// One key per target.
    Keys(Vec<PskCredential>),
}

/// An onboarded API invoker that agreed on one method with every target.
pub struct Invoker {
    pub id: String,
    pub proof: Proof,
    identity: Identity,
    anchors: Anchors,
}

async fn exchange(
    client: &Client,
    request: http::request::Builder,
    body: Option<(&'static str, String)>,
) -> (StatusCode, Value, Option<Arc<Session>>) {
    let request = match body {
        Some((media, text)) => request.header(header::CONTENT_TYPE, media).body(full(text)),
        None => request.body(empty()),
    };
    let response = client.request(request.unwrap()).await.unwrap();
    let session = response.extensions().get::<Arc<Session>>().cloned();
    let (status, body) = whole(response).await;
    (
        status,
        serde_json::from_slice(&body).unwrap_or(Value::Null),
        session,
    )
}

async fn whole(response: Response<capif_transport::Body>) -> (StatusCode, Vec<u8>) {
    let status = response.status();
    let body = collect(response.into_body(), 1 << 20, SOON).await.unwrap();
    (status, body.to_vec())
}

fn tls(anchors: &Anchors, identity: Option<&Identity>) -> ClientTls {
    ClientTls {
        anchors: Some(anchors.clone()),
        identity: identity.cloned(),
        clock: Arc::new(SystemClock),
        session: Some(SessionLabels {
            key: SESSION_KEY_LABEL,
            id: SESSION_ID_LABEL,
        }),
        tls12_only: false,
    }
}

impl Invoker {
    /// Onboards, and negotiates `method` with every target.
    pub async fn enrol(machine: &Machine, method: &str, targets: &[Target]) -> Self {
        let enrolment = machine.invite().await;
        let anchors = Anchors::from_pem(&enrolment.anchors_pem).unwrap();
        let ccf = format!("https://{}", enrolment.address);
        let key = KeyPair::generate().unwrap();
        let csr = CertificateParams::default()
            .serialize_request(&key)
            .unwrap();
        let body = json!({
            "onboardingInformation": { "apiInvokerPublicKey": csr.pem().unwrap() },
            "notificationDestination": "https://invoker.example/notify",
        });
        let nobody = Client::new(tls(&anchors, None), ClientLimits::default()).unwrap();
        let request = Request::post(format!("{ccf}/api-invoker-management/v1/onboardedInvokers"))
            .header(
                header::AUTHORIZATION,
                format!("Bearer {}", enrolment.credential.expose()),
            );
        let body = ("application/json", body.to_string());
        let (status, details, _) = exchange(&nobody, request, Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{details}");
        let information = &details["onboardingInformation"];
        let id = details["apiInvokerId"].as_str().unwrap().to_owned();
        let chain = information["apiInvokerCertificate"].as_str().unwrap();
        let identity = Identity::from_pem(chain, key.serialize_pem()).unwrap();
        let client = Client::new(tls(&anchors, Some(&identity)), ClientLimits::default()).unwrap();

        let wishes: Vec<Value> = targets
            .iter()
            .map(|target| json!({ "aefId": target.aef_id, "prefSecurityMethods": [method] }))
            .collect();
        let body = json!({
            "securityInfo": wishes,
            "notificationDestination": "https://invoker.example/notify",
        });
        let request = Request::put(format!("{ccf}/capif-security/v1/trustedInvokers/{id}"));
        let body = ("application/json", body.to_string());
        let (status, context, session) = exchange(&client, request, Some(body)).await;
        assert_eq!(status, StatusCode::CREATED, "{context}");

        let proof = match method {
            "PKI" => Proof::Certificate,
            "OAUTH" => {
                let secret = information["onboardingSecret"].as_str().unwrap();
                let form =
                    format!("grant_type=client_credentials&client_id={id}&client_secret={secret}");
                let request =
                    Request::post(format!("{ccf}/capif-security/v1/securities/{id}/token"));
                let body = ("application/x-www-form-urlencoded", form);
                let (status, token, _) = exchange(&client, request, Some(body)).await;
                assert_eq!(status, StatusCode::OK, "{token}");
                Proof::Token(token["access_token"].as_str().unwrap().to_owned())
            }
            _ => {
                let session = session.unwrap();
                let keys = targets.iter().enumerate().map(|(index, target)| {
                    credential(&context["securityInfo"][index], target, &session)
                });
                Proof::Keys(keys.collect())
            }
        };
        Self {
            id,
            proof,
            identity,
            anchors,
        }
    }

    /// A client with no connection yet, for the target of this index.
    pub fn client(&self, target: usize) -> Client {
        let limits = ClientLimits::default();
        match &self.proof {
            Proof::Certificate => Client::new(tls(&self.anchors, Some(&self.identity)), limits),
            Proof::Token(_) => Client::new(tls(&self.anchors, None), limits),
            Proof::Keys(keys) => Client::psk(keys[target].clone(), limits),
        }
        .unwrap()
    }

    /// Calls the API of a target; `None` when there is no answer.
    pub async fn call(&self, client: &Client, target: &Target) -> Option<StatusCode> {
        let mut request = Request::builder().method(Method::GET).uri(format!(
            "https://{}/{}/v1/today",
            target.address, target.api
        ));
        if let Proof::Token(token) = &self.proof {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let response = client.request(request.body(empty()).unwrap()).await.ok()?;
        let status = response.status();
        collect(response.into_body(), 1 << 20, SOON).await.ok()?;
        Some(status)
    }
}

/// The key that both ends derive from the session of the negotiation (TS 33.122 annex A.1).
fn credential(entry: &Value, target: &Target, session: &Session) -> PskCredential {
    let text = entry["authenticationInfo"].as_str().unwrap();
    let information: Value = serde_json::from_str(text).unwrap();
    let interface = InterfaceDescription {
        ipv4_addr: Some(target.address.ip().to_string()),
        port: Some(target.address.port().into()),
        ..InterfaceDescription::default()
    };
    let facts = Facts {
        profile: Profile::A1Exporter,
        key: session.exported_key(),
        session_id: session.exported_id(),
    };
    let interface = aefpsk::interface_information(&interface).unwrap();
    let key = aefpsk::derive(&facts, &interface).unwrap();
    PskCredential {
        identity: information["pskId"].as_str().unwrap().to_owned(),
        key: Psk::new(*key),
        version: match information["tls"].as_str() {
            Some("1.2") => PskVersion::Tls12,
            _ => PskVersion::Tls13,
        },
    }
}
