//! A CAPIF core function and AEFs that answer as a test says, and remember what they were asked.

use std::{
    net::Ipv4Addr,
    path::PathBuf,
    sync::{Arc, Mutex},
};

use bytes::Bytes;
use capif_client::{Enrolment, EnrolmentCode, Invoker, Keystore, OnboardingRequest};
use capif_spec::common::Redacted;
use capif_transport::{
    Acceptor, Anchors, Body, ClientCertificates, Connection, Handler, Identity, Limits,
    ManualClock, Server, ServerTls, SharedClock, collect, full,
};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName,
    DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};
use serde_json::{Value, json};
use time::macros::datetime;

/// The only credential that the scripted CAPIF core function accepts.
pub(crate) const CREDENTIAL: &str = "credential-canary";
/// The Onboard_Secret that it gives out.
pub(crate) const SECRET: &str = "onboard-secret-canary";
pub(crate) const INVOKER: &str = "invoker-1";
pub(crate) const AEF: &str = "aef-1";
pub(crate) const API_ID: &str = "api-1";

/// A certificate authority.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
    der: Vec<u8>,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut parameters = named(name, "CCF");
        parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let certificate = parameters.self_signed(&key).unwrap();
        Self {
            pem: certificate.pem(),
            der: certificate.der().to_vec(),
            issuer: Issuer::new(parameters, key),
        }
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn anchors(&self) -> Anchors {
        Anchors::from_pem(&self.pem).unwrap()
    }

    pub(crate) fn sha256(&self) -> [u8; 32] {
        aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, &self.der)
            .as_ref()
            .try_into()
            .unwrap()
    }

    /// Signs a request under a name of the authority's choice.
    pub(crate) fn sign(&self, request: &str, id: &str, unit: &str) -> String {
        let mut request = CertificateSigningRequestParams::from_pem(request).unwrap();
        request.params = leaf(id, unit);
        request.signed_by(&self.issuer).unwrap().pem()
    }

    /// A certificate for a key that the peer does not hold.
    pub(crate) fn stranger(&self, id: &str) -> String {
        let key = KeyPair::generate().unwrap();
        leaf(id, "API_INVOKER")
            .signed_by(&key, &self.issuer)
            .unwrap()
            .pem()
    }

    /// As the server of this machine, with the root in the chain.
    pub(crate) fn server(&self, id: &str) -> Identity {
        let key = KeyPair::generate().unwrap();
        let unit = if id.starts_with("aef") { "AEF" } else { "CCF" };
        let mut parameters = leaf(id, unit);
        parameters.subject_alt_names = vec![
            rcgen::SanType::IpAddress(Ipv4Addr::LOCALHOST.into()),
            rcgen::SanType::DnsName("localhost".try_into().unwrap()),
        ];
        let certificate = parameters.signed_by(&key, &self.issuer).unwrap();
        let chain = format!("{}{}", certificate.pem(), self.pem);
        Identity::from_pem(chain, key.serialize_pem()).unwrap()
    }
}

fn named(id: &str, unit: &str) -> CertificateParams {
    let mut parameters = CertificateParams::new(Vec::new()).unwrap();
    parameters.distinguished_name = DistinguishedName::new();
    parameters.distinguished_name.push(DnType::CommonName, id);
    parameters
        .distinguished_name
        .push(DnType::OrganizationalUnitName, unit);
    parameters.not_before = datetime!(2026-01-01 0:00 UTC);
    parameters.not_after = datetime!(2028-01-01 0:00 UTC);
    parameters
}

fn leaf(id: &str, unit: &str) -> CertificateParams {
    let mut parameters = named(id, unit);
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.extended_key_usages = vec![
        ExtendedKeyUsagePurpose::ClientAuth,
        ExtendedKeyUsagePurpose::ServerAuth,
    ];
    parameters.use_authority_key_identifier_extension = true;
    parameters
}

/// What a peer was asked.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    pub(crate) method: Method,
    /// With the query.
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The common name of the client certificate.
    pub(crate) peer: Option<String>,
}

impl Seen {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn form(&self) -> std::collections::BTreeMap<String, String> {
        serde_urlencoded::from_bytes(&self.body).unwrap()
    }

    pub(crate) fn is(&self, method: &str, path: &str) -> bool {
        self.method == method && self.path == path
    }
}

/// What a peer does with a request.
pub(crate) enum Reply {
    Answer(Response<Body>),
    /// Closes the connection instead of answering.
    Hang,
}

pub(crate) fn answer(status: u16, body: &Value) -> Reply {
    let mut response = Response::new(if body.is_null() {
        capif_transport::empty()
    } else {
        full(body.to_string())
    });
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    let media_type = match status {
        400.. => "application/problem+json",
        _ => "application/json",
    };
    response
        .headers_mut()
        .insert("content-type", media_type.parse().unwrap());
    Reply::Answer(response)
}

pub(crate) fn problem(status: u16, detail: &str) -> Reply {
    answer(status, &json!({ "status": status, "detail": detail }))
}

impl Reply {
    pub(crate) fn with(mut self, name: &'static str, value: &str) -> Self {
        if let Self::Answer(response) = &mut self {
            response.headers_mut().insert(name, value.parse().unwrap());
        }
        self
    }
}

type Script = Box<dyn FnMut(&Seen) -> Reply + Send>;

struct Scripted {
    script: Mutex<Script>,
    seen: Mutex<Vec<Seen>>,
}

struct Serving(Arc<Scripted>);

impl Handler for Serving {
    async fn handle(&self, request: Request<Body>, connection: Arc<Connection>) -> Response<Body> {
        let (head, body) = request.into_parts();
        let body = collect(body, 1 << 20, std::time::Duration::from_secs(10))
            .await
            .unwrap();
        let seen = Seen {
            method: head.method,
            path: head.uri.path_and_query().unwrap().to_string(),
            headers: head.headers,
            body,
            peer: connection
                .peer
                .certificate()
                .map(|certificate| certificate.common_name.clone()),
        };
        self.0.seen.lock().unwrap().push(seen.clone());
        let reply = (self.0.script.lock().unwrap())(&seen);
        match reply {
            Reply::Answer(response) => response,
            Reply::Hang => {
                connection.abort();
                std::future::pending().await
            }
        }
    }
}

/// A peer that does as a test says.
pub(crate) struct Peer {
    pub(crate) address: String,
    pub(crate) port: u16,
    scripted: Arc<Scripted>,
    _server: Server,
}

impl Peer {
    pub(crate) async fn new(
        identity: Identity,
        clients: Anchors,
        clock: SharedClock,
        script: impl FnMut(&Seen) -> Reply + Send + 'static,
    ) -> Self {
        let acceptor = Acceptor::new(ServerTls {
            identity,
            client_certificates: ClientCertificates::Requested(clients),
            clock,
        })
        .unwrap();
        let scripted = Arc::new(Scripted {
            script: Mutex::new(Box::new(script)),
            seen: Mutex::default(),
        });
        let server = Server::bind(
            (Ipv4Addr::LOCALHOST, 0).into(),
            Arc::new(acceptor),
            Limits::default(),
            Serving(Arc::clone(&scripted)),
        )
        .unwrap();
        let port = server.local_addr().port();
        Self {
            address: format!("127.0.0.1:{port}"),
            port,
            scripted,
            _server: server,
        }
    }

    pub(crate) fn script(&self, script: impl FnMut(&Seen) -> Reply + Send + 'static) {
        *self.scripted.script.lock().unwrap() = Box::new(script);
    }

    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.scripted.seen.lock().unwrap().clone()
    }

    pub(crate) fn forget(&self) {
        self.scripted.seen.lock().unwrap().clear();
    }

    /// How often it was asked this.
    pub(crate) fn count(&self, method: &str, path: &str) -> usize {
        self.seen()
            .iter()
            .filter(|seen| seen.is(method, path))
            .count()
    }
}

/// What the scripted CAPIF core function knows.
pub(crate) struct Facts {
    pub(crate) authority: Arc<Authority>,
    /// The AEF, and its port.
    pub(crate) aef_id: &'static str,
    pub(crate) aef_port: u16,
    /// The method that it selects now.
    pub(crate) method: Option<&'static str>,
    /// Whether there is a security context.
    pub(crate) context: bool,
    /// How many tokens it has issued.
    pub(crate) tokens: usize,
}

pub(crate) type SharedFacts = Arc<Mutex<Facts>>;

/// Answers as a CAPIF core function does when all is well.
pub(crate) fn usual(facts: &SharedFacts, seen: &Seen) -> Reply {
    let mut facts = facts.lock().unwrap();
    let path = seen.path.split('?').next().unwrap();
    match (seen.method.as_str(), path) {
        ("POST", "/api-invoker-management/v1/onboardedInvokers") => {
            if seen.header("authorization") != Some(&format!("Bearer {CREDENTIAL}")) {
                return problem(401, "the credential is not valid here");
            }
            let mut details = seen.json();
            let request = details["onboardingInformation"]["apiInvokerPublicKey"]
                .as_str()
                .unwrap();
            let certificate = facts.authority.sign(request, INVOKER, "API_INVOKER");
            details["apiInvokerId"] = json!(INVOKER);
            details["onboardingInformation"]["apiInvokerCertificate"] = json!(certificate);
            details["onboardingInformation"]["onboardingSecret"] = json!(SECRET);
            answer(201, &details).with(
                "location",
                &format!("https://elsewhere.example/api-invoker-management/v1/onboardedInvokers/{INVOKER}"),
            )
        }
        ("DELETE", "/api-invoker-management/v1/onboardedInvokers/invoker-1") => {
            answer(204, &Value::Null)
        }
        ("GET", "/service-apis/v1/allServiceAPIs") => answer(200, &discovered(&facts)),
        ("POST", "/capif-security/v1/trustedInvokers/invoker-1/update") if !facts.context => {
            problem(404, "there is no such security context for this caller")
        }
        ("PUT", "/capif-security/v1/trustedInvokers/invoker-1")
        | ("POST", "/capif-security/v1/trustedInvokers/invoker-1/update") => {
            let mut security = seen.json();
            for entry in security["securityInfo"].as_array_mut().unwrap() {
                if let Some(method) = facts.method {
                    entry["selSecurityMethod"] = json!(method);
                }
            }
            let status = if facts.context { 200 } else { 201 };
            facts.context = true;
            answer(status, &security)
        }
        ("POST", "/capif-security/v1/securities/invoker-1/token") => {
            facts.tokens += 1;
            let token = format!("token-{}", facts.tokens);
            answer(
                200,
                &json!({ "access_token": token, "token_type": "Bearer", "expires_in": 600 }),
            )
        }
        _ => problem(404, "there is no such resource"),
    }
}

fn discovered(facts: &Facts) -> Value {
    json!({ "serviceAPIDescriptions": [{
        "apiName": "weather",
        "apiId": API_ID,
        "aefProfiles": [{
            "aefId": facts.aef_id,
            "versions": [{ "apiVersion": "v1" }],
            "protocol": "HTTP_1_1",
            "securityMethods": ["PKI", "OAUTH"],
            "interfaceDescriptions": [{ "ipv4Addr": "127.0.0.1", "port": facts.aef_port }],
        }],
    }]})
}

/// A CAPIF core function, an AEF, and a folder for an invoker.
pub(crate) struct World {
    pub(crate) clock: Arc<ManualClock>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) facts: SharedFacts,
    pub(crate) ccf: Peer,
    pub(crate) aef: Peer,
    folder: tempfile::TempDir,
}

impl World {
    pub(crate) async fn new() -> Self {
        let clock = Arc::new(ManualClock::new(datetime!(2026-10-01 12:00 UTC)));
        let authority = Arc::new(Authority::new("CAPIF root"));
        let aef = Peer::new(
            authority.server(AEF),
            authority.anchors(),
            clock.clone(),
            |_| answer(200, &json!({ "sky": "blue" })),
        )
        .await;
        let facts = Arc::new(Mutex::new(Facts {
            authority: Arc::clone(&authority),
            aef_id: AEF,
            aef_port: aef.port,
            method: Some("OAUTH"),
            context: false,
            tokens: 0,
        }));
        let known = Arc::clone(&facts);
        let ccf = Peer::new(
            authority.server("ccf"),
            authority.anchors(),
            clock.clone(),
            move |seen| usual(&known, seen),
        )
        .await;
        Self {
            clock,
            authority,
            facts,
            ccf,
            aef,
            folder: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn clock(&self) -> SharedClock {
        self.clock.clone()
    }

    pub(crate) fn folder(&self) -> PathBuf {
        self.folder.path().join("keystore")
    }

    pub(crate) fn keystore(&self) -> Keystore {
        Keystore::open(self.folder()).unwrap()
    }

    /// Changes how the CAPIF core function answers what `change` picks; all else stays as usual.
    pub(crate) fn unusual(&self, mut change: impl FnMut(&Seen) -> Option<Reply> + Send + 'static) {
        let facts = Arc::clone(&self.facts);
        self.ccf
            .script(move |seen| change(seen).unwrap_or_else(|| usual(&facts, seen)));
    }

    pub(crate) fn as_usual(&self) {
        self.unusual(|_| None);
    }

    pub(crate) fn code(&self) -> EnrolmentCode {
        EnrolmentCode {
            address: self.ccf.address.clone(),
            ca_sha256: self.authority.sha256(),
            credential: Redacted::from(CREDENTIAL),
        }
    }

    pub(crate) fn enrolment(&self) -> Enrolment {
        let credential = Redacted::from(CREDENTIAL);
        Enrolment::from_parts(&*self.ccf.address, self.authority.pem(), credential).unwrap()
    }

    pub(crate) async fn try_onboard(&self) -> Result<Invoker, capif_client::Error> {
        let request = OnboardingRequest::default();
        Invoker::onboard(self.keystore(), &self.enrolment(), request, self.clock()).await
    }

    pub(crate) async fn onboarded(&self) -> Invoker {
        self.try_onboard().await.unwrap()
    }

    /// Every file in the folder, with its content.
    pub(crate) fn files(&self) -> Vec<(String, String)> {
        let mut files: Vec<_> = std::fs::read_dir(self.folder())
            .unwrap()
            .map(|entry| entry.unwrap())
            .map(|entry| {
                let name = entry.file_name().into_string().unwrap();
                (name, std::fs::read_to_string(entry.path()).unwrap())
            })
            .collect();
        files.sort();
        files
    }
}
